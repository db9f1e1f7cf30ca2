"""Kernels as XLA runs them best: what `legalize(target=xla)` makes of the affine int8 ops.

Every kernel takes a bias into which the input's zero point is folded already: with padding that
holds the zero point, sum((x - zero) * w) + b = sum(x * w) + (b - zero * sum(w)) everywhere. Inputs
of 8 bits take one of i32; dot, conv and depthwise take inputs of 16 bits with one of i64, and sum
up in 64 bits. A weight stands on a grid only if it has a zero point, which the kernel takes off.
"""

from typing import Literal

import numpy as np

from qir import shapes
from qir.attributes import Ints, Padding, Pair
from qir.dialect import Dialect
from qir.errors import require
from qir.ranges import (
    Range,
    Register,
    Span,
    conv_taps,
    dense_taps,
    depthwise_taps,
    of_array,
    rescaled,
    transposed,
    weighted,
)
from qir.rounding import Rescale, requantize
from qir.types import Element, Type
from qir.windows import conv2d, depthwise_conv2d, integer_matmul, transposed_conv2d

xla = Dialect("xla", "int8 kernels in the shape that XLA runs fast")


Kernel = Literal["valid", "same", "slices", "grouped", "row_windows", "space_to_depth"]
"""How a convolution is computed; qir/targets/xla/choice.py chooses, each gives the same result."""


def _affine(x: Type, w: Type, b: Type, channels: int, to: Element, clamp, most=16) -> None:
    require(x.dtype.bits <= most and x.grid is not None and x.grid.per_tensor,
            f"the input must be of at most {most} bits on one grid, found {x}")  # fmt: skip
    require(w.dtype.kind == "int", f"the weight must hold integers, found {w}")
    require(w.grid is None or w.grid.per_tensor, f"the weight has one zero point, found {w}")
    storage = "i32" if x.dtype.bits <= 8 else "i64"
    require(b.dtype.name == storage and b.shape == (channels,),
            f"the bias must be {storage}[{channels}], found {b}")  # fmt: skip
    _is_clamp(clamp, to)
    require(to.grid is not None and to.grid.per_tensor, f"the result {to} needs one grid")


def _is_clamp(clamp, to: Element) -> None:
    require(clamp is None or len(clamp) == 2, f"a clamp has two bounds, found {clamp}")
    require(clamp is None or to.lo <= clamp[0] <= clamp[1] <= to.hi,
            f"a clamp lies within the storage [{to.lo}, {to.hi}], found {clamp}")  # fmt: skip


def _finished(op, acc):
    return requantize(op.attributes["rescale"], acc, int(op.type.zero), *_bounds(op))


def _bounds(op) -> tuple[int, int]:
    return op.attributes["clamp"] or (op.type.lo, op.type.hi)


def _zero(op) -> int:
    return int(op.operands[0].type.zero)


def _sums(op) -> type:
    """The integers that a kernel sums up in."""
    return np.int32 if op.operands[0].dtype.bits <= 8 else np.int64


def _factor(op, w):
    """The weight without its zero point, which most have not."""
    zero = int(op.operands[1].type.zero)
    return w.astype(np.int32) - zero if zero else w


def _span(op, total: Range, bias: Range | None = None) -> Span:
    what = "the sum of products and bias" if len(op.operands) > 2 else "the sum of products"
    accumulators = (Register(what, total, 8 * np.dtype(_sums(op)).itemsize),)
    return rescaled(op.attributes["rescale"], accumulators, op.type, _bounds(op), bias=bias)


def _affine_span(op, x: Range, w: Range, b: Range, taps_of, padded=False) -> Span:
    """What a kernel spans whose bias holds the zero point; `taps_of` arranges constant weights.

    The zero point is taken out of the bias again: sums are then those of the int8 op, and a bias
    that was cut to 32 bits when the zero point went into it is whole.
    """
    weight, bias, zero = op.operands[1], op.operands[2], _zero(op)
    x = x.reaching(zero) if padded else x
    if not weight.is_const:
        w = w.flat() - int(weight.type.zero)
        return _span(op, (x.flat() * w).times(weight.type.size // op.shape[-1]) + b)
    taps = taps_of(_factor(op, weight.value))
    folded = zero * taps.sum((0, 2), np.int64).reshape(-1)
    if not bias.is_const:
        return _span(op, weighted(x - zero, taps) + folded + b)
    own = of_array((bias.value + folded).astype(_sums(op))[None])
    return _span(op, weighted(x - zero, taps) + own, own)


def _padded(op) -> bool:
    a, (x, w) = op.attributes, (o.type for o in op.operands[:2])
    pads = shapes.pads_of(x, w.shape[:2], a["strides"], a["padding"], a["dilation"])
    return any(map(any, pads))


@xla.op
def dot(x: Type, w: Type, b: Type, *, to: Element, rescale: Rescale, clamp: Ints | None = None,
        layout: Literal["kn", "nk"] = "kn") -> Type:  # fmt: skip
    """`x[...,K]` by a weight stored as [K,N] or [N,K], as one two-dimensional product."""
    require(w.rank == 2, f"the weight must be a matrix, found {w}")
    flat = w if layout == "kn" else w.with_shape(w.shape[::-1])
    shape = shapes.dense(x, flat)
    _affine(x, w, b, shape[-1], to, clamp)
    return to[shape]


@dot.means
def _(op, x, w, b):
    w = w if op.attributes["layout"] == "kn" else w.T
    return _finished(op, integer_matmul(x, _factor(op, w), _sums(op)) + b)


@dot.spans
def _(op, x, w, b):
    stored = op.attributes["layout"]
    return _affine_span(op, x, w, b, lambda w: dense_taps(w if stored == "kn" else w.T))


@xla.op
def conv(x: Type, w: Type, b: Type, *, to: Element, rescale: Rescale, clamp: Ints | None = None,
         strides: Pair = (1, 1), padding: Padding = "valid", dilation: Pair = (1, 1),
         groups: int = 1, kernel: Kernel = "valid") -> Type:  # fmt: skip
    """Convolution of `x[N,H,W,C]` by `w[KH,KW,C/groups,O]`, padded with the zero point.

    kernel: how it is computed; the result is the same for each.
    """
    shape = shapes.conv2d(x, w, strides, padding, dilation, groups)
    _affine(x, w, b, shape[-1], to, clamp)
    _is_for(kernel, strides, dilation, groups)
    return to[shape]


def _is_for(kernel: str, strides, dilation, groups: int) -> None:
    """Require a convolution that the kernel can compute."""
    require(kernel != "grouped" or groups > 1, "the kernel grouped for a convolution of one group")
    require(kernel != "same" or strides == (1, 1), f"the kernel same for strides {list(strides)}")
    require(kernel not in ("row_windows", "space_to_depth") or dilation == (1, 1),
            f"the kernel {kernel} for a dilation of {list(dilation)}")  # fmt: skip


@conv.means
def _(op, x, w, b):
    a, t = op.attributes, op.operands[0].type
    pads = shapes.pads_of(t, w.shape[:2], a["strides"], a["padding"], a["dilation"])
    acc = conv2d(x, _factor(op, w), a["strides"], pads, a["dilation"], a["groups"],
                 pad_value=_zero(op), accumulator=_sums(op))  # fmt: skip
    return _finished(op, acc + b)


@conv.spans
def _(op, x, w, b):
    groups = op.attributes["groups"]
    return _affine_span(op, x, w, b, lambda w: conv_taps(w, groups), _padded(op))


@xla.op
def depthwise(x: Type, w: Type, b: Type, *, to: Element, rescale: Rescale,
              clamp: Ints | None = None, strides: Pair = (1, 1), padding: Padding = "valid",
              dilation: Pair = (1, 1)) -> Type:  # fmt: skip
    """Each channel by its own filters `w[KH,KW,C,M]`, as a sum over taps."""
    shape = shapes.depthwise_conv2d(x, w, strides, padding, dilation)
    _affine(x, w, b, shape[-1], to, clamp)
    return to[shape]


@depthwise.means
def _(op, x, w, b):
    a, t = op.attributes, op.operands[0].type
    pads = shapes.pads_of(t, w.shape[:2], a["strides"], a["padding"], a["dilation"])
    w, sums = _factor(op, w), _sums(op)
    acc = depthwise_conv2d(x, w, a["strides"], pads, a["dilation"], _zero(op), sums)
    return _finished(op, acc + b)


@depthwise.spans
def _(op, x, w, b):
    return _affine_span(op, x, w, b, depthwise_taps, _padded(op))


@xla.op
def transposed_conv(x: Type, w: Type, b: Type, *, to: Element, rescale: Rescale,
                    clamp: Ints | None = None, strides: Pair = (1, 1),
                    padding: Padding = "valid") -> Type:  # fmt: skip
    """Transposed convolution of `x[N,H,W,C]` by `w[KH,KW,C,O]`.

    The holes between input elements are real zeros, so the zero point is taken off the input here
    and not folded into the bias.
    """
    shape = shapes.transposed_conv2d(x, w, strides, padding)
    _affine(x, w, b, shape[-1], to, clamp, most=8)
    return to[shape]


@transposed_conv.means
def _(op, x, w, b):
    a = op.attributes
    crops = shapes.transposed_crops(*(o.type for o in op.operands[:2]), a["strides"], a["padding"])
    x = x.astype(np.int32) - _zero(op)
    acc = transposed_conv2d(x, _factor(op, w), a["strides"], crops)
    return _finished(op, acc + b)


@transposed_conv.spans
def _(op, x, w, b):
    x, weight = (x - _zero(op)).reaching(0), op.operands[1]
    if weight.is_const:
        total = transposed(x, _factor(op, weight.value), op.attributes["strides"])
    else:
        w = w.flat() - int(weight.type.zero)
        total = (x.flat() * w).times(weight.type.size // op.shape[-1])
    return _span(op, total + b, b if op.operands[2].is_const else None)


@xla.op
def batch_dot(a: Type, b: Type, *, to: Element, rescale: Rescale, clamp: Ints | None = None,
              a_axes: Ints | None = None, b_axes: Ints | None = None) -> Type:  # fmt: skip
    """`a[...,M,K]` by `b[...,K,N]`: raw 8-bit products, zero points by row and column sums.

    a_axes, b_axes: where in the operand these axes lie, a permutation; it is read as transposed.
    """
    for side, axes in ((a, a_axes), (b, b_axes)):
        require(side.dtype.bits <= 8 and side.grid is not None and side.grid.per_tensor,
                f"both sides must be 8-bit on one grid, found {side}")  # fmt: skip
        axes = axes or tuple(range(side.rank))
        require(sorted(axes) == list(range(side.rank)),
                f"the axes {list(axes)} are no permutation of those of {side}")  # fmt: skip
    _is_clamp(clamp, to)
    return to[shapes.matmul(_read(a, a_axes), _read(b, b_axes), False, False)]


def _read(side: Type, axes) -> Type:
    return side if axes is None else side.with_shape(side.shape[i] for i in axes)


@batch_dot.means
def _(op, a, b):
    axes = (op.attributes[name] or tuple(range(a.ndim)) for name in ("a_axes", "b_axes"))
    a, b = (side.transpose(order) for side, order in zip((a, b), axes, strict=True))
    left, right = (int(o.type.zero) for o in op.operands)
    rows = a.sum(-1, np.int32, keepdims=True)
    columns = b.sum(-2, np.int32, keepdims=True)
    acc = integer_matmul(a, b) - right * rows - left * columns + left * right * a.shape[-1]
    return _finished(op, acc.astype(np.int32))


@batch_dot.spans
def _(op, a, b):
    left, right = (int(o.type.zero) for o in op.operands)
    depth = op.operands[0].shape[(op.attributes["a_axes"] or (-1,))[-1]]
    last = op.attributes["b_axes"] or range(op.type.rank)
    columns = b if last[-1] == op.type.rank - 1 else b.flat()
    return _span(op, ((a.flat() - left) * (columns - right)).times(depth))
