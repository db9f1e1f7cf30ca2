"""Arithmetic of two operands, which broadcast as in numpy."""

import numpy as np

from qir import shapes
from qir.attributes import Floats
from qir.ranges import greatest, least
from qir.roles import free, same
from qir.types import Type

from .dialect import are_alike, are_floats, clamped, is_clamp, nn


def _typed(a: Type, b: Type, clamp) -> Type:
    are_floats(a=a, b=b)
    is_clamp(clamp)
    return a.with_shape(shapes.broadcast(a.shape, b.shape))


@nn.op(grid=free(), commutative=True, pointwise=True)
def add(a: Type, b: Type, *, clamp: Floats | None = None) -> Type:
    """a + b."""
    return _typed(a, b, clamp)


@add.means
def _(op, a, b):
    return clamped(op, a + b)


@nn.op(grid=free(), pointwise=True)
def sub(a: Type, b: Type, *, clamp: Floats | None = None) -> Type:
    """a - b."""
    return _typed(a, b, clamp)


@sub.means
def _(op, a, b):
    return clamped(op, a - b)


@nn.op(grid=free(), commutative=True, pointwise=True)
def mul(a: Type, b: Type, *, clamp: Floats | None = None) -> Type:
    """a * b."""
    return _typed(a, b, clamp)


@mul.means
def _(op, a, b):
    return clamped(op, a * b)


@nn.op(grid=free(), pointwise=True)
def div(a: Type, b: Type, *, clamp: Floats | None = None) -> Type:
    """a / b."""
    return _typed(a, b, clamp)


@div.means
def _(op, a, b):
    return clamped(op, a / b)


@nn.op(grid=same(), commutative=True, pointwise=True, on_storage=True)
def maximum(a: Type, b: Type) -> Type:
    """The greater of a and b; on integers of one grid too."""
    are_alike(a, b)
    return a.with_shape(shapes.broadcast(a.shape, b.shape))


@maximum.means
def _(op, a, b):
    return np.maximum(a, b)


@maximum.spans
def _(op, a, b):
    return greatest(a, b)


@nn.op(grid=same(), commutative=True, pointwise=True, on_storage=True)
def minimum(a: Type, b: Type) -> Type:
    """The smaller of a and b; on integers of one grid too."""
    are_alike(a, b)
    return a.with_shape(shapes.broadcast(a.shape, b.shape))


@minimum.means
def _(op, a, b):
    return np.minimum(a, b)


@minimum.spans
def _(op, a, b):
    return least(a, b)
