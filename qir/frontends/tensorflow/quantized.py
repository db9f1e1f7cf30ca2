"""Imports of quantization proper: reals as integers and back in TensorFlow's three modes.

The numbers are f32 in the order of steps of TensorFlow's own kernels; oneDNN's, which stand in for
some of them on x86 unless TF_ENABLE_ONEDNN_OPTS=0, round otherwise. A product that a sum follows is
clamped to what is finite, which changes nothing and keeps compilers from computing both at once.
"""

import numpy as np

from qir.dialects import lax

from ...errors import require
from ...ir import Op, const
from ...types import dtype
from .elementwise import scalar
from .table import attribute, imports, storage

MOST = np.finfo(np.float32).max


@imports("QuantizeV2")
def quantize(node, x, low, high):
    to, mode = dtype(storage(node.outputs[0].dtype)), attribute(node, "mode")
    require(to.bits <= 16, f"{to} holds more than f32 tells apart")
    low, high, shape = _ends(node, x, low, high)
    least = np.minimum(np.float32(0), low)
    apart = np.maximum(np.float32(1), np.maximum(np.abs(low), np.abs(high)))
    apart = apart * np.float32(attribute(node, "ensure_minimum_range"))
    most = np.maximum(np.float32(0), np.maximum(high, least + apart))
    if mode == "SCALED":
        lowest = np.float32(to.lo + attribute(node, "narrow_range"))
        steps = np.minimum(_steps(lowest, least), _steps(np.float32(to.hi), most))
        least, most = _flushed(lowest / steps), _flushed(np.float32(to.hi) / steps)
        places = lax.mul(_clamped(x, least.reshape(shape), most.reshape(shape)),
                         steps.reshape(shape))  # fmt: skip
        even = attribute(node, "round_mode") == "HALF_TO_EVEN"
        whole = lax.round(places) if even else _half_away(places)
    else:
        count = _min_first if mode == "MIN_FIRST" else _min_combined
        whole = count(x, least.reshape(shape), most.reshape(shape), to)
    return lax.convert(whole, to=to.name), const(least), const(most)


def _ends(node, x: Op, low: Op, high: Op):
    """The ends of a range that must be known, and the shape in which they meet x."""
    require(low.is_const and high.is_const, "the range is computed from an input")
    axis = int(attribute(node, "axis"))
    shape = () if axis == -1 else tuple(n if i == axis else 1 for i, n in enumerate(x.shape))
    ends = [end.value.reshape(-1) if axis != -1 else end.value.reshape(()) for end in (low, high)]
    require((ends[0] <= ends[1]).all(), "the range ends below its start")
    return *ends, shape


def _steps(bound: np.float32, end: np.ndarray) -> np.ndarray:
    """How many steps there are to 1 if a bound of the integers is to be an end of the reals."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(bound * end > 0, bound / end, MOST)


def _min_combined(x, least, most, to):
    steps = np.float32(float(to.hi) - float(to.lo)) / (most - least)
    above = lax.sub(_clamped(x, least, most), least)
    above = lax.clamp(scalar(x, 0), lax.mul(above, steps), scalar(x, MOST))
    if to.lo == 0:
        return lax.floor(lax.add(above, np.float32(0.5)))
    return _half_away(lax.sub(above, np.float32((to.hi - to.lo + 1) / 2)))


def _min_first(x, least, most, to):
    require(not least.ndim, "MIN_FIRST along an axis, which TensorFlow has not either")
    steps = np.float32(np.float64(to.hi - to.lo) / np.float64(most - least))
    start = _half_away_of(least * steps) - np.float32(to.lo)
    places = lax.sub(_half_away(lax.mul(x, steps)), start)
    return _clamped(places, np.float32(to.lo), np.float32(to.hi))


@imports("Dequantize")
def dequantize(node, x, low, high):
    of, mode = x.dtype, attribute(node, "mode")
    low, high, shape = _ends(node, x, low, high)
    low, high = low.reshape(shape), high.reshape(shape)
    reals, levels = lax.convert(x, to="f32"), np.float32(of.hi) - np.float32(of.lo)
    if mode == "SCALED":
        lowest = of.lo + (1 if attribute(node, "narrow_range") else 0)
        step = high / np.float32(of.hi)
        if of.lo:
            step = np.maximum(low / np.float32(lowest), step)
        y = lax.mul(reals, _flushed(step))
    elif mode == "MIN_COMBINED":
        half = np.float32(0) if of.lo == 0 else (levels + np.float32(1)) / np.float32(2)
        y = lax.add(_apart(lax.mul(lax.add(reals, half), (high - low) / levels)), low)
    else:
        require(not low.ndim, "MIN_FIRST along an axis, which TensorFlow has not either")
        step = np.float32(np.float64(high - low) / np.float64(2**of.bits - 1))
        start = low if high == low else _half_away_of(low / step) * step
        y = lax.add(_apart(lax.mul(reals, step)), start - np.float32(of.lo) * step)
    to = storage(node.outputs[0].dtype)
    return y if to == "f32" else lax.convert(y, to=to)


@imports("Bitcast")
def bitcast(node, x):
    to = storage(node.outputs[0].dtype)
    require(to == x.dtype.name, f"the bits of {x.dtype} read as {to}")
    return x


def _clamped(x: Op, least, most) -> Op:
    return lax.max(lax.min(x, _as(most)), _as(least))


def _as(ends) -> Op:
    return const(np.asarray(ends, np.float32))


def _apart(product: Op) -> Op:
    return lax.clamp(scalar(product, -MOST), product, scalar(product, MOST))


def _flushed(values) -> np.ndarray:
    """Values with the subnormal ones as zero, which is how TensorFlow's kernels run."""
    return np.where(np.abs(values) < np.finfo(np.float32).tiny, np.float32(0), values)


def _half_away(x: Op) -> Op:
    """x rounded to whole numbers, halves away from zero."""
    size = lax.abs(x)
    whole = lax.floor(size)
    up = lax.ge(lax.sub(size, whole), scalar(x, 0.5))
    return lax.mul(lax.sign(x), lax.add(whole, lax.convert(up, to="f32")))


def _half_away_of(value: np.float32) -> np.float32:
    return np.float32(np.copysign(np.floor(np.abs(np.float64(value)) + 0.5), value))
