"""The same `.qir` files under lit and under pytest: the same tests, the same verdicts."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FILES = {
    "lit.cfg.py": "from qir.testing.lit_format import configure\nconfigure(config, 'ours')\n",
    "right.qir": """// RUN: qir-opt %s -p "canonicalize"
func @main(%x: f32[4]) -> (f32[4]) {
  %0 = lax.neg(%x)
  %1 = lax.neg(%0)
  return %1
}
// CHECK-NOT: lax.neg
// EVAL
// -----
// RUN: qir-opt %s --verify-diagnostics
func @announced(%x: f32[4]) -> (f32[4]) {
  %0 = lax.ngg(%x)  // expected-error {{unknown op 'lax.ngg'}}
  return %0
}
""",
    "below/wrong.qir": """// RUN: qir-opt %s -p "report(path=\\"%t/report.md\\")"
func @checked(%x: f32[4]) -> (f32[4]) {
  return %x
}
// CHECK: lax.neg
// -----
// RUN: qir-opt %s -p "insert_observers, calibrate, propagate_types" --calibration random
func @evaluated(%x: f32[2,4]) -> (f32[2,4]) {
  %w = const(value=random) : f32[4,4]
  %0 = nn.dense(%x, %w)
  return %0
}
// EVAL
// -----
// RUN: qir-opt %s --verify-diagnostics
func @announced(%x: f32[4]) -> (f32[4]) {
  %0 = lax.ngg(%x)  // expected-error {{unknown op 'lax.nig'}}
  return %0
}
// -----
func @right(%x: f32[4]) -> (f32[4]) {
  return %x
}
// CHECK: func @right
""",
    "unreadable.qir": "// RUN: filecheck %s\nfunc @f() { return }\n",
    "model.qir": "func @main(%x: f32[4]) -> (f32[4]) {\n  return %x\n}\n",
}

VERDICTS = {
    "right.qir/main:1": "PASS",
    "right.qir/announced:10": "PASS",
    "below/wrong.qir/checked:1": "FAIL",
    "below/wrong.qir/evaluated:7": "FAIL",
    "below/wrong.qir/announced:15": "FAIL",
    "below/wrong.qir/right:21": "PASS",
    "unreadable.qir": "UNRESOLVED",
}


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def python(folder: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip


def under_lit(folder: Path, *files) -> tuple[int, dict[str, dict]]:
    """lit's exit code, and what it says of each case."""
    code = "import sys; from lit.main import main; sys.argv[0] = 'lit'; main()"
    options = ("-j2", "-q", "--skip-test-time-recording", "-o", folder / "verdicts.json")
    done = python(folder, "-c", code, *options, *files)
    found = json.loads((folder / "verdicts.json").read_text())["tests"]
    return done.returncode, {each["name"].partition(" :: ")[2]: each for each in found}


def codes(found: dict[str, dict]) -> dict[str, str]:
    return {name: each["code"] for name, each in found.items()}


def test_verdicts_are_those_of_pytest(folder):
    code, lit = under_lit(folder, ".")
    assert (code, codes(lit)) == (1, VERDICTS)
    tested = python(folder, "-m", "pytest", "-rA", "-p", "qir.pytest_plugin", "-p",
                    "no:cacheprovider", "--continue-on-collection-errors").stdout  # fmt: skip
    words = {"PASSED": "PASS", "FAILED": "FAIL", "ERROR": "UNRESOLVED"}
    found = re.findall(r"^(PASSED|FAILED|ERROR) (\S+)", tested, re.MULTILINE)
    assert {name.replace("::", "/"): words[word] for word, name in found} == VERDICTS
    told = [each["output"] for each in lit.values() if each["code"] != "PASS"]
    assert all(text in tested for text in told) and "EVAL: result 0 of @evaluated" in "".join(told)


def test_files_can_be_named(folder):
    code, lit = under_lit(folder, "right.qir")
    assert (code, set(codes(lit).values())) == (0, {"PASS"})
    code, lit = under_lit(folder, "below")
    assert (code, len(lit)) == (1, 4)


def test_the_files_of_this_folder(folder):
    own = [ROOT / "tests" / name for name in ("errors/announced.qir", "pipelines")]
    code, lit = under_lit(folder, *own)
    files = {name.rpartition("/")[0] for name in lit}
    assert code == 0 and {"errors/announced.qir", "pipelines/ptq_int8.qir"} <= files
