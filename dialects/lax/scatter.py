"""Ops that write or combine slices at places known at run time, in XLA's most general form."""

from typing import Literal

import numpy as np

from qir.attributes import Ints
from qir.errors import require
from qir.roles import keeps_float, same
from qir.types import Type

from .dialect import alike, lax, movable, plain, wide
from .indexing import integers, iota, spread


def _scatter(name: str, combine, doc: str):
    """An op `name(x, indices, updates)`; combine: the ufunc that meets what is there, or None."""

    def typing(
        x: Type, indices: Type, updates: Type, *, update_window_dims: Ints,
        inserted_window_dims: Ints, scatter_dims_to_operand_dims: Ints,
        operand_batching_dims: Ints = (), scatter_indices_batching_dims: Ints = (),
        mode: Literal["clip", "drop"] = "drop",
    ) -> Type:  # fmt: skip
        alike(x, updates)
        movable(x)
        if combine is not None:
            plain(x)
            require(x.dtype.kind != "bool", f"takes numbers, found {x}")
        integers(indices)
        gone = (*inserted_window_dims, *operand_batching_dims)
        windows = tuple(update_window_dims)
        _names_axes(x, scatter_dims_to_operand_dims=scatter_dims_to_operand_dims, gone=gone)
        _names_axes(updates, update_window_dims=windows)
        require(scatter_dims_to_operand_dims, "its slices start along no axis")
        require(indices.rank and indices.shape[-1] == len(scatter_dims_to_operand_dims),
                f"indices {indices} hold no start for each of the axes "
                f"{list(scatter_dims_to_operand_dims)}")  # fmt: skip
        require(len(gone) + len(windows) == x.rank,
                f"{x} has no {len(windows)} axes beside {list(gone)}")  # fmt: skip
        sizes = _sizes(x.rank, updates.shape, windows, gone)
        require(all(k <= n for k, n in zip(sizes, x.shape, strict=True)),
                f"a slice of {sizes} does not fit into {x}")  # fmt: skip
        rest = tuple(n for i, n in enumerate(updates.shape) if i not in windows)
        require(rest == indices.shape[:-1],
                f"updates {updates} hold no slice for each of the places {indices}")  # fmt: skip
        _check_batching(x, indices, operand_batching_dims, scatter_indices_batching_dims)
        return x

    typing.__doc__ = f"""{doc}

    The last axis of `indices` holds one start for each axis in `scatter_dims_to_operand_dims`; the
    other axes are those of `updates` that are no `update_window_dims`. mode: slices that reach
    outside are left out (`drop`) or moved inside (`clip`).
    """
    grid = same(index=(1,)) if combine is None else keeps_float
    op = lax.op(typing, name=name, grid=grid, moves=combine is None)
    op.means(lambda op, x, indices, updates: _written(op, combine, x, indices, updates))
    return op


def _names_axes(x: Type, **lists) -> None:
    for name, axes in lists.items():
        require(len(set(axes)) == len(axes) and all(0 <= i < x.rank for i in axes),
                f"{name} names axes {list(axes)} of {x}")  # fmt: skip


def _check_batching(x: Type, indices: Type, ours, theirs) -> None:
    require(len(ours) == len(theirs) and all(0 <= i < indices.rank - 1 for i in theirs),
            f"batch axes {list(ours)} of {x} and {list(theirs)} of {indices}")  # fmt: skip
    extents = [x.shape[i] for i in ours], [indices.shape[i] for i in theirs]
    require(extents[0] == extents[1], f"batch axes of {x} and {indices} differ: {extents}")


def _sizes(rank: int, updates, windows, gone) -> list[int]:
    """The extents of a slice along each axis of what it is written to."""
    left = iter(windows)
    return [1 if axis in gone else updates[next(left)] for axis in range(rank)]


def _written(op, combine, x, indices, updates):
    places, inside = _places(op.attributes, x.shape, indices, updates.shape)
    y = np.array(x if combine is None else wide(x), copy=True)
    values = updates[inside].astype(y.dtype)
    if combine is None:
        y.reshape(-1)[places[inside]] = values
    else:
        combine.at(y.reshape(-1), places[inside], values)
    return y


def _places(a, shape, indices, updates) -> tuple[np.ndarray, np.ndarray]:
    """Where in the flat x each element of the updates lands, and whether its slice is inside."""
    batch = [i for i in range(len(updates)) if i not in a["update_window_dims"]]
    gone = {*a["inserted_window_dims"], *a["operand_batching_dims"]}
    sizes = _sizes(len(shape), updates, a["update_window_dims"], gone)
    windows = iter(a["update_window_dims"])
    inside, flat = np.ones((), bool), np.zeros((), np.int64)
    for axis, (n, size) in enumerate(zip(shape, sizes, strict=True)):
        place = np.zeros((), np.int64)
        if axis in a["scatter_dims_to_operand_dims"]:
            start = indices[..., a["scatter_dims_to_operand_dims"].index(axis)].astype(np.int64)
            start = spread(start, batch, len(updates))
            if a["mode"] == "drop":
                inside = inside & (start >= 0) & (start <= n - size)
            place = np.clip(start, 0, n - size)
        if axis in a["operand_batching_dims"]:
            which = a["operand_batching_dims"].index(axis)
            at = batch[a["scatter_indices_batching_dims"][which]]
            place = place + iota(n, at, len(updates))
        if axis not in gone:
            place = place + iota(size, next(windows), len(updates))
        flat = flat * n + place
    return np.broadcast_to(flat, updates), np.broadcast_to(inside, updates)


scatter = _scatter("scatter", None, "x with slices of it replaced by those of `updates`.")
scatter_add = _scatter("scatter_add", np.add, "x with the slices of `updates` added to its own.")
scatter_mul = _scatter("scatter_mul", np.multiply, "x with slices of it times those of `updates`.")
scatter_min = _scatter("scatter_min", np.minimum, "x with the lesser of its slices and `updates`.")
scatter_max = _scatter("scatter_max", np.maximum, "x with the greater of its slices and `updates`.")
