"""`tf.quantization.quantize` and `dequantize` in their three modes, on arrays.

MIN_COMBINED maps [lo, hi] onto all integers of the type, MIN_FIRST rounds the lower end on its own,
SCALED keeps 0 at 0. All is f32 in the order of steps of TensorFlow's kernels (`quantize_op.cc`,
`dequantize_op.cc`), bit for bit; oneDNN's, which stand in for some of them on x86 unless
TF_ENABLE_ONEDNN_OPTS=0, round otherwise. The steps are stated over an `Arithmetic`, so that the
import of a graph builds the same ones as ops.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import QirError, suggestion
from ..types import DTYPES, DType, dtype_of
from .grids import half_away

TYPES = {"qint8": "i8", "quint8": "u8", "qint16": "i16", "quint16": "u16", "qint32": "i32"}
"""Our storage by TensorFlow's name of a quantized type."""
MODES = ("MIN_COMBINED", "MIN_FIRST", "SCALED")
ROUND_MODES = ("HALF_AWAY_FROM_ZERO", "HALF_TO_EVEN")
MOST = np.finfo(np.float32).max


class Quantized(NamedTuple):
    """Stored integers and the range that they were given, f32, one for all or one an index."""

    stored: np.ndarray
    lo: np.ndarray
    hi: np.ndarray


def quantize(values, lo, hi, type: str, mode: str = "MIN_COMBINED",
             round_mode: str = "HALF_AWAY_FROM_ZERO", narrow_range: bool = False,
             axis: int | None = None, ensure_minimum_range: float = 0.01) -> Quantized:  # fmt: skip
    """Reals as integers, as `tf.quantization.quantize` stores them, and the range that it gives.

    values: f32. lo, hi: numbers, or with an axis one for each of its indices. type: `qint8`,
    `quint8`, `qint16`, `quint16` or `qint32`. round_mode: HALF_TO_EVEN for SCALED alone.
    narrow_range: SCALED leaves out the lowest integer. ensure_minimum_range: hi is raised until the
    range is as wide as this part of its larger end, of 1 at least. Of qint32 what rounds to 2**31
    comes out as the lowest integer, as in TensorFlow's kernels on x86. QirError for what they
    refuse, and for a range that is not finite.
    """
    _among(mode, MODES, "mode"), _among(round_mode, ROUND_MODES, "round mode")
    to = DTYPES[TYPES[_among(type, TYPES, "quantized type")]]
    if round_mode == "HALF_TO_EVEN" and mode != "SCALED":
        raise QirError(f"HALF_TO_EVEN is a round mode of SCALED, found mode {mode}")
    values = np.asarray(values, np.float32)
    lo, hi, shape = _range(values, lo, hi, mode, axis)
    ends = widened(lo, hi, ensure_minimum_range)
    if mode != "SCALED" and (ends[1] - ends[0] <= (to.hi - to.lo) / np.float64(MOST)).any():
        raise QirError(f"the range [{lo}, {hi}] has no width",
                       help="an ensure_minimum_range above 0 gives it one")  # fmt: skip
    whole, lo, hi = quantized(values, *ends, shape, to, mode, round_mode, narrow_range, NUMPY)
    return Quantized(_cast(np.asarray(whole), to), np.asarray(lo), np.asarray(hi))


def dequantize(stored, lo, hi, mode: str = "MIN_COMBINED", narrow_range: bool = False,
               axis: int | None = None) -> np.ndarray:  # fmt: skip
    """What integers stand for between lo and hi, f32, as `tf.quantization.dequantize` has it.

    stored: int8, uint8, int16, uint16 or int32; the rest is as for `quantize`.
    """
    _among(mode, MODES, "mode")
    stored = np.asarray(stored)
    of = dtype_of(stored)
    if of.name not in TYPES.values():
        raise QirError(f"quantized are 8, 16 and 32 bits, found {stored.dtype}",
                       help=f"known: {', '.join(sorted(TYPES.values()))}")  # fmt: skip
    lo, hi, shape = _range(stored, lo, hi, mode, axis)
    return np.asarray(dequantized(stored, lo, hi, shape, of, mode, narrow_range, NUMPY))


@dataclass(frozen=True)
class Arithmetic:
    """What steps are computed with: functions of arrays, or such as build ops.

    real: integers as f32. half_away, half_even: f32 rounded to whole numbers. apart: a product that
    a sum follows, which no compiler is to compute as one with it. capped: what is not above MOST.
    """

    add: Callable
    sub: Callable
    mul: Callable
    least: Callable
    most: Callable
    floor: Callable
    half_away: Callable
    half_even: Callable
    real: Callable
    apart: Callable
    capped: Callable


NUMPY = Arithmetic(
    np.add, np.subtract, np.multiply, np.minimum, np.maximum, np.floor, half_away, np.rint,
    lambda x: x.astype(np.float32), lambda x: x, lambda x: np.clip(x, np.float32(0), MOST),
)  # fmt: skip


def widened(lo: np.ndarray, hi: np.ndarray, part: float) -> tuple[np.ndarray, np.ndarray]:
    """A range that holds zero, at least `part` of its larger end wide, of 1 at least."""
    least = np.minimum(np.float32(0), lo)
    apart = np.maximum(np.float32(1), np.maximum(np.abs(lo), np.abs(hi))) * np.float32(part)
    return least, np.maximum(np.float32(0), np.maximum(hi, least + apart))


def quantized(x, lo, hi, shape, to: DType, mode: str, round_mode: str, narrow: bool,
              by: Arithmetic):  # fmt: skip
    """Whole numbers in f32 that x becomes, and the ends of the range that they stand for.

    lo, hi: f32, `widened`. shape: in which they meet x.
    """
    if mode == "SCALED":
        lowest = np.float32(to.lo + narrow)
        steps = np.minimum(_steps(lowest, lo), _steps(np.float32(to.hi), hi))
        lo, hi = _flushed(lowest / steps), _flushed(np.float32(to.hi) / steps)
        places = by.mul(_clamped(x, lo.reshape(shape), hi.reshape(shape), by), steps.reshape(shape))
        whole = by.half_even if round_mode == "HALF_TO_EVEN" else by.half_away
        return whole(places), lo, hi
    count = _min_first if mode == "MIN_FIRST" else _min_combined
    return count(x, lo.reshape(shape), hi.reshape(shape), to, by), lo, hi


def _min_combined(x, lo, hi, to: DType, by: Arithmetic):
    steps = np.float32(np.float64(to.hi - to.lo) / np.float64(hi - lo))
    above = by.capped(by.mul(by.sub(_clamped(x, lo, hi, by), lo), steps))
    if to.lo == 0:
        return by.floor(by.add(above, np.float32(0.5)))
    half = (np.float32(to.hi) - np.float32(to.lo) + np.float32(1)) / np.float32(2)
    return by.half_away(by.sub(above, half))


def _min_first(x, lo, hi, to: DType, by: Arithmetic):
    steps = np.float32(np.float64(to.hi - to.lo) / np.float64(hi - lo))
    start = half_away(np.float32(lo * steps)) - np.float32(to.lo)
    places = by.sub(by.half_away(by.mul(x, steps)), start)
    return _clamped(places, np.float32(to.lo), _highest(to), by)


def dequantized(stored, lo, hi, shape, of: DType, mode: str, narrow: bool, by: Arithmetic):
    """What integers stand for; lo, hi: f32, shape: in which they meet the integers."""
    lo, hi, reals = lo.reshape(shape), hi.reshape(shape), by.real(stored)
    levels = np.float32(of.hi) - np.float32(of.lo)
    if mode == "SCALED":
        step = hi / np.float32(of.hi)
        if of.lo:
            step = np.maximum(lo / np.float32(of.lo + narrow), step)
        return by.mul(reals, _flushed(step))
    if mode == "MIN_COMBINED":
        half = np.float32(0) if of.lo == 0 else (levels + np.float32(1)) / np.float32(2)
        return by.add(by.apart(by.mul(by.add(reals, half), (hi - lo) / levels)), lo)
    step = np.float32(np.float64(hi - lo) / np.float64(2**of.bits - 1))
    start = lo if hi == lo else half_away(np.float32(lo / step)) * step
    return by.add(by.apart(by.mul(reals, step)), start - np.float32(of.lo) * step)


def _steps(bound: np.float32, end: np.ndarray) -> np.ndarray:
    """How many steps there are to 1 if a bound of the integers is to be an end of the reals."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(bound * end > 0, bound / end, MOST)


def _highest(to: DType) -> np.float32:
    """The highest integer as f32; of 32 bits the highest that f32 holds and a cast keeps."""
    return np.float32(to.hi) if to.bits < 32 else np.nextafter(np.float32(2**31), np.float32(0))


def _clamped(x, lo, hi, by: Arithmetic):
    return by.most(by.least(x, hi), lo)


def _flushed(values) -> np.ndarray:
    """Values with the subnormal ones as zero, which is how TensorFlow's kernels run."""
    values = np.asarray(values)
    return np.where(np.abs(values) < np.finfo(np.float32).tiny, np.float32(0), values)


def _cast(whole: np.ndarray, to: DType) -> np.ndarray:
    """Whole numbers in their storage, as the processor casts them: 2**31 is the lowest of i32."""
    wide = whole.astype(np.int64)
    if to.bits == 32:
        wide = np.where((wide > to.hi) | (wide < to.lo), to.lo, wide)
    return wide.astype(to.numpy)


def _range(values: np.ndarray, lo, hi, mode: str, axis: int | None):
    """The ends of a range as f32, and the shape in which they meet the values."""
    lo, hi = (_flushed(np.asarray(end, np.float32)) for end in (lo, hi))
    wanted, shape = (), ()
    if axis is not None:
        if not 0 <= axis < values.ndim:
            raise QirError(f"axis {axis} of values of shape {list(values.shape)}",
                           help="an axis is counted from the front")  # fmt: skip
        if mode == "MIN_FIRST":
            raise QirError("MIN_FIRST has one range for all values, found an axis",
                           help="MIN_COMBINED and SCALED take one an index of an axis")  # fmt: skip
        wanted = values.shape[axis : axis + 1]
        shape = tuple(n if i == axis else 1 for i, n in enumerate(values.shape))
    for name, end in (("lo", lo), ("hi", hi)):
        if end.shape != wanted:
            raise QirError(f"'{name}' must have the shape {list(wanted)}, found {list(end.shape)}")
    if not (np.isfinite(lo).all() and np.isfinite(hi).all()):
        raise QirError(f"a range is finite, found [{lo}, {hi}]")
    if (lo > hi).any():
        raise QirError(f"the range ends below its start, found [{lo}, {hi}]")
    return lo, hi, shape


def _among(name: str, known, what: str) -> str:
    if name not in known:
        raise QirError(f"unknown {what} '{name}'", help=suggestion(str(name), known))
    return name
