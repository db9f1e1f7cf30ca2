"""Functions of 16 bits as TensorFlow Lite computes them: few entries, and lines between them.

Each takes integers and is a function of them alone, so that what a kernel gives for all 65,536 can
be a table. Sums and differences wrap at 16 bits where the C code's do.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from .grids import half_away

STEPS = 512
"""Lines of a table (`LUTPopulateInt16` in `kernels/internal/common.h`); it has an entry more."""
LOWEST, HIGHEST = -(2**15), 2**15 - 1


def entries(function: Callable, source, result) -> np.ndarray:
    """The 513 entries i16 of a function of reals from one grid to another.

    source, result: scale and zero point, the scales of one float type, in which all is computed.
    Half of what the line to the next entry lacks of the function in its middle is taken off.
    """
    (scale, zero), real = source, type(source[0])
    start, end = (scale * real(limit - zero) for limit in (LOWEST, HIGHEST))
    low, high = (result[0] * real(limit - result[1]) for limit in (LOWEST, HIGHEST))
    step, unit = (end - start) / real(STEPS), real(2**16) / (high - low)
    places = np.arange(STEPS).astype(real)
    here, after = start + places * step, start + (places + real(1)) * step
    at, middle, after = (function(x) * unit for x in (here, here + step / real(2), after))
    line = half_away((after + half_away(at)) / real(2))
    lacks = half_away((line - half_away(middle)) / real(2))
    last = half_away(function(np.array([end])) * unit)
    found = np.concatenate([half_away(at) - lacks, last])
    return np.clip(found, LOWEST, HIGHEST).astype(np.int16)


def looked_up(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Stored integers of 16 bits through 513 entries, with 7 bits between two of them; i64."""
    values, table = values.astype(np.int64), table.astype(np.int64)
    index, offset = 256 + (values >> 7), values & 127
    slope = _wrapped(table[index + 1] - table[index])
    return _wrapped(table[index] + ((slope * offset + 64) >> 7))


def _wrapped(x: np.ndarray) -> np.ndarray:
    return x.astype(np.int16).astype(np.int64)


@cache
def _sigmoids() -> np.ndarray:
    """1 / (1 + exp(-i / 24)) with 16 fractional bits, half of what a line lacks added; 256."""
    at = np.arange(257, dtype=np.float64)
    values, middle = (2.0**16 / (1 + np.exp(-place / 24)) for place in (at, at[:-1] + 0.5))
    lacks = middle - (values[:-1] + values[1:]) / 2
    found = np.rint(values[:-1] + lacks / 2).astype(np.int64)
    found[-1] = 2**16 - 1
    return found


def _input_factor(scale: np.float32, powers: tuple[int, ...]) -> tuple[int, int]:
    """Multiplier and right shift to steps of 1 / (3 * 4096): exact for these powers of two."""
    fraction, exponent = np.frexp(np.float64(scale))
    if fraction == 0.5 and int(exponent) - 1 + 12 in powers:
        return 3 << (int(exponent) - 1 + 12), 0
    multiplier, shift = np.float64(scale) * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        multiplier, shift = multiplier * 2.0, shift + 1
    return int(multiplier), shift


def _scaled(values: np.ndarray, factor: tuple[int, int]) -> np.ndarray:
    multiplier, shift = factor
    half = 1 << (shift - 1) if shift else 0
    product = (values.astype(np.int64) * multiplier).astype(np.int32).astype(np.int64)
    return (product + half) >> shift


def _between(size: np.ndarray, bits: int) -> np.ndarray:
    """The sigmoid of numbers of that many bits between two entries, with 16 + bits fractional."""
    table = _sigmoids()
    place = np.minimum(size >> bits, 254)
    rest = size & ((1 << bits) - 1)
    found = (table[place] << bits) + rest * (table[place + 1] - table[place])
    return np.where(size >> bits >= 255, (2**16 - 1) << bits, found)


def logistic(values: np.ndarray, scale: np.float32) -> np.ndarray:
    """The sigmoid of integers on a grid of zero point 0, with 15 fractional bits, i64."""
    x = _scaled(values, _input_factor(scale, (0,)))
    size = np.abs(x)
    found = np.where(size >> 9 >= 255, 0x7FFF << 10, _between(size, 9))
    return np.where(x >= 0, found + 2**9, 2**25 - found + 2**9 - 1) >> 10


def tanh(values: np.ndarray, scale: np.float32) -> np.ndarray:
    """The hyperbolic tangent of integers on a grid of zero point 0, with 15 fractional bits."""
    x = _scaled(values, _input_factor(scale, (0, 1)))
    found = _between(np.abs(x), 8)
    return np.where(x >= 0, found - 2**23 + 2**7, 2**23 - found + 2**7 - 1) >> 8


UNIT = np.float64(2.0) / np.float64(65535)
"""The scale of probabilities inside a softmax, whose 16 bits reach from -1 to 1."""


@cache
def exponentials() -> np.ndarray:
    """exp of [-10, 0] with 15 fractional bits, for all 65,536 steps, lowest first, i64."""
    table = entries(np.exp, (np.float64(10.0) / np.float64(65535), HIGHEST), (UNIT, 0))
    return looked_up(np.arange(LOWEST, HIGHEST + 1), table)


@cache
def reciprocals() -> np.ndarray:
    """1 / (1 + x) of x in [0, 1] with 15 fractional bits, for all 65,536 steps, lowest first."""
    table = entries(lambda x: 1.0 / (1.0 + x), (np.float64(1.0) / np.float64(65535), LOWEST),
                    (UNIT, 0))  # fmt: skip
    return looked_up(np.arange(LOWEST, HIGHEST + 1), table)
