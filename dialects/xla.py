"""Kernels as XLA runs them best: what `legalize(target=xla)` makes of the affine int8 ops.

Every kernel takes an i32 bias into which the input's zero point is folded already: with padding
that holds the zero point, sum((x - zero) * w) + b = sum(x * w) + (b - zero * sum(w)) everywhere.
"""

from typing import Literal

import numpy as np

from qir import shapes
from qir.attributes import Ints, Padding, Pair
from qir.dialect import Dialect
from qir.errors import require
from qir.rounding import Rescale, requantize
from qir.types import Element, Type
from qir.windows import conv2d, depthwise_conv2d, integer_matmul, transposed_conv2d

xla = Dialect("xla", "int8 kernels in the shape that XLA runs fast")


Kernel = Literal["valid", "same", "slices", "grouped", "row_windows", "space_to_depth"]
"""How a convolution is computed; qir/targets/xla/choice.py chooses, each gives the same result."""


def _affine(x: Type, w: Type, b: Type, channels: int, to: Element, clamp) -> None:
    require(x.dtype.bits <= 8 and x.grid is not None and x.grid.per_tensor,
            f"the input must be 8-bit on one grid, found {x}")  # fmt: skip
    require(w.dtype.kind == "int", f"the weight must hold integers, found {w}")
    require(b.dtype.name == "i32" and b.shape == (channels,),
            f"the bias must be i32[{channels}], found {b}")  # fmt: skip
    require(clamp is None or len(clamp) == 2, f"a clamp has two bounds, found {clamp}")
    require(to.grid is not None and to.grid.per_tensor, f"the result {to} needs one grid")


def _finished(op, acc):
    clamp = op.attributes["clamp"] or (op.type.lo, op.type.hi)
    return requantize(op.attributes["rescale"], acc, int(op.type.zero), *clamp)


def _zero(op) -> int:
    return int(op.operands[0].type.zero)


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
    return _finished(op, integer_matmul(x, w) + b)


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
    require((kernel == "grouped") == (groups > 1), f"the kernel {kernel} for {groups} groups")
    require(kernel != "same" or strides == (1, 1), f"the kernel same for strides {list(strides)}")
    require(kernel not in ("row_windows", "space_to_depth") or dilation == (1, 1),
            f"the kernel {kernel} for a dilation of {list(dilation)}")  # fmt: skip


@conv.means
def _(op, x, w, b):
    a, t = op.attributes, op.operands[0].type
    pads = shapes.pads_of(t, w.shape[:2], a["strides"], a["padding"], a["dilation"])
    acc = conv2d(x, w, a["strides"], pads, a["dilation"], a["groups"], pad_value=_zero(op))
    return _finished(op, acc + b)


@xla.op
def depthwise(x: Type, w: Type, b: Type, *, to: Element, rescale: Rescale,
              clamp: Ints | None = None, strides: Pair = (1, 1), padding: Padding = "valid",
              dilation: Pair = (1, 1)) -> Type:  # fmt: skip
    """Each channel by its own filters `w[KH,KW,C,M]`, as a sum over taps; i32 accumulators."""
    shape = shapes.depthwise_conv2d(x, w, strides, padding, dilation)
    _affine(x, w, b, shape[-1], to, clamp)
    return to[shape]


@depthwise.means
def _(op, x, w, b):
    a, t = op.attributes, op.operands[0].type
    pads = shapes.pads_of(t, w.shape[:2], a["strides"], a["padding"], a["dilation"])
    acc = depthwise_conv2d(x, w, a["strides"], pads, a["dilation"], pad_value=_zero(op))
    return _finished(op, acc + b)


@xla.op
def transposed_conv(x: Type, w: Type, b: Type, *, to: Element, rescale: Rescale,
                    clamp: Ints | None = None, strides: Pair = (1, 1),
                    padding: Padding = "valid") -> Type:  # fmt: skip
    """Transposed convolution of `x[N,H,W,C]` by `w[KH,KW,C,O]`.

    The holes between input elements are real zeros, so the zero point is taken off the input here
    and not folded into the bias.
    """
    shape = shapes.transposed_conv2d(x, w, strides, padding)
    _affine(x, w, b, shape[-1], to, clamp)
    return to[shape]


@transposed_conv.means
def _(op, x, w, b):
    a = op.attributes
    crops = shapes.transposed_crops(*(o.type for o in op.operands[:2]), a["strides"], a["padding"])
    acc = transposed_conv2d(x.astype(np.int32) - _zero(op), w, a["strides"], crops)
    return _finished(op, acc + b)


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
