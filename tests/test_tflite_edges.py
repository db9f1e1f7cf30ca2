"""Casts of TensorFlow Lite where kernels part ways: halves, and what their blocks leave over."""

import numpy as np
import pytest

from qir.evaluate import evaluate
from qir.expansions import KERNELS
from qir.ir import Func, Module, parameter
from qir.pipeline import compose, run_steps
from qir.types import DTYPES, Element, per_tensor

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
    func = Func("main", (x,), (y,), ("y",))
    reals = (np.arange(count, dtype=np.float32) - count // 2) * np.float32(0.5) * scale
    with Interpreter() as interpreter:
        ((theirs,),) = interpreter.run(written(Module((func,))), kernels, [[reals]])
    expanded = run_steps(compose(f"expand_tfl(kernels={kernels})"), func)
    np.testing.assert_array_equal(theirs, evaluate(expanded, [reals])[0])
