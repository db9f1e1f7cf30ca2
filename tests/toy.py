"""A small dialect for tests of the machine: every kind of operand and attribute once."""

from typing import Literal

import numpy as np

from qir.attributes import Floats, Ints, Padding, Pair, Words
from qir.dialect import Dialect
from qir.errors import require
from qir.rounding import Rescale
from qir.types import Element, TupleType, Type

toy = Dialect("toy")


@toy.op(commutative=True, pointwise=True)
def add(a: Type, b: Type) -> Type:
    """Sum of two tensors of one type."""
    require(a == b, f"operands differ: {a} and {b}")
    return a


@toy.op(pointwise=True)
def sub(a: Type, b: Type) -> Type:
    """Difference of two tensors of one type."""
    require(a == b, f"operands differ: {a} and {b}")
    return a


@toy.op(pointwise=True)
def neg(x: Type) -> Type:
    """The negative."""
    return x


@toy.op
def scale(x: Type, *, by: float, times: int = 1) -> Type:
    """A multiple of a tensor."""
    return x


@toy.op
def conv(x: Type, w: Type, b: Type | None = None, *, strides: Pair = (1, 1), dilation: int = 1):
    """Something with attributes that a rule must carry along; its value is its first operand."""
    require(x.rank == w.rank, f"ranks differ: {x.rank} and {w.rank}")
    return x


@toy.op(moves=True)
def concat(*xs: Type, axis: int = 0) -> Type:
    """Tensors one after the other along an axis."""
    require(xs, "takes at least one tensor")
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    return xs[0].with_shape(shape)


@toy.op
def halves(x: Type) -> TupleType:
    """The two halves along the first axis."""
    require(x.rank and x.shape[0] % 2 == 0, f"{x} cannot be halved")
    half = x.with_shape((x.shape[0] // 2, *x.shape[1:]))
    return TupleType((half, half))


@toy.op
def reshape(x: Type, *, shape: Ints) -> Type:
    """The same elements in another shape."""
    result = x.with_shape(shape)
    require(result.size == x.size, f"{x} does not fill {list(shape)}")
    return result


@toy.op
def everything(
    x: Type, *, integer: int = 0, number: float = 0.0, truth: bool = False, word: str = "a",
    pair: Pair = (1, 1), ints: Ints = (), floats: Floats = (), words: Words = (),
    padding: Padding = "same", to: Element | None = None, rescale: Rescale | None = None,
    choice: Literal["left", "right"] = "left", maybe: int | None = None,
) -> Type:  # fmt: skip
    """An identity with every kind of attribute."""
    return x


@add.means
def _(op, a, b):
    return a + b


@sub.means
def _(op, a, b):
    return a - b


@neg.means
def _(op, x):
    return -x


@scale.means
def _(op, x):
    return x * np.float32(op.attributes["by"]) * op.attributes["times"]


@conv.means
def _(op, x, *_):
    return x


@concat.means
def _(op, *xs):
    return np.concatenate(xs, op.attributes["axis"])


@halves.means
def _(op, x):
    return np.split(x, 2)


@reshape.means
def _(op, x):
    return x.reshape(op.shape)


@everything.means
def _(op, x):
    return x
