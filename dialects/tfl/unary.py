"""Casts between grids, and functions of one value: on stored integers a table of all values."""

from functools import partial
from typing import Literal

import numpy as np

from qir.errors import require
from qir.expansions import expands
from qir.ir import Op, const
from qir.rounding import apply, derive, gemmlowp16, interpolated, quantize_array, requantize
from qir.types import DTYPES, Element, Type

from .. import int8, lax, nn, quant
from ..int8.dialect import real_scale, stored_clamp
from .dialect import CLAMPS, builtin, of_16_bits, on, on_grids, regridded, stored


@builtin("QUANTIZE", "QuantizeOptions")
def quantize(x: Type, *, to: Element) -> Type:
    """Reals, or integers on another grid, as integers on the grid of `to`."""
    require(x.dtype.name == "f32" or x.grid is not None, f"takes f32 or a grid, found {x}")
    require(to.grid is not None, f"'to' must be integers on a grid, found {to}")
    return to[x.shape]


@builtin("DEQUANTIZE", "DequantizeOptions")
def dequantize(x: Type) -> Type:
    """What stored integers or halves stand for, f32."""
    require(x.grid is not None or x.dtype.name == "f16",
            f"takes integers on a grid, or f16, found {x}")  # fmt: skip
    return Element(DTYPES["f32"])[x.shape]


Storage = Literal["FLOAT32", "FLOAT16", "INT32", "UINT8", "INT64", "BOOL", "INT16", "INT8",
                  "UINT16", "UINT32"]  # fmt: skip


@builtin("CAST", "CastOptions")
def cast(x: Type, *, to: Element, in_data_type: Storage = "FLOAT32",
         out_data_type: Storage = "FLOAT32") -> Type:  # fmt: skip
    """Each number, of stored integers as it is stored, in another storage.

    in_data_type, out_data_type: what a file says of the storages; the kernels go by the tensors.
    """
    return to[x.shape]


@expands(cast)
def _(op, kernels, x):
    return regridded(lax.convert(stored(x), to=Element(op.dtype)), op)


@expands(dequantize)
def _(op, kernels, x):
    if x.type.grid is None:
        return lax.convert(x, to=op.type.element)
    if kernels != "tflite_builtin" or x.dtype.bits != 8 or not x.type.grid.per_tensor:
        return quant.dequantize(x)
    zero = np.float32(np.float32(-int(x.type.zero)) * x.type.scale)
    reals = stored_values(x.type).astype(np.float32) * x.type.scale + zero
    return _in_blocks(x, 8, lambda part: table_of(part, reals, op.type.element), quant.dequantize)


@expands(quantize)
def _(op, kernels, x):
    to = op.type.element
    if x.type.is_float:
        return _from_reals(x, to, kernels)
    _cast_by_kernels(x.type, to)
    require(x.type.grid.per_tensor and to.grid.per_tensor,
            f"from one grid with a scale for all to another such, found {x.type}, {to}")
    scale = real_scale(x.type, to=to)
    if 16 in (x.dtype.bits, to.dtype.bits):
        rescale = derive("tflite_reference", scale.reshape(()))
        return int8.requantize(x, to=to, rescale=rescale)
    stored = (stored_values(x.type) - int(x.type.zero)).astype(np.int32)
    same = x.dtype == to.dtype
    if kernels == "xnnpack" and same and 2.0**-8 <= float(scale) <= 2.0**7:
        factor = int(np.rint(np.float32(256) * np.float32(x.type.scale / to.grid.scale)))
        values = (stored * factor + 128 >> 8) + int(to.grid.zero)
        return table_of(x, np.clip(values, to.lo, to.hi), to)

    def by(contract: str):
        values = requantize(derive(contract, scale.reshape(())), stored, int(to.grid.zero),
                            to.lo, to.hi)  # fmt: skip
        return lambda part: table_of(part, values, to)

    if kernels == "tflite_reference":
        return by("tflite_reference")(x)
    return _in_blocks(x, 16, by("tflite_builtin"), by("tflite_reference"))


def _cast_by_kernels(x: Type, to: Element) -> None:
    pair = x.dtype.name, to.dtype.name
    known = x.dtype.bits == to.dtype.bits == 8 or pair in STORED_CASTS
    zeros = pair != ("i16", "i16") or int(x.zero) == int(to.grid.zero) == 0
    require(known and zeros, f"from {x} to {to}")


STORED_CASTS = (("i8", "i16"), ("u8", "i16"), ("i16", "i8"), ("i16", "i16"))
"""From which storage to which the kernels cast where one has 16 bits."""


def _from_reals(x: Op, to: Element, kernels: str) -> Op:
    """Reals onto a grid: x / scale in the reference kernel, else x * (1 / scale), half to even.

    The whole steps are scaled again, since the cast divides by the scale: it finds them unharmed.
    """
    vectorized = to.dtype.name in ("i8", "u8", "i16") and to.grid.per_tensor
    if kernels == "tflite_reference" or not vectorized:
        return quant.quantize(x, to=to)
    inverse, scale = np.float32(1) / np.float32(to.grid.scale), const(np.float32(to.grid.scale))

    def by_inverse(part: Op) -> Op:
        return quant.quantize(lax.mul(lax.round(lax.mul(part, const(inverse))), scale), to=to)

    if kernels == "xnnpack" and to.dtype.bits == 8:
        return by_inverse(x)
    return _in_blocks(x, 8, by_inverse, partial(quant.quantize, to=to))


def _in_blocks(x: Op, size: int, block, rest) -> Op:
    """Builtin kernels for x86 take so many values at once, what is left over another way.

    block, rest: what becomes of either, from op to op.
    """
    end = x.type.size // size * size
    if end in (0, x.type.size):
        return (block if end else rest)(x)
    flat = lax.reshape(x, shape=(-1,))
    parts = (block(lax.slice(flat, start=(0,), limit=(end,))),
             rest(lax.slice(flat, start=(end,), limit=(x.type.size,))))  # fmt: skip
    return lax.reshape(lax.concatenate(*parts, axis=0), shape=x.shape)


def stored_values(x: Type) -> np.ndarray:
    """Every stored value of 8 bits, or of 16 with a sign, lowest first, i32."""
    require(x.dtype.bits == 8 or x.dtype.name == "i16", f"computes on 8 or 16 bits, found {x}")
    return np.arange(x.dtype.lo, x.dtype.hi + 1, dtype=np.int32)


def table_of(x: Op, values: np.ndarray, to: Element) -> Op:
    """The function of x that gives these values for all that it may store, lowest first."""
    require(x.dtype.bits in (8, 16), f"computes on 8 or 16 bits, found {x.type}")
    type = Type(to.dtype, values.shape, to.grid)
    return int8.table(x, const(values.astype(to.dtype.numpy), type, name="table"), to=to)


def _activation(operator: str, doc: str, options: str | None = None):
    def typing(x: Type, *, to: Element | None = None) -> Type:
        return on(x, x.shape, to)

    typing.__doc__ = doc
    return builtin(operator, options)(typing)


relu = _activation("RELU", "max(x, 0).")
relu6 = _activation("RELU6", "x clamped to [0, 6].")
relu_n1_to_1 = _activation("RELU_N1_TO_1", "x clamped to [-1, 1].")
logistic = _activation("LOGISTIC", "1 / (1 + exp(-x)).")
tanh = _activation("TANH", "The hyperbolic tangent.")
exp = _activation("EXP", "The exponential.", "ExpOptions")


@expands(relu, relu6, relu_n1_to_1)
def _(op, kernels, x):
    bounds = CLAMPS[op.kind.removeprefix("tfl.").upper()]
    if not on_grids(op, x):
        real = {"tfl.relu": nn.relu, "tfl.relu6": nn.relu6}.get(op.kind)
        low, high = (const(np.float32(bound)) for bound in bounds)
        return real(x) if real else lax.clamp(low, x, high)
    to = op.type.element
    ratio = np.float32(x.type.scale) / np.float32(to.grid.scale)  # in f32, as ReluPrepare has it
    rescale = derive("tflite_reference", np.float64(ratio))
    stored = (stored_values(x.type) - int(x.type.zero)).astype(np.int32)
    low, high = stored_clamp(bounds, to) or (to.lo, to.hi)
    return table_of(x, np.clip(apply(rescale, stored) + int(to.grid.zero), low, high), to)


@expands(logistic, tanh, exp)
def _(op, kernels, x):
    real, f64 = _FUNCTIONS[op.kind]
    if not on_grids(op, x):
        return real(x)
    if op.kind != "tfl.exp" and of_16_bits(x.type, op.type):
        return _sigmoidal(op, kernels, x)
    return looked_up(x, f64, op.type.element)


def _sigmoidal(op: Op, kernels: str, x: Op) -> Op:
    """A sigmoid or tanh of 16 bits: interpolated; by gemmlowp where builtin kernels take the scale.

    That is where it is 2^-12, for tanh 2^-11 too.
    """
    to = op.type.element
    require(float(to.grid.scale) == 2.0**-15, f"gives 32768ths, asked for {to}")
    stored = stored_values(x.type)
    curve = op.kind.removeprefix("tfl.")
    exponent = float(np.log2(np.float64(x.type.scale)))
    if kernels == "tflite_reference" or exponent not in ((-12,) if curve == "logistic"
                                                         else (-12, -11)):  # fmt: skip
        return table_of(x, getattr(interpolated, curve)(stored, x.type.scale), to)
    curve = gemmlowp16.sigmoid() if curve == "logistic" else gemmlowp16.tanh(3)
    places = np.clip(stored << int(exponent + 12), x.type.lo, x.type.hi)
    return table_of(x, curve[places - x.type.lo], to)


def looked_up(x: Op, f64, to: Element) -> Op:
    """A function as TensorFlow Lite tables it: of reals in f32, result times 1 / scale, half away.

    f64: the function; its result is brought to f32. Of 16 bits the table has 513 entries.
    """
    if of_16_bits(x.type, to[()]):
        return _interpolated(x, f64, to)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        values = np.asarray(f64(reals(x.type).astype(np.float64))).astype(np.float32)
        inverse = np.float32(1) / np.float32(to.grid.scale)
        stored = quantize_array(values * inverse, np.float32(1), to.grid.zero, to.lo, to.hi)
    return table_of(x, stored, to)


def _interpolated(x: Op, f64, to: Element) -> Op:
    def f32(real: np.ndarray) -> np.ndarray:
        return np.asarray(f64(real.astype(np.float64))).astype(np.float32)

    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        source, result = ((np.float32(e.grid.scale), int(e.grid.zero)) for e in (x.type, to))
        table = interpolated.entries(f32, source, result)
    return table_of(x, interpolated.looked_up(stored_values(x.type), table), to)


def reals(x: Type) -> np.ndarray:
    """What each value that x may store stands for, lowest first, f32."""
    return (stored_values(x) - int(x.zero)).astype(np.float32) * x.scale


_FUNCTIONS = {
    "tfl.logistic": (nn.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "tfl.tanh": (nn.tanh, np.tanh),
    "tfl.exp": (lax.exp, np.exp),
}
"""By op: its float form, and the function that a table holds, in f64."""
