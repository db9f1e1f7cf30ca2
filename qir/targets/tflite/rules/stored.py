"""Weights that are stored as integers on a grid or as halves, and read through DEQUANTIZE.

The runtime makes what DEQUANTIZE gives of a constant once, before the first call. It knows scales
per tensor and per axis: weights in blocks are DEQUANTIZE to whole numbers and MUL by their scales.
Readers that want a weight in another order of axes have it stored so.
"""

import numpy as np

from qir.dialects import lax, nn, quant, tfl

from ....errors import Declined, require
from ....ir import Op, const
from ....pattern import V
from ....rewrite import rule
from ....types import Grid, Type, per_tensor


@rule(quant.dequantize(V.x) @ "op")
def dequantized(op, x):
    """Off a grid."""
    grid = x.type.grid
    if grid.block is None:
        return tfl.dequantize(x)
    require(x.is_const, "what is in blocks is computed, only weights are written so")
    require(not grid.zero.any(), "its blocks have zero points")
    before, after = x.shape[: grid.axis], x.shape[grid.axis + 1 :]
    blocks = x.shape[grid.axis] // grid.block
    whole = Type(x.dtype, (*before, blocks, grid.block, *after), per_tensor(1.0))
    name = x.attributes["name"]
    integers = const(x.value.reshape(whole.shape), whole, name, x.location)
    scale = grid.scale.reshape(*before, blocks, 1, *after)
    scales = const(scale, name=f"{name or 'weight'}.scale", location=x.location)
    return tfl.reshape(tfl.mul(tfl.dequantize(integers), scales), new_shape=op.shape)


@rule(quant.widen(V.x))
def widened(x):
    """Halves as f32."""
    require(x.dtype.name == "f16", f"its DEQUANTIZE takes f16, not {x.dtype}; "
            "store weights with to=f16")  # fmt: skip
    return tfl.dequantize(x)


@rule(quant.dense(V.x, V.w) @ "op", quant.dense(V.x, V.w, V.b) @ "op")
def product_of_stored(op, x, w):
    """A product by the reals, which the runtime makes of a constant once."""
    return nn.dense(x, _real(w), *op.operands[2:], clamp=op.attributes["clamp"])


@rule(quant.take(V.x, V.indices) @ "op")
def rows_of_stored(op, x, indices):
    """Rows of a table, by EMBEDDING_LOOKUP if its scales are per tensor or per row."""
    axis, grid = op.attributes["axis"], x.type.grid
    plain = grid is not None and grid.block is None and grid.axis in (None, 0)
    if axis != 0 or not plain or grid.zero.any() or indices.dtype.name != "i32":
        return lax.take(_real(x), indices, axis=axis)
    ends = (const(np.int32(end)) for end in (0, x.shape[0] - 1))
    inside = tfl.minimum(tfl.maximum(indices, next(ends)), next(ends))
    flat = inside if indices.type.rank == 1 else tfl.reshape(inside, new_shape=(-1,))
    rows = tfl.embedding_lookup(flat, x, to=op.type.element)
    return rows if rows.shape == op.shape else tfl.reshape(rows, new_shape=op.shape)


def _real(stored: Op) -> Op:
    return quant.widen(stored) if stored.type.grid is None else quant.dequantize(stored)


def reordered(w: Op, order: tuple[int, ...]) -> Op:
    """A weight with its axes in another order: constants are stored so, others are transposed."""
    if order == tuple(range(len(order))):
        return w
    if w.is_const:
        return _const_reordered(w, order)
    if w.kind == "tfl.dequantize" and w.operands[0].is_const:
        return tfl.dequantize(_const_reordered(w.operands[0], order))
    parts = _blocks_of(w)
    if parts is None:
        return tfl.transpose(w, perm=order)
    integers, scales, axis = parts
    split: list[int] = []
    for i in order:  # blocks and what is in them lie on two axes there
        split += [axis, axis + 1] if i == axis else [i + (i > axis)]
    moved = (reordered(part, tuple(split)) for part in (integers, scales))
    return tfl.reshape(tfl.mul(*moved), new_shape=[w.shape[i] for i in order])


def _const_reordered(w: Op, order: tuple[int, ...]) -> Op:
    grid = w.type.grid
    if grid is not None and grid.axis is not None:
        grid = Grid(grid.scale, grid.zero, order.index(grid.axis), narrow=grid.narrow)
    value = np.ascontiguousarray(w.value.transpose(order))
    return const(value, Type(w.dtype, value.shape, grid), w.attributes["name"], w.location)


def _blocks_of(w: Op) -> tuple[Op, Op, int] | None:
    """Whole numbers, their scales and the axis of blocks, of a weight in blocks."""
    if w.kind != "tfl.reshape" or w.operands[0].kind != "tfl.mul":
        return None
    integers, scales = w.operands[0].operands
    if integers.kind != "tfl.dequantize" or not scales.is_const:
        return None
    for axis in range(w.type.rank):
        inside = w.shape[:axis], w.shape[axis + 1 :]
        blocks = integers.shape[axis : axis + 2]
        if (integers.shape == (*inside[0], *blocks, *inside[1])
                and scales.shape == (*inside[0], *blocks[:1], 1, *inside[1])):  # fmt: skip
            return integers, scales, axis
    return None


def part_of(w: Op, index: int) -> Op:
    """One of the matrices that a weight [N,A,B] holds."""
    if w.is_const:
        return _const_part(w, index)
    if w.kind == "tfl.dequantize" and w.operands[0].is_const:
        return tfl.dequantize(_const_part(w.operands[0], index))
    parts = _blocks_of(w)
    require(parts is not None, f"a weight is computed by {w.kind}")
    return tfl.reshape(tfl.mul(*(part_of(part, index) for part in parts[:2])),
                       new_shape=w.shape[1:])  # fmt: skip


def _const_part(w: Op, index: int) -> Op:
    grid, value = w.type.grid, np.ascontiguousarray(w.value[index])
    if grid is not None and grid.axis == 0:
        zero = grid.zero if grid.zero.ndim == 0 else grid.zero[index]
        grid = Grid(grid.scale[index], zero, narrow=grid.narrow)
    elif grid is not None and grid.axis is not None:
        grid = Grid(grid.scale, grid.zero, grid.axis - 1, narrow=grid.narrow)
    return const(value, Type(w.dtype, value.shape, grid), w.attributes["name"], w.location)


def constant_of(w: Op) -> np.ndarray:
    """The reals of a constant, or of one that is read through DEQUANTIZE."""
    if w.is_const:
        return w.value
    if w.kind == "tfl.dequantize" and w.operands[0].is_const:
        stored = w.operands[0]
        return quant.stored_reals(stored.type, stored.value)
    raise Declined(f"{w.kind} computes what must be a constant")


def flattened(w: Op) -> Op:
    """Filters [KH,KW,C,M] of a depthwise convolution as [1,KH,KW,C*M], with a scale for each."""
    height, width, channels, multiplier = w.shape
    shape = (1, height, width, channels * multiplier)
    if w.kind == "tfl.dequantize" and w.operands[0].is_const:
        return tfl.dequantize(flattened(w.operands[0]))
    if not w.is_const:
        return tfl.reshape(w, new_shape=shape)
    grid = w.type.grid
    if grid is not None and grid.axis is not None:
        spread = {2: lambda part: np.repeat(part, multiplier),
                  3: lambda part: np.tile(part, channels)}  # fmt: skip
        move = spread.get(grid.axis, lambda part: part)
        zero = grid.zero if grid.zero.ndim == 0 else move(grid.zero)
        grid = Grid(move(grid.scale), zero, min(grid.axis + 1, 3), narrow=grid.narrow)
    value = w.value.reshape(shape)
    return const(value, Type(w.dtype, shape, grid), w.attributes["name"], w.location)


RULES = (dequantized, widened, product_of_stored, rows_of_stored)
