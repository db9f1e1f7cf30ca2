"""`qir diff` names the first op that LiteRT computes otherwise."""

import numpy as np
import pytest
from click.testing import CliRunner

from qir.cli.diff import diff
from qir.expansions import EXPANSIONS
from qir.ir import Module, const
from qir.targets.tflite.write import written

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
        "xnnpack: tfl.conv_2d (conv_2d) differs: 664 of 1296 values on numpy, by 2 at most; "
        "664 of 1296 values on XLA, by 2 at most\n"
    )
    assert result.exit_code == 1
