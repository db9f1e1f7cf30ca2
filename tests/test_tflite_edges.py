"""Edges of TensorFlow Lite's kernels: halves of a step, blocks, scales by channel, empty means."""

import numpy as np
import pytest

from qir.errors import QirError
from qir.evaluate import evaluate
from qir.expansions import KERNELS
from qir.ir import Func, Module, parameter
from qir.pipeline import compose, run_steps
from qir.types import DTYPES, Element, Grid, per_tensor

pytest.importorskip("ai_edge_litert")

from qir.dialects import tfl  # noqa: E402

from qir.targets.tflite.interpreter import Interpreter  # noqa: E402
from qir.targets.tflite.write import written  # noqa: E402


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("scale", [0.5, 0.030839907, 0.1])
@pytest.mark.parametrize("count", [5, 16, 515])
def test_halves_of_a_step(kernels, scale, count):
    scale = np.float32(scale)
    x = parameter("x", Element(DTYPES["f32"])[(count,)])
    y = tfl.quantize(x, to=Element(DTYPES["i8"], per_tensor(scale, 1)))
    reals = (np.arange(count, dtype=np.float32) - count // 2) * np.float32(0.5) * scale
    same(y, x, kernels, reals)


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_scale_for_each_channel(kernels):
    channels = Element(DTYPES["i8"], Grid(np.float32([0.1, 0.03, 0.7]), np.zeros(3, int), 1))
    stored, reals = (parameter("x", e[(11, 3)]) for e in (channels, Element(DTYPES["f32"])))
    values = np.random.default_rng(0).integers(-128, 128, (11, 3), np.int8)
    same(tfl.dequantize(stored), stored, kernels, values)
    same(tfl.quantize(reals, to=channels), reals, kernels, values / np.float32(7))
    with pytest.raises(QirError, match="from one grid with a scale for all to another such"):
        one = Element(DTYPES["i8"], per_tensor(0.1, 0))
        expanded(tfl.quantize(stored, to=one), stored, kernels)


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_mean_of_nothing_is_refused(kernels):
    x = parameter("x", Element(DTYPES["i8"], per_tensor(0.1, 3))[(2, 0, 4)])
    with pytest.raises(QirError, match="a mean of 0 values"):
        expanded(tfl.mean(x, axis=[1]), x, kernels)


def test_axes_of_a_mean_are_each_counted_once_and_none_is_passed_over():
    x = parameter("x", Element(DTYPES["i8"], per_tensor(0.1, 3))[(2, 5, 4)])
    assert tfl.mean(x, axis=[1, -2, 2]).shape == (2,)
    with pytest.raises(QirError, match=r"\[1, 3\] are no axes of i8<0.1:3>\[2,5,4\]"):
        tfl.mean(x, axis=[1, 3])


def expanded(y, x, kernels):
    """What a graph of one op comes to under a kernel set."""
    return run_steps(compose(f"expand_tfl(kernels={kernels})"), Func("main", (x,), (y,), ("y",)))


def same(y, x, kernels, values):
    """Fail where the interpreter gives other values."""
    with Interpreter() as interpreter:
        model = written(Module((Func("main", (x,), (y,), ("y",)),)))
        ((theirs,),) = interpreter.run(model, kernels, [[values]])
    np.testing.assert_array_equal(theirs, evaluate(expanded(y, x, kernels), [values])[0])
