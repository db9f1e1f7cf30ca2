"""More functions of one value: roots, logarithms, activations; on 8 bits a table of all values."""

import numpy as np

from qir.errors import require
from qir.expansions import expands
from qir.ir import Op, const
from qir.rounding import apply, derive, gemmlowp
from qir.rounding.fixed import half_away
from qir.special import erfc
from qir.types import Element, Type

from .. import lax, nn
from ..int8.dialect import stored_clamp
from .dialect import builtin, of_16_bits, on, on_grids
from .unary import looked_up, reals, stored_values, table_of


def _function(operator: str, doc: str, options: str | None = None, floats: bool = False):
    """An operator of one operand and no options; floats: its kernels take no integers."""

    def typing(x: Type, *, to: Element | None = None) -> Type:
        require(x.is_float or x.grid is not None or operator in WHOLE, f"takes reals, found {x}")
        require(not floats or x.grid is None, f"the runtime computes it on floats, found {x}")
        return on(x, x.shape, to)

    typing.__doc__ = doc
    return builtin(operator, options)(typing)


WHOLE = ("ABS", "NEG")
"""Operators that take plain integers too."""

relu_0_to_1 = _function("RELU_0_TO_1", "x clamped to [0, 1].")
abs_ = _function("ABS", "The absolute value.", "AbsOptions")
log = _function("LOG", "The natural logarithm.")
sqrt = _function("SQRT", "The square root.")
rsqrt = _function("RSQRT", "1 / sqrt(x).")
hard_swish = _function("HARD_SWISH", "x * relu6(x + 3) / 6.", "HardSwishOptions")
elu = _function("ELU", "x, exp(x) - 1 below zero.")
neg = _function("NEG", "-x.", "NegOptions", floats=True)
square = _function("SQUARE", "x * x.", "SquareOptions", floats=True)
sin = _function("SIN", "The sine.", floats=True)
cos = _function("COS", "The cosine.", "CosOptions", floats=True)
floor = _function("FLOOR", "The integer at or below.", floats=True)
ceil = _function("CEIL", "The integer at or above.", floats=True)
round_ = _function("ROUND", "The nearest integer, half to even.", floats=True)
FLOATS = {"tfl.neg": lax.neg, "tfl.square": lax.square, "tfl.sin": lax.sin, "tfl.cos": lax.cos,
          "tfl.floor": lax.floor, "tfl.ceil": lax.ceil, "tfl.round": lax.round}  # fmt: skip


@expands(neg, square, sin, cos, floor, ceil, round_)
def _(op, kernels, x):
    return FLOATS[op.kind](x)


@builtin("GELU", "GeluOptions")
def gelu(x: Type, *, approximate: bool = False, to: Element | None = None) -> Type:
    """x times the share of a normal distribution below x; approximate: by tanh."""
    return on(x, x.shape, to)


@expands(gelu)
def _(op, kernels, x):
    approximate = op.attributes["approximate"]
    if not on_grids(op, x):
        return nn.gelu(x, approximate=approximate)
    return looked_up(x, _gelu_by_tanh if approximate else _gelu, op.type.element)


def _gelu(x: np.ndarray) -> np.ndarray:
    half, below = np.float32(0.5), np.float32(-np.sqrt(0.5))
    return half * _f32(x) * _f32(erfc(_f64(_f32(x) * below)))


def _gelu_by_tanh(x: np.ndarray) -> np.ndarray:
    x, cubic = _f32(x), np.float32(0.044715)
    inner = np.float32(np.sqrt(2 / np.pi)) * (x + cubic * x * x * x)
    return np.float32(0.5) * x * (np.float32(1) + _f32(np.tanh(_f64(inner))))


def _f32(x) -> np.ndarray:
    return np.asarray(x, np.float32)


def _f64(x) -> np.ndarray:
    return np.asarray(x, np.float64)


@expands(log)
def _(op, kernels, x):
    if not on_grids(op, x):
        return lax.log(x)
    to = op.type.element
    lowest = np.float32(to.lo - int(to.grid.zero)) * to.grid.scale
    return looked_up(x, lambda r: np.where(r > 0, np.log(r), lowest), to)


@expands(elu)
def _(op, kernels, x):
    if not on_grids(op, x):
        return nn.elu(x)
    _has_8_bits(x)
    return looked_up(x, lambda r: np.where(r < 0, np.expm1(r), r), op.type.element)


@expands(sqrt)
def _(op, kernels, x):
    if not on_grids(op, x):
        return lax.sqrt(x)
    to = op.type.element  # the runtime stops at negative values: here they are zero
    steps = np.sqrt(np.maximum(reals(x.type), 0)) / np.float32(to.grid.scale)
    return table_of(x, np.clip(np.trunc(steps) + int(to.grid.zero), to.lo, to.hi), to)


@expands(rsqrt)
def _(op, kernels, x):
    if not on_grids(op, x):
        return lax.rsqrt(x)
    to = op.type.element
    if of_16_bits(x.type, op.type):
        largest = np.float32(to.hi) * to.grid.scale
        return looked_up(x, lambda r: np.where(r > 0, _f32(1) / np.sqrt(_f32(r)), largest), to)
    centred = stored_values(x.type).astype(np.int64) - int(x.type.zero)
    root, shift = gemmlowp.inverse_root(np.maximum(centred, 1))
    fixed = half_away(np.ones_like(root), root, shift + 20)
    # in f32 up to here (SetRsqrtOutputMultiplier)
    real = 1.0 / np.float64(np.sqrt(np.float32(x.type.scale)) * np.float32(to.grid.scale))
    rescale = derive("tflite_reference", real)
    found = half_away(fixed, np.int64(rescale.multiplier), np.int64(rescale.shift) - 20)
    # of zero, the largest there is; the runtime stops at negative values, which come to it here
    values = np.where(centred > 0, found + int(to.grid.zero), to.hi)
    return table_of(x, np.clip(values, to.lo, to.hi), to)


def _has_8_bits(x: Op) -> None:
    require(x.dtype.bits == 8, f"computes on 8 bits, found {x.type}")


def _rescaled(x: Op, to: Element, clamp=None, change=lambda v: v) -> Op:
    """Stored values less the zero point, changed, on another grid, clamped."""
    scale = np.float64(np.float32(x.type.scale) / np.float32(to.grid.scale))
    centred = change((stored_values(x.type) - int(x.type.zero)).astype(np.int32))
    values = apply(derive("tflite_reference", scale), centred) + int(to.grid.zero)
    return table_of(x, np.clip(values, *(clamp or (to.lo, to.hi))), to)


@expands(abs_)
def _(op, kernels, x):
    return _rescaled(x, op.type.element, change=np.abs) if on_grids(op, x) else lax.abs(x)


@expands(relu_0_to_1)
def _(op, kernels, x):
    if not on_grids(op, x):
        return lax.clamp(const(np.float32(0)), x, const(np.float32(1)))
    _has_8_bits(x)
    return _rescaled(x, op.type.element, stored_clamp((0.0, 1.0), op.type.element))


@builtin("LEAKY_RELU", "LeakyReluOptions")
def leaky_relu(x: Type, *, alpha: float = 0.0, to: Element | None = None) -> Type:
    """x, alpha * x below zero."""
    return on(x, x.shape, to)


@expands(leaky_relu)
def _(op, kernels, x):
    alpha = op.attributes["alpha"]
    if not on_grids(op, x):
        return nn.leaky_relu(x, slope=alpha)
    to = op.type.element
    centred = (stored_values(x.type) - int(x.type.zero)).astype(np.int32)
    ratio = np.float32(x.type.scale) / np.float32(to.grid.scale)
    below = ratio * np.float32(alpha)
    if kernels == "xnnpack" and not of_16_bits(x.type, op.type) and _delegated(ratio, below):
        factors = (int(np.rint(np.float32(256) * each)) for each in (ratio, below))
        above, under = factors
        values = centred.astype(np.int64) * np.where(centred >= 0, above, under) + 128 >> 8
    else:
        first = np.float32(np.float32(x.type.scale) * np.float32(alpha)) / np.float32(to.grid.scale)
        sloped = np.sign(alpha) * apply(_positive(abs(float(first))), centred)
        values = np.where(centred >= 0, apply(_positive(float(ratio)), centred), sloped)
    return table_of(x, np.clip(values + int(to.grid.zero), to.lo, to.hi), to)


def _delegated(ratio, below) -> bool:
    return bool(below != 0 and 2.0**-8 <= ratio <= 2.0**7 and abs(below) >= 2.0**-8
                and -127.99609375 <= below <= 2.0**7)  # fmt: skip


def _positive(real: float):
    return derive("tflite_reference", np.float64(real))


@expands(hard_swish)
def _(op, kernels, x):
    if not on_grids(op, x):
        return nn.hard_swish(x)
    _has_8_bits(x)
    return table_of(x, _hard_swish(x.type, op.type.element), op.type.element)


def _hard_swish(x: Type, to: Element) -> np.ndarray:
    """In 16-bit fixed point (`reference/hard_swish.h`)."""
    hires = np.float32(1 / 128) * np.float32(x.scale)
    scaled, exponent = _sixteen_bits(hires / np.float32(to.grid.scale))
    require(exponent <= 0, f"the result's scale {to.grid.scale} is too fine for that of {x}")
    relu, left = _sixteen_bits(hires / np.float32(3 / 32768))
    values = (stored_values(x).astype(np.int64) - int(x.zero)) << 7
    preshift = _high(values, scaled)
    share = _saturated(values << max(left - 1, 0))
    share = _high(share, relu)
    share = _saturated(share << 1) if left > 0 else gemmlowp.divided(share, -left)
    share = share + 32768 >> 1
    product = share * preshift
    product = np.sign(product) * (np.abs(product) >> 15)
    return np.clip(gemmlowp.divided(product, -exponent) + int(to.grid.zero), to.lo, to.hi)


def _sixteen_bits(real: np.float32) -> tuple[int, int]:
    """A multiplier with 15 fractional bits, and the shift to the left that goes with it."""
    rescale = derive("tflite_reference", np.float64(real))
    return min(int(rescale.multiplier) + 2**15 >> 16, 2**15 - 1), int(rescale.shift)


def _saturated(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -(2**15), 2**15 - 1)


def _high(a: np.ndarray, b: int) -> np.ndarray:
    return np.minimum(a * b + 2**14 >> 15, 2**15 - 1)
