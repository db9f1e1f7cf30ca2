"""The demo runs from end to end, and the block it shows is a graph of its own."""

import numpy as np
import pytest
from qir.dialects import nn

from examples.digits import demo
from qir.ir import Func, const, parameter
from qir.text import read_module
from qir.types import tensor


@pytest.fixture
def residual() -> Func:
    """Two layers between others, their sum with what went in, and a layer behind it."""
    x = parameter("x", tensor("f32", (1, 4, 4, 2)))
    w = const(np.full((1, 1, 2, 2), 0.5, np.float32))
    before = nn.conv2d(x, w).located(["Network/Conv_0"])
    inside = nn.conv2d(before, w).located(["Network/Conv_1"])
    inside = nn.conv2d(inside, w).located(["Network/Conv_2"])
    behind = nn.conv2d(nn.add(inside, before), w).located(["Network/Conv_10"])
    return Func("main", (x,), (behind,))


def test_block_has_its_layers_and_the_addition(residual):
    text = demo.block(residual)
    assert text.count("nn.conv2d") == 2
    assert text.count("nn.add") == 1
    func = read_module(text).main
    assert [p.shape for p in func.parameters] == [(1, 4, 4, 2)]
    assert [r.kind for r in func.results] == ["nn.add"]


def test_demo_shows_the_block_and_the_table(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo, "BUILD", tmp_path)
    monkeypatch.setattr(demo, "CALIBRATION", 20)
    monkeypatch.setattr(demo, "ROUNDS", 2)
    demo.main()
    said = capsys.readouterr()
    assert said.err == ""
    for text in ("nn.depthwise_conv2d", "nn.add", "int8.depthwise_conv2d", "int8.add"):
        assert text in said.out
    found = {line[:20].strip(): line[20:].split() for line in said.out.splitlines()}
    exact, quantized = (float(found["accuracy"][i]) for i in (0, 2))
    assert quantized >= exact - 2
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
