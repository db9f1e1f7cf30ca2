"""Ops that move elements."""

from math import prod

from qir.attributes import Ints
from qir.errors import require
from qir.expansions import expands
from qir.types import Element, Type

from .. import lax
from .dialect import builtin, on


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
