"""Fixed-point arithmetic as gemmlowp and the reference kernels have it, on arrays of i64.

A number with n integer bits has 31 - n fractional ones. Sources: gemmlowp's `fixedpoint.h`, and
`kernels/internal/common.h` of TensorFlow Lite.
"""

import numpy as np

HIGHEST = 2**31 - 1


def times(a, b):
    """The product of two fixed-point numbers; integer bits add up."""
    return np.minimum(np.asarray(a, np.int64) * b + 2**30 >> 31, HIGHEST)


def shifted_left(x, bits: int):
    """x * 2**bits, saturated to 32 bits."""
    return np.clip(np.asarray(x, np.int64) << bits, -(2**31), HIGHEST)


def divided(x, bits):
    """x / 2**bits, rounded half away from zero.

    The C code takes up to 31 bits. More are what it comes to on x86-64: a shift by their
    remainder modulo 32, and a mask of 32 ones.
    """
    x = np.asarray(x, np.int64)
    mask = np.where(bits > 31, -1, (np.int64(1) << np.minimum(bits, 31)) - 1)
    return (x >> (bits & 31)) + ((x & mask) > (mask >> 1) + (x < 0))


def inverse_root(values) -> tuple[np.ndarray, np.ndarray]:
    """1 / sqrt of integers >= 0, as multipliers with 31 fractional bits and shifts to the left.

    Five steps of Newton's method from 1, as `GetInvSqrtQuantizedMultiplierExp`.
    """
    values = np.asarray(values, np.int64)
    small = values <= 1
    value, shift = np.where(small, 2, values), np.full(values.shape, 11, np.int64)
    while (large := value >= 2**29).any():
        value, shift = np.where(large, value // 4, value), shift + large
    pairs = (31 - np.frexp(value.astype(np.float64))[1]) // 2 - 1
    value, shift = value << 2 * pairs, shift - pairs
    half = divided(value >> 1, 1)
    x = np.full(values.shape, 2**28, np.int64)
    for _ in range(5):
        cube = shifted_left(times(times(x, x), x), 6)
        x = shifted_left(times(2**28 + 2**27, x) - times(half, cube), 3)
    root = times(x, 1518500250)
    early = np.maximum(-shift, 0)
    root, shift = root << early, np.maximum(shift, 0)
    return np.where(small, HIGHEST, root), np.where(small, 0, -shift)


def reciprocal(values) -> tuple[np.ndarray, np.ndarray]:
    """1 / x of integers > 0, with 31 fractional bits, and the bits of x above its highest one.

    Newton-Raphson on [1, 2], as `GetReciprocal`.
    """
    values = np.asarray(values, np.int64)
    bits = np.frexp(values.astype(np.float64))[1]
    above = (values << (32 - bits)) - 2**31
    half = (above + HIGHEST + 1) >> 1
    x = 1515870810 + times(half, -1010580540)
    for _ in range(3):
        x = x + shifted_left(times(x, 2**29 - times(half, x)), 2)
    return shifted_left(x, 1), bits - 1
