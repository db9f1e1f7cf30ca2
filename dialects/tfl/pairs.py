"""Functions of two operands that are, on 8 bits, tables of all pairs of stored values."""

import numpy as np

from qir import shapes
from qir.errors import require
from qir.expansions import expands
from qir.ir import Op, const
from qir.rounding import apply, derive, gemmlowp
from qir.rounding.fixed import half_away
from qir.types import Element, Type

from .. import int8, lax, nn
from ..int8.dialect import stored_clamp
from .dialect import Activation, builtin, clamp_of, is_quantized, on, on_grids
from .unary import stored_values


def _pair(a: Type, b: Type, to: Element | None) -> Type:
    require(is_quantized(a, b) or a.element == b.element, f"takes one storage, found {a} and {b}")
    return on(a, shapes.broadcast(a.shape, b.shape), to)


@builtin("DIV", "DivOptions")
def div(a: Type, b: Type, *, fused_activation_function: Activation = "NONE",
        to: Element | None = None) -> Type:  # fmt: skip
    """a / b."""
    clamp_of(fused_activation_function)
    return _pair(a, b, to)


@builtin("SQUARED_DIFFERENCE", "SquaredDifferenceOptions")
def squared_difference(a: Type, b: Type, *, to: Element | None = None) -> Type:
    """(a - b) squared."""
    return _pair(a, b, to)


@builtin("PRELU")
def prelu(x: Type, alpha: Type, *, to: Element | None = None) -> Type:
    """x, alpha * x below zero; alpha broadcasts to x."""
    type = _pair(x, alpha, to)
    require(type.shape == x.shape, f"{alpha} does not broadcast to {x}")
    return type


def tabled(a: Op, b: Op, values: np.ndarray, to: Element, clamp=None) -> Op:
    """The function of two operands with these unclamped results, zero point left out."""
    for x in (a, b):
        require(x.dtype.bits == 8, f"computes on 8 bits, found {x.type}")
    stored = np.clip(values + int(to.grid.zero), *(clamp or (to.lo, to.hi)))
    type = Type(to.dtype, values.shape, to.grid)
    return int8.pair_table(a, b, const(stored.astype(to.dtype.numpy), type, name="table"), to=to)


def _centred(x: Type) -> np.ndarray:
    return (stored_values(x) - int(x.zero)).astype(np.int32)


@expands(squared_difference)
def _(op, kernels, a, b):
    if not on_grids(op, a, b):
        return lax.square(lax.sub(a, b))
    to = op.type.element
    twice = 2 * np.float64(max(a.type.scale, b.type.scale))
    first, second = (apply(derive("tflite_reference", np.float64(x.type.scale) / twice),
                           _centred(x.type) << 7) for x in (a, b))  # fmt: skip
    rescale = derive("tflite_reference", twice * twice / (2**14 * np.float64(to.grid.scale)))
    squares = np.square(first[:, None] - second[None]).astype(np.int32)
    return tabled(a, b, apply(rescale, squares), to)


@expands(prelu)
def _(op, kernels, x, alpha):
    if not on_grids(op, x, alpha):
        zero = const(np.float32(0))
        return lax.select(lax.ge(x, zero), x, nn.mul(x, alpha))
    to = op.type.element
    scale = np.float32(to.grid.scale)
    above = derive("tflite_reference", np.float64(np.float32(x.type.scale) / scale))
    product = np.float32(np.float32(x.type.scale) * np.float32(alpha.type.scale))
    below = derive("tflite_reference", np.float64(product / scale))
    rows, columns = _centred(x.type)[:, None], _centred(alpha.type)[None]
    return tabled(x, alpha, np.where(rows >= 0, apply(above, rows + 0 * columns),
                                     apply(below, rows * columns)), to)  # fmt: skip


@expands(div)
def _(op, kernels, a, b):
    clamp = clamp_of(op.attributes["fused_activation_function"])
    if not on_grids(op, a, b):
        require(a.type.is_float or clamp is None, "a fused activation of plain integers")
        return nn.div(a, b, clamp=clamp) if a.type.is_float else lax.div(a, b)
    to = op.type.element
    real = np.float32(a.type.scale) / np.float32(np.float32(b.type.scale) * to.grid.scale)
    values = _quotients(_centred(a.type), _centred(b.type), np.float64(real))
    return tabled(a, b, values, to, stored_clamp(clamp, to))


def _quotients(dividends: np.ndarray, divisors: np.ndarray, real: np.float64) -> np.ndarray:
    """Quotients times a real factor, by reciprocals in fixed point (`reference/div.h`).

    The runtime does not say what a division by zero is; it is 0 here.
    """
    rescale = derive("tflite_reference", real)
    signs = np.sign(divisors.astype(np.int64))
    inverse, over_one = gemmlowp.reciprocal(np.maximum(abs(divisors).astype(np.int64), 1))
    x = dividends.astype(np.int64)[:, None] * signs
    headroom = 31 - np.frexp(np.where(x < 0, ~x, x).astype(np.float64))[1]
    quotient = half_away(x << headroom, inverse, np.int64(0))
    shift = np.int64(rescale.shift) - over_one - headroom
    product = half_away(quotient, np.int64(rescale.multiplier), np.int64(0))
    return np.where(signs == 0, 0, gemmlowp.divided(product, -shift))
