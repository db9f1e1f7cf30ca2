"""Grids from ranges, and reals to stored integers and back, as TensorFlow Lite has them."""

import numpy as np

from ..errors import QirError
from ..types import Type

NEAR_ZERO = 1e-6
"""Ranges narrower than this are widened (TFLite's kNearZeroTolerance)."""
EXACT_IN_F32 = 2**22
"""Up to here integers and halves are exact in f32, and adding 1.5 * 2**23 rounds half to even."""


def activation_grid(rmin: float, rmax: float, lo: int = -128, hi: int = 127):
    """The scale (f32) and zero point (int) of an activation seen between rmin and rmax.

    The range is made to hold zero; one narrower than 1e-6 is widened by 1e-6 at either end. The
    zero point comes from the end with the smaller error, as in MLIR's FakeQuantSupport.cpp.
    """
    if not (np.isfinite(rmin) and np.isfinite(rmax) and rmin <= rmax):
        raise QirError(f"[{rmin}, {rmax}] is no range of an activation")
    rmin, rmax = min(float(rmin), 0.0), max(float(rmax), 0.0)
    if rmax - rmin < NEAR_ZERO:
        rmin, rmax = rmin - NEAR_ZERO, rmax + NEAR_ZERO
    scale = (rmax - rmin) / (hi - lo)
    from_lo = abs(lo) + abs(rmin / scale) < abs(hi) + abs(rmax / scale)
    zero = lo - rmin / scale if from_lo else hi - rmax / scale
    return np.float32(scale), int(np.clip(half_away(np.float64(zero)), lo, hi))


def symmetric_scale(rmin: float, rmax: float, hi: int = 2**15 - 1) -> np.float32:
    """The f32 scale of an activation of zero point 0 seen between rmin and rmax.

    The larger magnitude is the highest stored value, as TensorFlow Lite has it for 16 bits; a range
    within 1e-6 of zero counts as 1e-6.
    """
    if not (np.isfinite(rmin) and np.isfinite(rmax) and rmin <= rmax):
        raise QirError(f"[{rmin}, {rmax}] is no range of an activation")
    return np.float32(max(abs(float(rmin)), abs(float(rmax)), NEAR_ZERO) / hi)


def weight_scale(absmax, hi: int = 127) -> np.ndarray:
    """The f32 scale of symmetric weights whose largest magnitude is `absmax`: absmax / hi.

    A magnitude under 5e-7, so one of all zeros too, counts as 5e-7, as in TFLite. (Scale 1 would
    take the bias's precision with it: a bias stands on s_in * s_w. The bias guard may raise it.)
    """
    largest = np.asarray(absmax, np.float64)
    if not (np.isfinite(largest) & (largest >= 0)).all():
        raise QirError(f"the magnitude of weights is finite and not negative, found {absmax}")
    return np.float32(np.maximum(largest, NEAR_ZERO / 2) / hi)


def quantize_array(x, scale, zero, lo: int, hi: int) -> np.ndarray:
    """Reals as stored integers, i32: x / scale rounded half away from zero, + zero, clamped.

    scale, zero: broadcast against x. In f32 as TFLite's QUANTIZE does it, in f64 where the range
    is beyond f32's integers (32-bit biases). A range beyond 32 bits gives i64, of at most 2**53,
    up to where f64 has all integers. NaN becomes the zero point.
    """
    zero = np.asarray(zero, np.int64)
    stored = np.int32 if -(2**31) <= int(lo) <= int(hi) < 2**31 else np.int64
    low, high = max(int(lo), -(2**53)) - zero, min(int(hi), 2**53) - zero
    real = np.float32 if in_f32(low, high) else np.float64
    with np.errstate(over="ignore", invalid="ignore"):
        value = np.asarray(x, real) / np.asarray(scale, real)
    value = half_away(np.clip(value, low.astype(real), high.astype(real)))
    return (np.where(np.isnan(value), 0, value).astype(np.int64) + zero).astype(stored)


def dequantize_array(q, scale, zero) -> np.ndarray:
    """Stored integers as the f32 reals they stand for: f32(q - zero) * scale.

    TFLite forms the product in f64 and rounds once; up to 16 bits that is the same.
    """
    return (np.asarray(q, np.int64) - zero).astype(np.float32) * np.asarray(scale, np.float32)


def real(type: Type, stored: np.ndarray) -> np.ndarray:
    """What an array stands for, in f64; integers without a grid and truth values as they are."""
    if type.grid is None or type.grid.dynamic:
        return stored.astype(np.float64) if type.is_float else stored
    scale, zero = type.grid.expanded(type.rank)
    return (stored.astype(np.float64) - zero) * scale.astype(np.float64)


def in_f32(low, high) -> bool:
    """Whether f32 holds every integer of [low, high] and the halves between."""
    return max(np.abs(low).max(), np.abs(high).max()) <= EXACT_IN_F32


def half_away(value):
    """Floats rounded to integers, halves away from zero, in their own precision."""
    # trunc(v + 0.5) would round 0.49999997 up; v - trunc(v) is exact.
    whole = np.trunc(value)
    return whole + np.copysign((np.abs(value - whole) >= 0.5).astype(value.dtype), value)
