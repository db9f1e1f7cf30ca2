"""`qir translate`: what goes where, which format is meant, and what is refused."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from qir import api, cli
from qir.cli.translate import translate
from qir.interchange import FORMATS
from qir.ir import Module
from qir.text import load_module, read_module

TWO = """func @main(%x: f32[2,4]) -> (f32[2,4]) {
  %twice = lax.neg(%x)
  %0 = lax.exp(%twice)
  return %0
}
func @other(%x: f32[2,4]) -> (f32[2,4]) {
  return %x
}
"""
OLD = TWO.partition("func @other")[0]
NEW = OLD.replace("lax.exp(%twice)", "lax.exp(%x)")


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Run `qir translate` with words in a folder with graphs; gives exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("two.qir", TWO), ("old.qir", OLD), ("new.qir", NEW)):
        (tmp_path / name).write_text(text)

    def run(*words: str):
        code = cli.status(cli.cli, ["translate", *words], "qir")
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_text_goes_to_stdout_and_the_suffix_names_the_format(call, tmp_path):
    code, out, err = call("old.qir", "--to", "mlir")
    assert (code, err) == (0, "") and out.startswith("module {\n  func.func @main(%x: ")
    assert call("old.qir", "-o", "old.mlir") == (0, "", "")
    assert (tmp_path / "old.mlir").read_text() == out
    assert call("old.qir", "--to", "dot")[1] == call("old.qir", "--to", "dot")[1]
    assert call("two.qir", "--to", "mlir")[1].count("func.func") == 2
    assert call("two.qir", "--to", "mlir", "--func", "@other")[1].count("func.func") == 1
    assert call("old.qir", "--to", "qir")[1] == str(read_module(OLD).main)


def test_stdin_is_a_graph_too(call, monkeypatch):
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO(OLD))
    assert call("--to", "dot")[1].startswith('digraph "main" {')


def test_qir_goes_with_its_weights_and_for_another_batch(call, tmp_path):
    w = np.arange(16, dtype=np.float32)
    text = f"func @main(%x: f32[1,16]) -> (f32[1,16]) {{\n  %0 = const(value={w.tolist()}) : " \
           "f32[16]\n  %1 = lax.add(%x, %0)\n  return %1\n}\n"  # fmt: skip
    (tmp_path / "w.qir").write_text(text)
    assert call("w.qir", "-o", "again.qir", "--batch", "3") == (0, "", "")
    again = load_module("again.qir").main
    assert again.parameters[0].shape == (3, 16) and len(list(tmp_path.glob("*.safetensors"))) == 1
    code, out, _ = call("w.qir", "--to", "dot", "--batch", "3", "--around", "%1", "--depth", "0")
    assert code == 0 and "lax.add  %1\\lb = #0 : f32[16]\\lf32[3,16]" in out


def test_a_build_is_told_what_was_read(call, tmp_path):
    words = ("new.qir", "--against", "old.qir", "-o", "x.diff", "--depfile", "x.d")
    assert call(*words)[0] == 0
    target, _, read = (tmp_path / "x.d").read_text().partition(": ")
    assert target == "x.diff" and {"new.qir", "old.qir"} <= set(read.split())
    assert call("old.qir", "--to", "dot", "--depfile", "x.d") == (
        1, "", "error: --depfile tells what an output depends on\n  help: name it with -o FILE\n")


def test_two_graphs_are_compared(call, tmp_path):
    told = "@main: 2 kept, 0 added, 1 removed, 0 changed\n"
    diff = """\
--- old.qir
+++ new.qir
@@ -1,5 +1,4 @@
 func @main(%x: f32[2,4]) -> (f32[2,4]) {
-  %0 = lax.neg(%x) : f32[2,4]
-  %1 = lax.exp(%0) : f32[2,4]
+  %1 = lax.exp(%x) : f32[2,4]
   return %1
 }
"""
    assert call("new.qir", "--against", "old.qir") == (0, diff, told)
    assert call("new.qir", "--against", "old.qir", "-o", "x.patch") == (0, "", told)
    assert (tmp_path / "x.patch").read_text() == diff
    same = "@main: 3 kept, 0 added, 0 removed, 0 changed\n"
    assert call("old.qir", "--against", "old.qir") == (0, "", same)
    code, out, err = call("new.qir", "--to", "dot", "--against", "old.qir")
    assert (code, err) == (0, told) and "lax.neg  old %twice" in out
    code, out, err = call("two.qir", "--func", "main", "--against", "two.qir", "--to", "diff")
    assert (code, out, err) == (0, "", same)


@pytest.mark.skipif(not importlib.util.find_spec("matplotlib"), reason="needs matplotlib")
@pytest.mark.skipif(not importlib.util.find_spec("igraph"), reason="needs igraph")
def test_pictures_go_to_files(call, tmp_path):
    assert call("old.qir", "-o", "old.svg", "--around", "%twice", "--depth", "1") == (0, "", "")
    assert "%twice" in (tmp_path / "old.svg").read_text()
    assert call("new.qir", "-o", "x.png", "--against", "old.qir")[0] == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert call("old.qir", "--to", "svg")[1].startswith("<?xml")


def test_programs_for_xla_come_as_text_and_as_bytes(call, tmp_path):
    jax = pytest.importorskip("jax")
    code, out, err = call("old.qir", "--to", "stablehlo")
    assert (code, err) == (0, "") and "stablehlo.exponential" in out and "loc(" not in out
    assert call("old.qir", "-o", "old.mlir", "--to", "stablehlo") == (0, "", "")
    assert (tmp_path / "old.mlir").read_text() == out
    assert call("old.qir", "-o", "old.jax", "--batch", "5") == (0, "", "")
    program = jax.export.deserialize(bytearray((tmp_path / "old.jax").read_bytes()))
    x = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
    ours = api.compile(Module((read_module(OLD).main.with_batch(5),)))(x)[0]
    np.testing.assert_array_equal(program.call(x), ours)


REFUSED = {
    ("old.qir",): "error: nothing says which format to write\n  help: --to mlir, or -o FILE.mlir\n",
    ("old.qir", "--to", "mlri"): (
        "error: there is no format 'mlri'\n  help: did you mean 'mlir'? known: diff, dot, mlir, "
        "png, qir, stablehlo, svg, tflite\n"),
    ("old.qir", "-o", "x.mlri"): (
        "x.mlri: error: no format has the suffix '.mlri'\n  help: did you mean '.mlir'? known: "
        ".diff, .dot, .gv, .jax, .mlir, .mlirbc, .patch, .png, .qir, .stablehlo, .svg, .tflite\n"),
    ("old.qir", "-o", "no/x.mlir"): (
        "no/x.mlir: error: cannot write: there is no such folder\n"
        "  help: choose a folder that exists and can be written\n"),
    ("gone.qir", "--to", "mlir"): "gone.qir: error: cannot read: No such file or directory\n",
    ("old.qir", "--to", "png"): "error: png is no text for a terminal\n  help: -o FILE.png\n",
    ("old.qir", "--to", "mlir", "--against", "new.qir"): (
        "error: --against goes with dot, svg, png, diff, not with mlir\n"),
    ("old.qir", "--to", "qir", "--around", "%x"): (
        "error: --around goes with dot, svg, png, not with qir\n"),
    ("old.qir", "--against", "new.qir", "--around", "%x"): (
        "error: --around goes with dot, svg, png, not with diff\n"),
    ("old.qir", "--to", "diff"): (
        "error: diff compares two graphs, this is one\n  help: name the other: --against\n"),
    ("old.qir", "--to", "dot", "--around", "%twic"): (
        "--around: error: no value is called %twic\n"
        "  help: did you mean '%twice'? known: %0, %twice, %x\n"),
    ("two.qir", "--to", "dot"): (
        "error: dot holds one function, this module has 2: @main, @other\n"
        "  help: choose one: --func @NAME\n"),
    ("two.qir", "--to", "mlir", "--func", "@nope"): (
        "error: no function @nope\n  help: there are ['main', 'other']\n"),
    ("two.qir", "--func", "other", "--against", "old.qir"): None,
}  # fmt: skip
"""What is refused, with its whole message; not the last, for a single function is compared."""


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_what_cannot_be_done_is_one_message(call, words, tmp_path):
    before = sorted(tmp_path.iterdir())
    code, out, err = call(*words)
    if REFUSED[words] is None:
        assert code == 0
    else:
        assert (code, out, err) == (1, "", REFUSED[words])
    assert sorted(tmp_path.iterdir()) == before


def test_the_help_names_every_format_and_its_suffixes():
    for name, format in FORMATS.items():
        assert re.search(rf"\b{name}\b", translate.epilog)
        assert all(f"{suffix}" in translate.epilog for suffix in format.suffixes)


def test_every_writer_is_there():
    root = Path(cli.__file__).resolve().parents[2]
    for format in FORMATS.values():
        for path in filter(None, (format.writer, format.saver)):
            module, _, function = path.partition(":")
            files = [root / f"{module.replace('.', '/')}{end}" for end in (".py", "/__init__.py")]
            text = next(file.read_text() for file in files if file.is_file())
            assert function in text
