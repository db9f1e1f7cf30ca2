"""Imports of primitives that read or write at places known at run time."""

import numpy as np

from qir.dialects import lax

from ...errors import require
from ...ir import const
from .movement import whole, with_unknown
from .table import imports


@imports("dynamic_slice")
def dynamic_slice(equation, x, *starts):
    sizes = equation.params["slice_sizes"]
    require(len(starts) == x.type.rank, "dynamic shapes are not imported")
    if not all(s.is_const for s in starts):
        return lax.dynamic_slice(x, *starts, sizes=whole(x, sizes))
    room = zip(starts, x.shape, sizes, strict=True)
    start = [min(max(0, int(s.value)), n - k) for s, n, k in room]
    limit = [a + k for a, k in zip(start, sizes, strict=True)]
    return lax.slice(x, start=start, limit=whole(x, limit))


@imports("dynamic_update_slice")
def dynamic_update_slice(equation, x, update, *starts):
    return lax.dynamic_update_slice(x, update, *starts)


@imports("gather")
def gather(equation, x, indices):
    p = equation.params
    d, sizes = p["dimension_numbers"], tuple(int(n) for n in p["slice_sizes"])
    fill = p["mode"].name == "FILL_OR_DROP"
    value = p["fill_value"] if fill and not _usual_fill(x, p["fill_value"]) else None
    axis = _taken_axis(x, indices, d, sizes)
    if axis is not None and value is None:  # where nothing is said of it, NaN is the nearest end
        return lax.take(x, lax.reshape(indices, shape=_lead(indices.shape[:-1])), axis=axis)
    return lax.gather(
        x, indices, slice_sizes=sizes, mode="fill" if fill else "clip",
        value=None if value is None else float(value),
        offset_dims=d.offset_dims, collapsed_slice_dims=d.collapsed_slice_dims,
        start_index_map=d.start_index_map, operand_batching_dims=d.operand_batching_dims,
        start_indices_batching_dims=d.start_indices_batching_dims,
    )  # fmt: skip


def _usual_fill(x, value) -> bool:
    """Whether lookups outside give what they do where nothing is said of it."""
    if value is None or value != value:
        return True
    return x.dtype.kind == "int" and value == (x.type.lo if x.type.lo < 0 else x.type.hi)


def _lead(shape) -> tuple[int, ...]:
    return with_unknown(tuple(shape), 0)


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


_COMBINE = {"scatter": (lax.scatter, None), "scatter-add": (lax.scatter_add, lax.add),
            "scatter-mul": (lax.scatter_mul, lax.mul), "scatter-min": (lax.scatter_min, lax.min),
            "scatter-max": (lax.scatter_max, lax.max)}  # fmt: skip


@imports(*_COMBINE, "scatter-sub")
def scatter(equation, x, indices, updates):
    p, name = equation.params, equation.primitive.name
    if name == "scatter-sub":
        name, updates = "scatter-add", lax.neg(updates)
    body = p["update_jaxpr"]
    require(name != "scatter" or body is None or not body.eqns,
            "it applies a function to what is there")  # fmt: skip
    whole_op, combine = _COMBINE[name]
    d, drops = p["dimension_numbers"], p["mode"].name != "CLIP"
    left = iter(updates.shape)
    sizes = [1 if axis in d.inserted_window_dims else next(left) for axis in range(x.type.rank)]
    starts = _one_place(x, indices, sizes, d, drops)
    if starts is not None:
        block = lax.reshape(updates, shape=sizes)
        if combine is not None:
            block = combine(lax.dynamic_slice(x, *starts, sizes=whole(x, sizes)), block)
        return lax.dynamic_update_slice(x, block, *starts)
    return whole_op(
        x, indices, updates, mode="drop" if drops else "clip",
        update_window_dims=d.update_window_dims, inserted_window_dims=d.inserted_window_dims,
        scatter_dims_to_operand_dims=d.scatter_dims_to_operand_dims,
        operand_batching_dims=d.operand_batching_dims,
        scatter_indices_batching_dims=d.scatter_indices_batching_dims,
    )  # fmt: skip


def _one_place(x, indices, sizes, d, drops: bool):
    """The starts of the only slice that is written; None if there are several, or none."""
    if indices.type.rank != 1 or not indices.is_const:
        return None
    starts = dict(zip(d.scatter_dims_to_operand_dims, map(int, indices.value), strict=True))
    outside = any(not 0 <= at <= x.shape[axis] - sizes[axis] for axis, at in starts.items())
    if drops and outside:
        return None
    return [const(np.int32(starts.get(axis, 0))) for axis in range(x.type.rank)]
