"""Ranges of integers hold whatever the meanings give, and are no wider than they need to be."""

import numpy as np
import pytest
from exact_sums import held
from hypothesis import given, settings
from hypothesis import strategies as st
from qir.dialects import int8, lax, nn

from qir import ranges, registry, rounding
from qir.evaluate import evaluate_op
from qir.integer_forms import INTEGER_FORMS, Wanted
from qir.ir import OPS, Func, const, parameter
from qir.ranges import LIMIT, Range, as_range, between, normal, spans, width
from qir.rounding import CONTRACTS, Rescale
from qir.testing.sampling import Rejected, check_span
from qir.types import DTYPES, Element, per_tensor, tensor

registry.load_dialects()
registry.targets()
OURS = {kind: op for kind, op in OPS.items() if op.typing.__module__.startswith("qir.")}
# Exponentials and thresholds are no random numbers: tests/test_tflite_operators.py has them.
TABLED = {"int8.softmax_gemmlowp", "int8.softmax_f32", "int8.softmax_interpolated",
          "int8.threshold_sum", "int8.pair_table",
          "int8.log_softmax_gemmlowp", "int8.log_softmax_f32", "int8.gru", "int8.l2_norm",
          "int8.lstm", "int8.prod"}  # fmt: skip
INTEGER = sorted(kind for kind, op in OURS.items() if (op.span or op.moves) and kind not in TABLED)
OTHER = sorted(k for k in set(OURS) - set(INTEGER) - TABLED if not k.startswith("tfl."))


# Every op.


@pytest.mark.parametrize("kind", INTEGER)
def test_ranges_hold_what_the_meaning_gives_and_what_it_holds_on_the_way(kind):
    drawn = 0
    for seed in range(60):
        try:
            complaint = check_span(kind, seed, held)
        except Rejected:
            continue
        assert complaint is None, f"seed {seed}: {complaint}"
        drawn += 1
    assert drawn > 10, f"{drawn} draws of {kind} were well-typed"


def test_what_an_op_does_not_declare_is_its_storage():
    for kind in OTHER:
        for seed in range(3):
            try:
                complaint = check_span(kind, seed)
            except Rejected:
                continue
            assert complaint is None, f"seed {seed}: {complaint}"


def test_every_integer_op_declares_its_ranges():
    undeclared = [k for k, op in OPS.items() if k.startswith(("int8.", "xla.")) and not op.span]
    assert undeclared == []


def quantized(name: str, *shape: int, scale=0.02, zero=0):
    return parameter(name, tensor("i8", shape, per_tensor(scale, zero)))


def element(scale: float, zero: int) -> Element:
    return Element(DTYPES["i8"], per_tensor(scale, zero))


def span_of(op, **inputs):
    """What an op spans, its parameters in these ranges."""
    func = Func("main", tuple(o for o in op.operands if o.kind == "parameter"), (op,))
    known = {p: inputs[p.attributes["name"]] for p in func.parameters
             if p.attributes["name"] in inputs}  # fmt: skip
    return spans(func, known)[op]


RESCALE = Rescale("f32_half_even", scale=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_sums_of_products_reach_both_ends_of_their_range_in_every_channel(seed):
    rng = np.random.default_rng(seed)
    x, zero = quantized("x", 1, 3, 3, 4, zero=-7), -7
    filters = rng.integers(-127, 128, (3, 3, 4, 5)).astype(np.int8)
    weight = const(filters, tensor("i8", filters.shape, per_tensor(0.01)))
    b = rng.integers(-999, 999, 5).astype(np.int32)
    op = int8.conv2d(x, weight, const(b), to=element(0.1, 3), rescale=RESCALE, padding="valid")
    lo, hi = np.sort(rng.integers(-128, 128, (2, 4)), axis=0)
    (found,) = (each.range for each in span_of(op, x=between(lo, hi)).accumulators)
    for channel in range(5):
        taps = filters[..., channel].astype(np.int64)
        least = (np.where(taps > 0, lo, hi) - zero) * taps
        most = (np.where(taps > 0, hi, lo) - zero) * taps
        assert found.lo[channel] == least.sum() + b[channel]
        assert found.hi[channel] == most.sum() + b[channel]


def test_a_padded_window_counts_what_lies_outside_as_real_zero():
    x = quantized("x", 1, 3, 3, 1, zero=-7)
    w = const(np.full((3, 3, 1, 1), 2, np.int8), tensor("i8", (3, 3, 1, 1), per_tensor(0.01)))
    op = int8.conv2d(x, w, to=element(0.1, 3), rescale=RESCALE)
    (found,) = span_of(op, x=between(3, 5)).accumulators
    assert found.range.ends == (0, 9 * 2 * 12)


def test_a_transposed_convolution_adds_the_taps_of_one_phase():
    x = quantized("x", 1, 3, 3, 1)
    w = const(np.array([[1, 2], [-3, 50]], np.int8)[..., None, None],
              tensor("i8", (2, 2, 1, 1), per_tensor(0.01)))  # fmt: skip
    op = int8.transposed_conv2d(x, w, to=element(0.1, 3), rescale=RESCALE, strides=(2, 2))
    (found,) = span_of(op).accumulators
    assert found.range.ends == (-128 * 50, 127 * 50)


def test_a_table_gives_the_entries_that_its_input_reaches():
    x = quantized("x", 2, 3)
    entries = np.arange(-128, 128).astype(np.int8)[::-1].copy()
    table = const(entries, tensor("i8", (256,), per_tensor(0.1)))
    op = int8.table(x, table, to=element(0.1, 0))
    found = span_of(op, x=between(np.array([-3, 0, 9]), np.array([4, 0, 90]))).result
    assert found.lo.tolist() == [-5, -1, -91]
    assert found.hi.tolist() == [2, -1, -10]


def rows(rng, length: int) -> np.ndarray:
    """Rows as sums over them fear: equal values, both ends, one that stands out, near values."""
    both = np.where(np.arange(length) % 2, 127, -128)
    outlier = np.full(length, -128)
    outlier[0] = 127
    middle = np.full((2, length), 17)
    middle[1, : length // 2] = 18
    random = rng.integers(-128, 128, (3, length)), rng.integers(-3, 4, (3, length))
    ends = np.full((1, length), 127), np.full((1, length), -128)
    return np.concatenate([both[None], outlier[None], -1 - outlier[None], middle, *random, *ends])


@pytest.mark.parametrize("length", [1, 2, 3, 8, 100, 1000, 8192])
@pytest.mark.parametrize("kind", ["softmax", "layer_norm", "rms_norm"])
def test_lowered_softmax_and_norms_keep_to_their_registers(kind, length):
    rng = np.random.default_rng(length)
    values = rows(rng, length).astype(np.int8)
    x = quantized("x", *values.shape, scale=0.05, zero=-128 if length % 3 else 9)
    numbers = [const(v) for v in rng.normal(0, 1, (2, length)).astype(np.float32)]
    real = parameter("x", tensor("f32", x.shape))
    if kind == "softmax":
        float_op, folded, to = nn.softmax(real), [], element(1 / 256, -128)
    else:
        folded = numbers[: 2 if kind == "layer_norm" else 1]
        float_op, to = getattr(nn, kind)(real, *folded, epsilon=1e-6), element(0.04, 3)
    form = INTEGER_FORMS[f"nn.{kind}"]
    op = form.build(float_op, Wanted(to, "f32_half_even"), x, *folded)
    span, operands = span_of(op), [values, *(o.value for o in op.operands[1:])]
    registers = {each.what: each for each in (*span.accumulators, *span.intermediates)}
    assert all(each.fits for each in registers.values())
    found = held(op, operands)
    assert set(found) == set(registers)
    for what, array in found.items():
        assert within(registers[what].range, array), what
    assert within(span.result, evaluate_op(op, operands))


def within(found: Range, array: np.ndarray) -> bool:
    return bool((found.lo <= array).all() and (array <= found.hi).all())


def test_a_reshape_repeats_channels_that_it_joins():
    x = quantized("x", 4, 3, 2)
    known = between(np.array([1, -5]), np.array([2, 5]))
    assert span_of(lax.reshape(x, shape=(4, 6)), x=known).result.lo.tolist() == [1, -5] * 3
    assert span_of(lax.reshape(x, shape=(3, 4, 2)), x=known).result.lo.tolist() == [1, -5]
    assert span_of(lax.reshape(x, shape=(8, 3)), x=known).result.ends == (-5, 5)


def test_a_window_of_padding_alone_has_what_padding_holds():
    x = quantized("x", 4)
    settings = {"window": (2,), "strides": (2,)}
    inside = lax.reduce_window_max(x, padding=(1, 1), **settings)
    assert span_of(inside, x=between(3, 5)).result.ends == (3, 5)
    beside = lax.reduce_window_max(x, padding=(2, 0), **settings)
    assert span_of(beside, x=between(3, 5)).result.ends == (-128, 5)
    holes = lax.reduce_window_min(x, padding=(0, 0), base_dilation=(4,), **settings)
    assert span_of(holes, x=between(3, 5)).result.ends == (3, 127)


def test_a_clamp_narrows_what_comes_after_it():
    x = quantized("x", 1, 8)
    w = const(np.ones((8, 1), np.int8), tensor("i8", (8, 1), per_tensor(0.01)))
    first = int8.requantize(x, to=element(0.02, 0), rescale=Rescale("f32_half_even", scale=1.0),
                            clamp=(0, 10))  # fmt: skip
    second = int8.dense(first, w, to=element(0.1, 0), rescale=RESCALE)
    found = spans(Func("main", (x,), (second,)))
    assert found[second].accumulators[0].range.ends == (0, 80)


ENDS = st.lists(st.one_of(st.integers(-300, 300), st.integers(-(2**62), 2**62)), min_size=2,
                max_size=2).map(sorted)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(ENDS, ENDS, st.integers(0, 2**20))
def test_arithmetic_on_ranges_is_exact_and_saturates(first, second, count):
    a, b = between(*first), between(*second)
    for found, exact in (
        (a + b, [m + n for m in first for n in second]),
        (a - b, [m - n for m in first for n in second]),
        (a * b, [m * n for m in first for n in second]),
        (a.times(count), [m * count for m in first]),
    ):
        lo, hi = found.ends
        assert lo <= min(exact) or lo == -LIMIT
        assert hi >= max(exact) or hi == LIMIT
        if max(map(abs, (*first, *second, *exact))) < LIMIT:
            assert (lo, hi) == (min(exact), max(exact))


def test_a_width_has_a_bit_for_the_sign():
    assert [width(as_range(n)) for n in (0, 1, -1, 127, 128, -128, -129)] == [1, 2, 1, 8, 9, 8, 9]
    assert width(between(-(2**31), 2**31 - 1)) == 32
    assert width(between(0, 2**31)) == 33


def test_an_op_declares_its_ranges_once():
    with pytest.raises(TypeError, match="int8.dense declares twice what its integers span"):
        OPS["int8.dense"].spans(lambda op, x: x)


def test_ranges_of_inputs_can_be_given():
    x = quantized("x", 2, 3)
    func = Func("main", (x,), (x,))
    assert isinstance(spans(func)[x].result, Range)
    assert spans(func, {x: between(1, 2)})[x].result.ends == (1, 2)
    assert spans(func)[x].result.ends == (-128, 127)
    real = parameter("y", tensor("f32", (2,)))
    assert spans(Func("main", (real,), (real,)))[real].result is None


# Rescales.


def _single(x: int, q: int, e: int) -> int:
    return (x * q + 2 ** (30 - e)) >> (31 - e)


def _double(x: int, q: int, e: int, away: bool = True) -> int:
    y, right = (x * 2 ** max(e, 0) * q + 2**30) >> 31, max(-e, 0)
    size = (abs(y) if away else y) + (2**right >> 1)
    return (size >> right) * (-1 if away and y < 0 else 1)


def _sum(kernel):
    def run(a: int, b: int, q, e) -> int:
        total = kernel(a << 20, q[0], e[0]) + kernel(b << 20, q[1], e[1])
        return kernel(total, q[2], e[2])

    return run


UNCUT = {
    "tflite_reference": _double, "single": _single, "tflite_add": _sum(_double),
    "tflite_builtin": lambda x, q, e: _double(x, q, e, away=False), "single_add": _sum(_single),
}  # fmt: skip
"""The fixed-point contracts in Python's integers, which are never cut to 32 bits."""


@pytest.mark.parametrize("name", sorted(UNCUT))
def test_a_rescale_is_cut_nowhere_if_all_that_it_holds_fits(name):
    rng = np.random.default_rng(7)
    operands, counts = CONTRACTS[name].operands, np.zeros((2, 2), int)
    run = rounding.apply if operands == 1 else rounding.sum_apply
    for _ in range(200):
        rescale = _drawn_rescale(rng, name)
        values = rng.integers(-255, 256, (operands, 20))
        if operands == 1:
            values = (values << rng.integers(0, 24)).astype(np.int32)
        fits = np.all([(-(2 ** (bits - 1)) <= x) & (x < 2 ** (bits - 1))
                       for _, x, bits in rounding.held(rescale, *values)], axis=0)  # fmt: skip
        numbers = rescale.multiplier.tolist(), rescale.shift.tolist()
        exact = [UNCUT[name](*column, *numbers) for column in values.T.tolist()]
        right = run(rescale, *values) == np.array(exact, object)
        np.add.at(counts, (fits.astype(int), right.astype(int)), 1)
    assert counts[1, 0] == 0 and counts[1, 1] > 500, "what fits is right"
    assert counts[0, 0] > 500 and counts[0, 1] < 0.1 * counts[0, 0], "what does not is wrong"


@pytest.mark.parametrize("name", ["fixed15", "xnnpack_add"])
def test_weighted_sums_of_8_bits_fit_by_their_contract(name):
    largest = int(CONTRACTS[name].numbers["multiplier"].hi)
    rescale = Rescale(name, [largest, -largest], 15)
    (_, found, bits), = rounding.held(rescale, np.array([255, -255]), np.array([-255, 255]))
    assert width(between(found.min(), found.max())) == (32 if name == "fixed15" else 31) <= bits


def test_factors_are_what_a_rescale_multiplies_by():
    for name in CONTRACTS:
        if CONTRACTS[name].operands == 1:
            factor = rounding.factors(rounding.derive(name, [0.37, 2e-3]))
            rtol = 2.0**-15 if name == "tflite_16x8" else 1e-6
            np.testing.assert_allclose(factor, [0.37, 2e-3], rtol=rtol)
        else:
            factor = rounding.factors(rounding.derive_sum(name, 0.03, -0.04, 0.05))
            np.testing.assert_allclose(factor, [0.6, -0.8], rtol=1e-4)


def test_64_bit_accumulators_have_products_of_their_own():
    rescale = Rescale("tflite_16x8", 2**14, 10)
    acc = np.array([2**30, 2**60])
    product, result = rounding.held(rescale, acc)
    assert product[1].tolist() == [2**44, 2**74] and product[2] == 64
    assert result[1].tolist() == [2**39, 2**69] and result[2] == 32


def _drawn_rescale(rng, name: str) -> Rescale:
    numbers = CONTRACTS[name].numbers
    if "scale" in numbers:
        return Rescale(name, scale=2.0 ** rng.uniform(-30, 3))
    fields = {}
    for field, number in numbers.items():
        low = max(number.lo, -25) if field == "shift" else number.lo
        drawn = rng.integers(int(low), int(number.hi), number.size or (), endpoint=True)
        fields[field] = drawn if field == "multiplier" else np.minimum(drawn, rng.integers(-3, 31))
        fields[field] = np.maximum(fields[field], int(number.lo))
    return Rescale(name, **fields)


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_a_rescale_is_monotone_between_the_ends_it_is_asked_for(name):
    rng = np.random.default_rng(11)
    to = tensor("i8", (4, 50), per_tensor(0.1, -3))
    for _ in range(60):
        rescale = _drawn_rescale(rng, name)
        ends = np.sort(rng.integers(-255, 256, (CONTRACTS[name].operands, 2)) << 3 * (
            CONTRACTS[name].operands == 1) * rng.integers(0, 7), axis=1)  # fmt: skip
        operands = [between(*pair) for pair in ends]
        inside = [rng.integers(*pair, (4, 50), endpoint=True) for pair in ends]
        if len(operands) == 1:
            found = ranges.rescaled(rescale, (ranges.Register("", operands[0]),), to, (-128, 127))
            values = rounding.apply(rescale, inside[0].astype(np.int32))
        else:
            found = ranges.summed(rescale, *operands, to, (-128, 127))
            values = rounding.sum_apply(rescale, *inside)
        values = rounding.saturate(values, -3, -128, 127)
        assert found.result.lo <= values.min() and values.max() <= found.result.hi, rescale


# Predictions.


@pytest.mark.parametrize(("mean", "deviation"), [(0, 30), (-140, 60), (200, 5), (3, 0.2)])
def test_a_clamped_normal_distribution_has_the_moments_of_a_sample(mean, deviation):
    rng = np.random.default_rng(3)
    drawn = rng.normal(mean, deviation, 400_000)
    rounded = np.rint(drawn)
    ends = (np.float64(-1e6), np.float64(1e6))
    x = normal.Normal(np.float64(mean), np.float64(deviation**2), ends)
    found = normal.clamped(x, -128, 127)
    assert found.under == pytest.approx((rounded < -128).mean(), abs=0.01)
    assert found.over == pytest.approx((rounded > 127).mean(), abs=0.01)
    values = np.clip(rounded, -128, 127)
    assert found.mean == pytest.approx(values.mean(), abs=0.3)
    assert np.sqrt(found.variance) == pytest.approx(values.std(), abs=0.3)


def test_a_distribution_is_cut_at_what_is_proved():
    x = normal.Normal(np.float64(0), np.float64(100.0), (np.float64(-12.0), np.float64(12.0)))
    assert normal.clamped(x, -12, 12).under == 0
    assert normal.clamped(x, -11, 12).under == pytest.approx(0.0246, abs=1e-3)


@pytest.mark.parametrize("narrower", [1, 4, 8])
def test_the_predicted_share_is_about_that_of_independent_inputs(narrower):
    rng = np.random.default_rng(narrower)
    x, w = quantized("x", 400, 64), rng.integers(-127, 128, (64, 8)).astype(np.int8)
    scale = narrower * 127 / (3.5 * np.sqrt((w.astype(float) ** 2).sum(0).mean()) * 40)
    op = int8.dense(x, const(w, tensor("i8", w.shape, per_tensor(0.01))), to=element(0.1, 0),
                    rescale=Rescale("f32_half_even", scale=scale))  # fmt: skip
    values = np.clip(rng.normal(0, 42, x.shape), -128, 127).astype(np.int64)
    beyond = np.abs((values @ w.astype(np.int64)) * scale) > 127.5
    assert span_of(op).clipped.mean() == pytest.approx(beyond.mean(), abs=0.03)
