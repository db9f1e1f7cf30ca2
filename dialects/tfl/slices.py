"""Ops that take parts of a tensor, at places a file states or computes."""

from math import prod

import numpy as np

from qir.attributes import Ints
from qir.errors import require
from qir.expansions import expands
from qir.ir import const, item
from qir.shapes import open_batch, open_ends
from qir.types import Element, TupleType, Type

from .. import lax, quant
from .dialect import builtin, on, regridded


@builtin("SLICE", "SliceOptions", slots="x begin size")
def slice_(x: Type, *, begin: Ints, size: Ints, to: Element | None = None) -> Type:
    """A block of x from `begin` on; a size of -1 reaches to the end of the axis."""
    require(len(begin) == len(size) == x.rank, f"{list(begin)}, {list(size)} for {x}")
    shape = _sizes(x, begin, size)
    require(all(a >= 0 and k >= 0 and a + k <= n
                for a, k, n in zip(begin, shape, x.shape, strict=True)),
            f"no block of {list(size)} at {list(begin)} lies in {x}")  # fmt: skip
    return on(x, shape, to)


def _sizes(x: Type, begin: Ints, size: Ints) -> tuple[int, ...]:
    return tuple(n - a if k == -1 else k for n, a, k in zip(x.shape, begin, size, strict=True))


@expands(slice_)
def _(op, kernels, x):
    begin = op.attributes["begin"]
    ends = [a + k for a, k in zip(begin, op.shape, strict=True)]
    return regridded(lax.slice(x, start=begin, limit=open_ends(x.shape, ends)), op)


@builtin("STRIDED_SLICE", "StridedSliceOptions", slots="x begin end strides")
def strided_slice(x: Type, *, begin: Ints, end: Ints, strides: Ints, begin_mask: int = 0,
                  end_mask: int = 0, ellipsis_mask: int = 0, new_axis_mask: int = 0,
                  shrink_axis_mask: int = 0, offset: bool = False,
                  to: Element | None = None) -> Type:  # fmt: skip
    """numpy's `x[begin:end:strides, ...]`; bit i of a mask says what entry i is.

    begin_mask, end_mask: none is stated. ellipsis_mask: as many axes as are left. new_axis_mask: a
    new axis of one element. shrink_axis_mask: one element, and no axis. offset: `end` counts from
    `begin`.
    """
    return on(x, _result(_places(x, locals())), to)


NEW = object()
"""Stands among the places for an axis that is put in."""


def _result(places) -> tuple[int, ...]:
    return tuple(1 if p is NEW else len(p) for p in places if not isinstance(p, int))


def _places(x: Type, a: dict) -> list:
    """What each entry takes: a range of places along the next axis of x, one place, or NEW."""
    entries = list(zip(a["begin"], a["end"], a["strides"], strict=False))
    require(len(a["begin"]) == len(a["end"]) == len(a["strides"]), "entries of unequal length")

    def marked(name: str, i: int) -> bool:
        return bool(a[f"{name}_mask"] >> i & 1)

    require(sum(marked("ellipsis", i) for i in range(len(entries))) <= 1, "two ellipses")
    taken = sum(not marked("ellipsis", i) and not marked("new_axis", i)
                for i in range(len(entries)))  # fmt: skip
    require(taken <= x.rank, f"{taken} axes of {x} are sliced")
    found: list = []
    lengths = iter(x.shape)
    for i, (begin, end, step) in enumerate(entries):
        if marked("ellipsis", i):
            found += [range(next(lengths)) for _ in range(x.rank - taken)]
        elif marked("new_axis", i):
            found.append(NEW)
        elif marked("shrink_axis", i):
            n = next(lengths)
            require(-n <= begin < n, f"there is no place {begin} among {n}")
            found.append(begin % n)
        else:
            require(step != 0, "a stride is 0")
            end = begin + end if a["offset"] else end
            ends = (None if marked("begin", i) else begin, None if marked("end", i) else end)
            found.append(range(*slice(*ends, step).indices(next(lengths))))
    return found + [range(n) for n in lengths]


@expands(strided_slice)
def _(op, kernels, x):
    places = _places(x.type, op.attributes)
    along = [range(p, p + 1) if isinstance(p, int) else p for p in places if p is not NEW]
    back = [axis for axis, r in enumerate(along) if r.step < 0 and len(r)]
    # backwards from the last place taken: turned round, a range goes forwards from there
    rows = [_turned(r, n) if axis in back else r
            for axis, (r, n) in enumerate(zip(along, x.shape, strict=True))]  # fmt: skip
    x = lax.reverse(x, axes=back) if back else x
    start = [r.start if len(r) else 0 for r in rows]
    limit = [r[-1] + 1 if len(r) else 0 for r in rows]
    steps = [max(r.step, 1) for r in rows]
    x = lax.slice(x, start=start, limit=open_ends(x.shape, limit), strides=steps)
    shape = open_batch(op.shape) if places and isinstance(places[0], range) else op.shape
    return regridded(lax.reshape(x, shape=shape), op)


def _turned(r: range, n: int) -> range:
    return range(n - 1 - r[0], n - r[-1], -r.step)


@builtin("GATHER", "GatherOptions")
def gather(x: Type, indices: Type, *, axis: int = 0, batch_dims: int = 0,
           to: Element | None = None) -> Type:  # fmt: skip
    """The slices of x at `indices` along an axis, whose place the indices' shape takes.

    batch_dims: so many first axes are those of x and of the indices alike.
    """
    axis, batch = _gathered(x, indices, axis, batch_dims)
    return on(x, (*x.shape[:axis], *indices.shape[batch:], *x.shape[axis + 1 :]), to)


def _gathered(x: Type, indices: Type, axis: int, batch_dims: int) -> tuple[int, int]:
    require(-x.rank <= axis < x.rank, f"{x} has no axis {axis}")
    require(indices.dtype.kind == "int" and indices.grid is None, f"takes indices, not {indices}")
    axis, batch = axis % x.rank, batch_dims + (indices.rank if batch_dims < 0 else 0)
    require(0 <= batch <= min(axis, indices.rank) and x.shape[:batch] == indices.shape[:batch],
            f"{x} and {indices} do not share {batch_dims} axes before axis {axis}")  # fmt: skip
    require(x.shape[axis] > 0, f"there is nothing to gather from {x}")
    return axis, batch


@expands(gather)
def _(op, kernels, x, indices):
    a = op.attributes
    axis, batch = _gathered(x.type, indices.type, a["axis"], a["batch_dims"])
    if not batch:
        return regridded(lax.take(x, indices, axis=axis), op)
    rows = indices.type.rank - batch
    shared = range(batch)
    sizes = [1 if i < batch or i == axis else n for i, n in enumerate(x.shape)]
    return regridded(lax.gather(
        x, lax.reshape(indices, shape=open_batch((*indices.shape, 1))), slice_sizes=sizes,
        offset_dims=(*range(batch, axis), *range(axis + rows, op.type.rank)),
        collapsed_slice_dims=(axis,), start_index_map=(axis,), operand_batching_dims=shared,
        start_indices_batching_dims=shared,
    ), op)  # fmt: skip


@builtin("GATHER_ND", "GatherNdOptions")
def gather_nd(x: Type, indices: Type, *, to: Element | None = None) -> Type:
    """The slices of x at the index tuples in the last axis of `indices`."""
    require(indices.rank >= 1 and indices.dtype.kind == "int" and indices.grid is None
            and indices.shape[-1] <= x.rank,
            f"takes index tuples, found {indices} for {x}")  # fmt: skip
    return on(x, (*indices.shape[:-1], *x.shape[indices.shape[-1] :]), to)


@expands(gather_nd)
def _(op, kernels, x, indices):
    depth, rows = indices.shape[-1], indices.type.rank - 1
    return regridded(lax.gather(
        x, indices, slice_sizes=(*(1,) * depth, *x.shape[depth:]), start_index_map=range(depth),
        offset_dims=range(rows, op.type.rank), collapsed_slice_dims=range(depth),
    ), op)  # fmt: skip


@builtin("EMBEDDING_LOOKUP")
def embedding_lookup(indices: Type, values: Type, *, to: Element | None = None) -> Type:
    """The rows of `values` at `indices`; of integers on a grid, the reals if `to` is f32."""
    require(indices.dtype.name == "i32" and indices.rank == 1 and indices.grid is None
            and values.rank >= 2 and values.shape[0],
            f"looks {indices} up in {values}")  # fmt: skip
    return on(values, (*indices.shape, *values.shape[1:]), to)


@expands(embedding_lookup)
def _(op, kernels, indices, values):
    if op.type.is_float and values.type.grid is not None:
        values = quant.dequantize(values)
    return regridded(lax.take(values, indices, axis=0), op)


def _parts(x: Type, sizes, axis: int) -> TupleType:
    require(-x.rank <= axis < x.rank, f"{x} has no axis {axis}")
    axis %= x.rank
    require(min(sizes, default=0) >= 0 and sum(sizes) == x.shape[axis],
            f"parts of {list(sizes)} do not make up the {x.shape[axis]} of {x}")  # fmt: skip
    return TupleType(tuple(x.with_shape((*x.shape[:axis], n, *x.shape[axis + 1 :]))
                           for n in sizes))  # fmt: skip


@builtin("SPLIT", "SplitOptions", slots="axis x")
def split(x: Type, *, axis: int, num_splits: int) -> TupleType:
    """Parts of one size along an axis, one result each."""
    require(num_splits > 0 and -x.rank <= axis < x.rank and x.shape[axis] % num_splits == 0,
            f"{x} has no {num_splits} parts of one size along axis {axis}")  # fmt: skip
    return _parts(x, (x.shape[axis] // num_splits,) * num_splits, axis)


@builtin("SPLIT_V", "SplitVOptions", slots="x size_splits axis")
def split_v(x: Type, *, size_splits: Ints, axis: int, num_splits: int) -> TupleType:
    """Parts of these sizes along an axis, one result each; a size of -1 is what is left."""
    require(len(size_splits) == num_splits and size_splits.count(-1) <= 1,
            f"{list(size_splits)} are no {num_splits} sizes")  # fmt: skip
    require(-x.rank <= axis < x.rank, f"{x} has no axis {axis}")
    rest = x.shape[axis] - sum(n for n in size_splits if n != -1)
    return _parts(x, [rest if n == -1 else n for n in size_splits], axis)


@expands(split, split_v)
def _(op, kernels, x):
    axis = op.attributes["axis"] % x.type.rank
    return lax.split(x, sizes=[each.shape[axis] for each in op.type.items], axis=axis)


@builtin("UNPACK", "UnpackOptions")
def unpack(x: Type, *, num: int, axis: int = 0) -> TupleType:
    """The slices along an axis, which they do not have, one result each."""
    require(-x.rank <= axis < x.rank and x.shape[axis] == num,
            f"{x} has no {num} slices along axis {axis}")  # fmt: skip
    axis %= x.rank
    return TupleType((x.with_shape((*x.shape[:axis], *x.shape[axis + 1 :])),) * num)


@expands(unpack)
def _(op, kernels, x):
    axis, num = op.attributes["axis"] % x.type.rank, op.attributes["num"]
    parts = lax.split(x, sizes=(1,) * num, axis=axis)
    # the slices lead with the batch, be they of what is batch or what is time first
    return tuple(lax.reshape(item(parts, i), shape=open_batch(each.shape))
                 for i, each in enumerate(op.type.items))  # fmt: skip


@builtin("DYNAMIC_UPDATE_SLICE", "DynamicUpdateSliceOptions")
def dynamic_update_slice(x: Type, update: Type, starts: Type) -> Type:
    """x with the block at `starts` replaced by `update`, moved inside where it would reach out."""
    require(update.element == x.element and update.rank == x.rank == starts.size,
            f"updates {x} by {update} at {starts}")  # fmt: skip
    return x


@expands(dynamic_update_slice)
def _(op, kernels, x, update, starts):
    starts = [lax.reshape(lax.slice(starts, start=(i,), limit=(i + 1,)), shape=())
              for i in range(starts.shape[0])]  # fmt: skip
    return lax.dynamic_update_slice(x, update, *starts)


@builtin("SCATTER_ND", "ScatterNdOptions", slots="indices updates shape")
def scatter_nd(indices: Type, updates: Type, *, shape: Ints) -> Type:
    """Zeros of a shape with slices at the index tuples in the last axis of `indices`."""
    require(indices.rank >= 1 and indices.dtype.kind == "int"
            and indices.shape[-1] <= len(shape),
            f"takes index tuples, found {indices}")  # fmt: skip
    wanted = (*indices.shape[:-1], *shape[indices.shape[-1] :])
    require(updates.shape == wanted, f"the updates must be {list(wanted)}, found {updates}")
    return updates.with_shape(shape)


@expands(scatter_nd)
def _(op, kernels, indices, updates):
    require(indices.is_const, "the indices are computed")
    shape, depth = op.shape, indices.shape[-1]
    tuples = indices.value.reshape(-1, depth)
    require(((tuples >= 0) & (tuples < shape[:depth])).all(), f"an index lies outside {shape}")
    places = np.ravel_multi_index(tuple(tuples.T), shape[:depth]) if depth else np.zeros(1, int)
    require(len(set(places.tolist())) == len(places), "two updates of one place")
    count, inner = prod(shape[:depth]), prod(shape[depth:])
    source = np.full(count, len(places), np.int32)  # where nothing is put: the zeros at the end
    source[places] = np.arange(len(places))
    zeros = const(np.zeros((1, inner), updates.dtype.numpy), updates.type.with_shape((1, inner)))
    rows = lax.concatenate(lax.reshape(updates, shape=(-1, inner)), zeros, axis=0)
    return lax.reshape(lax.take(rows, const(source), axis=0), shape=shape)
