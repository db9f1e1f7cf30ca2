"""Stored integers under another grid."""

from qir.errors import require
from qir.types import Element, Type

from .dialect import int8


@int8.op
def reinterpret(x: Type, *, to: Element) -> Type:
    """The same stored integers, read as standing on another grid or on none."""
    require(x.dtype.kind == "int" and to.dtype == x.dtype,
            f"stored integers stay as they are stored, found {x} as {to}")  # fmt: skip
    return to[x.shape]


@reinterpret.means
def _(op, x):
    return x


@reinterpret.spans
def _(op, x):
    return x
