"""Imports of primitives that move elements.

A leading extent that comes from an operand is written -1, so that the graph serves any batch.
"""

from qir.dialects import lax

from ...dialect import items
from ...errors import require
from .table import imports


@imports("reshape")
def reshape(equation, x):
    require(equation.params.get("dimensions") is None, "reshape with dimensions is not imported")
    return lax.reshape(x, shape=_inferred(x.shape, equation.params["new_sizes"]))


def _inferred(old, new) -> tuple[int, ...]:
    """`new` with -1 where the leading extent of `old` went: after the ones put before it."""
    new = tuple(int(n) for n in new)
    if not old or 0 in new:
        return new
    at = 0
    while old[0] != 1 and at < len(new) - 1 and new[at] == 1:
        at += 1
    return _with_unknown(new, at)


def _with_unknown(shape, at: int) -> tuple[int, ...]:
    return tuple(-1 if i == at and 0 not in shape else n for i, n in enumerate(shape))


@imports("squeeze")
def squeeze(equation, x):
    gone = {d % x.type.rank for d in equation.params["dimensions"]}
    shape = tuple(n for i, n in enumerate(x.shape) if i not in gone)
    return lax.reshape(x, shape=shape if 0 in gone else _with_unknown(shape, 0))


@imports("broadcast_in_dim")
def broadcast_in_dim(equation, x):
    shape = tuple(int(n) for n in equation.params["shape"])
    axes = tuple(equation.params["broadcast_dimensions"])
    if shape == x.shape:
        return x
    if tuple(shape[a] for a in axes) == x.shape and all(
        n == 1 for i, n in enumerate(shape) if i not in axes
    ):
        return lax.reshape(x, shape=_with_unknown(shape, axes[0]) if axes else shape)
    extents = dict(zip(axes, x.shape, strict=True))
    known = tuple(-1 if extents.get(i) == n else n for i, n in enumerate(shape))
    return lax.broadcast(x, shape=known, axes=axes)


@imports("transpose")
def transpose(equation, x):
    return lax.transpose(x, permutation=tuple(equation.params["permutation"]))


@imports("concatenate")
def concatenate(equation, *xs):
    return lax.concatenate(*xs, axis=equation.params["dimension"])


@imports("stack")
def stack(equation, *xs):
    axis = equation.params["axis"]
    return lax.concatenate(*(_with_axis(x, axis) for x in xs), axis=axis)


def _with_axis(x, axis: int):
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    return lax.reshape(x, shape=_with_unknown(shape, 1 if axis == 0 else 0) if x.shape else shape)


@imports("unstack")
def unstack(equation, x):
    axis = equation.params["axis"]
    shape = tuple(n for i, n in enumerate(x.shape) if i != axis)
    shape = shape if axis == 0 else _with_unknown(shape, 0)
    parts = items(lax.split(x, sizes=(1,) * x.shape[axis], axis=axis))
    return tuple(lax.reshape(part, shape=shape) for part in parts)


@imports("tile")
def tile(equation, x):
    for axis, count in enumerate(equation.params["reps"]):
        x = lax.concatenate(*[x] * count, axis=axis) if count != 1 else x
    return x


@imports("pad")
def pad(equation, x, value):
    require(value.is_const, "the padding value must be a constant")
    low, high, interior = zip(*equation.params["padding_config"], strict=True)
    interior = interior if any(interior) else None
    return lax.pad(x, low=low, high=high, interior=interior, value=float(value.value))


@imports("slice")
def slice_(equation, x):
    p = equation.params
    strides = p["strides"] if p["strides"] and any(s != 1 for s in p["strides"]) else None
    limit = _whole(x, p["limit_indices"])
    return lax.slice(x, start=p["start_indices"], limit=limit, strides=strides)


def _whole(x, extents) -> tuple[int, ...]:
    """Extents with -1 in front where they are that of x."""
    extents = tuple(int(n) for n in extents)
    return (-1, *extents[1:]) if extents[:1] == x.shape[:1] else extents


@imports("split")
def split(equation, x):
    sizes = tuple(int(n) for n in equation.params["sizes"])
    return lax.split(x, sizes=sizes, axis=equation.params["axis"])


@imports("rev")
def rev(equation, x):
    return lax.reverse(x, axes=tuple(equation.params["dimensions"]))


@imports("dynamic_slice")
def dynamic_slice(equation, x, *starts):
    sizes = equation.params["slice_sizes"]
    require(len(starts) == x.type.rank, "dynamic shapes are not imported")
    if not all(s.is_const for s in starts):
        return lax.dynamic_slice(x, *starts, sizes=_whole(x, sizes))
    room = zip(starts, x.shape, sizes, strict=True)
    start = [min(max(0, int(s.value)), n - k) for s, n, k in room]
    limit = [a + k for a, k in zip(start, sizes, strict=True)]
    return lax.slice(x, start=start, limit=_whole(x, limit))


@imports("dynamic_update_slice")
def dynamic_update_slice(equation, x, update, *starts):
    return lax.dynamic_update_slice(x, update, *starts)


@imports("gather")
def gather(equation, x, indices):
    p = equation.params
    d, sizes = p["dimension_numbers"], tuple(int(n) for n in p["slice_sizes"])
    axis = _taken_axis(x, indices, d, sizes)
    if axis is not None:
        return lax.take(x, lax.reshape(indices, shape=_lead(indices.shape[:-1])), axis=axis)
    fill = p["mode"].name == "FILL_OR_DROP"
    require(not fill or _usual_fill(p["fill_value"]), f"gather fills in {p['fill_value']}")
    return lax.gather(
        x, indices, slice_sizes=sizes, mode="fill" if fill else "clip",
        offset_dims=d.offset_dims, collapsed_slice_dims=d.collapsed_slice_dims,
        start_index_map=d.start_index_map, operand_batching_dims=d.operand_batching_dims,
        start_indices_batching_dims=d.start_indices_batching_dims,
    )  # fmt: skip


def _usual_fill(value) -> bool:
    return value is None or value != value


def _lead(shape) -> tuple[int, ...]:
    return _with_unknown(tuple(shape), 0)


def _taken_axis(x, indices, d, sizes) -> int | None:
    """The axis along which a gather takes whole slices of x, None if it does anything else."""
    one = len(d.start_index_map) == 1 and not d.operand_batching_dims
    if not one or tuple(d.collapsed_slice_dims) != tuple(d.start_index_map):
        return None
    (axis,) = d.start_index_map
    whole = all(k == n for i, (k, n) in enumerate(zip(sizes, x.shape, strict=True)) if i != axis)
    rank = indices.type.rank - 1
    rest = x.type.rank - 1
    in_place = [i for i in range(rank + rest) if not axis <= i < axis + rank]
    return axis if whole and list(d.offset_dims) == in_place and sizes[axis] == 1 else None
