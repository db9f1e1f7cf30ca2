"""Integer averages and sums: over windows, over axes."""

import numpy as np

from qir import shapes
from qir.attributes import Ints, Padding, Pair
from qir.errors import require
from qir.integer_forms import Wanted, integer_form
from qir.ranges import Range, Register, Span, between, over_axes
from qir.rounding import Rescale, derive
from qir.types import Element, Type
from qir.windows import windows

from .dialect import (
    bounds,
    centred,
    centred_range,
    finished,
    finished_span,
    int8,
    is_clamp,
    is_quantized,
    is_rescale,
    real_scale,
    stored_clamp,
)


@int8.op
def avg_pool(x: Type, *, to: Element, window: Pair, strides: Pair = (1, 1),
             padding: Padding = "valid", clamp: Ints | None = None) -> Type:  # fmt: skip
    """The mean of each window of `x[N,H,W,C]`, padding not counted, rounded half away from zero.

    The result is on the input's grid, as TFLite's AVERAGE_POOL_2D has it.
    """
    is_quantized(x, "the input")
    is_clamp(clamp, to)
    require(x.element == to, f"the result {to} must be on the grid of the input, {x.element}")
    return to[(x.shape[0], *shapes.windowed(x, window, strides, padding), x.shape[3])]


@avg_pool.means
def _(op, x):
    a = op.attributes
    pads = shapes.pads_of(op.operands[0].type, a["window"], a["strides"], a["padding"])
    total = windows(x.astype(np.int32), a["window"], a["strides"], pads).sum((3, 4), np.int32)
    inside = np.ones((1, *x.shape[1:3], 1), np.int32)
    count = windows(inside, a["window"], a["strides"], pads).sum((3, 4), np.int32)
    count = np.maximum(count, 1)
    mean = (np.abs(total) + count // 2) // count * np.sign(total)
    return np.clip(mean, *bounds(op))


@avg_pool.spans
def _(op, x):
    a = op.attributes
    pads = shapes.pads_of(op.operands[0].type, a["window"], a["strides"], a["padding"])
    count = a["window"][0] * a["window"][1]
    x = x.reaching(0) if any(map(any, pads)) else x  # a window of nothing but padding gives 0
    total = Register("the sum of the window", x.times(count))
    size = max(map(abs, total.range.ends))
    half = Register("the sum and half the count", between(0, size + count // 2))
    lo, hi = bounds(op)
    if not (total.fits and half.fits):
        return Span(between(lo, hi), (total,), (half,))
    return Span(Range(x.lo, x.hi, x.mean, x.variance / count).clamped(lo, hi), (total,), (half,))


@int8.op
def mean(x: Type, *, to: Element, rescale: Rescale, axes: Ints, keepdims: bool = False) -> Type:
    """The mean over `axes`: the sum of `x - zero`, rescaled by scale / (count * result scale)."""
    return _reduced(x, to, rescale, axes, keepdims)


@int8.op
def sum_(x: Type, *, to: Element, rescale: Rescale, axes: Ints, keepdims: bool = False) -> Type:
    """The sum of `x - zero` over `axes`, rescaled."""
    return _reduced(x, to, rescale, axes, keepdims)


def _reduced(x: Type, to: Element, rescale: Rescale, axes, keepdims) -> Type:
    is_quantized(x, "the input")
    is_rescale(rescale, 1)
    return to[shapes.reduced(x, axes, keepdims)]


def _total(op, x):
    axes, keepdims = op.attributes["axes"], op.attributes["keepdims"]
    return finished(op, centred(op, 0, x).sum(axes, np.int32, keepdims=keepdims))


def _total_span(op, x):
    shape = op.operands[0].shape
    count = int(np.prod([shape[axis] for axis in op.attributes["axes"]], dtype=np.int64))
    total = over_axes(op, centred_range(op, 0, x)).times(count)
    return finished_span(op, Register("the sum", total))


for _op in (mean, sum_):
    _op.means(_total)
    _op.spans(_total_span)


@integer_form("int8.avg_pool", "nn.avg_pool")
def _(op, wanted: Wanted, x):
    require(wanted.to == x.type.element, "an average pool keeps the grid of its input")
    clamp = stored_clamp(op.attributes.get("clamp"), wanted.to)
    taken = {k: v for k, v in op.attributes.items() if k in ("window", "strides", "padding")}
    return avg_pool(x, to=wanted.to, clamp=clamp, **taken)


@integer_form("int8.mean", "nn.mean")
def _(op, wanted: Wanted, x):
    axes = op.attributes["axes"]
    count = _counted(x.type, axes)
    scale = real_scale(x.type, to=wanted.to) / count
    return mean(x, to=wanted.to, rescale=derive(wanted.rounding, scale), axes=axes,
                keepdims=op.attributes["keepdims"])  # fmt: skip


@integer_form("int8.sum", "nn.sum")
def _(op, wanted: Wanted, x):
    _counted(x.type, op.attributes["axes"])
    rescale = derive(wanted.rounding, real_scale(x.type, to=wanted.to))
    return sum_(x, to=wanted.to, rescale=rescale, axes=op.attributes["axes"],
                keepdims=op.attributes["keepdims"])  # fmt: skip


def _counted(x: Type, axes) -> float:
    """How many values are summed up; their sum must have 32 bits."""
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    require(count * 2**x.dtype.bits < 2**32, f"{count} values of {x.dtype} sum up beyond 32 bits",
            "fewer values, in two steps, or fewer bits")  # fmt: skip
    return float(count)
