"""Arithmetic that changes nothing."""

import numpy as np

from qir.errors import require
from qir.pattern import C, V, either
from qir.rewrite import rule

from ...dialects import lax, nn


def _is_all(op, x, array: np.ndarray, value) -> None:
    """Require that a constant operand holds `value` alone and that the other is the result."""
    require(array.size and (array == value).all(), f"the constant is not {value}")
    require(x.type == op.type, f"{x.type} broadcasts to {op.type}")
    require(op.attributes.get("clamp") is None, "the result is clamped")


@rule(
    either(lax.add, nn.add)(V.x, C.k) @ "op",
    either(lax.sub, nn.sub)(V.x, C.k) @ "op",
)
def zero_added(op, x, k):
    """Adding or subtracting zero does nothing."""
    _is_all(op, x, k, 0)
    return x


@rule(
    either(lax.mul, nn.mul)(V.x, C.k) @ "op",
    either(lax.div, nn.div)(V.x, C.k) @ "op",
    lax.pow(V.x, C.k) @ "op",
)
def one_multiplied(op, x, k):
    """Multiplying or dividing by one does nothing, nor does the first power."""
    _is_all(op, x, k, 1)
    return x


@rule(either(lax.max, nn.maximum)(V.x, C.k) @ "op")
def maximum_with_lowest(op, x, k):
    """Nothing is less than -inf."""
    require(x.type.is_float, f"{x.dtype} has no infinity")
    _is_all(op, x, k, -np.inf)
    return x


@rule(either(lax.min, nn.minimum)(V.x, C.k) @ "op")
def minimum_with_highest(op, x, k):
    """Nothing is greater than inf."""
    require(x.type.is_float, f"{x.dtype} has no infinity")
    _is_all(op, x, k, np.inf)
    return x


@rule(lax.neg(lax.neg(V.x)), lax.not_(lax.not_(V.x)))
def done_and_undone(x):
    """The negative of the negative is the value itself."""
    return x


@rule(lax.integer_pow(V.x, y=1))
def first_power(x):
    """The first power is the value itself."""
    return x


@rule(lax.ne(lax.convert(V.x), C.k) @ "op")
def condition_there_and_back(op, x, k):
    """Whether the number of a condition is other than 0 is the condition."""
    require(x.dtype.kind == "bool", f"{x.dtype} has more than two values")
    _is_all(op, x, k, 0)
    return x


@rule(lax.convert(V.x) @ "op")
def convert_to_same_type(op, x):
    """A conversion to the type that is there already does nothing."""
    require(x.type == op.type, f"{x.dtype} becomes {op.dtype}")
    return x


@rule(lax.select(C.pred, V.yes, V.no) @ "op")
def select_by_constant(op, pred, yes, no):
    """A choice that is the same everywhere and known is no choice."""
    require(pred.all() or not pred.any(), "the choice differs from element to element")
    chosen = yes if pred.all() else no
    require(chosen.type == op.type, f"{chosen.type} broadcasts to {op.type}")
    return chosen


RULES = (
    zero_added, one_multiplied, maximum_with_lowest, minimum_with_highest, done_and_undone,
    first_power, condition_there_and_back, convert_to_same_type, select_by_constant,
)  # fmt: skip
