"""The sigmoid and tanh of gemmlowp on 16 bits: of every number of 16 bits, lowest first.

TensorFlow Lite's recurrent kernels compute their gates so (`PortableApplySigmoid`, `ApplyTanh`).
A number with n integer bits has 15 - n fractional ones.
"""

from functools import cache

import numpy as np

from .gemmlowp import POWERS

ONE = 2**15 - 1


def _constant(value: int) -> int:
    """A constant of 32 bits with the upper 16 alone, rounded half away from zero."""
    magnitude = abs(value) + 2**15 >> 16
    return magnitude if value >= 0 else -magnitude


def _wrap(x):
    return x.astype(np.int16).astype(np.int64)


def _times(a, b):
    return (a * b + 2**14) >> 15


def _saturated(x):
    return np.clip(x, -(2**15), ONE)


def _divided(x, bits: int):
    mask = (1 << bits) - 1
    return (x >> bits) + ((x & mask) > (mask >> 1) + (x < 0))


def _exponential(a, integer_bits: int):
    """exp of numbers <= 0, with 15 fractional bits."""
    fraction = 15 - integer_bits
    quarter = 1 << (fraction - 2)
    rest = (a & (quarter - 1)) - quarter
    result, remainder = _near_zero(_saturated(rest << integer_bits)), _wrap(rest - a)
    for power, factor in enumerate(POWERS, start=-2):
        if power < integer_bits:
            taken = (remainder & (1 << (fraction + power))) != 0
            result = np.where(taken, _times(result, _constant(factor)), result)
    if integer_bits > 5:
        result = np.where(a < _constant(-(1 << (36 - integer_bits))), 0, result)
    return np.where(a == 0, ONE, result)


def _near_zero(a):
    x = _wrap(a + 2**12)
    square = _times(x, x)
    cube, fourth = _times(square, x), _times(square, square)
    series = _divided(_times(_divided(fourth, 2) + cube, _constant(715827883)) + square, 1)
    constant = _constant(1895147668)
    return _saturated(constant + _times(np.int64(constant), x + series))


def _newton(a):
    """Half of 1 / (1 + a) for a in [0, 1], with 2 integer bits less: Newton-Raphson division."""
    half = (a + ONE + 1) >> 1
    x = _constant(1515870810) + _times(half, _constant(-1010580540))
    for _ in range(3):
        x = _wrap(x + _saturated(_times(x, 2**13 - _times(half, x)) << 2))
    return x


@cache
def sigmoid() -> np.ndarray:
    """1 / (1 + exp(-x)) of numbers with 3 integer bits, with 15 fractional bits, i16[65536]."""
    x = np.arange(-(2**15), 2**15)
    positive = _saturated(_newton(_exponential(-abs(x), 3)) << 1)
    return np.where(x == 0, 2**14, np.where(x > 0, positive, ONE - positive)).astype(np.int16)


@cache
def tanh(integer_bits: int) -> np.ndarray:
    """tanh of numbers with so many integer bits, with 15 fractional bits, i16[65536]."""
    x = np.arange(-(2**15), 2**15)
    value = _saturated((_newton(_exponential(-abs(x), integer_bits + 1)) - 2**13) << 2)
    return np.where(x == 0, 0, np.where(x < 0, -value, value)).astype(np.int16)
