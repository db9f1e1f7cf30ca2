"""Pooling over windows of an image, and reductions of whole axes."""

import numpy as np

from qir import shapes
from qir.attributes import Ints, Padding, Pair
from qir.errors import require
from qir.ranges import over_axes
from qir.roles import free, same
from qir.types import Type
from qir.windows import windows

from .dialect import are_floats, nn


@nn.op(grid=same(), on_storage=True)
def max_pool(x: Type, *, window: Pair, strides: Pair, padding: Padding = "valid") -> Type:
    """The greatest element of each window of x[N,H,W,C]; padding never wins."""
    return x.with_shape(_pooled(x, window, strides, padding))


@max_pool.means
def _(op, x):
    a = op.attributes
    pads = shapes.pads_of(op.operands[0].type, a["window"], a["strides"], a["padding"])
    lowest = -np.inf if op.type.is_float else op.type.lo
    return windows(x, a["window"], a["strides"], pads, lowest).max(axis=(3, 4))


@max_pool.spans
def _(op, x):
    return x  # every window holds an element


@nn.op(grid=same())
def avg_pool(x: Type, *, window: Pair, strides: Pair, padding: Padding = "valid") -> Type:
    """The mean of each window of x[N,H,W,C], of its elements inside the image alone."""
    are_floats(x=x)
    return x.with_shape(_pooled(x, window, strides, padding))


@avg_pool.means
def _(op, x):
    a = op.attributes
    pads = shapes.pads_of(op.operands[0].type, a["window"], a["strides"], a["padding"])
    sums = windows(x, a["window"], a["strides"], pads).sum(axis=(3, 4), dtype=x.dtype)
    inside = np.ones((1, *x.shape[1:3], 1), x.dtype)
    return sums / windows(inside, a["window"], a["strides"], pads).sum(axis=(3, 4))


def _pooled(x: Type, window, strides, padding):
    height, width = shapes.windowed(x, window, strides, padding)
    pads = shapes.pads_of(x, window, strides, padding)
    fits = all(low < k and high < k for (low, high), k in zip(pads, window, strict=True))
    require(fits and all(x.shape[1:3]),
            f"a padding of {pads} makes windows {list(window)} of nothing but padding")  # fmt: skip
    return (x.shape[0], height, width, x.shape[3])


@nn.op(grid=free())
def mean(x: Type, *, axes: Ints, keepdims: bool = False) -> Type:
    """The mean over some axes."""
    are_floats(x=x)
    return x.with_shape(shapes.reduced(x, axes, keepdims))


@mean.means
def _(op, x):
    return x.mean(axis=op.attributes["axes"], keepdims=op.attributes["keepdims"])


@nn.op(grid=free())
def sum_(x: Type, *, axes: Ints, keepdims: bool = False) -> Type:
    """The sum over some axes."""
    are_floats(x=x)
    return x.with_shape(shapes.reduced(x, axes, keepdims))


@sum_.means
def _(op, x):
    return x.sum(axis=op.attributes["axes"], keepdims=op.attributes["keepdims"])


def _extremum(x: Type, axes, keepdims: bool) -> Type:
    shape = shapes.reduced(x, axes, keepdims)
    require(all(x.shape[a] for a in axes), f"{x} has no extremum along {list(axes)}")
    return x.with_shape(shape)


@nn.op(grid=same(), on_storage=True)
def reduce_max(x: Type, *, axes: Ints, keepdims: bool = False) -> Type:
    """The greatest element over some axes; on integers of one grid too."""
    return _extremum(x, axes, keepdims)


@reduce_max.means
def _(op, x):
    return x.max(axis=op.attributes["axes"], keepdims=op.attributes["keepdims"])


@reduce_max.spans
def _(op, x):
    return over_axes(op, x)


@nn.op(grid=same(), on_storage=True)
def reduce_min(x: Type, *, axes: Ints, keepdims: bool = False) -> Type:
    """The smallest element over some axes; on integers of one grid too."""
    return _extremum(x, axes, keepdims)


@reduce_min.means
def _(op, x):
    return x.min(axis=op.attributes["axes"], keepdims=op.attributes["keepdims"])


@reduce_min.spans
def _(op, x):
    return over_axes(op, x)
