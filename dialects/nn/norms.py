"""Softmax and the norms over the last axis."""

import numpy as np

from qir.errors import require
from qir.roles import FOLDED, FREE, Roles, fixed
from qir.shapes import is_mask
from qir.types import Type

from .dialect import are_floats, nn


@nn.op(grid=fixed((1,), i8=(1 / 256, -128), u8=(1 / 256, 0), i16=(1 / 32768, 0)))
def softmax(x: Type, mask: Type | None = None, *, axis: int = -1) -> Type:
    """exp(x) divided by its sum along an axis, over the elements where a mask holds.

    mask: bool, broadcasts to x; what it leaves out gets 0, and in a row where it holds nowhere
    every element gets the same.
    """
    are_floats(x=x)
    require(-x.rank <= axis < x.rank, f"axis {axis} of a rank {x.rank} tensor")
    require(x.shape[axis], f"{x} has nothing along axis {axis}")
    if mask is not None:
        is_mask(mask, x)
    return x


@softmax.means
def _(op, x, mask=None):
    axis = op.attributes["axis"]
    if mask is not None:
        mask = np.broadcast_to(mask, x.shape)
        x = np.where(mask, x, np.where(mask.any(axis, keepdims=True), -np.inf, 0))
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def _norm_roles(op) -> Roles:
    return Roles((FREE, *(FOLDED for _ in op.operands[1:])), FREE)


@nn.op(grid=_norm_roles)
def layer_norm(x: Type, gamma: Type, beta: Type, *, epsilon: float) -> Type:
    """(x - mean) / sqrt(variance + epsilon) * gamma[C] + beta[C] over the last axis of x[...,C].

    Ba, Kiros and Hinton, Layer Normalization (2016).
    """
    are_floats(x=x, gamma=gamma, beta=beta)
    _last_axis(x, gamma=gamma, beta=beta)
    return x


@layer_norm.means
def _(op, x, gamma, beta):
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    epsilon = np.asarray(op.attributes["epsilon"], x.dtype)
    return centred / np.sqrt(variance + epsilon) * gamma + beta


@nn.op(grid=_norm_roles)
def rms_norm(x: Type, gamma: Type, *, epsilon: float) -> Type:
    """x / sqrt(mean(x * x) + epsilon) * gamma[C] over the last axis of x[...,C].

    Zhang and Sennrich, Root Mean Square Layer Normalization (2019).
    """
    are_floats(x=x, gamma=gamma)
    _last_axis(x, gamma=gamma)
    return x


@rms_norm.means
def _(op, x, gamma):
    squares = np.square(x).mean(axis=-1, keepdims=True)
    return x / np.sqrt(squares + np.asarray(op.attributes["epsilon"], x.dtype)) * gamma


def _last_axis(x: Type, **operands: Type) -> None:
    require(x.rank >= 1, f"a norm needs an axis, found {x}")
    for name, type in operands.items():
        require(type.shape == x.shape[-1:], f"{name} must be [{x.shape[-1]}], found {type}")
