"""Activation functions of one operand, element by element."""

import math

import numpy as np

from qir.roles import fixed, free
from qir.types import Type

from .dialect import are_floats, nn

_erf = np.frompyfunc(math.erf, 1, 1)


def _typed(x: Type) -> Type:
    are_floats(x=x)
    return x


@nn.op(grid=free(), pointwise=True)
def relu(x: Type) -> Type:
    """max(x, 0)."""
    return _typed(x)


@relu.means
def _(op, x):
    return np.maximum(x, 0)


@nn.op(grid=free(), pointwise=True)
def relu6(x: Type) -> Type:
    """min(max(x, 0), 6)."""
    return _typed(x)


@relu6.means
def _(op, x):
    return np.clip(x, 0, 6)


@nn.op(grid=fixed(i8=(1 / 256, -128), u8=(1 / 256, 0), i16=(1 / 32768, 0)), pointwise=True)
def sigmoid(x: Type) -> Type:
    """1 / (1 + exp(-x))."""
    return _typed(x)


def logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    # exp of what is not positive never overflows
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


@sigmoid.means
def _(op, x):
    return logistic(x)


@nn.op(grid=fixed(i8=(1 / 128, 0), u8=(1 / 128, 128), i16=(1 / 32768, 0)), pointwise=True)
def tanh(x: Type) -> Type:
    """The hyperbolic tangent."""
    return _typed(x)


@tanh.means
def _(op, x):
    return np.tanh(x)


@nn.op(grid=free(), pointwise=True)
def silu(x: Type) -> Type:
    """x * sigmoid(x), also called swish."""
    return _typed(x)


@silu.means
def _(op, x):
    return x * logistic(x)


@nn.op(grid=free(), pointwise=True)
def gelu(x: Type, *, approximate: bool) -> Type:
    """x times the normal distribution function of x; by tanh when `approximate`, else by erf.

    Hendrycks and Gimpel, Gaussian Error Linear Units (2016); the approximation is theirs.
    """
    return _typed(x)


@gelu.means
def _(op, x):
    if op.attributes["approximate"]:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    erf = np.asarray(_erf(x.astype(np.float64) * math.sqrt(0.5)), np.float64)
    return 0.5 * x * (1 + erf)


@nn.op(grid=free(), pointwise=True)
def hard_swish(x: Type) -> Type:
    """x * relu6(x + 3) / 6."""
    return _typed(x)


@hard_swish.means
def _(op, x):
    return x * np.clip(x + 3, 0, 6) / 6


@nn.op(grid=free(), pointwise=True)
def leaky_relu(x: Type, *, slope: float) -> Type:
    """x where it is not negative, slope * x elsewhere."""
    return _typed(x)


@leaky_relu.means
def _(op, x):
    return np.where(x >= 0, x, np.asarray(op.attributes["slope"], x.dtype) * x)


@nn.op(grid=free(), pointwise=True)
def elu(x: Type) -> Type:
    """x where it is positive, exp(x) - 1 elsewhere."""
    return _typed(x)


@elu.means
def _(op, x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
