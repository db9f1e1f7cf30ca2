"""`qir diff` names the first op that LiteRT computes otherwise."""

import numpy as np
import pytest
from click.testing import CliRunner

from qir import registry
from qir.cli.diff import diff
from qir.expansions import EXPANSIONS
from qir.ir import Module, const
from qir.targets.tflite.write import written
from qir.text import read_module

pytest.importorskip("ai_edge_litert")


@pytest.fixture
def model(tmp_path):
    from benchmarks.conformance.convolutions import conv_2d

    path = tmp_path / "conv.tflite"
    path.write_bytes(written(Module((conv_2d(np.random.default_rng(0)),))))
    return str(path)


def test_all_ops_agree(model):
    result = CliRunner().invoke(diff, [model])
    sets = ("tflite_reference", "tflite_builtin", "xnnpack")
    assert result.output == "".join(f"{each}: all 1 ops agree\n" for each in sets)
    assert result.exit_code == 0


def test_a_wrong_expansion_is_named(model, monkeypatch):
    right = EXPANSIONS["tfl.conv_2d"]

    def wrong(op, kernels, x, w, bias):
        return right(op, kernels, x, w, const(bias.value + 3000, bias.type))

    monkeypatch.setitem(EXPANSIONS, "tfl.conv_2d", wrong)
    result = CliRunner().invoke(diff, [model, "--kernels", "xnnpack"])
    assert result.output == (
        "xnnpack: tfl.conv_2d (conv_2d) differs: 664 of 1296 values on numpy, by 2 at most, "
        "664 of 1296 values on XLA, by 2 at most\n"
    )
    assert result.exit_code == 1


SEVERAL = """func @main(%x: i8<0.1:3>[2,6]) -> (y: i8<0.1:3>[2]) {
  %0 = tfl.unpack(%x, axis=1, num=6)
  %a = item(%0, index=0)
  %b = item(%0, index=5)
  %y = tfl.maximum(%a, %b)
  return %y
}

func @other(%x: i8<0.1:3>[2,6], %d: i8<0.1:3>[2,6]) -> (s: i8<0.1:3>[2]) {
  %y = tfl.div(%x, %d)
  %s = tfl.sum(%y, axis=[1])
  return %s
}
"""


@pytest.fixture
def several(tmp_path):
    registry.load_dialects()
    path = tmp_path / "several.tflite"
    path.write_bytes(written(read_module(SEVERAL, "several.qir")))
    return str(path)


def run(*arguments) -> tuple[str, int]:
    result = CliRunner().invoke(diff, arguments)
    return result.output or str(result.exception), result.exit_code


def test_an_op_of_several_results_agrees(several):
    assert run(several, "--kernels", "xnnpack") == ("xnnpack: all 2 ops agree\n", 0)


def test_a_fault_of_the_runtime_is_told_and_is_no_failure(several, tmp_path):
    np.savez(tmp_path / "data.npz", x=np.full((2, 6), 9, np.int8), d=np.full((2, 6), 4, np.int8))
    text, code = run(several, "--func", "@other", "--data", str(tmp_path / "data.npz"))
    reference, builtin, xnnpack = text.splitlines()
    assert reference.startswith("tflite_reference: tfl.sum (sum) differs: 2 of 2 values on numpy")
    assert reference.endswith(", but the runtime's reference SUM of int8 is wrong; the other 1 ops "
                              "agree")  # fmt: skip
    assert (builtin, xnnpack) == ("tflite_builtin: all 2 ops agree", "xnnpack: all 2 ops agree")
    assert code == 0


def test_what_the_interpreter_refuses_is_told(several, tmp_path):
    np.savez(tmp_path / "data.npz", x=np.zeros((2, 6), np.int8), d=np.full((2, 6), 3, np.int8))
    text, code = run(several, "--func", "other", "--data", str(tmp_path / "data.npz"),
                     "--kernels", "xnnpack")  # fmt: skip
    assert text.startswith("xnnpack: the interpreter refuses: ")
    assert "div.cc" in text
    assert code == 0


@pytest.mark.parametrize(("arguments", "message"), [
    (("--func", "@nosuch"), "error: no function @nosuch"),
    (("--kernels", "fast"), "error: there is no kernel set 'fast'"),
    (("--data", "random:x"), "error: 'random:x' is no data"),
])  # fmt: skip
def test_what_cannot_be_is_said(several, arguments, message):
    assert run(several, *arguments)[0].startswith(message)
