"""TensorFlow Lite's operators: values as its interpreter gives them in each kernel set."""

import numpy as np
import pytest
from conformance import agree
from qir.dialects import tfl

import qir
from benchmarks.conformance import CASES, KNOWN
from qir.evaluate import evaluate
from qir.expansions import KERNELS
from qir.ir import Func, Module, const, parameter
from qir.pipeline import compose, run_steps
from qir.targets.tflite.read import read_bytes
from qir.targets.tflite.write import written
from qir.text import print_module
from qir.types import tensor


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("operator", sorted(CASES))
def test_stored_integers_agree(operator, kernels):
    if (operator, kernels) in KNOWN:
        pytest.skip(KNOWN[operator, kernels])
    agree(CASES[operator], kernels, rounds=2 if operator.endswith(" u8") else 4)


FLOATS = {
    "abs": {}, "ceil": {}, "cos": {}, "elu": {}, "exp": {}, "floor": {}, "gelu": {},
    "hard_swish": {}, "leaky_relu": {"alpha": 0.2}, "log": {}, "logistic": {}, "neg": {},
    "relu": {}, "relu6": {}, "relu_0_to_1": {}, "relu_n1_to_1": {}, "round": {}, "rsqrt": {},
    "sin": {}, "softmax": {"beta": 2.0}, "sqrt": {}, "square": {}, "tanh": {},
    "mean": {"axis": [1]}, "sum": {"axis": [1]}, "reduce_max": {"axis": [0]},
    "reduce_min": {"axis": [0, 1]},
    "arg_max": {"dimension": 1, "output_type": "INT64"}, "arg_min": {"dimension": 0},
    "reverse_v2": {"axis": [0]}, "strided_slice": {"begin": [5, 0], "end": [0, 9],
                                                   "strides": [-2, 3]},
}  # fmt: skip
"""Attributes by op."""
UNREGISTERED = ("tfl.ceil", "tfl.elu", "tfl.round")
"""Ops without a reference kernel in LiteRT 2.3.0."""
PAIRS = ("add", "sub", "mul", "div", "squared_difference", "prelu", "maximum", "minimum", "equal",
         "not_equal", "less", "less_equal", "greater", "greater_equal")  # fmt: skip


@pytest.mark.parametrize("name", FLOATS)
def test_floats_agree(name):
    positive = name in ("log", "rsqrt", "sqrt")
    x = np.random.default_rng(0).normal(0, 3, (6, 10)).astype(np.float32)
    _close(lambda p: getattr(tfl, name)(p, **FLOATS[name]), abs(x) + 0.1 if positive else x)


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_of_floats_agree(name):
    other = const(np.random.default_rng(1).integers(-3, 3, (1, 10)).astype(np.float32) + 0.5)
    x = np.random.default_rng(0).integers(-3, 3, (6, 10)).astype(np.float32) + 0.5
    _close(lambda p: getattr(tfl, name)(p, other), x)


def test_cells_of_reals_agree():
    rng = np.random.default_rng(0)

    def weight(*shape):
        return const(rng.normal(0, 0.5, shape).astype(np.float32))

    def state(*shape):
        return const(np.zeros(shape, np.float32))

    present = [0, *range(1, 9), 9, 10, 11, *range(12, 16), 16, 18, 19]
    weights = [*(weight(4, 3) for _ in range(4)), *(weight(4, 2) for _ in range(4)),
               *(weight(4) for _ in range(7)), weight(2, 4)]  # fmt: skip
    array = rng.normal(0, 1, (2, 5, 3)).astype(np.float32)
    _close(lambda p: tfl.unidirectional_sequence_lstm(p, *weights, state(2, 2), state(2, 4),
                                                      present=present, cell_clip=1.0), array)
    _close(lambda p: tfl.svdf(p, weight(4, 3), weight(4, 6), state(2, 24), weight(2), rank=2,
                              fused_activation_function="RELU"), array[:, 0])


@pytest.mark.parametrize("name", ("add", "sub", "mul", "div", "sum", "reduce_prod", "maximum"))
def test_plain_integers_agree(name):
    x = np.random.default_rng(0).integers(-9, 9, (6, 5)).astype(np.int32)
    other = const(np.array([3, -2, 1, 4, -7], np.int32))
    unary = name in ("sum", "reduce_prod")
    op = getattr(tfl, name)
    _close(lambda p: op(p, axis=[1]) if unary else op(p, other), x)


def _close(build, array):
    """Fail where a float op, its expansion on numpy or on XLA, is not what LiteRT gives."""
    pytest.importorskip("ai_edge_litert")
    from qir.targets.tflite.interpreter import Interpreter

    x = parameter("x", tensor("f32" if array.dtype == np.float32 else "i32", array.shape))
    func = Func("main", (x,), (build(x),), ("y",))
    expanded = run_steps(compose("expand_tfl"), func)
    for kernels in KERNELS:
        if kernels == "tflite_reference" and func.results[0].kind in UNREGISTERED:
            continue
        with Interpreter() as interpreter:
            found = interpreter.run(written(Module((func,))), kernels, [[array]])
        assert isinstance(found, list), found
        ((theirs,),) = found
        for ours in (evaluate(expanded, [array]), qir.compile(expanded)(array)):
            np.testing.assert_allclose(ours[0], theirs, rtol=2e-5, atol=2e-6, err_msg=kernels)


@pytest.mark.parametrize("operator", sorted(CASES))
def test_a_file_that_is_read_and_written_again_is_the_same(operator):
    for seed in range(5):
        func = CASES[operator](np.random.default_rng(seed))
        first = read_bytes(written(Module((func,))))
        kinds = [op.kind for op in func.ops if op.kind.startswith("tfl.")]
        assert [op.kind for op in first.main.ops if op.kind.startswith("tfl.")] == kinds
        again = read_bytes(written(first))
        assert print_module(again) == print_module(first)
        assert written(again) == written(first)
        types = [(p.type, r.type) for p, r in zip(func.parameters, func.results, strict=False)]
        found = zip(first.main.parameters, first.main.results, strict=False)
        assert [(p.type, r.type) for p, r in found] == types
