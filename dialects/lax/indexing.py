"""Ops that read or write at places known at run time."""

from typing import Literal

import numpy as np

from qir.attributes import Ints
from qir.errors import require
from qir.ranges import as_range, union
from qir.roles import INDEX, SAME, Roles, same
from qir.types import Type

from .dialect import alike, axis_of, lax, movable, per_axis
from .movement import stored


def integers(*types: Type) -> None:
    """Indices are plain integers."""
    for x in types:
        require(x.dtype.kind == "int" and x.grid is None, f"indices are integers, found {x}")


@lax.op(grid=same(index=(1,)), moves=True)
def take(x: Type, indices: Type, *, axis: int) -> Type:
    """The slices of x at `indices` along an axis; the indices' shape stands in the axis's place.

    An index outside reads the nearest end, where `jnp.take` would fill in NaN.
    """
    movable(x)
    integers(indices)
    axis = axis_of(x, axis)
    require(x.shape[axis] > 0, f"nothing to take from {x}")
    return x.with_shape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@take.means
def _(op, x, indices):
    return np.take(x, indices, axis=op.attributes["axis"], mode="clip")


def _starts(op) -> Roles:
    return Roles((SAME, *(INDEX,) * (len(op.operands) - 1)), SAME)


@lax.op(grid=_starts, moves=True)
def dynamic_slice(x: Type, *starts: Type, sizes: Ints) -> Type:
    """A block of `sizes` of x at scalar starts, moved inside where it would reach out.

    A size of -1 is the whole axis.
    """
    movable(x)
    per_axis(x, sizes=sizes, starts=starts)
    integers(*starts)
    require(all(s.rank == 0 for s in starts), "starts are scalars, one an axis")
    full = [n if size == -1 else size for n, size in zip(x.shape, sizes, strict=True)]
    require(all(0 <= size <= n for size, n in zip(full, x.shape, strict=True)),
            f"a block of {full} does not fit into {x}")  # fmt: skip
    return x.with_shape(full)


@dynamic_slice.means
def _(op, x, *starts):
    return x[_block(x.shape, starts, op.type.shape)]


def _block(shape, starts, sizes) -> tuple[slice, ...]:
    at = [int(np.clip(s, 0, n - k)) for s, n, k in zip(starts, shape, sizes, strict=True)]
    return tuple(slice(a, a + k) for a, k in zip(at, sizes, strict=True))


def _update_starts(op) -> Roles:
    return Roles((SAME, SAME, *(INDEX,) * (len(op.operands) - 2)), SAME)


@lax.op(grid=_update_starts, moves=True)
def dynamic_update_slice(x: Type, update: Type, *starts: Type) -> Type:
    """x with the block at scalar starts replaced by `update`; starts move as in dynamic_slice."""
    movable(x)
    alike(x, update)
    integers(*starts)
    per_axis(x, starts=starts)
    require(update.rank == x.rank, f"an update of {update} for {x}")
    require(all(k <= n for k, n in zip(update.shape, x.shape, strict=True)),
            f"an update of {update} does not fit into {x}")  # fmt: skip
    return x


@dynamic_update_slice.means
def _(op, x, update, *starts):
    y = x.copy()
    y[_block(x.shape, starts, update.shape)] = update
    return y


@lax.op(grid=same(index=(1,)), moves=True)
def gather(x: Type, indices: Type, *, offset_dims: Ints, collapsed_slice_dims: Ints,
           start_index_map: Ints, operand_batching_dims: Ints = (),
           start_indices_batching_dims: Ints = (), slice_sizes: Ints,
           mode: Literal["clip", "fill"] = "clip", value: float | None = None,
           ) -> Type:  # fmt: skip
    """Slices of x at run-time indices, in XLA's most general form (`jax.lax.gather`).

    The last axis of `indices` holds one start for each axis in `start_index_map`. mode: slices that
    reach outside are moved inside (`clip`) or filled (`fill`) with `value`, unless given with NaN,
    the zero point, the lowest signed or the highest unsigned integer.
    """
    movable(x)
    integers(indices)
    per_axis(x, slice_sizes=slice_sizes)
    require(
        indices.rank >= 1 and indices.shape[-1] == len(start_index_map),
        f"indices {indices} hold no start for each of the axes {list(start_index_map)}",
    )
    require(all(0 <= k <= n for k, n in zip(slice_sizes, x.shape, strict=True)),
            f"a slice of {list(slice_sizes)} does not fit into {x}")  # fmt: skip
    gone = {*collapsed_slice_dims, *operand_batching_dims}
    require(all(slice_sizes[i] == 1 for i in gone if 0 <= i < x.rank),
            f"a slice has one element along the axes {sorted(gone)} that it loses, found "
            f"{list(slice_sizes)}")  # fmt: skip
    offsets = [k for i, k in enumerate(slice_sizes) if i not in gone]
    require(
        len(offsets) == len(offset_dims),
        f"{len(offsets)} axes of a slice remain, 'offset_dims' has {len(offset_dims)}",
    )
    rank = indices.rank - 1 + len(offsets)
    require(len({*offset_dims} & {*range(rank)}) == len(offset_dims),
            f"'offset_dims' {list(offset_dims)} are no {len(offset_dims)} of the {rank} axes of "
            "the result")  # fmt: skip
    batch, shape = iter(indices.shape[:-1]), []
    for axis in range(rank):
        shape.append(offsets[offset_dims.index(axis)] if axis in offset_dims else next(batch))
    return x.with_shape(shape)


@gather.means
def _(op, x, indices):
    a = op.attributes
    out, sizes = op.type.shape, a["slice_sizes"]
    batch_axes = [i for i in range(len(out)) if i not in a["offset_dims"]]
    gone = {*a["collapsed_slice_dims"], *a["operand_batching_dims"]}
    kept = (i for i in range(x.ndim) if i not in gone)
    offset_axes = dict(zip(kept, a["offset_dims"], strict=True))
    inside, places = np.ones((), bool), []
    for axis, n in enumerate(x.shape):
        place = np.zeros((), np.int64)
        if axis in a["start_index_map"]:
            start = indices[..., a["start_index_map"].index(axis)].astype(np.int64)
            start = spread(start, batch_axes, len(out))
            inside = inside & (start >= 0) & (start <= n - sizes[axis])
            place = np.clip(start, 0, n - sizes[axis])
        if axis in a["operand_batching_dims"]:
            which = a["operand_batching_dims"].index(axis)
            place = place + iota(n, batch_axes[a["start_indices_batching_dims"][which]], len(out))
        if axis in offset_axes:
            place = place + iota(sizes[axis], offset_axes[axis], len(out))
        places.append(place)
    result = np.broadcast_to(x[tuple(places)], out)
    if a["mode"] == "clip" or inside.all():
        return result
    return np.where(np.broadcast_to(inside, out), result, _fill(op))


@gather.spans
def _(op, x, indices):
    x = x.flat()
    return union(x, as_range(_fill(op))) if op.attributes["mode"] == "fill" else x


def _fill(op):
    type, value = op.type, op.attributes["value"]
    if value is not None:
        return np.asarray(stored(value, type)).astype(type.dtype.numpy)
    if type.dtype.kind == "float":
        return type.dtype.numpy.type(np.nan)
    if type.grid is not None:  # NaN, quantized
        return type.dtype.numpy.type(type.zero)
    return type.dtype.numpy.type(type.lo if type.lo < 0 else type.hi)


def spread(values: np.ndarray, axes, rank: int) -> np.ndarray:
    """Values with their axes at these places of so many, the others being 1."""
    shape = [1] * rank
    for n, axis in zip(values.shape, axes, strict=True):
        shape[axis] = n
    return values.reshape(shape)


def iota(n: int, axis: int, rank: int) -> np.ndarray:
    """0 to n - 1 along one axis of so many."""
    return spread(np.arange(n), [axis], rank)
