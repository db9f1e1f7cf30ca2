"""Softmax."""

import numpy as np

from qir.errors import require
from qir.expansions import expands
from qir.ir import const
from qir.rounding.fixed import half_away
from qir.types import Element, Type

from .. import int8, nn
from .dialect import builtin, is_quantized, on

INTEGER_BITS = 5
"""Of the scaled difference to the largest value, in the reference kernel."""
POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(-1/4), exp(-1/2), exp(-1), ... exp(-16) with 31 fractional bits."""


@builtin("SOFTMAX", "SoftmaxOptions")
def softmax(x: Type, *, beta: float = 1.0, to: Element | None = None) -> Type:
    """Softmax of beta * x along the last axis."""
    require(x.rank >= 1 and x.shape[-1], f"{x} has nothing along its last axis")
    return on(x, x.shape, to)


@expands(softmax)
def _(op, kernels, x):
    beta = op.attributes["beta"]
    if not is_quantized(x.type):
        return nn.softmax(_times(x, beta), axis=-1)
    to = op.type.element
    if kernels == "tflite_reference":
        return int8.softmax_gemmlowp(x, const(fixed_exponentials(x.type, beta)), to=to)
    steps = np.float32(-x.type.scale * np.float32(beta)) * np.arange(256, dtype=np.float32)
    exps = np.exp(steps.astype(np.float64)).astype(np.float32)
    return int8.softmax_f32(x, const(exps), to=to)


def _times(x, beta: float):
    return x if beta == 1 else nn.mul(x, const(np.float32(beta)))


def fixed_exponentials(x: Type, beta: float) -> np.ndarray:
    """exp(-beta * scale * d) for d up to 255 with 31 fractional bits, as gemmlowp computes it.

    0 where the reference kernel leaves a value out of the sum. i32[256].
    """
    real = min(beta * float(x.scale) * 2.0 ** (31 - INTEGER_BITS), 2.0**31 - 1)
    fraction, shift = np.frexp(real)
    multiplier = int(np.floor(fraction * 2.0**31 + 0.5))
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    radius = int((2**INTEGER_BITS - 1) * 2.0 ** (31 - INTEGER_BITS) / 2.0 ** int(shift))
    distances = np.arange(256, dtype=np.int64)
    seen = distances <= radius
    scaled = half_away(-distances * seen, np.int64(multiplier), np.int64(shift))
    return np.where(seen, negative_exponential(scaled), 0).astype(np.int32)


def negative_exponential(a: np.ndarray) -> np.ndarray:
    """gemmlowp's exp_on_negative_values: of numbers <= 0 with 26 fractional bits, with 31."""
    quarter = 2**24
    rest = (a & (quarter - 1)) - quarter
    result = _near_zero(rest << INTEGER_BITS)
    remainder = rest - a
    for power, factor in enumerate(POWERS, start=-2):
        taken = (remainder & (1 << (26 + power))) != 0
        result = np.where(taken, _times_fixed(result, factor), result)
    return np.where(a == 0, 2**31 - 1, result)


def _near_zero(a: np.ndarray) -> np.ndarray:
    """exp on [-1/4, 0) by its Taylor series round -1/8, 31 fractional bits."""
    x = a + 2**28
    square = _times_fixed(x, x)
    cube, fourth = _times_fixed(square, x), _times_fixed(square, square)
    series = _times_fixed(_halved(fourth, 2) + cube, 715827883) + square
    return 1895147668 + _times_fixed(np.int64(1895147668), x + _halved(series, 1))


def _times_fixed(a, b):
    return (a * b + 2**30) >> 31


def _halved(x: np.ndarray, bits: int) -> np.ndarray:
    """Shifted right, rounded half away from zero."""
    mask = (1 << bits) - 1
    return (x >> bits) + ((x & mask) > (mask >> 1) + (x < 0))
