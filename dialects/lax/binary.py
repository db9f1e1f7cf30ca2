"""Elementwise functions of several operands, which broadcast as numpy's do."""

import numpy as np

from qir.errors import require
from qir.ranges import greatest, least
from qir.roles import BOOL, FREE, Roles, free, no_part, same
from qir.shapes import broadcast
from qir.types import Type, tensor

from .dialect import alike, lax, plain, wide


def _function(name: str, compute, doc: str, kinds=("float", "int"), commutative=False):
    """An op `name(a, b)` on elements of these kinds."""

    def typing(a: Type, b: Type) -> Type:
        plain(a, b)
        alike(a, b)
        require(a.dtype.kind in kinds, f"takes {' or '.join(kinds)} elements, found {a}")
        return a.with_shape(broadcast(a.shape, b.shape))

    typing.__doc__ = doc
    op = lax.op(typing, name=name, grid=free(), pointwise=True, commutative=commutative)
    op.means(lambda op, a, b: compute(wide(a), wide(b)))
    return op


def _extremum(name: str, compute, span, doc: str):
    """An op `name(a, b)` that picks one of two elements, on stored integers of one grid too."""

    def typing(a: Type, b: Type) -> Type:
        alike(a, b)
        require(a.grid is None or a.grid.per_tensor, f"compares values of one scale, found {a}")
        return a.with_shape(broadcast(a.shape, b.shape))

    typing.__doc__ = doc
    op = lax.op(typing, name=name, grid=same(), pointwise=True, commutative=True, on_storage=True)
    op.means(lambda op, a, b: compute(a, b))
    op.spans(lambda op, a, b: span(a, b))
    return op


def _comparison(name: str, compute, doc: str, commutative=False):
    """An op `name(a, b)` that gives truth values."""

    def typing(a: Type, b: Type) -> Type:
        plain(a, b)
        alike(a, b)
        return tensor("bool", broadcast(a.shape, b.shape))

    typing.__doc__ = doc
    op = lax.op(typing, name=name, grid=no_part, pointwise=True, commutative=commutative)
    op.means(lambda op, a, b: compute(a, b))
    return op


def _quotient(a, b):
    """Integers divide toward zero, and by zero to -1, as XLA has it."""
    if a.dtype.kind == "f":
        return a / b
    divisor = np.where(b == 0, 1, b).astype(b.dtype)
    down = a // divisor
    toward_zero = down + ((down < 0) & (down * divisor != a))
    return np.where(b == 0, -1, toward_zero.astype(np.int64))


def _remainder(a, b):
    """The remainder has the sign of the dividend; of a division by integer zero it is that."""
    if a.dtype.kind == "f":
        return np.fmod(a, b)
    return np.where(b == 0, a, np.fmod(a, np.where(b == 0, 1, b).astype(b.dtype)))


_BITS = ("bool", "int")

add = _function("add", np.add, "Sum.", commutative=True)
sub = _function("sub", np.subtract, "Difference.")
mul = _function("mul", np.multiply, "Product.", commutative=True)
div = _function("div", _quotient, "Quotient; integers divide toward zero.")
rem = _function("rem", _remainder, "Remainder, with the sign of the dividend.")
atan2 = _function("atan2", np.arctan2, "The angle of the point (b, a).", ("float",))
and_ = _function("and", np.bitwise_and, "Logical and of bool, bitwise of integers.", _BITS, True)
or_ = _function("or", np.bitwise_or, "Logical or of bool, bitwise of integers.", _BITS, True)
xor = _function("xor", np.bitwise_xor, "Exclusive or of bool, bitwise of integers.", _BITS, True)
max_ = _extremum("max", np.maximum, greatest, "The greater of two elements; NaN if one is NaN.")
min_ = _extremum("min", np.minimum, least, "The lesser of two elements; NaN if one is NaN.")
eq = _comparison("eq", np.equal, "Whether a equals b.", commutative=True)
ne = _comparison("ne", np.not_equal, "Whether a differs from b.", commutative=True)
lt = _comparison("lt", np.less, "Whether a is less than b.")
le = _comparison("le", np.less_equal, "Whether a is at most b.")
gt = _comparison("gt", np.greater, "Whether a is greater than b.")
ge = _comparison("ge", np.greater_equal, "Whether a is at least b.")


@lax.op(name="pow", grid=free(), pointwise=True)
def pow_(a: Type, b: Type) -> Type:
    """a to the power of b; a float may be raised to integer powers."""
    plain(a, b)
    require(
        a.is_float and (a.element == b.element or b.dtype.kind == "int"),
        f"takes two floats of one type, or a float and an integer, found {a} and {b}",
    )
    return a.with_shape(broadcast(a.shape, b.shape))


@pow_.means
def _(op, a, b):
    a = wide(a)
    return np.power(a, b.astype(a.dtype))


def _select_roles(op) -> Roles:
    return Roles((BOOL, FREE, FREE), FREE)


@lax.op(grid=_select_roles, pointwise=True)
def select(pred: Type, on_true: Type, on_false: Type) -> Type:
    """`on_true` where `pred` holds, else `on_false`."""
    require(pred.dtype.kind == "bool", f"selects by bool, found {pred}")
    alike(on_true, on_false)
    return on_true.with_shape(broadcast(pred.shape, on_true.shape, on_false.shape))


@select.means
def _(op, pred, on_true, on_false):
    return np.where(pred, on_true, on_false)


@lax.op(grid=free(), pointwise=True)
def clamp(lo: Type, x: Type, hi: Type) -> Type:
    """max(lo, min(x, hi))."""
    plain(lo, x, hi)
    alike(lo, x, hi)
    return x.with_shape(broadcast(lo.shape, x.shape, hi.shape))


@clamp.means
def _(op, lo, x, hi):
    return np.maximum(lo, np.minimum(x, hi))
