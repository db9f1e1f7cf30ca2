"""The table of imports: from a JAX primitive to the function that builds its value here."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...tables import table
from ...types import Type, dtype_of


@dataclass(frozen=True)
class Import:
    """How a primitive is imported.

    build: `(equation, *operands) -> op`, an op of tuple type or a tuple of ops where the primitive
    has several results. It declines with `require`. broadcasts: what it builds broadcasts as numpy
    does, so a constant operand may stay as small as it is.
    """

    build: Callable
    broadcasts: bool = False


IMPORTS: dict[str, Import] = table(lambda entry: entry.build)
"""By the primitive's name; the files of this folder fill it."""


def imports(*primitives: str, broadcasts: bool = False) -> Callable[[Callable], Callable]:
    """Declare the import of primitives: `@imports("exp")` over `(equation, *operands) -> op`."""

    def declare(build: Callable) -> Callable:
        for name in primitives:
            if name in IMPORTS:
                raise TypeError(f"the primitive {name} has two imports")
            IMPORTS[name] = Import(build, broadcasts)
        return build

    return declare


def type_of_aval(aval) -> Type:
    """The type of an abstract JAX value; QirError if no storage holds its elements."""
    return Type(dtype_of(np.empty((), aval.dtype)), tuple(int(n) for n in aval.shape))
