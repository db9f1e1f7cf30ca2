"""The command line: what goes where, exit codes, and the whole path from a model to numbers."""

import errno
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from command import GRAPH

from qir.cli.opt import opt, split_cases
from qir.testing.bless import blessed, check_lines, rewritten
from qir.testing.cases import read_cases
from qir.testing.check import mismatch
from qir.testing.run import failure, run_case

ROOT = Path(__file__).resolve().parent.parent
# qir opt


def test_opt_prints_the_graph_alone_on_stdout(call):
    assert call("opt", "g.qir") == (0, GRAPH, "")
    assert call("opt", stdin=GRAPH) == (0, GRAPH, "")
    assert call("opt", "-", "-p", "cse", stdin=GRAPH)[:2] == (0, GRAPH)


def test_opt_says_how_a_tflite_model_becomes_a_graph(call):
    Path("net.tflite").write_bytes(b"\x18\0\0\0TFL3\xff\xfe")
    assert call("opt", "net.tflite") == (1, "", (
        "net.tflite: error: this is not text\n"
        "  help: qir translate net.tflite -o model.qir makes a graph of it\n"))  # fmt: skip


def test_opt_says_what_is_wrong_with_stdin_and_stdout(call, monkeypatch):
    assert call("opt", stdin="\udcb8") == (1, "", "<stdin>: error: this is not text\n")
    monkeypatch.setattr(sys, "stdin", None)
    closed = "<stdin>: error: cannot read: it is closed\n  help: name a file\n"
    assert call("opt") == (1, "", closed)

    def full(text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys.stdout, "write", full)
    assert call("opt", "g.qir") == (1, "", "error: cannot write the output: the device is full\n")


def test_opt_writes_a_file_in_one_go(call, tmp_path):
    assert call("opt", "g.qir", "-o", "out.qir") == (0, "", "")
    assert (tmp_path / "out.qir").read_text() == GRAPH
    code, out, err = call("opt", "g.qir", "-o", "no/folder/out.qir")
    assert (code, out) == (1, "")
    assert err == ("no/folder/out.qir: error: cannot write: there is no such folder\n"
                   "  help: choose a folder that exists and can be written\n")  # fmt: skip
    os.mkdir("taken")
    code, _, err = call("opt", "g.qir", "-o", "taken")
    assert code == 1 and err.startswith("taken: error: cannot write: this is a folder")
    assert not list(tmp_path.glob(".*")), "a temporary file was left"


def test_opt_shows_graphs_and_seconds_on_stderr(call):
    code, out, err = call("opt", "g.qir", "-p", "cse, canonicalize", "--print-after", "cse")
    assert (code, err) == (0, f"// after cse\n{GRAPH}\n")
    code, out, err = call("opt", "g.qir", "-p", "cse, canonicalize", "--print-after-all")
    assert err.count("// after") == 2 and out == "func @main(%x: f32[1,4]) -> (f32[1,4]) " \
        "{\n  return %x\n}\n"  # fmt: skip
    code, _, err = call("opt", "g.qir", "-p", "cse, canonicalize", "--timing", "--verify-each")
    assert code == 0
    header, *lines = err.splitlines()
    rows = [re.fullmatch(r"//( +\d+\.\d{4} +\d+\.\d %| {19})(  .*)", line) for line in lines]
    assert header == "//   seconds    share" and all(rows)
    quick = {"load", "compose", "constant folding", "print", "listeners", "verify", "the rest"}
    names = [row[2] for row in rows if row[2].strip() not in quick]
    assert names == [
        "  parse", "  cse", "    ops merged: 0", "  canonicalize", "    constants folded: 0",
        "    sweeps: 2", "    done_and_undone: fired 1", "    25 rules without a match", "  total",
    ]  # fmt: skip


def test_opt_explains_what_fired_and_what_declined(call, tmp_path):
    code, _, err = call("opt", "g.qir", "-p", "canonicalize", "--explain")
    assert code == 0
    assert re.search(r"^// canonicalize: \w+ fired at lax.neg$", err, re.M)


def test_opt_splits_its_input_and_goes_on_after_an_error(call, tmp_path):
    bad = "func @bad(%x: f32[4]) {\n  return %y\n}\n"
    (tmp_path / "many.qir").write_text(f"{GRAPH}// -----\n{bad}// -----\n{GRAPH}")
    code, out, err = call("opt", "many.qir", "--split-input-file")
    assert code == 1
    assert out == f"{GRAPH}// -----\n// -----\n{GRAPH}"
    assert err.startswith("many.qir:8:10: error: %y is not defined here")
    code, _, err = call("opt", "many.qir", "--split-input-file", "-o", "x.qir")
    assert code == 1 and "--split-input-file prints" in err


def test_lines_of_cases_are_those_of_the_file():
    assert split_cases("a\nb\n// -----\nc\x0b\n// -----  \n") == [
        (1, "a\nb\n"), (4, "c\x0b\n"), (6, ""),
    ]  # fmt: skip


def test_opt_takes_pipeline_files_and_parameters(call, tmp_path):
    (tmp_path / "mine.pipe").write_text("pipeline mine(target=xla) = cse, canonicalize\n")
    code, out, err = call("opt", "g.qir", "-p", "mine.pipe", "--param", "target=tflite")
    assert (code, err) == (0, "")
    code, _, err = call("opt", "g.qir", "-p", "mine.pipe", "--param", "traget=xla")
    assert code == 1 and "no parameter 'traget'" in err and "did you mean 'target'" in err
    code, _, err = call("opt", "g.qir", "-p", "cse", "--param", "target=[")
    assert code == 1 and err.startswith("--param:1:18: error: syntax error")
    code, out, err = call("quantize", "g.qir", "--param", "target=tflite")
    assert (code, out) == (1, "")
    assert err == ("--param: error: the target is an option of its own\n"
                   "  help: --target tflite\n")  # fmt: skip


# Exit codes


def test_a_users_error_is_one_message_and_code_1(call):
    for words in (("opt", "nowhere.qir"), ("opt", "g.qir", "-p", "nothing"), ("opt", "--nothing"),
                  ("nothing",), ("run", "g.qir", "--inputs", "g.qir")):  # fmt: skip
        code, out, err = call(*words)
        assert (code, out) == (1, "")
        assert err and "Traceback" not in err


def test_a_bug_is_a_traceback_and_code_2(call, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(sys.modules["qir.cli.opt"], "optimize", broken)
    code, _, err = call("opt", "g.qir")
    assert code == 2
    assert "ZeroDivisionError" in err and "this is a bug in qir" in err


def test_help_and_version_end_well(call):
    assert call("--help")[0] == call("opt", "--help")[0] == 0
    assert call("--version")[1].startswith("qir, version ")


# Listings


def test_passes_show_arrow_options_and_first_line(call):
    code, out, _ = call("passes")
    assert code == 0
    assert ("propagate_types(weights: per_channel|per_tensor = per_channel, "
            "activations: int8|int16|uint8 = int8)  [calibrated -> qdq]\n    ") in out  # fmt: skip
    assert "export(path: file)  [any -> any]\n    Write the graph to `path`" in out


def test_pipelines_and_targets_are_listed(call):
    code, out, _ = call("pipelines")
    assert code == 0
    wanted = r"^ptq_int8\(method=minmax, .*target=xla, profile=none\)  \[-> xla\]$"
    assert re.search(wanted, out, re.M)
    assert "float_front()  [-> float]" in out
    assert re.search(r"^xla  \[xla\]\n    \w", call("targets")[1], re.M)


def test_importing_qir_loads_no_framework_and_listing_passes_no_jax():
    code = ("import sys, qir; assert not {'jax', 'networkx', 'numpy'} & set(sys.modules);"
            "from qir.cli import cli; cli.main(['passes'], standalone_mode=False);"
            "assert not {'jax', 'networkx', 'sklearn', 'tqdm'} & set(sys.modules)")  # fmt: skip
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


# Models

MODEL = """
    import jax.numpy as jnp
    import numpy as np

    W = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)

    def model(x):
        return jnp.maximum(x @ W, 0.0)

    def load(scale=1.0):
        return lambda x: model(x) * scale, np.zeros((2, 16), np.float32)

    def strange(x):
        return jnp.linalg.eigh(x.T @ x)[0] + jnp.fft.rfft(x[0]).real[0]
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.py").write_text(textwrap.dedent(MODEL))
    data = np.random.default_rng(1).standard_normal((20, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=data)
    return data


def test_from_a_function_to_numbers(call, model, tmp_path):
    code, out, err = call("quantize", "model.py:model", "--calibration", "data.npz", "-o", "q.qir",
                          "--param", "method=mse")  # fmt: skip
    assert code == 0, err
    assert "float ops left: 0" in out
    first = {p.name: p.read_bytes() for p in tmp_path.glob("q.*")}
    assert len(first) == 2
    call("quantize", "model.py:model", "--calibration", "data.npz", "-o", "q.qir", "--param",
         "method=mse")  # fmt: skip
    assert {p.name: p.read_bytes() for p in tmp_path.glob("q.*")} == first
    np.savez("in.npz", model)
    code, out, err = call("run", "q.qir", "--inputs", "in.npz", "-o", "out.npz")
    assert code == 0, err
    (result,) = np.load("out.npz").values()
    weights = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
    expected = np.maximum(model @ weights, 0)
    assert result.shape == (20, 8)
    assert np.abs(result - expected).max() < 0.05 * expected.max()


def test_quantize_tells_its_seconds(call, model):
    code, out, err = call("quantize", "model.py:model", "--calibration", "data.npz", "--timing")
    assert code == 0 and out.startswith("@main: ")
    rows = [row[2] for line in err.splitlines()
            if (row := re.fullmatch(r"//( +\d+\.\d{4} +\d+\.\d %| {19})(  .*)", line))]  # fmt: skip
    assert len(rows) == err.count("\n") - 1 and rows[0] == "  trace" and rows[-1] == "  total"
    assert {"  calibrate", "    values observed: 2", "  legalize"} < set(rows)


def test_a_saved_float_graph_is_quantized_too(call, model):
    import qir

    spec = __import__("importlib.util").util.spec_from_file_location("model", "model.py")
    module = __import__("importlib.util").util.module_from_spec(spec)
    spec.loader.exec_module(module)
    qir.save(qir.trace(module.model, model[:1]), "float.qir")
    code, out, err = call("quantize", "float.qir", "--calibration", "random:4")
    assert code == 0, err
    assert "float ops left: 0" in out


def test_a_function_without_arguments_makes_the_model_and_its_example(call, model):
    code, out, err = call("quantize", "model.py:load", "--calibration", "random", "-o", "q.qir")
    assert code == 0, err
    assert "func @" in Path("q.qir").read_text() and "f32[2,16]" in Path("q.qir").read_text()


def test_bench_compares_in_one_run(call, model):
    code, out, err = call("bench", "model.py:model", "--input", "f32[1,16]", "--rounds", "3",
                          "--batch", "2")  # fmt: skip
    assert code == 0, err
    assert re.search(r"^float +\d+\.\d+ ms$", out, re.M)
    assert re.search(r"^int8 +\d+\.\d+ ms$", out, re.M)
    assert "f32[2,16]" in out and "weak baseline" in out


def test_bench_times_each_op_by_itself(call, model):
    code, out, err = call("bench", "model.py:model", "--input", "f32[1,16]", "--rounds", "3",
                          "--per-op")  # fmt: skip
    assert code == 0, err
    table = out[out.index("by itself each op takes"):]
    assert re.search(r"limits measured here: \d+ GOP/s of 8-bit products, \d+\.\d GB/s", table)
    header, *rows = table.splitlines()[1:]
    assert header.split() == ["op", "result", "ms", "share", "GOP/s", "GB/s", "of", "limit", "at"]
    times = [float(re.search(r" (\d+\.\d{3}) ", row)[1]) for row in rows]
    total = float(re.search(r"takes, ([\d.]+) ms", table)[1])
    assert times == sorted(times, reverse=True) and abs(sum(times) - total) < 0.01
    assert any(row.startswith("xla.dot ") for row in rows)


def test_bench_times_ops_on_xla_alone(call, model):
    code, out, err = call("bench", "model.py:model", "--input", "f32[1,16]", "--per-op",
                          "--target", "tflite")  # fmt: skip
    assert (code, out) == (1, "")
    assert err == (
        "error: --per-op compiles each op by itself, which the target 'tflite' does not\n"
        "  help: leave out --per-op, or say --target xla\n"
    )


def test_unsupported_primitives_are_reported_together_with_their_places(call, model):
    code, out, err = call("quantize", "model.py:strange", "--input", "f32[4,4]",
                          "--calibration", "random")  # fmt: skip
    assert (code, out) == (1, "")
    assert err == (
        "error: 3 JAX primitives are not imported:\n"
        "  eigh (once) at model.py:14\n  fft (once) at model.py:14\n  real (once) at model.py:14\n"
        "  help: declare @imports(\"eigh\") in a file of qir/frontends/jax/\n"
    )


@pytest.mark.parametrize(("words", "message"), [
    (["nowhere.py:f"], "nowhere.py: error: cannot read: no such file\n"),
    (["model.py:modl"], "error: model.py has no 'modl'\n  help: did you mean 'model'? known: "
     "load, model, strange\n"),
    (["model.py:W"], "error: model.py:W is no function, it is of the type ndarray\n"),
    (["model"], "error: 'model' is no model\n  help: MODEL is a saved graph (model.qir), a "
     "TensorFlow Lite model (model.tflite), a SavedModel (folder, or folder:signature), a frozen "
     "graph (model.pb) or a function: package.module:function or path.py:function. A function "
     "without arguments is called for the model, or the model and an example.\n"),
    (["no_such_module:f"], "error: importing no_such_module raised ModuleNotFoundError: No module "
     "named 'no_such_module'\n"),
    (["model.py:model"], "error: nothing says which inputs model.py:model takes\n"
     "  help: give --input f32[1,28,28,1] for each (or --calibration, to quantize)\n"),
    (["model.py:model", "--input", "float32[4]"], "error: unknown type 'float32'\n"
     "  help: did you mean 'f32'? known: bf16, bool, f16, f32, f64, i16, i2, i32, i4, i64, i8, "
     "u16, u32, u8\n"),
    (["model.py:model", "--input", "f32(4)"], "error: 'f32(4)' is no type of an input\n"
     "  help: it is written f32[1,28,28,1]\n"),
    (["model.py:model", "--calibration", "nowhere.npz"],
     "nowhere.npz: error: cannot read: No such file or directory\n"),
    (["model.py:model", "--calibration", "model.py"],
     "model.py: error: this holds no arrays as numpy.savez writes them\n"),
    (["model.py:model", "--calibration", "data.npz", "--target", "abacus"],
     "pipelines/ptq_int8.pipe:20:3: error: legalize: unknown target 'abacus'\n"
     "    legalize(target=$target, profile=$profile),\n    ^^^^^^^^\n"
     "  help: known: edgetpu, gpu_fp16, tflite, tflite_micro, xla\n"),
])  # fmt: skip
def test_what_is_wrong_with_a_model_is_said(call, model, words, message):
    assert call("quantize", *words) == (1, "", message)


def test_what_the_model_raises_is_told_with_its_line(call, model, tmp_path):
    (tmp_path / "broken.py").write_text("import json\njson.loads('(')\n")
    code, out, err = call("quantize", "broken.py:f", "--calibration", "data.npz")
    assert (code, out) == (1, "") and "Traceback" not in err
    assert "broken.py:2: error: importing broken.py raised JSONDecodeError" in err
    code, out, err = call("quantize", "model.py:model", "--input", "f32[1,17]")
    assert (code, out) == (1, "") and "Traceback" not in err
    assert "model.py:8: error: tracing model.py:model with float32[1, 17] raised TypeError" in err


PLUGIN = {
    "plug/__init__.py": "",
    "plug/ops.py": """
        from qir.dialect import Dialect
        from qir.types import Type

        plug = Dialect("plug")

        @plug.op
        def same(x: Type) -> Type:
            \"\"\"An op from elsewhere.\"\"\"
            return x

        @same.means
        def _(op, x):
            return x
    """,
    "plug/remove.py": """
        from qir.graph_pass import graph_pass
        from qir.ir import Func
        from qir.pattern import V
        from qir.rewrite import rewrite, rule
        from .ops import same

        @rule(same(V.x))
        def same_is_nothing(x):
            \"\"\"It does nothing.\"\"\"
            return x

        @graph_pass("any -> any")
        def remove(func: Func) -> Func:
            \"\"\"Remove the ops from elsewhere.\"\"\"
            return rewrite(func, same_is_nothing)
    """,
    "plug/pipelines/__init__.py": "",
    "plug/pipelines/removal.pipe": "pipeline removal = remove, cse",
    "plug/test_plug.qir": """
        // RUN: qir-opt %s -p removal
        func @main(%x: f32[4]) -> (f32[4]) {
          %0 = plug.same(%x)
          return %0
        }
        // CHECK: {
        // CHECK-NEXT: return %x
        // EVAL
    """,
    "plug-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: plug\nVersion: 1\n",
    "plug-1.dist-info/entry_points.txt": """
        [qir.dialects]
        plug = plug.ops
        [qir.passes]
        plug = plug.remove
        broken = plug.nowhere
        [qir.pipelines]
        plug = plug.pipelines
    """,
}


def test_a_plugin_brings_ops_passes_pipelines_and_tests(tmp_path):
    for name, text in PLUGIN.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text))
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}

    def run(*words):
        return subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, env=paths, text=True,
                              capture_output=True)  # fmt: skip

    listed = run("qir", "passes")
    assert listed.returncode == 0
    assert "remove()  [any -> any]\n    Remove the ops from elsewhere.\n" in listed.stdout
    assert listed.stderr == ("warning: the plugin plug (qir.passes: plug.nowhere) was left out: "
                             "ModuleNotFoundError: No module named 'plug.nowhere'\n")  # fmt: skip
    tested = run("pytest", "-q", "-p", "qir.pytest_plugin", "-p", "no:cacheprovider", "plug")
    assert "1 passed" in tested.stdout, tested.stdout


@pytest.mark.parametrize(("data", "message"), [
    (np.zeros((0, 16), np.float32), "the calibration data is empty\n  help: an iterator that was "
     "read before gives nothing; pass a list or a function that makes it anew"),
    (np.zeros((3, 17), np.float32), "sample 0: the input 'x' has shape [1, 17], the model takes "
     "[1, 16]\n  help: only the leading extent of all inputs together, the batch, may be another "
     "one"),
    (np.full((3, 16), np.nan, np.float32), "sample 0: the input 'x' holds nan at index [0, 0]\n"
     "  help: clean the data: calibration needs finite numbers"),
    (np.zeros((3, 16), "S3"), "sample 0: the input 'x' is no array of numbers, found an array of "
     "|S3\n  help: an item is an array, a list or tuple in input order, or a dict by input name"),
])  # fmt: skip
def test_what_is_wrong_with_calibration_data_is_said(call, model, data, message):
    np.savez("bad.npz", x=data)
    words = ("quantize", "model.py:model", "--input", "f32[1,16]", "--calibration", "bad.npz")
    code, out, err = call(*words)
    first, step, carets, advice = err.splitlines()
    assert (code, out) == (1, "")
    assert f"{first}\n{advice}" == f"pipelines/ptq_int8.pipe:13:3: error: {message}"
    assert step.strip().startswith("calibrate(") and carets.strip() == "^" * len("calibrate")


def test_a_truncated_weights_file_is_said(call, model, tmp_path):
    call("quantize", "model.py:model", "--calibration", "data.npz", "-o", "q.qir")
    (weights,) = tmp_path.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    code, out, err = call("run", "q.qir")
    assert (code, out) == (1, "")
    assert err == (f"{weights.name}: error: this is no whole weights file, it is truncated or "
                   "damaged\n  help: write the model again\n")  # fmt: skip


# The runner of .qir tests

CASES = """// RUN: qir-opt %s -p "canonicalize"
func @main(%x: f32[4]) -> (f32[4]) {
  %0 = lax.neg(%x)
  return %0
}
// CHECK: lax.neg
// EVAL
// -----
// RUN: qir-opt %s \\
// RUN:   -p "cse" --print-after-all | filecheck %s
func @other(%x: f32[4]) -> (f32[4]) {
  return %x
}
// CHECK: after cse
// CHECK-NOT: neg
// -----
func @wrong(%x: f32[4]) -> (f32[4]) {
  return %y
}
// CHECK: wrong.qir:2:10: error: %y is not defined here
"""


def cases_of(tmp_path, text: str):
    path = tmp_path / "wrong.qir"
    path.write_text(text)
    return read_cases(path)


def verdicts(tmp_path, text: str) -> list[str | None]:
    return [failure(c, run_case(c, tmp_path)) for c in cases_of(tmp_path, text)]


def test_cases_run_and_pass(tmp_path):
    cases = cases_of(tmp_path, CASES)
    assert [c.name for c in cases] == ["main:1", "other:9", "wrong:17"]
    assert cases[1].run == ("%s", "-p", "cse", "--print-after-all")
    assert cases[2].run == cases[0].run
    assert verdicts(tmp_path, CASES) == [None, None, None]


def test_cases_fail_for_the_right_reasons(tmp_path):
    def only(text):
        (found,) = verdicts(tmp_path, text)
        return found

    start = "// RUN: qir-opt %s\nfunc @main(%x: f32[4]) -> (f32[4]) {\n  return %x\n}\n"
    assert "it tests nothing" in only(start)
    assert "Couldn't match" in only(start + "// CHECK: lax.neg\n")
    assert "excluded string found" in only(start + "// CHECK: func\n// CHECK-NOT: return\n")
    assert "no CHECK line expects an error" in only(start.replace("%x\n", "%y\n") + "// EVAL\n")
    assert "No such option" in only(start.replace("%s", "%s --nothing") + "// EVAL\n")


def test_eval_compares_before_and_after(tmp_path, monkeypatch):
    import toy

    from qir import registry
    from qir.graph_pass import graph_pass
    from qir.pattern import V
    from qir.rewrite import rewrite, rule

    @rule(toy.neg(V.x))
    def wrong(x):
        """A rule that keeps the type and not the meaning."""
        return toy.scale(x, by=-1.001)

    @graph_pass("any -> any")
    def spoil(func):
        """Apply it."""
        return rewrite(func, wrong)

    monkeypatch.setattr(registry, "passes", lambda: {"spoil": spoil})
    start = ("// RUN: qir-opt %s -p spoil\nfunc @main(%x: f32[64]) -> (f32[64]) {\n"
             "  %0 = toy.neg(%x)\n  return %0\n}\n")  # fmt: skip
    (found,) = verdicts(tmp_path, start + "// EVAL\n")
    assert "EVAL: result 0 of @main differs at [" in found
    assert verdicts(tmp_path, start + "// EVAL: rtol=1e-2\n") == [None]


@pytest.mark.parametrize(("text", "message"), [
    ("func @f() { return }\n", "no RUN line here and none in the file's first case"),
    ("// RUN: filecheck %s\n", "a RUN line starts with qir-opt"),
    ("// RUN: qir-opt '\n", "the RUN line cannot be read"),
    ("// RUN: qir-opt\n// RUN: qir-opt\n", "a case has one RUN line"),
    ("// RUN: qir-opt\n// EVAL: tol=1\n", "'tol=1' is no setting of EVAL"),
    ("// RUN: qir-opt\n// EVAL: rtol=x\n", "'rtol=x' is no setting of EVAL"),
])  # fmt: skip
def test_wrong_test_files_are_errors(tmp_path, text, message):
    from qir.errors import QirError

    with pytest.raises(QirError, match=re.escape(message)):
        cases_of(tmp_path, text)


def test_blessing_writes_checks_that_pass_and_keeps_those_written_by_hand(tmp_path):
    text = ("// RUN: qir-opt %s\nfunc @main(%x: f32[4]) -> (f32[4]) {\n  return %x\n}\n"
            "// CHECK: old\n// CHECK-NEXT: older\n\n// -----\nfunc @f() {\n  return\n}\n"
            "// CHECK-NOT: func\n")  # fmt: skip
    first, second = cases_of(tmp_path, text)
    output = run_case(first, tmp_path).output
    new = blessed(first, output)
    assert mismatch(new, output, "f", 1) is None
    assert blessed(second, output) is None
    again, diff = rewritten(tmp_path / "wrong.qir", {1: (first.text, new)})
    assert "-// CHECK: old" in diff and "+// CHECK: func @main" in diff
    assert again.endswith("// CHECK-NOT: func\n") and again.count("// -----\n") == 1
    assert [c.text for c in cases_of(tmp_path, again)] == [new, second.text]
    strange = "a {{b}} [[C]] [[1, 2]]\n\nnext\n  last"
    assert mismatch("\n".join(check_lines(strange)), strange, "f", 1) is None


def test_the_run_line_is_the_command_line():
    """Every option of `qir opt` that is not about files is a wish, so tests can use it."""
    from dataclasses import fields

    from qir.cli.opt import Wishes

    named = {parameter.name for parameter in opt.params}
    wishes = {field.name for field in fields(Wishes)}
    assert named - wishes == {
        "file", "output", "split_input_file", "depfile", "diagnostics"
    }  # fmt: skip
