"""Ops that move elements and compute nothing; they work on every storage, quantized ones too."""

import math

import numpy as np

from qir.attributes import Ints
from qir.errors import require
from qir.ranges import as_range, joined, union
from qir.roles import same
from qir.types import Grid, TupleType, Type

from .dialect import alike, axis_of, lax, movable, per_axis


@lax.op(grid=same(), moves=True)
def reshape(x: Type, *, shape: Ints) -> Type:
    """The same elements in row-major order under another shape; one extent may be -1 (inferred)."""
    movable(x)
    known = math.prod(n for n in shape if n != -1)
    require(shape.count(-1) <= 1 and all(n >= -1 for n in shape),
            f"at most one extent may be -1 and none lower, found {list(shape)}")  # fmt: skip
    inferred = x.size // known if -1 in shape and known else 1
    require(known * inferred == x.size and (known or -1 not in shape),
            f"{x.size} elements of {x} do not fill {list(shape)}")  # fmt: skip
    return x.with_shape(inferred if n == -1 else n for n in shape)


@reshape.means
def _(op, x):
    return x.reshape(op.type.shape)


@reshape.spans
def _(op, x):
    before, after = (t.shape[-1] if t.rank else 1 for t in (op.operands[0].type, op.type))
    if before and after % before == 0:  # several rows of channels in one
        return x.mapped(lambda a: np.tile(a, after // before))
    return x.flat()


@lax.op(grid=same(), moves=True)
def transpose(x: Type, *, permutation: Ints) -> Type:
    """Axis i of the result is axis permutation[i] of x; a grid along an axis moves with it."""
    require(sorted(permutation) == list(range(x.rank)),
            f"{list(permutation)} is no permutation of the axes of {x}")  # fmt: skip
    shape = tuple(x.shape[axis] for axis in permutation)
    if x.grid is None or x.grid.axis is None:
        movable(x)
        return x.with_shape(shape)
    require(x.grid.block is None, f"moves no blockwise grid, found {x}")
    axis = permutation.index(x.grid.axis)
    return Type(x.dtype, shape, Grid(x.grid.scale, x.grid.zero, axis, narrow=x.grid.narrow))


@transpose.means
def _(op, x):
    return x.transpose(op.attributes["permutation"])


@transpose.spans
def _(op, x):
    return x if op.type.rank and op.attributes["permutation"][-1] == op.type.rank - 1 else x.flat()


@lax.op(grid=same(), moves=True)
def broadcast(x: Type, *, shape: Ints, axes: Ints) -> Type:
    """Axis i of x becomes axis axes[i] of the result; other axes, and extents of 1, repeat.

    An extent of -1 is that of the axis of x that lands there.
    """
    movable(x)
    require(
        len(axes) == x.rank and list(axes) == sorted(set(axes) & set(range(len(shape)))),
        f"{list(axes)} must be {x.rank} increasing axes of a rank {len(shape)} result",
    )
    full = list(shape)
    for n, axis in zip(x.shape, axes, strict=True):
        full[axis] = n if shape[axis] == -1 else shape[axis]
        require(n in (1, full[axis]), f"an extent of {n} does not repeat to {full[axis]}")
    require(all(n >= 0 for n in full), f"no axis of {x} lands where {list(shape)} has -1")
    return x.with_shape(full)


@broadcast.means
def _(op, x):
    shape = [1] * op.type.rank
    for n, axis in zip(x.shape, op.attributes["axes"], strict=True):
        shape[axis] = n
    return np.broadcast_to(x.reshape(shape), op.type.shape)


@broadcast.spans
def _(op, x):
    axes = op.attributes["axes"]
    return x if axes and axes[-1] == op.type.rank - 1 else x.flat()


@lax.op(grid=same(), moves=True)
def concatenate(*xs: Type, axis: int) -> Type:
    """Operands one after the other along an axis."""
    require(xs, "takes at least one operand")
    alike(*xs)
    movable(xs[0])
    axis = axis_of(xs[0], axis)
    shapes = {(*x.shape[:axis], *x.shape[axis + 1 :]) for x in xs}
    require(
        len(shapes) == 1 and all(x.rank == xs[0].rank for x in xs),
        f"operands may differ along axis {axis} alone, found {', '.join(map(str, xs))}",
    )
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    return xs[0].with_shape(shape)


@concatenate.means
def _(op, *xs):
    return np.concatenate(xs, axis=op.attributes["axis"])


@concatenate.spans
def _(op, *xs):
    if not _is_last(op):
        return union(*xs)
    parts = [x.channels(o.shape[-1]) for x, o in zip(xs, op.operands, strict=True)]
    return joined(*parts) if op.shape[-1] > 1 else union(*xs)


def _is_last(op) -> bool:
    """Whether the axis of an op is the last one of its first operand."""
    return op.attributes["axis"] % op.operands[0].type.rank == op.operands[0].type.rank - 1


@lax.op(grid=same(), moves=True)
def pad(
    x: Type, *, low: Ints, high: Ints, interior: Ints | None = None, value: float = 0.0
) -> Type:
    """`value` before, after and `interior` times between the elements along each axis.

    low, high: negative ones crop. value: a real number, also on a quantized storage, where 0.0
    stands for the zero point.
    """
    movable(x)
    per_axis(x, low=low, high=high, interior=interior)
    inner = interior or (0,) * x.rank
    require(all(n >= 0 for n in inner), f"'interior' cannot be negative, found {list(inner)}")
    sides = zip(x.shape, low, high, inner, strict=True)
    shape = [n + max(0, n - 1) * between + a + b for n, a, b, between in sides]
    require(
        all(n >= 0 for n in shape),
        f"cropping {x} by {list(low)} and {list(high)} leaves less than nothing",
    )
    return x.with_shape(shape)


@pad.means
def _(op, x):
    low, high = op.attributes["low"], op.attributes["high"]
    inner = op.attributes["interior"] or (0,) * x.ndim
    sides = list(zip(x.shape, low, high, inner, strict=True))
    grown = [n + max(0, n - 1) * between + max(0, a) + max(0, b) for n, a, b, between in sides]
    y = np.full(grown, stored(op.attributes["value"], op.type), x.dtype)
    y[tuple(slice(max(0, a), max(0, a) + max(0, n - 1) * (i + 1) + 1 if n else max(0, a), i + 1)
            for n, a, _, i in sides)] = x  # fmt: skip
    ends = zip(grown, sides, strict=True)
    return y[tuple(slice(max(0, -a), n - max(0, -b)) for n, (_, a, b, _) in ends)]


@pad.spans
def _(op, x):
    low, high = op.attributes["low"], op.attributes["high"]
    sides = tuple(zip(low, high, op.attributes["interior"] or low, strict=True))
    x = x.flat() if sides and any(sides[-1]) else x
    return union(x, as_range(stored(op.attributes["value"], op.type)))


def stored(value: float, type: Type):
    """A real number as elements of this type store it."""
    if type.dtype.kind == "float":
        return value
    if type.grid is not None:
        value = np.rint(np.float64(value) / type.scale) + type.zero
    return type.dtype.numpy.type(np.clip(value, type.lo, type.hi))


@lax.op(name="slice", grid=same(), moves=True)
def slice_(x: Type, *, start: Ints, limit: Ints, strides: Ints | None = None) -> Type:
    """Elements from `start` up to `limit`, every `strides`-th; a limit of -1 is the axis's end."""
    movable(x)
    per_axis(x, start=start, limit=limit, strides=strides)
    steps = strides or (1,) * x.rank
    ends = limits(x, limit)
    require(all(s >= 1 for s in steps), f"strides must be positive, found {list(steps)}")
    require(all(0 <= a <= b <= n for a, b, n in zip(start, ends, x.shape, strict=True)),
            f"cannot take {list(start)} to {list(ends)} from {x}")  # fmt: skip
    return x.with_shape(-(-(b - a) // s) for a, b, s in zip(start, ends, steps, strict=True))


def limits(x: Type, limit) -> tuple[int, ...]:
    """The limits of a slice of x with -1 spelled out."""
    return tuple(n if b == -1 else b for b, n in zip(limit, x.shape, strict=True))


@slice_.means
def _(op, x):
    start, steps = op.attributes["start"], op.attributes["strides"] or (1,) * x.ndim
    ends = limits(op.operands[0].type, op.attributes["limit"])
    return x[tuple(slice(a, b, s) for a, b, s in zip(start, ends, steps, strict=True))]


@slice_.spans
def _(op, x):
    if not op.type.rank:
        return x
    start, steps = op.attributes["start"], op.attributes["strides"] or (1,) * op.type.rank
    end = limits(op.operands[0].type, op.attributes["limit"])[-1]
    return x.mapped(lambda a: a[start[-1] : end : steps[-1]])


@lax.op(grid=same(), moves=True)
def split(x: Type, *, sizes: Ints, axis: int) -> TupleType:
    """Consecutive parts of these sizes along an axis, one result each."""
    movable(x)
    axis = axis_of(x, axis)
    require(
        sizes and all(n >= 0 for n in sizes) and sum(sizes) == x.shape[axis],
        f"parts of {list(sizes)} do not make up the {x.shape[axis]} of {x} along {axis}",
    )
    return TupleType(tuple(x.with_shape((*x.shape[:axis], n, *x.shape[axis + 1 :])) for n in sizes))


@split.means
def _(op, x):
    return np.split(x, np.cumsum(op.attributes["sizes"])[:-1], axis=op.attributes["axis"])


@split.spans
def _(op, x):
    sizes = op.attributes["sizes"]
    if not _is_last(op):
        return (x,) * len(sizes)
    ends = np.cumsum(sizes)
    return tuple(x.mapped(lambda a, n=n, end=end: a[end - n : end])
                 for n, end in zip(sizes, ends, strict=True))  # fmt: skip


@lax.op(grid=same(), moves=True)
def reverse(x: Type, *, axes: Ints) -> Type:
    """Elements in the opposite order along these axes."""
    for axis in axes:
        axis_of(x, axis)
    movable(x)
    return x


@reverse.means
def _(op, x):
    return np.flip(x, op.attributes["axes"])
