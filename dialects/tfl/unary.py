"""Casts between grids, and functions of one value: on 8 bits a table of all its values."""

import numpy as np

from qir.errors import require
from qir.expansions import expands
from qir.ir import Op, const
from qir.rounding import apply, derive, quantize_array, requantize
from qir.types import DTYPES, Element, Type

from .. import int8, lax, nn, quant
from ..int8.dialect import real_scale, stored_clamp
from .dialect import CLAMPS, builtin, on


@builtin("QUANTIZE", "QuantizeOptions")
def quantize(x: Type, *, to: Element) -> Type:
    """Reals, or integers on another grid, as integers on the grid of `to`."""
    require(x.dtype.name == "f32" or x.grid is not None, f"takes f32 or a grid, found {x}")
    require(to.grid is not None, f"'to' must be integers on a grid, found {to}")
    return to[x.shape]


@builtin("DEQUANTIZE", "DequantizeOptions")
def dequantize(x: Type) -> Type:
    """What stored integers stand for, f32."""
    require(x.grid is not None, f"takes integers on a grid, found {x}")
    return Element(DTYPES["f32"])[x.shape]


BLOCK = 8
"""How many values the builtin DEQUANTIZE takes at once; what is left over goes another way."""


@expands(dequantize)
def _(op, kernels, x):
    if kernels != "tflite_builtin" or x.dtype.bits != 8 or x.type.size < BLOCK:
        return quant.dequantize(x)
    zero = np.float32(np.float32(-int(x.type.zero)) * x.type.scale)
    reals = stored_values(x.type).astype(np.float32) * x.type.scale + zero
    end = x.type.size // BLOCK * BLOCK
    flat = lax.reshape(x, shape=(-1,))
    first = lax.slice(flat, start=(0,), limit=(end,))
    blocks = int8.table(first, const(reals, name="table"), to=op.type.element)
    if end == x.type.size:
        return lax.reshape(blocks, shape=x.shape)
    rest = quant.dequantize(lax.slice(flat, start=(end,), limit=(x.type.size,)))
    return lax.reshape(lax.concatenate(blocks, rest, axis=0), shape=x.shape)


@expands(quantize)
def _(op, kernels, x):
    to = op.type.element
    if x.type.is_float and kernels == "xnnpack":
        # x * (1 / scale), half to even; scaled again, since a cast divides by the scale itself
        inverse = np.float32(1) / np.float32(to.grid.scale)
        steps = lax.round(lax.mul(x, const(inverse)))
        return quant.quantize(lax.mul(steps, const(np.float32(to.grid.scale))), to=to)
    if x.type.is_float:
        return quant.quantize(x, to=to)
    require(x.dtype.bits == 8 and to.dtype.bits == 8, f"from {x.type} to {to}")
    scale = real_scale(x.type, to=to)
    stored = stored_values(x.type)
    same = x.dtype == to.dtype
    if kernels == "xnnpack" and same and 2.0**-8 <= float(scale) <= 2.0**7:
        factor = int(np.rint(np.float32(256) * np.float32(x.type.scale / to.grid.scale)))
        values = ((stored - int(x.type.zero)) * factor + 128 >> 8) + int(to.grid.zero)
        return table_of(x, np.clip(values, to.lo, to.hi), to)
    rescale = derive("tflite_reference", scale.reshape(()))
    values = requantize(rescale, (stored - int(x.type.zero)).astype(np.int32), int(to.grid.zero),
                        to.lo, to.hi)  # fmt: skip
    return table_of(x, values, to)


def stored_values(x: Type) -> np.ndarray:
    """Every stored value of 8 bits, lowest first, i32."""
    return np.arange(x.dtype.lo, x.dtype.hi + 1, dtype=np.int32)


def table_of(x: Op, values: np.ndarray, to: Element) -> Op:
    """The function of x that gives these values for all that it may store, lowest first."""
    require(x.dtype.bits == 8, f"computes on 8 bits, found {x.type}")
    type = Type(to.dtype, values.shape, to.grid)
    return int8.table(x, const(values.astype(to.dtype.numpy), type, name="table"), to=to)


def _activation(operator: str, doc: str):
    def typing(x: Type, *, to: Element | None = None) -> Type:
        return on(x, x.shape, to)

    typing.__doc__ = doc
    return builtin(operator)(typing)


relu = _activation("RELU", "max(x, 0).")
relu6 = _activation("RELU6", "x clamped to [0, 6].")
relu_n1_to_1 = _activation("RELU_N1_TO_1", "x clamped to [-1, 1].")
logistic = _activation("LOGISTIC", "1 / (1 + exp(-x)).")
tanh = _activation("TANH", "The hyperbolic tangent.")
exp = _activation("EXP", "The exponential.")


@expands(relu, relu6, relu_n1_to_1)
def _(op, kernels, x):
    bounds = CLAMPS[op.kind.removeprefix("tfl.").upper()]
    if x.type.grid is None:
        low, high = (const(np.float32(bound)) for bound in bounds)
        return lax.maximum(x, low) if bounds[1] == np.inf else lax.clamp(low, x, high)
    to = op.type.element
    rescale = derive("tflite_reference", real_scale(x.type, to=to).reshape(()))
    stored = (stored_values(x.type) - int(x.type.zero)).astype(np.int32)
    low, high = stored_clamp(bounds, to) or (to.lo, to.hi)
    return table_of(x, np.clip(apply(rescale, stored) + int(to.grid.zero), low, high), to)


@expands(logistic, tanh, exp)
def _(op, kernels, x):
    real, f64 = _FUNCTIONS[op.kind]
    if x.type.grid is None:
        return real(x)
    to = op.type.element
    reals = (stored_values(x.type) - int(x.type.zero)).astype(np.float32) * x.type.scale
    with np.errstate(over="ignore"):
        values = f64(reals.astype(np.float64)).astype(np.float32)
    inverse = np.float32(1) / np.float32(to.grid.scale)
    stored = quantize_array(values * inverse, np.float32(1), to.grid.zero, to.lo, to.hi)
    return table_of(x, stored, to)


_FUNCTIONS = {
    "tfl.logistic": (nn.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "tfl.tanh": (nn.tanh, np.tanh),
    "tfl.exp": (lax.exp, np.exp),
}
"""By op: its float form, and the function that a table holds, in f64."""
