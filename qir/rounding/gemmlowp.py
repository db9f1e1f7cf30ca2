"""Fixed-point functions as gemmlowp and TensorFlow Lite's kernels have them, on arrays of i64.

A number with n integer bits has 31 - n fractional ones. Sources: gemmlowp's `fixedpoint.h`, and
`kernels/internal/common.h` of TensorFlow Lite. Arrays are numpy's or any other library's with its
interface; the XLA target calls the same functions while it traces.
"""

import numpy as np

HIGHEST, LOWEST = 2**31 - 1, -(2**31)
"""HIGHEST is also 1 with 31 fractional bits, as near as 32 bits have it."""
POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(-1/4), exp(-1/2), exp(-1), ... exp(-16) with 31 fractional bits."""


def _of(x):
    """The library that an array belongs to."""
    return x.__array_namespace__()


def times(a, b):
    """The product of two fixed-point numbers, rounded half up; integer bits add up."""
    return (a * b + 2**30) >> 31


def shifted_left(x, bits):
    """x * 2**bits, saturated to 32 bits."""
    return _of(x).clip(x << bits, LOWEST, HIGHEST)


def divided(x, bits):
    """x / 2**bits, rounded half away from zero.

    The C code takes up to 31 bits. More are what it comes to on x86-64: a shift by their
    remainder modulo 32, and a mask of 32 ones.
    """
    bits = np.int64(bits) if isinstance(bits, int) else bits
    mask = _of(x).where(bits > 31, -1, (1 << (bits & 31)) - 1)
    return (x >> (bits & 31)) + ((x & mask) > (mask >> 1) + (x < 0))


def clipped(x, bits: int):
    """x within the range of so many bits."""
    return _of(x).clip(x, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def rescaled(x, multiplier, shift):
    """`MultiplyByQuantizedMultiplier`: x * multiplier * 2**(shift - 31), x of 32 bits."""
    xp = _of(multiplier)
    return divided(times(x << xp.maximum(shift, 0), multiplier), xp.maximum(-shift, 0))


def rescaled_wide(x, multiplier: int, shift: int):
    """`MultiplyByQuantizedMultiplier` of x of 64 bits: the multiplier keeps 16 bits."""
    upper = (multiplier + 2**15) >> 16 if multiplier < 0x7FFF0000 else 0x7FFF
    return (x * upper + (1 << (14 - shift))) >> (15 - shift)


def leading_zeros(x):
    """The zero bits of positive numbers of 32 bits before their first one."""
    xp = _of(x)
    return 32 - xp.frexp(x.astype(xp.float64))[1].astype(xp.int64)


def inverse_root(values):
    """1 / sqrt of integers in [0, 2**31), as multipliers with 31 fractional bits and shifts.

    Five steps of Newton's method from 1, as `GetInvSqrtQuantizedMultiplierExp`; 0 counts as 1.
    """
    xp, small = _of(values), values <= 1
    value, shift = xp.where(small, 2, values), 11
    for _ in range(2):
        large = value >= 2**29
        value, shift = xp.where(large, value // 4, value), shift + large
    pairs = (leading_zeros(value) - 1) // 2 - 1
    value, shift = value << (2 * pairs), shift - pairs
    half = divided(value >> 1, 1)
    x = xp.full_like(value, 2**28)
    for _ in range(5):
        cube = shifted_left(times(times(x, x), x), 6)
        x = shifted_left(times(2**28 + 2**27, x) - times(half, cube), 3)
    root = times(x, 1518500250) << xp.maximum(-shift, 0)
    return xp.where(small, HIGHEST, root), xp.where(small, 0, -xp.maximum(shift, 0))


def reciprocal(values):
    """1 / x of integers > 0, with 31 fractional bits, and the bits of x above its highest one.

    As `GetReciprocal`.
    """
    leading = leading_zeros(values)
    return one_over_one_plus((values << leading) - 2**31), 31 - leading


def one_over_one_plus(a):
    """1 / (1 + a) for a in [0, 1), both with 31 fractional bits: Newton-Raphson division."""
    half = (a + 2**31) >> 1
    x = 1515870810 + times(half, -1010580540)  # 48/17 - 32/17 * (1 + a) / 2
    for _ in range(3):
        x = x + shifted_left(times(x, 2**29 - times(half, x)), 2)
    return shifted_left(x, 1)


def negative_exponential(a, integer_bits: int):
    """exp of numbers <= 0, with 31 fractional bits (`exp_on_negative_values`)."""
    xp, fraction = _of(a), 31 - integer_bits
    quarter = 1 << (fraction - 2)
    rest = (a & (quarter - 1)) - quarter
    result, remainder = _near_zero(rest << integer_bits), rest - a
    for power, factor in enumerate(POWERS, start=-2):
        if power < integer_bits:
            taken = (remainder & (1 << (fraction + power))) != 0
            result = xp.where(taken, times(result, factor), result)
    return xp.where(a == 0, HIGHEST, result)


def _near_zero(a):
    """exp on [-1/4, 0) by its Taylor series round -1/8, 31 fractional bits."""
    x = a + 2**28
    square = times(x, x)
    cube, fourth = times(square, x), times(square, square)
    series = times(divided(fourth, 2) + cube, 715827883) + square
    return 1895147668 + times(1895147668, x + divided(series, 1))


def logarithm(x, integer_bits: int, result_bits: int):
    """The natural logarithm of numbers >= 1 (`log_x_for_x_greater_than_or_equal_to_1`).

    x = 2**n * r with r near sqrt(1/2), and log r by a rational function of r - 2**(-1/4).
    integer_bits, result_bits: those of x and of the result.
    """
    xp, extra = _of(x), result_bits + 1  # a bit of headroom, where n * log(2) would saturate
    unit, quarter = 31 - extra, 2**29 >> extra
    leading = leading_zeros(x)
    first = shifted_left(times(shifted_left(x, leading - 1), 1518500250), 1)
    high = shifted_left(integer_bits - leading, unit) + quarter
    headroom = leading_zeros(times(x, 1518500250)) - 1
    second = shifted_left(x, headroom)
    low = shifted_left(integer_bits - headroom, unit) - quarter
    r, power = xp.minimum(first, second), xp.maximum(high, low)
    p, q = (r + 1805811301 + 1) >> 1, 2 * (r - 1805811301)
    square = times(q, q)
    numerator = times(q, r) + times(times(q, square), 117049297)
    rest = times(p, 1057819769 + q + times(127690142, square)) + times(638450708, q)
    quotient = times(divided(numerator, extra), one_over_one_plus(rest))
    return shifted_left(times(power, 1488522236) + quotient, 1)
