"""Fixed-point arithmetic of the contracts: their kernels, and the integers these hold on the way.

Kernels take i64 arrays, wide enough for every product, an i64 multiplier q and an i64 shift e.
`held_...` functions take ends of ranges and give what can outgrow the bits that the C code, and
XLA, have for it: what it is, its values before they are cut, its bits. Each of these is monotone
in every operand, so that the values at the ends enclose all others.
"""

import numpy as np

LEFT, LEFT_16 = 20, 15
"""By how many bits TFLite shifts operands of 8 bits, and of 16, before it adds them."""

Held = list[tuple[str, np.ndarray, int]]


def wrap(value: np.ndarray) -> np.ndarray:
    """Integers cut to 32 bits."""
    return value.astype(np.int32).astype(np.int64)


def doubling_high(x, q):
    """gemmlowp's SaturatingRoundingDoublingHighMul."""
    # Its nudge and truncating division come to rounding half up, and it saturates only for
    # q = -2**31, which no multiplier is.
    return (x * q + 2**30) >> 31


def half_away(x, q, e):
    """The doubling high product, then a shift right that rounds half away from zero."""
    right = np.maximum(-e, 0)
    y = doubling_high(wrap(x << np.maximum(e, 0)), q)
    remainder, threshold = y & ((1 << right) - 1), (((1 << right) - 1) >> 1) + (y < 0)
    return (y >> right) + (remainder > threshold)


def half_up(x, q, e):
    """The doubling high product, then a shift right that rounds half up."""
    right = np.maximum(-e, 0)
    y = doubling_high(wrap(x << np.maximum(e, 0)), q)
    return (y + ((1 << right) >> 1)) >> right


def single(x, q, e):
    """The product shifted right, rounded half up."""
    return (x * q + (1 << (30 - e))) >> (31 - e)


def apply_fixed(kernel, acc, multiplier, shift):
    """Accumulators of 32 bits by a kernel."""
    return kernel(acc.astype(np.int64), multiplier.astype(np.int64), shift.astype(np.int64))


def sixteen_bits(q):
    """A multiplier with 31 bits of fraction as TFLite has it for 64-bit accumulators, with 15."""
    return np.where(q < 0x7FFF0000, (q + 2**15) >> 16, 0x7FFF)


def apply_16x8(acc, multiplier, shift):
    """Accumulators times a multiplier with 15 bits of fraction, in 64 bits, rounded half up."""
    q, e = multiplier.astype(np.int64), shift.astype(np.int64)
    return (acc.astype(np.int64) * q + (1 << (14 - e))) >> (15 - e)


def factors_16x8(multiplier, shift) -> np.ndarray:
    """The real factors of multipliers with 15 bits of fraction."""
    return np.ldexp(multiplier.astype(np.float64), shift - 15)


def held_16x8(acc, multiplier, shift) -> Held:
    """The product in 64 bits, and what is left of it in 32."""
    q, e = multiplier.astype(np.int64), shift.astype(np.int64)
    product = acc.astype(object) * q  # Python's integers do not overflow
    return [("the accumulator times the multiplier", product, 64),
            ("the accumulator rescaled", (product + (1 << (14 - e))) >> (15 - e), 32)]  # fmt: skip


def fixed_factors(multiplier, shift) -> np.ndarray:
    """The real factors of multipliers with 31 bits of fraction."""
    return np.ldexp(multiplier.astype(np.float64), shift - 31)


def held_fixed(kernel, acc, multiplier, shift, what="the accumulator") -> Held:
    """What a kernel holds while it rescales accumulators."""
    q, e = multiplier.astype(np.int64), shift.astype(np.int64)
    acc = acc.astype(np.int64)
    if kernel is single:
        return [(f"{what} rescaled", single(acc, q, e), 32)]
    return [(f"{what} shifted left", acc << np.maximum(e, 0), 32)]


def apply_sum(kernel, a, b, multiplier, shift, left=LEFT):
    """TFLite's weighted sum: both operands by a kernel, then their sum."""
    (q1, q2, q3), (e1, e2, e3) = multiplier.astype(np.int64), shift.astype(np.int64)
    return kernel(wrap(kernel(a << left, q1, e1) + kernel(b << left, q2, e2)), q3, e3)


def sum_factors(multiplier, shift, left=LEFT) -> np.ndarray:
    """The real factors of both operands of TFLite's sum."""
    first, second, last = fixed_factors(multiplier, shift)
    return np.array([first, second]) * last * 2.0**left


def held_sum(kernel, a, b, multiplier, shift, left=LEFT) -> Held:
    """What TFLite's weighted sum holds, for operands within the contract's limit."""
    (q1, q2, q3), (e1, e2, e3) = multiplier.astype(np.int64), shift.astype(np.int64)
    left, right = a << left, b << left
    total = kernel(left, q1, e1) + kernel(right, q2, e2)
    parts = ((left, q1, e1, "the left operand"), (right, q2, e2, "the right operand"),
             (wrap(total), q3, e3, "the sum"))  # fmt: skip
    steps = [held_fixed(kernel, x.astype(np.int32), *rest) for x, *rest in parts]
    return [*steps[0], *steps[1], ("the sum of the rescaled operands", total, 32), *steps[2]]


def apply_weighted(a, b, multiplier, shift):
    """`(a * m1 + b * m2 + half) >> shift`."""
    return _weighted(a, b, multiplier, shift) >> shift


def weighted_factors(multiplier, shift) -> np.ndarray:
    """The real factors of both operands."""
    return np.ldexp(multiplier.astype(np.float64), -shift)


def held_weighted(a, b, multiplier, shift) -> Held:
    """The sum before it is shifted, in 32 bits."""
    return [("the weighted sum", _weighted(a, b, multiplier, shift), 32)]


def _weighted(a, b, multiplier, shift):
    m1, m2 = multiplier.astype(np.int64)
    return a * m1 + b * m2 + (1 << (int(shift) - 1))
