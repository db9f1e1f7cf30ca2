"""Pools, reductions over axes and softmax."""

from math import prod

import numpy as np

from qir.dialects import int8, lax, nn, tfl

from ....errors import require
from ....ir import Op, const
from ....pattern import V, either
from ....rewrite import rule
from ....types import DTYPES, Element, per_tensor
from .fitting import finish, padded, same_rescale, stated


@rule(either(int8.avg_pool, nn.avg_pool)(V.x) @ "op")
def average(op, x):
    """Padding is not counted on either side."""
    image, padding = padded(op, op.attributes["window"])
    require(image is x, "padding that is neither VALID nor SAME would be counted")
    return tfl.average_pool_2d(x, padding=padding, **_window(op), **finish(op))


@rule(nn.max_pool(V.x) @ "op")
def maximum(op):
    """A maximum is the same on reals and on stored integers."""
    image, padding = padded(op, op.attributes["window"], lowest=True)
    return tfl.max_pool_2d(image, padding=padding, **_window(op))


@rule(either(int8.mean, nn.mean)(V.x) @ "op")
def mean_over_axes(op, x):
    """Means over axes."""
    if op.type.grid is not None:
        count = prod(x.shape[axis] for axis in op.attributes["axes"])
        same_rescale(op, x.type.scale / count)
    return tfl.mean(x, axis=op.attributes["axes"], keep_dims=op.attributes["keepdims"],
                    to=stated(op))  # fmt: skip


@rule(either(int8.sum_, nn.sum)(V.x) @ "op")
def sum_over_axes(op, x):
    """Sums over axes."""
    same_rescale(op, x.type.scale)
    return tfl.sum(x, axis=op.attributes["axes"], keep_dims=op.attributes["keepdims"],
                   to=stated(op))  # fmt: skip


REDUCTIONS = {"max": tfl.reduce_max, "min": tfl.reduce_min, "sum": tfl.sum,
              "prod": tfl.reduce_prod}  # fmt: skip


@rule(either(nn.reduce_max, nn.reduce_min, lax.reduce_max, lax.reduce_min, lax.reduce_sum,
             lax.reduce_prod)(V.x) @ "op")  # fmt: skip
def reduced(op, x):
    """Over axes, on stored integers the extrema too."""
    build = REDUCTIONS[op.kind.rpartition("_")[2]]
    return build(x, axis=op.attributes["axes"], keep_dims=op.attributes.get("keepdims", False))


@rule(either(lax.argmax, lax.argmin)(V.x) @ "op")
def place_of_extremum(op, x):
    """Its first place in both."""
    build = tfl.arg_max if op.kind == "lax.argmax" else tfl.arg_min
    require(op.dtype.name in ("i32", "i64"), f"places are i32 or i64, not {op.type}")
    if x.dtype.name == "i16":  # as no kernel compares 16 bits here
        x = tfl.cast(x, to=Element(DTYPES["i32"]), in_data_type="INT16", out_data_type="INT32")
    return build(x, dimension=op.attributes["axis"], output_type=f"INT{op.dtype.bits}")


@rule(int8.softmax(V.x, V.exps) @ "op", nn.softmax(V.x) @ "op")
def probabilities(op, x):
    """Softmax along the last axis."""
    last = op.attributes["axis"] % op.type.rank == op.type.rank - 1
    require(last, "it is not along the last axis")
    return tfl.softmax(x, to=stated(op))


@rule(int8.softmax(V.x, V.exps, V.mask) @ "op", nn.softmax(V.x, V.mask) @ "op")
def masked_probabilities(op, x, mask):
    """Softmax has no mask there: what is left out is set far below what is kept.

    For integers of 8 bits on a wider grid, whose lowest value is that far below the one before;
    those of 16 bits are made real for it.
    """
    axis, to = op.attributes["axis"] % op.type.rank, stated(op)
    require(axis == op.type.rank - 1, "it is not along the last axis")
    if x.type.grid is None:
        return tfl.softmax(tfl.select_v2(mask, x, const(np.float32(-1e9))), to=to)
    if x.dtype.bits == 16:  # its kernel gives 2^-15 to all that is far below
        kept = tfl.select_v2(mask, tfl.dequantize(x), const(np.float32(-1e9)))
        return tfl.quantize(tfl.softmax(kept), to=op.type.element)
    wide = _with_room_below(x.type.element, FAINT - np.log(op.shape[axis]))
    lowest = const(np.asarray(wide.lo, wide.dtype.numpy), wide[()])
    return tfl.softmax(tfl.select_v2(mask, tfl.quantize(x, to=wide), lowest), to=to)


FAINT = np.log(1 / 512)
"""A row's elements that are left out weigh so little together: half a step of the result."""


def _with_room_below(element: Element, by: float) -> Element:
    """The element that reaches so far below the lowest value of another, and as far up."""
    scale, zero = np.float64(element.grid.scale), int(element.grid.zero)
    lowest, highest = ((end - zero) * scale for end in (element.lo, element.hi))
    wide = (highest - lowest - by) / (element.hi - element.lo)
    start = element.lo - np.floor((lowest + by) / wide + 0.5)
    return Element(element.dtype, per_tensor(np.float32(wide), int(start)))


def _window(op: Op) -> dict:
    (height, width), strides = op.attributes["window"], op.attributes["strides"]
    return {"stride_h": strides[0], "stride_w": strides[1], "filter_height": height,
            "filter_width": width}  # fmt: skip


RULES = (average, maximum, mean_over_axes, sum_over_axes, reduced, place_of_extremum,
         probabilities, masked_probabilities)  # fmt: skip
