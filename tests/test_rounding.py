"""The fixed-point arithmetic against references in Python integers, LiteRT, and XLA against it."""

from fractions import Fraction
from itertools import product
from math import floor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qir import rounding
from qir.errors import QirError
from qir.rounding import CONTRACTS, Rescale, derive, derive_sum
from qir.targets.xla import rescale as xla
from qir.targets.xla import words

ONE = [name for name, c in CONTRACTS.items() if c.operands == 1]
SUMS = [name for name, c in CONTRACTS.items() if c.operands == 2]
FIXED = ["tflite_reference", "tflite_builtin", "single"]
EDGES = [0, 1, -1, 2, 3, -3, 255, -256, 2**15 - 1, -(2**15), 2**16, 2**20 + 1, 2**30 - 1, 2**30,
         -(2**30), 2**31 - 2, 2**31 - 1, -(2**31), 1 - 2**31, 123456789, -987654321]  # fmt: skip
MULTIPLIERS = [0, 2**30, 2**30 + 1, 2**31 - 1, 1518500250, 3 << 29, 0x7FFF0000, 0x40008000]
quick = settings(max_examples=60, deadline=None, derandomize=True)


# References: the C code of each kernel in Python integers, one number at a time.


def wrap(x):
    return (x + 2**31) % 2**32 - 2**31


def trunc_div(a, b):
    return abs(a) // b * (1 if a >= 0 else -1)


def high_mul(a, b):
    nudge = 2**30 if a * b >= 0 else 1 - 2**30
    return trunc_div(a * b + nudge, 2**31)


def ref_tflite_reference(x, q, e):
    y = high_mul(wrap(x * 2 ** max(e, 0)), q)
    mask = 2 ** max(-e, 0) - 1
    remainder = y & mask
    return (y >> max(-e, 0)) + (1 if remainder > (mask >> 1) + (1 if y < 0 else 0) else 0)


def ref_tflite_builtin(x, q, e):
    y = Fraction(high_mul(wrap(x * 2 ** max(e, 0)), q), 2 ** max(-e, 0))
    return floor(y + Fraction(1, 2)) if e < 0 else int(y)


def ref_single(x, q, e):
    return wrap((x * q + 2 ** (30 - e)) // 2 ** (31 - e))


def ref_16x8(x, q, e):
    return wrap((x * q + 2 ** (14 - e)) // 2 ** (15 - e))


def to_float(value, bits):
    """A fraction rounded to that many significant bits, half to even."""
    if value == 0:
        return value
    unit = Fraction(2) ** (bit_length(abs(value)) - bits)
    return round(value / unit) * unit


def bit_length(value):
    size = value.numerator.bit_length() - value.denominator.bit_length()
    return size + 1 if value >= Fraction(2) ** size else size


def away(value):
    return floor(value + Fraction(1, 2)) if value >= 0 else -floor(-value + Fraction(1, 2))


def fit(x):
    return max(-(2**31), min(2**31 - 1, x))


def ref_f32(x, scale):
    return fit(round(to_float(to_float(Fraction(x), 24) * Fraction(float(scale)), 24)))


def ref_f64(x, m, e):
    return fit(away(to_float(Fraction(x) * Fraction(m) * Fraction(2) ** (e - 53), 53)))


REFERENCE = {"tflite_reference": ref_tflite_reference, "tflite_builtin": ref_tflite_builtin,
             "single": ref_single, "f32_half_even": ref_f32,
             "float64_half_away": ref_f64, "tflite_16x8": ref_16x8}  # fmt: skip


def expected(rescale, acc):
    numbers = [np.broadcast_to(v, acc.shape).ravel().tolist() for v in rescale.fields().values()]
    reference = REFERENCE[rescale.rounding]
    values = [reference(x, *n) for x, *n in zip(acc.ravel().tolist(), *numbers, strict=True)]
    return np.array(values, np.int64).reshape(acc.shape)


def same_everywhere(rescale, acc):
    got = rounding.apply(rescale, acc)
    np.testing.assert_array_equal(got, expected(rescale, acc))
    traced = jax.jit(lambda a: xla.apply(rescale, a))(acc)
    assert traced.dtype == got.dtype == np.int32
    np.testing.assert_array_equal(np.asarray(traced), got)


# One operand.


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("shifts", [range(-31, 31), range(-31, 0)], ids=["all", "right"])
def test_fixed_point_on_every_edge(name, shifts):
    numbers = np.array(list(product(MULTIPLIERS, shifts)))
    rescale = Rescale(name, numbers[:, 0], numbers[:, 1])
    acc = np.repeat(np.array(EDGES, np.int32)[:, None], len(numbers), axis=1)
    same_everywhere(rescale, acc)


@pytest.mark.parametrize("name", ONE)
@given(real=st.lists(st.floats(-35, 8), min_size=1, max_size=6), data=st.data())
@settings(quick, max_examples=25)
def test_derived_numbers_on_any_accumulator(name, real, data):
    rescale = derive(name, np.exp2(np.array(real)))
    sizes = st.sampled_from([4, 9, 17, 24, 26, 30]).flatmap(lambda n: st.integers(-(2**n), 2**n))
    rows = st.lists(sizes | st.sampled_from(EDGES), min_size=len(real), max_size=len(real))
    same_everywhere(rescale, np.array(data.draw(st.lists(rows, min_size=1, max_size=4)), np.int32))


@pytest.mark.parametrize("name", ONE)
def test_ties_and_their_neighbours(name):
    steps = np.array([0, 1, 2, 5, 8])
    ties = (2 * np.arange(-60, 60) + 1)[:, None] * 2**steps // 2
    acc = np.concatenate([ties - 1, ties, ties + 1]).astype(np.int32)
    same_everywhere(derive(name, 2.0**-steps), acc)
    same_everywhere(derive(name, 1.5 * 2.0**-steps), acc)


def test_float64_rounds_twice_as_doubles_do():
    # Products of up to 84 bits just below a half, which f64 rounds up to it.
    rng = np.random.default_rng(0)
    acc = rng.integers(2**29, 2**31, 400)
    wanted = rng.integers(1, 2**20, 400) + 0.5
    m, e = np.frexp(wanted / acc)
    rescale = Rescale("float64_half_away", np.ldexp(m, 53).astype(np.int64), e)
    below = np.array([x * int(k) < Fraction(w) * 2 ** int(53 - s)
                      for x, k, s, w in zip(acc.tolist(), rescale.multiplier, e, wanted,
                                            strict=True)])  # fmt: skip
    assert 50 < below.sum() < 350
    same_everywhere(rescale, acc.astype(np.int32)[None])
    same_everywhere(rescale, -acc.astype(np.int32)[None])
    extreme = Rescale("float64_half_away", [2**53 - 1, 2**52, 2**53 - 1, 2**52], [31, 31, 1, -31])
    same_everywhere(extreme, np.repeat(np.array(EDGES, np.int32)[:, None], 4, axis=1))


def test_f32_at_its_extremes():
    scales = np.array([0, 1e-45, 1.2e-38, 2.0**-33, 2.0**-32, 0.5, 1, 1.5, 300, 1e30, 3.4e38])
    acc = np.repeat(np.array(EDGES, np.int32)[:, None], len(scales), axis=1)
    same_everywhere(Rescale("f32_half_even", scale=scales.astype(np.float32)), acc)


# (accumulator, factor, outputs of LiteRT 2.3.0 at zero point -7: CONV_2D of BUILTIN_REF, of
# BUILTIN without delegates, of XNNPACK; FULLY_CONNECTED of BUILTIN_REF). All are ties or near.
LITERT = [(11776, 0.0029296875, 28, 28, 27, 28), (-14507, 0.0029296875, -50, -49, -50, -50),
          (-30891, 0.0029296875, -98, -97, -98, -98), (5094, 0.01953125, 93, 93, 92, 92),
          (-691, 0.01953125, -21, -20, -20, -20), (4070, 0.01953125, 73, 73, 72, 72),
          (-459, 0.046875, -29, -28, -29, -29), (-1867, 0.046875, -95, -94, -95, -95),
          (81, 0.4375, 29, 29, 28, 28), (-221, 0.4375, -104, -103, -104, -104)]  # fmt: skip


def test_agrees_with_the_litert_interpreter():
    names = ["tflite_reference", "tflite_builtin", "f32_half_even", "float64_half_away"]
    for acc, factor, *outputs in LITERT:
        for name, output in zip(names, outputs, strict=True):
            got = rounding.requantize(derive(name, factor), np.int32([acc]), -7, -128, 127)
            assert got[0] == output, (name, acc, factor)
    # ADD with scales 0.037, 0.011 -> 0.05, zero points 0: BUILTIN_REF, XNNPACK.
    pairs = np.array([[-8, 111, 19, 18], [-88, -79, -83, -82], [-45, 40, -25, -24],
                      [-124, -117, -118, -117], [127, -34, 87, 86]])  # fmt: skip
    for name, column in (("tflite_reference", 2), ("tflite_builtin", 2), ("f32_half_even", 3)):
        rescale = derive_sum(name, 0.037, 0.011, 0.05)
        assert rounding.sum_apply(rescale, pairs[:, 0], pairs[:, 1]).tolist() == list(
            pairs[:, column]
        )


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("lo, hi", [(-128, 127), (0, 255), (-7, 7), (-32768, 32767)])
def test_requantize(name, lo, hi):
    rng = np.random.default_rng(1)
    rescale = derive(name, np.exp2(rng.uniform(-12, 1, 64)))
    acc = rng.integers(-(2**18), 2**18, (50, 64)).astype(np.int32)
    acc[0], acc[1] = 2**31 - 1, -(2**31)
    for zero in (lo, 0, hi, (lo + hi) // 3):
        got = rounding.requantize(rescale, acc, zero, lo, hi)
        np.testing.assert_array_equal(got, np.clip(expected_of(rescale, acc) + zero, lo, hi))
        traced = jax.jit(lambda a, z=zero: xla.requantize(rescale, a, z, lo, hi))(acc)
        np.testing.assert_array_equal(np.asarray(traced), got)


def expected_of(rescale, acc):
    return rounding.apply(rescale, acc).astype(np.int64)


def test_scalar_and_channel_numbers_agree():
    acc = np.arange(-3000, 3000, dtype=np.int32).reshape(-1, 3)
    for name in ONE:
        one, many = derive(name, 0.0371), derive(name, [0.0371] * 3)
        np.testing.assert_array_equal(rounding.apply(one, acc), rounding.apply(many, acc))
        assert one != many and one.fields().keys() == many.fields().keys()


def as_words(acc):
    """64-bit integers as their two words, traced by JAX."""
    return words.Words((acc >> 32).astype(np.int32), (acc & 0xFFFFFFFF).astype(np.uint32))


WIDE = [Rescale("tflite_16x8", [0, 2**14, 2**14 + 1, 2**15 - 1, 23170, 3 << 13, 32767, 16385],
                [-31, -20, -9, -3, 0, 2, 7, 14]),
        derive("float64_half_away", np.exp2(np.linspace(-33, 6, 8)) * 1.37)]  # fmt: skip


@pytest.mark.parametrize("rescale", WIDE, ids=lambda rescale: rescale.rounding)
def test_64_bit_accumulators(rescale):
    rng = np.random.default_rng(2)
    acc = rng.integers(-(2**47), 2**47, (40, 8)) >> rng.integers(0, 40, (40, 8))
    acc = np.concatenate([acc, np.array(EDGES)[:, None] << np.arange(8) * 2])
    got = rounding.apply(rescale, acc)
    np.testing.assert_array_equal(got, [[wrap(x) for x in row] for row in expected(rescale, acc)])
    both = jax.jit(lambda high, low: xla.apply(rescale, words.Words(high, low)))
    parts = as_words(acc)
    np.testing.assert_array_equal(np.asarray(both(parts.high, parts.low)), got)


@pytest.mark.parametrize("name", sorted({*ONE} - {"tflite_16x8", "float64_half_away"}))
def test_other_contracts_refuse_64_bit_accumulators(name):
    acc = np.zeros(1, np.int64)
    for apply, sums in ((rounding.apply, acc), (xla.apply, as_words(acc))):
        with pytest.raises(QirError, match="found i64; tflite_16x8 takes these"):
            apply(derive(name, 0.5), sums)


@quick
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
       st.integers(-(2**63), 2**63 - 1), st.integers(1 - 2**16, 2**16 - 1), st.integers(0, 63))
def test_words_are_64_bit_integers(numbers, other, factor, shift):
    def of(value):
        return np.array([wrapped(v) for v in np.atleast_1d(np.array(value, object))], np.int64)

    def wrapped(value):
        return (int(value) + 2**63) % 2**64 - 2**63

    def read(found):
        high, low = np.asarray(found.high), np.asarray(found.low)
        return (high.astype(np.int64) << 32) | low.astype(np.int64)

    exact = np.array(numbers, object)
    a, b = as_words(of(exact)), words.of_constant(np.array(other))
    assert (read(words.plus(a, b)) == of(exact + other)).all()
    assert (read(words.negated(a)) == of(-exact)).all()
    assert (read(words.scaled(a, factor)) == of(exact * factor)).all()
    assert (read(words.shifted_left(a, shift % 32)) == of(exact << (shift % 32))).all()
    right = [(n >> shift) % 2**32 for n in numbers]
    assert (np.asarray(words.shifted_right(a, shift)).astype(np.uint32) == right).all()
    assert (read(words.of_i32(of(exact).astype(np.int32))) == of(exact).astype(np.int32)).all()


@pytest.mark.parametrize("name", ONE)
def test_exact_inside_fusions_and_64_bit_mode(name):
    rng = np.random.default_rng(3)
    x = rng.integers(-128, 128, (64, 96)).astype(np.int8)
    w = rng.integers(-127, 128, (96, 32)).astype(np.int8)
    bias = rng.integers(-5000, 5000, 32).astype(np.int32)
    rescale, add = derive(name, rng.uniform(1e-4, 2e-3, 32)), derive_sum(name, 0.11, 0.07, 0.13)

    def model(x, dot, m, cast):
        y = m.requantize(rescale, dot(cast(x), cast(w)) + bias, -3, -128, 127)
        return m.saturate(m.sum_apply(add, y + 3, cast(x[:, :32]) - 5), 4, -128, 127)

    wanted = model(x, np.matmul, rounding, lambda v: v.astype(np.int32))
    traced = jax.jit(lambda x: model(x, jnp.matmul, xla, lambda v: jnp.asarray(v, jnp.int32)))
    np.testing.assert_array_equal(np.asarray(traced(x)), wanted)
    with jax.enable_x64(True):
        compiled = traced.lower(x).compile()
    np.testing.assert_array_equal(np.asarray(compiled(x)), wanted)


# Derivation.


@quick
@given(st.floats(2.0**-34, 2.0**29))
def test_quantize_multiplier(real):
    rescale = derive("tflite_reference", real)
    q, e = int(rescale.multiplier), int(rescale.shift)
    if q == 0:
        assert real < 2.0**-31 and e == 0
    else:
        assert 2**30 <= q < 2**31
        error = abs(Fraction(q) * Fraction(2) ** (e - 31) - Fraction(real))
        assert error <= Fraction(2) ** (e - 32)


def test_multipliers_at_the_ends():
    assert repr(derive("single", 0.0)) == "single(multiplier=0, shift=0)"
    assert repr(derive("single", 2.0**-33)) == "single(multiplier=0, shift=0)"
    assert repr(derive("single", 0.5)) == "single(multiplier=1073741824, shift=0)"
    almost = derive("single", 1 - 2.0**-40)
    assert repr(almost) == "single(multiplier=1073741824, shift=1)"
    assert repr(derive("single", 2.0**40)) == "single(multiplier=2147483647, shift=30)"
    assert derive("f32_half_even", 0.1).scale == np.float32(0.1)
    exact = derive("float64_half_away", 0.1)
    assert np.ldexp(float(exact.multiplier), int(exact.shift) - 53) == 0.1


# Sums.


def ref_tflite_sum(kernel, s1, s2, s_out, a, b, left=20):
    largest = 2 * max(s1, abs(s2))
    (q1, e1), (q2, e2), (q3, e3) = (
        ref_multiplier(Fraction(v))
        for v in (s1 / largest, abs(s2) / largest, largest / (2**left * s_out))
    )
    q2 = q2 if s2 > 0 else -q2
    return kernel(kernel(a << left, q1, e1) + kernel(b << left, q2, e2), q3, e3)


def ref_multiplier(real):
    e = bit_length(real)
    q = away(real * Fraction(2) ** (31 - e))
    return (q, e) if q < 2**31 else (q // 2, e + 1)


def ref_weighted(rescale, a, b):
    m, s = rescale.multiplier.tolist(), int(rescale.shift)
    total = a * m[0] + b * m[1] + 2 ** (s - 1)
    assert -(2**31) <= total < 2**31
    return total // 2**s


RATIOS = [(0.1, 0.2, 0.3), (0.5, 0.5, 0.5), (0.037, -0.011, 0.05), (1.0, 0.004, 0.02),
          (3.0, -3.0, 0.024), (0.001, 0.0007, 0.05)]  # fmt: skip


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("scales", RATIOS)
def test_sums(name, scales):
    rescale = derive_sum(name, *scales)
    s1, s2, s_out = (float(np.float32(s)) for s in scales)
    a, b = np.meshgrid(np.arange(-255, 256, dtype=np.int32), np.arange(-255, 256, dtype=np.int32))
    got = rounding.sum_apply(rescale, a, b)
    traced = jax.jit(lambda a, b: xla.sum_apply(rescale, a, b))(a, b)
    np.testing.assert_array_equal(np.asarray(traced), got)
    exact = (a * s1 + b * s2) / s_out
    assert np.abs(got - exact).max() < 0.5 + 0.01 * max(1, s1 / s_out / 10)
    kernels = {"tflite_add": ref_tflite_reference, "single_add": ref_single}
    for i, j in np.random.default_rng(4).integers(0, 511, (300, 2)):
        x, y = int(a[i, j]), int(b[i, j])
        if name == "tflite_add_16":
            kernel = ref_tflite_reference
            assert got[i, j] == ref_tflite_sum(kernel, s1, s2, s_out, x, y, left=15)
        elif name in kernels:
            assert got[i, j] == ref_tflite_sum(kernels[name], s1, s2, s_out, x, y)
        else:
            assert got[i, j] == ref_weighted(rescale, x, y)


@quick
@given(st.floats(-9.9, 7.9), st.floats(-9.9, 7.9), st.booleans())
def test_weighted_sums_never_overflow(r1, r2, difference):
    sign = -1 if difference else 1
    for name in ("fixed15", "xnnpack_add"):
        rescale = derive_sum(name, 2.0**r1, sign * 2.0**r2, 1.0)
        for a, b in product((-255, 255), repeat=2):
            got = ref_weighted(rescale, a, b)
            assert got == rounding.sum_apply(rescale, a, b)
            exact = a * 2.0**r1 + sign * b * 2.0**r2
            assert abs(got - exact) <= 0.52 + 2.0**-11 * abs(exact) + 2.0**-12 * 255 * 2.0 ** max(
                r1, r2
            )


def test_fixed15_keeps_15_bits_where_it_can():
    assert repr(derive_sum("fixed15", 0.5, 0.25, 1.0)) == (
        "fixed15(multiplier=[16384, 8192], shift=15)"
    )
    assert int(derive_sum("fixed15", 120, 100, 1.0).shift) == 15
    assert int(derive_sum("fixed15", 1000, 1e-3, 1.0).shift) == 12
    assert derive_sum("f32_half_even", 0.1, 0.2, 0.3).rounding == "xnnpack_add"
    assert derive_sum("float64_half_away", 0.1, 0.2, 0.3).rounding == "tflite_add"


# Reals and grids.


@quick
@given(
    st.lists(st.floats(width=32, allow_subnormal=False), min_size=1, max_size=8),
    st.floats(2.0**-20, 2.0**10, width=32),
    st.sampled_from([(-128, 127), (-127, 127), (0, 255), (-32768, 32767), (-8, 7)]),
    st.data(),
)
def test_quantize(values, scale, bounds, data):
    lo, hi = bounds
    zero = data.draw(st.integers(lo, hi))
    x = np.array(values, np.float32)
    ties = (np.arange(-6, 6) + 0.5).astype(np.float32) * np.float32(scale)
    x = np.concatenate([x, ties, np.nextafter(ties, np.float32(0))])
    got = rounding.quantize_array(x, scale, zero, lo, hi)
    for value, stored in zip(x.tolist(), got.tolist(), strict=True):
        if np.isnan(value):
            assert stored == zero
        elif np.isinf(value):
            assert stored == (hi if value > 0 else lo)
        else:
            quotient = to_float(Fraction(value) / Fraction(scale), 24)
            assert stored == max(lo, min(hi, away(quotient) + zero))


@pytest.mark.parametrize("axis", [None, -1])
def test_xla_quantizes_and_dequantizes_alike(axis):
    rng = np.random.default_rng(5)
    size = () if axis is None else (64,)
    scale = np.exp2(rng.uniform(-9, 2, size)).astype(np.float32)
    zero = rng.integers(-128, 128, size).astype(np.int32)
    # Quotients next to halves, where a product with the reciprocal rounds the other way.
    x = ((rng.integers(-140, 140, (4000, 64)) + 0.5).astype(np.float32) * scale).astype(np.float32)
    x = np.where(rng.random(x.shape) < 0.5, np.nextafter(x, np.float32(0)), x)
    x[0, :4] = np.nan, np.inf, -np.inf, -0.0
    got = rounding.quantize_array(x, scale, zero, -128, 127)
    traced = jax.jit(lambda x: xla.quantize(x, scale, zero, -128, 127))(x)
    np.testing.assert_array_equal(np.asarray(traced), got)
    real = rounding.dequantize_array(got, scale, zero)
    traced = jax.jit(lambda q: xla.dequantize(q, scale, zero))(got.astype(np.int8))
    np.testing.assert_array_equal(np.asarray(traced).view(np.int32), real.view(np.int32))
    np.testing.assert_array_equal(rounding.quantize_array(real, scale, zero, -128, 127), got)


def test_biases_are_quantized_in_f64():
    x = np.array([1.0, -3e9, 3e9, 12345678.9, 0.5])
    assert rounding.quantize_array(x, 1.0, 0, -(2**31), 2**31 - 1).tolist() == [
        1, -(2**31), 2**31 - 1, 12345679, 1]  # fmt: skip


def test_activation_grid():
    assert rounding.activation_grid(0.0, 6.0) == (np.float32(6 / 255), -128)
    assert rounding.activation_grid(2.0, 6.0) == (np.float32(6 / 255), -128)
    assert rounding.activation_grid(-3.0, -1.0) == (np.float32(3 / 255), 127)
    assert rounding.activation_grid(-1.0, 1.0) == (np.float32(2 / 255), -1)
    assert rounding.activation_grid(0.0, 6.0, 0, 255) == (np.float32(6 / 255), 0)
    assert rounding.activation_grid(0.0, 0.0) == (np.float32(2e-6 / 255), 0)


@quick
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_grid_holds_zero_and_its_range(a, b):
    rmin, rmax = min(a, b, 0.0), max(a, b, 0.0)
    scale, zero = rounding.activation_grid(rmin, rmax)
    assert scale.dtype == np.float32 and -128 <= zero <= 127
    assert rounding.dequantize_array(zero, scale, zero) == 0
    for end in (rmin, rmax):
        stored = rounding.quantize_array(end, scale, zero, -128, 127)
        assert abs(rounding.dequantize_array(stored, scale, zero) - end) <= scale * 1.001


def test_weight_scale():
    scales = rounding.weight_scale(np.array([0.0, 1e-9, 127.0, 0.5]))
    assert scales.dtype == np.float32 and (scales[:2] == np.float32(5e-7 / 127)).all()
    assert scales[2] == 1 and scales[3] == np.float32(0.5 / 127)
    assert rounding.weight_scale(7.0, hi=7) == 1
