"""Stored integers under another grid, and with or without a sign."""

from dataclasses import replace

import numpy as np

from qir.errors import require
from qir.types import DTYPES, Element, Type

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


@int8.op
def flip_sign(x: Type) -> Type:
    """The same reals stored with a sign, where they were stored without, or the other way.

    The highest bit is flipped, and the zero point moves as far as all stored integers.
    """
    swapped = _SWAPPED.get(x.dtype.name)
    require(swapped is not None, f"takes {', '.join(_SWAPPED)}, found {x}")
    require(x.grid is not None and not x.grid.dynamic,
            f"takes integers on a grid, such as i8<0.05:0>[4], found {x}")  # fmt: skip
    to = DTYPES[swapped]
    return Type(to, x.shape, replace(x.grid, zero=x.zero + np.int32(to.lo - x.dtype.lo)))


_SWAPPED = {"i8": "u8", "u8": "i8", "i16": "u16", "u16": "i16"}


def _moved_by(op) -> int:
    return op.dtype.lo - op.operands[0].dtype.lo


@flip_sign.means
def _(op, x):
    return x.astype(np.int32) + _moved_by(op)


@flip_sign.spans
def _(op, x):
    return x + _moved_by(op)
