"""The dialect of traces, and the typing rules its ops share."""

import numpy as np

from qir.dialect import Dialect
from qir.errors import require
from qir.types import Type

lax = Dialect("lax", "What a traced JAX program contains: names are JAX's, shapes numpy's.")


def plain(*types: Type) -> None:
    """Arithmetic of this dialect is on numbers, not on stored integers that stand for reals."""
    for x in types:
        require(x.grid is None, f"computes on plain numbers, found the quantized {x}")


def alike(*types: Type) -> None:
    """All operands are of one storage and grid."""
    for x in types[1:]:
        require(
            x.element == types[0].element,
            f"operands must be of one element type, found {types[0].element} and {x.element}",
        )


def movable(x: Type) -> None:
    """Elements may change places only if they all stand on one scale."""
    require(x.grid is None or x.grid.per_tensor, f"moves values of one scale, found {x}")


def axis_of(x: Type, axis: int) -> int:
    """An axis counted from the front; a negative one counts from the back."""
    require(-x.rank <= axis < x.rank, f"axis {axis} of a rank {x.rank} tensor")
    return axis % x.rank


def per_axis(x: Type, **lists) -> None:
    """Attributes that need one integer for each axis; None (the default) is always right."""
    for name, values in lists.items():
        require(
            values is None or len(values) == x.rank,
            f"'{name}' needs {x.rank} integers, one an axis of {x}, found {list(values or ())}",
        )


def positive(**lists) -> None:
    """Attributes whose integers are 1 or more; None (the default) is always right."""
    for name, values in lists.items():
        require(all(n > 0 for n in values or ()),
                f"{name} must be positive, found {list(values or ())}")  # fmt: skip


def wide(x: np.ndarray) -> np.ndarray:
    """Half-precision floats as f32: they are computed there and rounded once, as XLA does."""
    return x.astype(np.float32) if x.dtype.kind in "fV" and x.dtype.itemsize == 2 else x
