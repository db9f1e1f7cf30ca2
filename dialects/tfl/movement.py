"""Ops that move elements."""

from math import prod

from qir.attributes import Ints
from qir.errors import require
from qir.expansions import expands
from qir.types import Element, Type

from .. import lax
from .dialect import Activation, builtin, on


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


@expands(reshape)
def _(op, kernels, x):
    require(op.type.element == x.type.element,
            f"the result {op.type} is not on the grid of {x.type}")  # fmt: skip
    return lax.reshape(x, shape=op.attributes["new_shape"])


@builtin("TRANSPOSE", "TransposeOptions", slots="x perm")
def transpose(x: Type, *, perm: Ints) -> Type:
    """Axis i of the result is axis perm[i] of x."""
    require(sorted(perm) == list(range(x.rank)), f"{list(perm)} is no order of the axes of {x}")
    return x.with_shape(x.shape[axis] for axis in perm)


@expands(transpose)
def _(op, kernels, x):
    return lax.transpose(x, permutation=op.attributes["perm"])


@builtin("PAD", "PadOptions", slots="x paddings")
def pad(x: Type, *, paddings: Ints) -> Type:
    """Zeros round x, as many before and after each axis as `paddings` says in pairs."""
    require(len(paddings) == 2 * x.rank and min(paddings, default=0) >= 0,
            f"{list(paddings)} are no {x.rank} pairs")  # fmt: skip
    pairs = zip(x.shape, paddings[::2], paddings[1::2], strict=True)
    return x.with_shape(low + n + high for n, low, high in pairs)


@expands(pad)
def _(op, kernels, x):
    paddings = op.attributes["paddings"]
    return lax.pad(x, low=paddings[::2], high=paddings[1::2])


@builtin("CONCATENATION", "ConcatenationOptions")
def concatenation(*xs: Type, axis: int, fused_activation_function: Activation = "NONE") -> Type:
    """Operands one after the other along an axis, all on one grid."""
    require(fused_activation_function == "NONE", "takes no fused activation")
    return lax.concatenate.typing(*xs, axis=axis)


@expands(concatenation)
def _(op, kernels, *xs):
    return lax.concatenate(*xs, axis=op.attributes["axis"])
