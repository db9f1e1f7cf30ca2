"""What a build system needs: project pipelines, dependency files, diagnostics, the same bytes."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command import GRAPH

import qir
from qir.cli.depfile import dependencies
from qir.text import load_module

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "make_and_cmake"
# pipelines of a project


def project(folder: Path, table: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.qir.pipelines]\n{table}\n")


def test_a_project_names_its_own_pipelines(call, tmp_path, monkeypatch):
    project(tmp_path, 'tidy = "canonicalize, cse"\n'
                      'edge = "(method=mse) = float_front, insert_observers(method=$method)"\n'
                      'phone = "config/phone.pipe"')  # fmt: skip
    (tmp_path / "config").mkdir()
    (tmp_path / "config/phone.pipe").write_text("pipeline phone() = canonicalize\n")
    code, out, err = call("pipelines")
    assert (code, err) == (0, "")
    assert "edge(method=mse)  [-> observed]\n    float_front, insert_observers\n" in out
    assert "phone()  [-> any]\n    canonicalize\n" in out
    tidy = call("opt", "g.qir", "-p", "canonicalize, cse")
    assert call("opt", "g.qir", "-p", "tidy") == tidy and tidy[1] != GRAPH
    monkeypatch.chdir(tmp_path / "config")  # a folder inside the project is of the project
    (tmp_path / "e.qir").write_text(GRAPH.replace("lax.neg", "nn.sigmoid"))
    code, out, err = call("opt", "../e.qir", "-p", "edge", "--param", "method=minmax")
    assert (code, err) == (0, "") and "method=minmax" in out


WRONG_PROJECTS = [
    ("ours = 3", "{p}: tool.qir.pipelines.ours: error: a pipeline is a text, found int\n"
                 '  help: ours = "canonicalize, cse"\n'),
    ('cse = "canonicalize"', "{p}: tool.qir.pipelines.cse: error: the name 'cse' is taken by a "
                             "pass or pipeline\n  help: give it another name\n"),
    ('"a b" = "cse"', "{p}: tool.qir.pipelines.a b: error: 'a b' is no name of a pipeline\n"
                      "  help: it is one word\n"),
    ('ours = "no.pipe"', "{p}: tool.qir.pipelines.ours: error: cannot read {d}/no.pipe: "
                         "No such file or directory\n"),
    ('ours = "g.pipe"', "{p}: tool.qir.pipelines.ours: error: {d}/g.pipe defines no pipeline "
                        "'ours'\n"),
    ('ours = "canonicalize,, cse"',
     "{p}: tool.qir.pipelines.ours:1:30: error: syntax error: ',' cannot stand here\n"
     "  pipeline ours = canonicalize,, cse\n" + " " * 31 + "^\n"
     "  help: expected 'pipeline' or a name or the end of the text\n"),
    ("ours = ", "{p}: error: cannot read the project's pipelines: Invalid value (at line 2, "
                "column 8)\n"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "said"), WRONG_PROJECTS)
def test_a_project_with_a_wrong_pipeline_is_told(call, tmp_path, table, said):
    project(tmp_path, table)
    (tmp_path / "g.pipe").write_text("pipeline g() = cse\n")
    file = tmp_path / "pyproject.toml"
    assert call("opt", "g.qir", "-p", "ours") == (1, "", said.format(p=file, d=tmp_path))


def test_another_projects_table_is_none_of_ours(call, tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
    assert call("opt", "g.qir", "-p", "cse")[0] == 0
    (tmp_path / "pyproject.toml").write_text("[tool.qir]\npipelines = 3\n")
    said = f"{tmp_path}/pyproject.toml: error: [tool.qir.pipelines] is a table of pipelines by name"
    assert call("pipelines") == (1, "", f"{said}\n")


# diagnostics


def test_errors_are_json_objects_on_demand(call, tmp_path):
    code, out, err = call("opt", "g.qir", "-p", "csee", "--diagnostics", "json")
    assert (code, out) == (1, "")
    found = json.loads(err)
    assert found.pop("help").startswith("did you mean 'cse'?")
    assert found == {"severity": "error", "message": "unknown pass or pipeline 'csee'",
                     "place": "<pipeline>:1:1", "file": "<pipeline>", "line": 1, "column": 1,
                     "width": 4}  # fmt: skip
    assert json.loads(call("opt", "no.qir", "--diagnostics=json")[2]) == {
        "severity": "error", "message": "cannot read: No such file or directory",
        "place": "no.qir", "file": "no.qir"}  # fmt: skip
    assert json.loads(call("opt", "--diagnostics=json", "--nope")[2])["message"].startswith(
        "No such option"
    )
    assert call("opt", "g.qir", "--diagnostics", "xml")[0] == 1


def test_places_of_models_are_split_into_file_and_line(call, tmp_path):
    (tmp_path / "m.py").write_text("def f(x):\n    return x + undefined\n")
    code, _, err = call("quantize", "m.py:f", "--input", "f32[1,4]", "--calibration", "random",
                        "--diagnostics", "json")  # fmt: skip
    found = json.loads(err)
    assert code == 1 and found["line"] == 2 and found["file"].endswith("m.py")
    assert "NameError: name 'undefined' is not defined" in found["message"]


def test_bugs_and_warnings_are_json_too(call, tmp_path, monkeypatch):
    (tmp_path / "s.txt").write_text("qir-statistics 1\n\nvalue \"x\"\n  samples 0\n  elements 0\n")
    (tmp_path / "i.qir").write_text("func @main(%x: f32[4]) -> (f32[4]) {\n  return %x\n}\n")
    code, _, err = call("opt", "i.qir", "-p", "insert_observers, calibrate(stats=\"s.txt\")",
                        "--diagnostics", "json")  # fmt: skip
    assert code == 0
    assert json.loads(err) == {"severity": "warning", "message": "nobody observes 'x'",
                               "place": "s.txt", "file": "s.txt"}  # fmt: skip
    monkeypatch.setattr(sys.modules["qir.cli.opt"], "read_text", lambda file: 1 / 0)
    code, _, err = call("opt", "g.qir", "--diagnostics", "json")
    found = json.loads(err)
    assert (code, found["severity"]) == (2, "internal")
    assert found["message"] == "ZeroDivisionError: division by zero"
    assert "1 / 0" in "\n".join(found["traceback"])


def test_warnings_of_qir_are_one_line(call, tmp_path):
    (tmp_path / "s.txt").write_text("qir-statistics 1\n\nvalue \"x\"\n  samples 0\n  elements 0\n")
    (tmp_path / "i.qir").write_text("func @main(%x: f32[4]) -> (f32[4]) {\n  return %x\n}\n")
    words = ("opt", "i.qir", "-p", "insert_observers, calibrate(stats=\"s.txt\")")
    assert call(*words)[2] == "s.txt: warning: nobody observes 'x'\n"


# dependency files


def test_a_depfile_names_what_was_read(call, tmp_path):
    (tmp_path / "two words.pipe").write_text("canonicalize\n")
    code, _, err = call("opt", "g.qir", "-p", "two words.pipe", "-o", "o.qir", "--depfile", "o.d")
    assert (code, err) == (0, "")
    rule = (tmp_path / "o.d").read_text()
    assert rule.startswith("o.qir: ") and rule.endswith("\n")
    words = re.split(r"(?<!\\) ", rule[len("o.qir: ") : -1])
    assert {"g.qir", "two\\ words.pipe"} <= set(words)
    assert not [w for w in words if w.endswith((".pyc", "o.qir", "o.d", "/cse.py"))]


def test_a_depfile_needs_an_output(call):
    said = "error: --depfile tells what an output depends on\n  help: name it with -o FILE\n"
    assert call("opt", "g.qir", "--depfile", "o.d") == (1, "", said)
    assert call("quantize", "g.qir", "--depfile", "o.d") == (1, "", said)


def test_dependencies_leave_out_what_belongs_to_the_machine():
    import qir.passes.cse

    assert qir.passes.cse.__file__ not in dependencies()
    assert not [name for name in dependencies() if name.startswith("/usr/")]


# artifacts


def dense(x):
    return x @ np.full((4, 3), 0.5, np.float32)


def test_a_saved_model_says_what_made_it_and_keeps_saying_it(tmp_path):
    samples = [np.ones((1, 4), np.float32)]
    first = qir.quantize(dense, samples[0], samples)
    first.save(tmp_path / "a.qir")
    made = load_module(tmp_path / "a.qir").headers["origin"]
    assert made["version"] == qir.__version__
    assert made["pipeline"].startswith("canonicalize, cse, raise_nn, roll_cells, fold_bn")
    assert made["model"].startswith("sha256:") and made["ranges"].startswith("sha256:")
    qir.load(tmp_path / "a.qir").save(tmp_path / "a2.qir")
    assert load_module(tmp_path / "a2.qir").headers["origin"] == made
    other = qir.quantize(dense, samples[0], [2 * samples[0]])
    changed = other.module.headers["origin"]
    assert {k for k in made if made[k] != changed[k]} == {"ranges"}
    again = qir.run_pipeline(first.float_module, made["pipeline"], samples)
    assert str(again) == str(first.final)


def test_opt_writes_the_origin_of_whole_runs(call, tmp_path):
    steps = 'fixpoint(cse), only(cse, match="a b")'
    assert call("opt", "g.qir", "-p", steps, "-o", "o.qir")[0] == 0
    made = load_module(tmp_path / "o.qir").headers["origin"]
    assert made["pipeline"] == steps
    assert set(made) == {"version", "pipeline", "model"}
    assert call("opt", "o.qir", "-o", "p.qir")[0] == 0
    assert (tmp_path / "p.qir").read_bytes() == (tmp_path / "o.qir").read_bytes()
    assert call("opt", "g.qir", "-p", "cse, cse", "--steps", "1", "-o", "q.qir")[0] == 0
    assert load_module(tmp_path / "q.qir").headers == {}


def test_the_same_inputs_give_the_same_bytes_in_any_process(tmp_path):
    files = []
    for number in range(2):
        folder = tmp_path / str(number)
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("build"))
        words = [sys.executable, "-m", "qir", "quantize", "gate.py:model", "--input", "f32[1,16]",
                 "--calibration", "random:4", "-o", "o.qir"]  # fmt: skip
        env = {**os.environ, "PYTHONHASHSEED": str(number), "PYTHONPATH": str(ROOT)}
        subprocess.run(words, cwd=folder, env=env, check=True, capture_output=True)
        files.append({f.name: f.read_bytes() for f in folder.glob("o.qir*")})
    assert len(files[0]) == 2 and files[0] == files[1]


# the examples


def example(tmp_path: Path):
    """A copy of the example and a command runner in it that gives stdout."""
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("build"))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return folder, run


def later(path: Path) -> None:
    """Make a file newer than all that was built."""
    os.utime(path, (time.time() + 100, time.time() + 100))


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_rebuilds_what_changed_and_nothing_else(tmp_path):
    folder, run = example(tmp_path)
    make = ("make", f"PYTHON={sys.executable}")
    assert "float ops left: 0" in run(*make)
    assert "Nothing to be done" in run(*make)
    built = {path.name: path.stat().st_mtime_ns for path in (folder / "build").glob("*.qir")}
    assert set(built) == {"filter.qir", "gate.qir"}
    later(folder / "gate.py")
    assert run(*make, "-n").count("qir quantize") == 1
    os.utime(folder / "gate.py", (1, 1))
    later(folder / "layers.py")  # which only the depfile knows of
    assert run(*make, "-n").count("qir quantize") == 2


@pytest.mark.skipif(shutil.which("cmake") is None, reason="there is no CMake")
def test_cmake_rebuilds_what_changed_and_nothing_else(tmp_path):
    folder, run = example(tmp_path)
    run("cmake", "-S", ".", "-B", "build", "-G", "Unix Makefiles",
        f"-DPython3_EXECUTABLE={sys.executable}")  # fmt: skip
    build = ("cmake", "--build", "build")
    assert run(*build).count("Generating") == 3
    assert run(*build).count("Generating") == 0
    later(folder / "gate.py")
    assert re.findall(r"Generating (\S+)", run(*build)) == ["gate.qir"]
