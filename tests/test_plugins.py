"""Plugins as they come: packages that work, and every way in which one may not."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from qir import registry, tables

ROOT = Path(__file__).resolve().parent.parent

GRAPH = "func @main(%x: f32[4]) -> (f32[4]) {\n  %0 = lax.neg(%x)\n  return %0\n}\n"

PASS = """
    from qir.graph_pass import graph_pass
    from qir.ir import Func

    @graph_pass("any -> any")
    def NAME(func: Func) -> Func:
        \"\"\"Leave the graph as it is.\"\"\"
        return func
"""

OP = """
    from qir.dialect import Dialect
    from qir.types import Type

    DIALECT = Dialect("DIALECT")

    @DIALECT.op
    def NAME(x: Type) -> Type:
        \"\"\"The same.\"\"\"
        return x
"""

TARGET = """
    from qir.forms import form
    from qir.target import Target

    TARGET = Target(name="NAME", doc="A machine.", form="NAME", roundings={"": "single"},
                    rules="no.where:rules")
"""


def named(text: str, **names: str) -> str:
    """A module's text with its placeholders filled."""
    for placeholder, name in names.items():
        text = text.replace(placeholder, name)
    return textwrap.dedent(text)


PLUGINS = {
    # Works, and is untouched by all that is wrong with the others.
    "good": {
        "entry_points": "[qir.dialects]\ngood = good.dialects\n[qir.passes]\ngood = good.passes\n"
        "again = good.passes.rest_well\n[qir.pipelines]\ngood = good.pipelines\n",
        "good/dialects/__init__.py": "",
        "good/dialects/gd.py": named(OP, DIALECT="gd", NAME="same"),
        "good/passes/__init__.py": "from qir.passes.cse import cse",
        "good/passes/rest_well.py": named(PASS, NAME="rest_well"),
        "good/passes/broken.py": "x = 1\ny = missing\n",
        "good/passes/__main__.py": "raise SystemExit('this is not to be imported')",
        "good/pipelines/resting.pipe": "pipeline resting(n=1) = rest_well, cse",
        "good/pipelines/lost.pipe": "pipeline lost = rest_badly",
        "good/pipelines/broken.pipe": "pipeline broken = cse,\n  rest_well(, )",
        "good/pipelines/nameless.pipe": "cse, rest_well",
        "good/pipelines/latin.pipe": b"// \xff\npipeline latin = cse",
    },
    # Two of its modules enter ops before they fail; one op is in the way of another of good's.
    "half": {
        "entry_points": "[qir.dialects]\na = half.first\nb = half.second\nc = half.third\n"
        "[qir.passes]\na = half.uses\n",
        "half/__init__.py": "",
        "half/ops.py": named(OP, DIALECT="half", NAME="inner"),
        "half/first.py": "from . import ops\n" + named(OP, DIALECT="half", NAME="outer")
        + "from qir.targets.xla.table import lowers\nlowers('half.outer')(lambda op, x: x)\n"
        "raise OSError('no licence')\n",
        "half/second.py": named(OP, DIALECT="gd", NAME="same"),
        "half/third.py": "from qir.targets.xla.table import lowers\n"
        "lowers('nn.relu')(lambda op, x: x)\n",
        "half/uses.py": "from .first import outer\n",
    },
    "taken": {
        "entry_points": "[qir.dialects]\na = taken.ops\n[qir.passes]\na = taken.passes\n"
        "[qir.pipelines]\na = taken.pipelines\n[qir.targets]\na = taken.targets\n",
        "taken/__init__.py": "",
        "taken/ops.py": named(OP, DIALECT="nn", NAME="relu"),
        "taken/passes.py": "".join(named(PASS, NAME=n) for n in
                                   ("cse", "ptq_int8", "rest_well", "only", "takes")),
        "taken/pipelines/all.pipe": "pipeline ptq_int8 = cse\npipeline cse = canonicalize\n"
        "pipeline resting = cse\npipeline takes = cse\npipeline taken = cse\npipeline taken = cse",
        "taken/targets/__init__.py": "",
        "taken/targets/a.py": named(TARGET, NAME="xla"),
        "taken/targets/b.py": named(TARGET, NAME="formless"),
        "taken/targets/c.py": named(TARGET, NAME="rule") + "form('rule', 'Any.')(lambda op: None)",
        "taken/targets/d.py": "from qir.forms import form\nform('float', 'x')(lambda op: None)",
    },
    "wrong": {
        "entry_points": "[qir.dialects]\nquits = wrong.quits\nsyntax = wrong.syntax\n"
        "[qir.passes]\narrow = wrong.arrow\nempty = wrong.empty\nfunction = wrong.empty:function\n"
        "no = wrong no\nnone = wrong.nothing\n[qir.pipelines]\na = wrong.empty\nb = wrong.nothing\n"
        "[qir.targets]\na = wrong.empty\n[qir.target]\na = wrong.empty\n",
        "wrong/__init__.py": "",
        "wrong/quits.py": "import sys\nsys.exit('not here')\n",
        "wrong/syntax.py": "def f(:\n",
        "wrong/arrow.py": named(PASS, NAME="off").replace("any -> any", "any -> {machine}"),
        "wrong/empty.py": "TARGET = 'xla'\ndef function(): pass\n",
    },
}  # fmt: skip

TOLD = """\
the plugin good (qir.passes: good.passes.broken) was left out: NameError: name 'missing' is not \
defined, at SITE/good/passes/broken.py:2
broken.pipe of the plugin good (qir.pipelines: good.pipelines) was left out: \
SITE/good/pipelines/broken.pipe:2:13: error: syntax error: ',' cannot stand here
    rest_well(, )
              ^
latin.pipe of the plugin good (qir.pipelines: good.pipelines) was left out: UnicodeDecodeError: \
'utf-8' codec can't decode byte 0xff in position 3: invalid start byte
nameless.pipe of the plugin good (qir.pipelines: good.pipelines) was left out: \
SITE/good/pipelines/nameless.pipe: error: a pipeline file must name its pipelines
the plugin half (qir.dialects: half.first) was left out: OSError: no licence, at \
SITE/half/first.py:14
the plugin half (qir.dialects: half.second) was left out: TypeError: the op gd.same is declared \
twice, at SITE/half/second.py:7
the plugin half (qir.dialects: half.third) was left out: TypeError: nn.relu is qir's own, and so \
is its XLA lowering, at SITE/half/third.py:2
the plugin half (qir.passes: half.uses) was left out: OSError: no licence, at \
SITE/half/first.py:14
the plugin taken (qir.dialects: taken.ops) was left out: TypeError: the op nn.relu is declared \
twice, at SITE/taken/ops.py:7
the pass 'cse' of the plugin taken (qir.passes: taken.passes) was left out: its name is taken by \
qir.passes.cse
the pass 'ptq_int8' of the plugin taken (qir.passes: taken.passes) was left out: its name is \
taken by pipelines/ptq_int8.pipe
the pass 'rest_well' of the plugin taken (qir.passes: taken.passes) was left out: its name is \
taken by good.passes.rest_well
the pass 'only' of the plugin taken (qir.passes: taken.passes) was left out: its name is taken by \
the language of pipelines
the pipeline 'ptq_int8' of the plugin taken (qir.pipelines: taken.pipelines) was left out: its \
name is taken by pipelines/ptq_int8.pipe
the pipeline 'cse' of the plugin taken (qir.pipelines: taken.pipelines) was left out: its name is \
taken by qir.passes.cse
the pipeline 'resting' of the plugin taken (qir.pipelines: taken.pipelines) was left out: its \
name is taken by SITE/good/pipelines/resting.pipe
the pipeline 'takes' of the plugin taken (qir.pipelines: taken.pipelines) was left out: its name \
is taken by taken.passes
the pipeline 'taken' of the plugin taken (qir.pipelines: taken.pipelines) was left out: its name \
is taken by SITE/taken/pipelines/all.pipe
the target 'xla' of the plugin taken (qir.targets: taken.targets) was left out: its name is taken \
by qir.targets.xla
the target 'formless' of the plugin taken (qir.targets: taken.targets) was left out: it declares \
no form 'formless'; qir.forms.form does
the plugin taken (qir.targets: taken.targets.d) was left out: TypeError: the form float is \
declared twice, at SITE/taken/targets/d.py:2
the plugin wrong (qir.dialects: wrong.quits) was left out: SystemExit: not here, at \
SITE/wrong/quits.py:2
the plugin wrong (qir.dialects: wrong.syntax) was left out: SyntaxError: invalid syntax \
(syntax.py, line 1)
the plugin wrong (qir.passes: wrong.arrow) was left out: TypeError: off: the arrow names an \
option 'machine', which there is not, at SITE/wrong/arrow.py:5
the plugin wrong (qir.passes: wrong.empty) was left out: it holds no pass
the plugin wrong (qir.passes: wrong.empty:function) was left out: this is no module; an entry \
point names a module or a package
the plugin wrong (qir.passes: wrong no) was left out: this is no module; an entry point names a \
module or a package
the plugin wrong (qir.passes: wrong.nothing) was left out: ModuleNotFoundError: No module named \
'wrong.nothing'
the plugin wrong (qir.pipelines: wrong.empty) was left out: it holds no file NAME.pipe
the plugin wrong (qir.pipelines: wrong.nothing) was left out: ModuleNotFoundError: No module \
named 'wrong.nothing'
the plugin wrong (qir.targets: wrong.empty) was left out: it holds no TARGET
the plugin wrong (qir.target: wrong.empty) was left out: this is none of the groups qir.dialects, \
qir.passes, qir.pipelines, qir.targets
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder in which the plugins are installed."""
    folder = tmp_path_factory.mktemp("site")
    for plugin, files in PLUGINS.items():
        info = f"{plugin}-1.dist-info"
        entries = files["entry_points"]
        metadata = f"Metadata-Version: 2.1\nName: {plugin}\nVersion: 1\n"
        rest = {name: text for name, text in files.items() if name != "entry_points"}
        for name, text in {**rest, f"{info}/entry_points.txt": entries,
                           f"{info}/METADATA": metadata}.items():  # fmt: skip
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "g.qir").write_text(GRAPH)
    return folder


@pytest.fixture(scope="module")
def qir(site):
    """Run qir where the plugins are installed; gives exit code, stdout, stderr."""
    paths = os.pathsep.join([str(ROOT), str(site)])

    def run(*words: str, code: str | None = None):
        command = ["-c", code] if code else ["-m", "qir", *words]
        done = subprocess.run([sys.executable, *command], cwd=site, text=True, capture_output=True,
                              env={**os.environ, "PYTHONPATH": paths})  # fmt: skip
        return done.returncode, done.stdout, done.stderr.replace(str(site), "SITE")

    return run


def lines(text: str) -> set[str]:
    return set(text.splitlines())


def test_what_is_wrong_with_plugins_is_told_and_all_else_works(qir):
    code, out, err = qir("passes")
    assert code == 0 and "rest_well()  [any -> any]\n    Leave the graph as it is.\n" in out
    assert out.count("\ncse(") == 1 and "NAME" not in out
    assert lines(err) == lines("".join(f"warning: {line}\n" if " was left out: " in line else
                                       f"{line}\n" for line in TOLD.splitlines()))  # fmt: skip


def test_a_plugin_is_used_by_name_beside_what_qir_has(qir):
    code, out, err = qir("opt", "g.qir", "-p", "canonicalize, resting(n=2), fixpoint(rest_well)")
    assert (code, out, err) == (0, GRAPH.replace("(%x)\n", "(%x) : f32[4]\n"), "")


def test_listings_tell_which_pipelines_and_targets_cannot_be_used(qir):
    code, out, err = qir("pipelines")
    assert code == 0 and "resting(n=1)  [-> any]\n    rest_well, cse\n" in out
    assert "warning: the pipeline 'lost' cannot be composed: SITE/good/pipelines/lost.pipe:1:17:" \
        " error: unknown pass or pipeline 'rest_badly'\n" in err  # fmt: skip
    code, out, err = qir("targets")
    assert code == 0 and [line for line in out.splitlines() if "[" in line] == [
        "edgetpu  [edgetpu]", "gpu_fp16  [gpu_fp16]", "rule  [rule]", "tflite  [tflite]",
        "tflite_micro  [tflite_micro]", "xla  [xla]"]  # fmt: skip
    assert "the target 'formless' of the plugin taken" in err


@pytest.mark.parametrize(("words", "message"), [
    (("opt", "g.qir", "-p", "outer"), "<pipeline>:1:1: error: unknown pass or pipeline 'outer'\n"),
    (("opt", "g.qir", "-p", "legalize(target=x)"), "<pipeline>:1:1: error: legalize: unknown "
     "target 'x'\n"),
    (("opt", "half.qir"), "half.qir:2:8: error: unknown op 'half.outer'\n"),
    (("opt", "g.qir", "-p", "lower_int8(target=x)"), "<pipeline>:1:1: error: unknown target 'x'\n"),
    (("quantize", "g.qir", "--calibration", "random", "--pipeline", "lost"),
     "SITE/good/pipelines/lost.pipe:1:17: error: unknown pass or pipeline 'rest_badly'\n"),
])  # fmt: skip
def test_an_unknown_name_may_be_of_a_plugin_that_was_left_out(qir, site, words, message):
    (site / "half.qir").write_text(GRAPH.replace("lax.neg", "half.outer"))
    code, out, err = qir(*words)
    assert (code, out) == (1, "") and err.startswith(message)
    assert "\n  help: the plugin half (qir.dialects: half.first) was left out: OSError: no " \
        "licence, at SITE/half/first.py:14\n" in err  # fmt: skip
    assert all(line.startswith("  ") for line in err.splitlines()[1:])


def test_the_rules_of_a_target_may_be_nowhere(qir):
    code, _, err = qir("opt", "g.qir", "-p", "legalize(target=rule)")
    assert code == 1
    assert err == ("<pipeline>:1:1: error: the rules of the target 'rule' cannot be loaded from "
                   "no.where:rules: ModuleNotFoundError: No module named 'no'\n"
                   "  legalize(target=rule)\n  ^^^^^^^^\n")  # fmt: skip


def test_a_dialect_that_fails_half_way_leaves_nothing(qir):
    code, out, err = qir(code="""if True:
        import sys
        from qir import registry
        from qir.ir import OPS
        from qir.targets.xla.table import LOWERINGS, lowerings
        registry.failed_plugins()
        print(sorted(k for k in OPS if k.startswith(("half", "gd"))), "half.outer" in LOWERINGS)
        print(sorted(name for name in sys.modules if name.startswith("half")))
        from half import ops
        print("half.inner" in OPS, "nn.relu" in lowerings(), registry.targets().keys())
    """)
    assert (code, err) == (0, "")
    assert out.splitlines() == ["['gd.same'] False", "[]",
                                "True True dict_keys(['edgetpu', 'gpu_fp16', 'rule', 'tflite', "
                                "'tflite_micro', 'xla'])"]  # fmt: skip


def test_a_package_whose_entry_points_cannot_be_read_hides_no_other(site, tmp_path):
    garbled = tmp_path / "garbled-1.dist-info"
    garbled.mkdir()
    (garbled / "entry_points.txt").write_text("[qir.passes]\nthis is no entry point\n")
    (garbled / "METADATA").write_text("Metadata-Version: 2.1\nName: garbled\nVersion: 1\n")
    paths = os.pathsep.join([str(ROOT), str(tmp_path), str(site)])
    done = subprocess.run([sys.executable, "-m", "qir", "opt", "g.qir", "-p", "rest_well, xyz"],
                          cwd=site, text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": paths})  # fmt: skip
    assert done.stderr.startswith("<pipeline>:1:12: error: unknown pass or pipeline 'xyz'\n")
    assert ("\n  help: the package garbled was left out: its entry points cannot be read: "
            "TypeError: ") in done.stderr  # fmt: skip


def test_tables_keep_what_others_enter_while_an_import_fails(monkeypatch):
    monkeypatch.setattr(tables, "_TABLES", [])
    entries = tables.table(lambda function: function)

    def ours():
        pass

    def theirs():
        pass

    theirs.__module__ = "elsewhere.inner"
    entries["before"] = theirs
    with pytest.raises(KeyError), tables.entered_whole("elsewhere"):
        entries["ours"], entries["theirs"] = ours, theirs
        late = tables.table(lambda function: function)
        late["late"] = theirs
        raise KeyError
    assert entries == {"before": theirs, "ours": ours} and late == {}
    with tables.entered_whole("elsewhere"):
        entries["theirs"] = theirs
    assert "theirs" in entries


def test_the_groups_that_are_read_are_the_groups_there_are():
    from qir.plugins import GROUPS

    named = {name.removeprefix("qir.") for name in GROUPS}
    assert named == {"dialects", "passes", "pipelines", "targets"}
    assert named <= {"dialects", *vars(registry)}
