"""The casts of the quant dialect against exact rational arithmetic."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qir.evaluate import evaluate_op
from qir.ir import parameter
from qir.registry import load_dialects
from qir.types import Element, Grid, dtype, per_tensor, tensor

load_dialects()
from qir.dialects import quant  # noqa: E402

scales = st.floats(2**-20, 1024, width=32)
zeros = st.integers(-128, 127)
stored = st.lists(st.integers(-128, 127), min_size=1, max_size=20)


def half_away(value: Fraction) -> int:
    whole = int(abs(value) + Fraction(1, 2))
    return whole if value >= 0 else -whole


def i8(scale, zero) -> Element:
    return Element(dtype("i8"), per_tensor(scale, zero))


def clamped(value: int) -> int:
    return max(-128, min(127, value))


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), scales, zeros)
def test_quantize_rounds_the_f32_quotient_half_away(values, scale, zero):
    x = np.array(values, np.float32)
    op = quant.quantize(parameter("x", tensor("f32", x.shape)), to=i8(scale, zero))
    quotients = x / np.float32(scale)
    expected = [clamped(half_away(Fraction(float(q))) + zero) for q in quotients]
    assert evaluate_op(op, [x]).tolist() == expected
    assert evaluate_op(op, [x]).dtype == np.int8


@given(stored, scales, zeros)
def test_dequantize_is_the_product_rounded_once(values, scale, zero):
    q = np.array(values, np.int8)
    op = quant.dequantize(parameter("q", i8(scale, zero)[q.shape]))
    expected = [np.float32(float(Fraction(scale) * (int(v) - zero))) for v in q]
    assert evaluate_op(op, [q]).tolist() == expected


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=9), scales)
def test_dequantize_of_a_bias_forms_the_product_in_f64(values, scale):
    q = np.array(values, np.int32)
    op = quant.dequantize(parameter("q", Element(dtype("i32"), per_tensor(scale))[q.shape]))
    expected = (np.float64(np.float32(scale)) * q.astype(np.float64)).astype(np.float32)
    assert evaluate_op(op, [q]).tolist() == expected.tolist()


@given(stored, scales, zeros, st.sampled_from([0.125, 0.5, 1.0, 3.0, 100.0]), zeros)
def test_requantize_is_exact_but_for_the_f64_quotient(values, scale, zero, factor, to_zero):
    target = np.float32(scale * factor)
    q = np.array(values, np.int8)
    op = quant.requantize(parameter("q", i8(scale, zero)[q.shape]), to=i8(target, to_zero))
    for v, found in zip(values, evaluate_op(op, [q]).tolist(), strict=True):
        steps = Fraction(float(np.float32(scale))) * (v - zero) / Fraction(float(target))
        ends = [half_away(steps * (1 + sign * Fraction(1, 2**50))) for sign in (-1, 1)]
        assert found in {clamped(end + to_zero) for end in ends}


@given(stored, scales, zeros)
def test_a_value_on_a_grid_survives_the_casts(values, scale, zero):
    q = np.array(values, np.int8)
    real = quant.dequantize(parameter("q", i8(scale, zero)[q.shape]))
    back = quant.quantize(real, to=i8(scale, zero))
    assert evaluate_op(back, [evaluate_op(real, [q])]).tolist() == values
    same = quant.requantize(parameter("q", i8(scale, zero)[q.shape]), to=i8(scale, zero))
    assert evaluate_op(same, [q]).tolist() == values


def test_narrow_grids_leave_out_the_lowest_value_and_axes_have_their_own():
    to = Element(dtype("i8"), Grid(np.float32([1, 2]), 0, axis=1, narrow=True))
    op = quant.quantize(parameter("x", tensor("f32", (2, 2))), to=to)
    x = np.float32([[-1000, -1000], [3, 3]])
    assert evaluate_op(op, [x]).tolist() == [[-127, -127], [3, 2]]


def test_blocks_have_their_own_scale():
    to = Element(dtype("i8"), Grid(np.float32([[1], [10]]), 0, axis=0, block=2))
    op = quant.quantize(parameter("x", tensor("f32", (4, 1))), to=to)
    assert evaluate_op(op, [np.full((4, 1), 20, np.float32)]).ravel().tolist() == [20, 20, 2, 2]
    back = quant.dequantize(parameter("q", op.type))
    stored = np.array([[20], [20], [2], [2]], np.int8)
    assert evaluate_op(back, [stored]).ravel().tolist() == [20, 20, 20, 20]


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=20),
    st.floats(-20, 0, width=32), st.floats(0.125, 20, width=32),
    st.integers(2, 8), st.booleans(),
)  # fmt: skip
def test_fake_quant_gives_levels_of_a_grid_with_zero(values, lo, hi, bits, narrow):
    x = np.array([*values, 0.0], np.float32)
    parameters = {"lo": lo, "hi": hi, "bits": bits, "narrow": narrow}
    op = quant.fake_quant(parameter("x", tensor("f32", x.shape)), **parameters)
    y = evaluate_op(op, [x])
    step = (hi - lo) / (2**bits - 1 - narrow)
    assert abs(y[-1]) <= 1e-5 * (hi - lo)
    levels = (y - y[-1]) / step
    assert np.abs(levels - np.round(levels)).max() < 1e-2
    inside = (x > lo + step) & (x < hi - step)
    assert (np.abs(y - x)[inside] <= step * 0.501).all()
    assert y.min() >= lo - step * 0.51
    assert y.max() <= hi + step * 0.51
