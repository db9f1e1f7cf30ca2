"""Integer forms against the real functions they stand for: errors within the documented bounds."""

from functools import partial

import numpy as np
import pytest
import qir.dialects.int8  # noqa: F401  (fills the table of integer forms)
from hypothesis import given, settings
from hypothesis import strategies as st
from qir.dialects import nn, quant

from qir.api import run_pipeline
from qir.errors import Declined
from qir.evaluate import evaluate_op
from qir.integer_forms import INTEGER_FORMS, Wanted
from qir.ir import Func, const, parameter
from qir.rounding import CONTRACTS
from qir.types import DTYPES, Element, Grid, Type, per_tensor, tensor

SCALES = st.floats(2.0**-10, 2.0)
ZEROS = st.integers(-128, 127)
ONE_OPERAND = sorted(name for name, c in CONTRACTS.items() if c.operands == 1)


def element(scale: float, zero: int) -> Element:
    return Element(DTYPES["i8"], per_tensor(scale, zero))


def stored(rng, *shape) -> np.ndarray:
    return rng.integers(-128, 128, shape).astype(np.int8)


def real(array: np.ndarray, type: Type) -> np.ndarray:
    scale, zero = type.grid.expanded(type.rank)
    return (array.astype(np.float64) - zero) * scale.astype(np.float64)


def placed(values: np.ndarray, to: Element) -> np.ndarray:
    """Where reals lie on a grid, in steps, not rounded."""
    return np.clip(values / np.float64(to.grid.scale) + int(to.grid.zero), to.lo, to.hi)


def steps_off(op, arrays, expected: np.ndarray) -> float:
    """How far the integer op lies from the expected reals, in steps of its grid."""
    result = evaluate_op(op, arrays).astype(np.float64)
    return float(np.abs(result - placed(expected, op.type.element)).max(initial=0))


def lowered(kind: str, float_op, to: Element, *operands, rounding="single"):
    return INTEGER_FORMS[kind].build(float_op, Wanted(to, rounding), *operands)


def norm_bound(gamma, z, scale: float) -> float:
    """The bound that dialects/int8/normalize.py states, in steps."""
    fixed = 2**-11 + np.sqrt(gamma.size) * 2**-14
    return 0.5 + float((np.abs(gamma) * (fixed + np.abs(z) * 2**-13)).max()) / scale + 0.01


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), SCALES, ZEROS, st.sampled_from(ONE_OPERAND), st.booleans())
def test_a_convolution_is_half_a_step_from_the_real_one(seed, scale, zero, rounding, per_channel):
    rng = np.random.default_rng(seed)
    x = parameter("x", tensor("i8", (2, 5, 6, 4), per_tensor(scale, zero)))
    grid = Grid(rng.uniform(0.001, 0.02, 6), 0, axis=3, narrow=True) if per_channel else (
        per_tensor(0.01, 0, narrow=True))  # fmt: skip
    w = const(stored(rng, 3, 3, 2, 6), tensor("i8", (3, 3, 2, 6), grid))
    bias = const(rng.integers(-3000, 3000, 6).astype(np.int32))
    attributes = {"strides": (2, 1), "dilation": (1, 2), "groups": 2, "padding": "same"}
    floats = nn.conv2d(parameter("x", tensor("f32", x.shape)), const(np.zeros(w.shape, np.float32)),
                       **attributes)  # fmt: skip
    q = stored(rng, *x.shape)
    bias_scale = np.float64(x.type.scale) * np.broadcast_to(grid.scale, 6).astype(np.float64)
    expected = evaluate_op(floats, [real(q, x.type), real(w.value, w.type)])
    expected = expected + bias.value * bias_scale
    to = element(max(1e-6, float(np.abs(expected).max()) / 100), -3)
    op = lowered("nn.conv2d", floats, to, x, w, bias, rounding=rounding)
    assert steps_off(op, [q, w.value, bias.value], expected) <= 0.51


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), SCALES, SCALES, ZEROS, ZEROS, st.sampled_from(["fixed15", "single"]))
def test_a_sum_is_little_more_than_half_a_step_from_the_real_one(seed, s1, s2, z1, z2, rounding):
    rng = np.random.default_rng(seed)
    a = parameter("a", tensor("i8", (50,), per_tensor(s1, z1)))
    b = parameter("b", tensor("i8", (50,), per_tensor(s2, z2)))
    qa, qb = stored(rng, 50), stored(rng, 50)
    to = element(max(s1, s2) * 1.3, 5)
    floats = [parameter(n, tensor("f32", (50,))) for n in "ab"]
    for kind, sign in (("nn.add", 1), ("nn.sub", -1)):
        node = (nn.add if sign > 0 else nn.sub)(*floats)
        op = lowered(kind, node, to, a, b, rounding=rounding)
        expected = real(qa, a.type) + sign * real(qb, b.type)
        assert steps_off(op, [qa, qb], expected) <= 0.52


@pytest.mark.parametrize("function", [
    partial(nn.gelu, approximate=True), partial(nn.gelu, approximate=False), nn.silu, nn.tanh,
    nn.sigmoid, nn.hard_swish])  # fmt: skip
def test_a_table_is_half_a_step_from_its_function(function):
    x = parameter("x", tensor("i8", (256,), per_tensor(0.05, -20)))
    real_x = quant.dequantize(x)
    y = function(real_x)
    scale, zero = {nn.tanh: (1 / 128, 0), nn.sigmoid: (1 / 256, -128)}.get(function, (0.04, -100))
    func = Func("main", (x,), (quant.quantize(y, to=element(scale, zero)),))
    (op,) = run_pipeline(func, "lower_int8").main.results
    assert op.kind == "int8.table"
    q = np.arange(-128, 128).astype(np.int8)
    wide = parameter("x", tensor("f64", (256,)))
    expected = evaluate_op(function(wide), [real(q, x.type)])
    assert steps_off(op, [q, op.operands[1].value], expected) <= 0.5001


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), SCALES, ZEROS, st.integers(1, 300))
def test_softmax_is_half_a_step_from_that_of_its_table(seed, scale, zero, length):
    rng = np.random.default_rng(seed)
    x = parameter("x", tensor("i8", (3, length), per_tensor(scale, zero)))
    q = stored(rng, 3, length)
    op = lowered("nn.softmax", nn.softmax(parameter("x", tensor("f32", x.shape))),
                 element(1 / 256, -128), x)  # fmt: skip
    table = op.operands[1].value
    distance = np.arange(256)[q.max(-1, keepdims=True).astype(int) - q]
    e = table[distance].astype(np.float64)
    assert steps_off(op, [q, table], e / e.sum(-1, keepdims=True)) <= 0.5 + 2**-8
    # the table is rounded: each entry by half a unit at most, and so their sum by half a unit each
    exact = table[0] * np.exp(-distance * np.float64(x.type.scale))
    off = np.abs(exact - e)
    assert off.max() <= 0.5
    lost = 256 * (off + e / e.sum(-1, keepdims=True) * off.sum(-1, keepdims=True)) / exact.sum(
        -1, keepdims=True)  # fmt: skip
    expected = exact / exact.sum(-1, keepdims=True)
    assert steps_off(op, [q, table], expected) <= 0.5 + 2**-8 + lost.max()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), SCALES, ZEROS, st.integers(1, 100), st.floats(0, 1))
def test_a_masked_softmax_is_the_softmax_of_what_is_left(seed, scale, zero, length, part):
    rng = np.random.default_rng(seed)
    x, mask = parameter("x", tensor("i8", (3, length), per_tensor(scale, zero))), rng.random(
        (3, length)) < part  # fmt: skip
    q, floats = stored(rng, 3, length), parameter("x", tensor("f32", x.shape))
    masked = nn.softmax(floats, const(mask))
    op = lowered("nn.softmax", masked, element(1 / 256, -128), x, const(mask))
    table = op.operands[1].value
    found = evaluate_op(op, [q, table, mask])
    for row, stored_row, open_ in zip(found, q, mask, strict=True):
        left = stored_row[open_] if open_.any() else np.full_like(stored_row, 7)
        alone = nn.softmax(parameter("x", tensor("f32", (left.size,))))
        less = parameter("x", tensor("i8", (left.size,), per_tensor(scale, zero)))
        expected = lowered("nn.softmax", alone, element(1 / 256, -128), less)
        same = evaluate_op(expected, [left, expected.operands[1].value])
        np.testing.assert_array_equal(row[open_] if open_.any() else row, same)
        assert (row[~open_] == -128).all() or not open_.any()


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), SCALES, ZEROS, st.sampled_from([1, 2, 3, 8, 100, 768, 8192]),
       st.sampled_from([0.7, 3.0, 40.0]), st.integers(-90, 90))  # fmt: skip
def test_norms_keep_their_bound(seed, scale, zero, length, spread, middle):
    rng = np.random.default_rng(seed)
    x = parameter("x", tensor("i8", (4, length), per_tensor(scale, zero)))
    q = np.clip(rng.normal(middle, spread, (4, length)).round(), -128, 127).astype(np.int8)
    gamma, beta = rng.normal(0, 1, (2, length)).astype(np.float32)
    to, epsilon = element(0.04, 3), 1e-6
    r = real(q, x.type)
    floats = parameter("x", tensor("f32", x.shape))
    z = (r - r.mean(-1, keepdims=True)) / np.sqrt(r.var(-1, keepdims=True) + epsilon)
    op = lowered("nn.layer_norm", nn.layer_norm(floats, const(gamma), const(beta), epsilon=epsilon),
                 to, x, const(gamma), const(beta))  # fmt: skip
    bound = norm_bound(gamma, z, 0.04)
    assert steps_off(op, [q, *(o.value for o in op.operands[1:])], z * gamma + beta) <= bound
    z = r / np.sqrt((r * r).mean(-1, keepdims=True) + epsilon)
    op = lowered("nn.rms_norm", nn.rms_norm(floats, const(gamma), epsilon=epsilon), to, x,
                 const(gamma))  # fmt: skip
    bound = norm_bound(gamma, z, 0.04)
    assert steps_off(op, [q, op.operands[1].value], z * gamma) <= bound


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), SCALES, ZEROS)
def test_means_and_pools_are_half_a_step_from_the_real_ones(seed, scale, zero):
    rng = np.random.default_rng(seed)
    x = parameter("x", tensor("i8", (2, 5, 6, 3), per_tensor(scale, zero)))
    q, floats = stored(rng, *x.shape), parameter("x", tensor("f32", (2, 5, 6, 3)))
    to = element(scale / 4, 7)
    op = lowered("nn.mean", nn.mean(floats, axes=(1, 2)), to, x)
    assert steps_off(op, [q], real(q, x.type).mean((1, 2))) <= 0.51
    pool = nn.avg_pool(floats, window=(3, 2), strides=(2, 2), padding="same")
    op = lowered("nn.avg_pool", pool, x.type.element, x)
    assert steps_off(op, [q], evaluate_op(pool, [real(q, x.type)])) <= 0.51


def test_a_long_softmax_is_declined_with_its_reason():
    x = parameter("x", tensor("i8", (2**23,), per_tensor(0.1, 0)))
    floats = nn.softmax(parameter("x", tensor("f32", x.shape)))
    with pytest.raises(Declined, match="8388608 values leaves 7 bits"):
        lowered("nn.softmax", floats, element(1 / 256, -128), x)


def test_an_average_pool_on_another_grid_is_declined():
    x = parameter("x", tensor("i8", (1, 4, 4, 1), per_tensor(0.1, 0)))
    floats = nn.avg_pool(parameter("x", tensor("f32", x.shape)), window=(2, 2), strides=(2, 2))
    with pytest.raises(Declined, match="keeps the grid of its input"):
        lowered("nn.avg_pool", floats, element(0.2, 0), x)
