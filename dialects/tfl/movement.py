"""Ops that put elements in other shapes and orders."""

from math import prod
from typing import Literal

import numpy as np

from qir import shapes
from qir.attributes import Ints
from qir.errors import require
from qir.expansions import expands
from qir.ir import Op, const
from qir.rounding.grids import half_away
from qir.shapes import open_batch
from qir.types import Element, Type, tensor

from .. import lax
from .dialect import Activation, axes_of, builtin, on, regridded
from .unary import stored_values, table_of


@builtin("RESHAPE", "ReshapeOptions", slots="x new_shape")
def reshape(x: Type, *, new_shape: Ints, to: Element | None = None) -> Type:
    """The same elements in another shape; an extent of -1 follows from the others."""
    require(new_shape.count(-1) <= 1 and all(n >= -1 for n in new_shape),
            f"{list(new_shape)} is no shape")  # fmt: skip
    known = prod(n for n in new_shape if n >= 0)
    if -1 in new_shape:
        require(known and x.size % known == 0, f"{x} does not fill {list(new_shape)}")
    full = tuple(x.size // known if n == -1 else n for n in new_shape)
    require(prod(full) == x.size, f"{x} does not fill {list(new_shape)}")
    return on(x, full, to)


@builtin("SHAPE", "ShapeOptions")
def shape(x: Type, *, out_type: Literal["INT32", "INT64"] = "INT32") -> Type:
    """The extents of x."""
    return tensor(f"i{out_type[3:]}", (x.rank,))


@expands(shape)
def _(op, kernels, x):
    return const(np.array(x.shape, op.dtype.numpy))


@builtin("SQUEEZE", "SqueezeOptions")
def squeeze(x: Type, *, squeeze_dims: Ints = (), to: Element | None = None) -> Type:
    """x without these axes of one element, without all such axes if none is named."""
    axes = axes_of(x, squeeze_dims) or tuple(i for i, n in enumerate(x.shape) if n == 1)
    require(all(x.shape[a] == 1 for a in axes), f"the axes {list(axes)} of {x} are longer than 1")
    return on(x, (n for i, n in enumerate(x.shape) if i not in axes), to)


@builtin("EXPAND_DIMS", "ExpandDimsOptions", slots="x axis")
def expand_dims(x: Type, *, axis: int, to: Element | None = None) -> Type:
    """x with an axis of one element put in."""
    require(-x.rank - 1 <= axis <= x.rank, f"{x} has no place {axis} for an axis")
    place = axis % (x.rank + 1)
    return on(x, (*x.shape[:place], 1, *x.shape[place:]), to)


@expands(reshape)
def _(op, kernels, x):
    return regridded(lax.reshape(x, shape=op.attributes["new_shape"]), op)


@expands(squeeze, expand_dims)
def _(op, kernels, x):
    kept = x.type.rank > 0 and op.shape[:1] == x.shape[:1]
    return regridded(lax.reshape(x, shape=open_batch(op.shape) if kept else op.shape), op)


@builtin("TRANSPOSE", "TransposeOptions", slots="x perm")
def transpose(x: Type, *, perm: Ints, to: Element | None = None) -> Type:
    """Axis i of the result is axis perm[i] of x."""
    require(sorted(perm) == list(range(x.rank)), f"{list(perm)} is no order of the axes of {x}")
    return on(x, (x.shape[axis] for axis in perm), to)


@expands(transpose)
def _(op, kernels, x):
    return regridded(lax.transpose(x, permutation=op.attributes["perm"]), op)


def _padded(x: Type, paddings: Ints, to: Element | None) -> Type:
    require(len(paddings) == 2 * x.rank and min(paddings, default=0) >= 0,
            f"{list(paddings)} are no {x.rank} pairs")  # fmt: skip
    pairs = zip(x.shape, paddings[::2], paddings[1::2], strict=True)
    return on(x, (low + n + high for n, low, high in pairs), to)


@builtin("PAD", "PadOptions", slots="x paddings")
def pad(x: Type, *, paddings: Ints, to: Element | None = None) -> Type:
    """Zeros round x, as many before and after each axis as `paddings` says in pairs."""
    return _padded(x, paddings, to)


@builtin("PADV2", "PadV2Options", slots="x paddings value")
def padv2(x: Type, value: Type, *, paddings: Ints, to: Element | None = None) -> Type:
    """`value` round x, as many times before and after each axis as `paddings` says in pairs."""
    require(value.size == 1 and value.element == x.element, f"pads {x} with {value}")
    return _padded(x, paddings, to)


@expands(pad, padv2)
def _(op, kernels, x, value=None):
    paddings, real = op.attributes["paddings"], 0.0
    if value is not None:
        require(value.is_const, "the value round it is computed")
        real = float(value.value.item())
        if x.type.grid is not None:
            real = (real - int(x.type.zero)) * float(x.type.scale)
    return regridded(lax.pad(x, low=paddings[::2], high=paddings[1::2], value=real), op)


@builtin("MIRROR_PAD", "MirrorPadOptions", slots="x paddings")
def mirror_pad(x: Type, *, paddings: Ints, mode: Literal["REFLECT", "SYMMETRIC"] = "REFLECT",
               to: Element | None = None) -> Type:  # fmt: skip
    """x continued by its mirror image; REFLECT does not repeat the elements at the ends."""
    kept = mode == "REFLECT"
    for n, low, high in zip(x.shape, paddings[::2], paddings[1::2], strict=False):
        require(max(low, high) <= n - kept, f"no mirror image of {n} is as wide as {low}, {high}")
    return _padded(x, paddings, to)


@expands(mirror_pad)
def _(op, kernels, x):
    paddings, mode = op.attributes["paddings"], op.attributes["mode"].lower()
    for axis, sides in enumerate(zip(paddings[::2], paddings[1::2], strict=True)):
        if any(sides):
            places = np.pad(np.arange(x.shape[axis], dtype=np.int32), sides, mode)
            x = lax.take(x, const(places), axis=axis)
    return regridded(x, op)


@builtin("CONCATENATION", "ConcatenationOptions")
def concatenation(*xs: Type, axis: int, fused_activation_function: Activation = "NONE",
                  to: Element | None = None) -> Type:  # fmt: skip
    """Operands one after the other along an axis, all on one grid.

    Operands of u8 may have grids of their own: the kernel brings them to the result's.
    """
    require(fused_activation_function == "NONE", "the runtime takes no fused activation there")
    joined = lax.concatenate.typing(*map(_as_the_first, xs, xs[:1] * len(xs)), axis=axis)
    return on(joined, joined.shape, to)


def _as_the_first(x: Type, first: Type) -> Type:
    """The type of u8 on a grid as the result has it, which is on that of the first or its own."""
    rescaled = x.dtype.name == first.dtype.name == "u8" and x.grid and first.grid
    return first.with_shape(x.shape) if rescaled else x


@expands(concatenation)
def _(op, kernels, *xs):
    if op.dtype.name == "u8" and op.type.grid is not None:
        xs = [_onto(x, op.type.element) for x in xs]
    return regridded(lax.concatenate(*xs, axis=op.attributes["axis"]), op)


def _onto(x: Op, to: Element) -> Op:
    """A part of a concatenation of u8 on the result's grid (`ConcatenationWithScaling`), in f32."""
    if x.type.element == to:
        return x
    require(x.type.grid.per_tensor and to.grid.per_tensor, f"from {x.type} to {to}")
    scale = x.type.scale * np.float32(np.float32(1) / to.grid.scale)
    bias = np.float32(-int(x.type.zero)) * scale
    steps = half_away(stored_values(x.type).astype(np.float32) * scale + bias)
    values = steps.astype(np.int64) + int(to.grid.zero)
    return table_of(x, np.clip(values, to.lo, to.hi), to)


@builtin("PACK", "PackOptions")
def pack(*xs: Type, values_count: int, axis: int = 0, to: Element | None = None) -> Type:
    """Operands of one type beside each other along a new axis."""
    require(xs and len(xs) == values_count, f"{len(xs)} operands, said to be {values_count}")
    require(all(x == xs[0] for x in xs), f"operands differ: {', '.join(map(str, xs))}")
    require(-xs[0].rank - 1 <= axis <= xs[0].rank, f"{xs[0]} has no place {axis} for an axis")
    place = axis % (xs[0].rank + 1)
    return on(xs[0], (*xs[0].shape[:place], len(xs), *xs[0].shape[place:]), to)


@expands(pack)
def _(op, kernels, *xs):
    axis = op.attributes["axis"] % op.type.rank
    wide = (*op.shape[:axis], 1, *op.shape[axis + 1 :])
    wide = open_batch(wide) if axis else wide
    return regridded(lax.concatenate(*(lax.reshape(x, shape=wide) for x in xs), axis=axis), op)


@builtin("TILE", "TileOptions", slots="x multiples")
def tile(x: Type, *, multiples: Ints, to: Element | None = None) -> Type:
    """x so many times along each axis."""
    require(len(multiples) == x.rank and min(multiples, default=0) >= 0,
            f"{list(multiples)} are no {x.rank} counts")  # fmt: skip
    return on(x, (n * times for n, times in zip(x.shape, multiples, strict=True)), to)


@expands(tile)
def _(op, kernels, x):
    pairs = [each for pair in zip(op.attributes["multiples"], x.shape, strict=True)
             for each in pair]  # fmt: skip
    if op.shape[:1] == x.shape[:1]:
        pairs[1:2] = [-1] * len(pairs[1:2])
    spread = lax.broadcast(x, shape=pairs, axes=range(1, len(pairs), 2))
    return regridded(lax.reshape(spread, shape=open_batch(op.shape)), op)


@builtin("BROADCAST_TO", "BroadcastToOptions", slots="x shape")
def broadcast_to(x: Type, *, shape: Ints, to: Element | None = None) -> Type:
    """x repeated to a shape, aligned at the last axis."""
    require(shapes.broadcast(x.shape, shape) == tuple(shape), f"{x} does not repeat to {shape}")
    return on(x, shape, to)


@builtin("FILL", "FillOptions", slots="dims x")
def fill(x: Type, *, dims: Ints, to: Element | None = None) -> Type:
    """A tensor that holds one value everywhere."""
    require(x.rank == 0 and min(dims, default=0) >= 0, f"fills {list(dims)} with {x}")
    return on(x, dims, to)


@expands(broadcast_to, fill)
def _(op, kernels, x):
    rank, shape = op.type.rank, op.shape
    shape = open_batch(shape) if shape and x.shape == shape else shape
    return regridded(lax.broadcast(x, shape=shape, axes=range(rank - x.type.rank, rank)), op)


@builtin("REVERSE_V2", "ReverseV2Options", slots="x axis")
def reverse_v2(x: Type, *, axis: Ints, to: Element | None = None) -> Type:
    """Elements in the opposite order along axes."""
    axes = axes_of(x, axis)
    require(not axes or axes[-1] - axes[0] == len(axes) - 1,
            f"the runtime reverses axes beside each other, found {list(axes)}")  # fmt: skip
    return on(x, x.shape, to)


@expands(reverse_v2)
def _(op, kernels, x):
    return regridded(lax.reverse(x, axes=axes_of(x.type, op.attributes["axis"])), op)

