"""Softmax, its logarithm, and norms, along the last axis."""

import numpy as np

from qir.errors import require
from qir.expansions import expands
from qir.ir import const
from qir.rounding import apply, derive, gemmlowp, interpolated
from qir.rounding.fixed import half_away
from qir.types import Element, Type

from .. import int8, lax, nn
from .dialect import Activation, builtin, of_16_bits, on, on_grids
from .unary import stored_values

INTEGER_BITS = 5
"""Of the scaled difference to the largest value, in the reference kernel."""


@builtin("SOFTMAX", "SoftmaxOptions")
def softmax(x: Type, *, beta: float = 1.0, to: Element | None = None) -> Type:
    """Softmax of beta * x along the last axis."""
    require(x.rank >= 1 and x.shape[-1], f"{x} has nothing along its last axis")
    return on(x, x.shape, to)


@expands(softmax)
def _(op, kernels, x):
    beta = op.attributes["beta"]
    if not on_grids(op, x):
        return nn.softmax(_times(x, beta), axis=-1)
    to = op.type.element
    if of_16_bits(x.type, op.type):
        exps, inverse = _interpolated_exponentials(x.type, beta), interpolated.reciprocals()
        return int8.softmax_interpolated(x, const(exps), const(inverse.astype(np.int32)), to=to)
    if kernels == "tflite_reference":
        return int8.softmax_gemmlowp(x, const(_fixed_exponentials(x.type, beta)[0]), to=to)
    return int8.softmax_f32(x, const(_exponentials(x.type, beta)), to=to)


def _times(x, beta: float):
    return x if beta == 1 else nn.mul(x, const(np.float32(beta)))


def _exponentials(x: Type, beta: float = 1.0) -> np.ndarray:
    """exp(-beta * scale * d) for d up to 255, f32."""
    steps = np.float32(-x.scale * np.float32(beta)) * np.arange(256, dtype=np.float32)
    return np.exp(steps.astype(np.float64)).astype(np.float32)


def _interpolated_exponentials(x: Type, beta: float) -> np.ndarray:
    """exp(-beta * scale * d) for d up to 65535, i32 with 15 fractional bits, by lines of a table.

    What is more than 10 below the largest value counts as 10 below it.
    """
    real = np.float64(np.float32(x.scale) * np.float32(beta)) / (10.0 / 65535.0)
    steps = apply(derive("tflite_reference", real), -np.arange(2**16, dtype=np.int32))
    places = np.clip(steps.astype(np.int64) + 2**16 - 1, 0, 2**16 - 1)
    return interpolated.exponentials()[places].astype(np.int32)


def _fixed_exponentials(x: Type, beta: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """exp(-beta * scale * d) for d up to 255 as gemmlowp computes it, and its exponents.

    With 31 and 26 fractional bits, i32[256] both. 0 and -31 where the reference kernel leaves a
    value out of the sum.
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
    exps = np.where(seen, gemmlowp.negative_exponential(scaled, INTEGER_BITS), 0)
    exponents = np.where(seen, scaled, -31 << (31 - INTEGER_BITS))
    return exps.astype(np.int32), exponents.astype(np.int32)


@builtin("LOG_SOFTMAX", "LogSoftmaxOptions")
def log_softmax(x: Type, *, to: Element | None = None) -> Type:
    """The logarithm of softmax along the last axis."""
    require(x.rank >= 1 and x.shape[-1], f"{x} has nothing along its last axis")
    return on(x, x.shape, to)


@expands(log_softmax)
def _(op, kernels, x):
    to = op.type.element
    if not on_grids(op, x):
        last = {"axes": (x.type.rank - 1,), "keepdims": True}
        below = nn.sub(x, nn.reduce_max(x, **last))
        return nn.sub(below, lax.log(nn.sum(lax.exp(below), **last)))
    if kernels == "tflite_reference":
        exps, exponents = _fixed_exponentials(x.type)
        return int8.log_softmax_gemmlowp(x, const(exps), const(exponents), to=to)
    values = np.float32(x.type.scale) * stored_values(x.type).astype(np.float32)
    return int8.log_softmax_f32(x, const(_exponentials(x.type)), const(values), to=to)


@builtin("L2_NORMALIZATION", "L2NormOptions")
def l2_normalization(x: Type, *, fused_activation_function: Activation = "NONE",
                     to: Element | None = None) -> Type:  # fmt: skip
    """x over the root of the sum of its squares along the last axis."""
    require(fused_activation_function == "NONE", "the runtime takes no fused activation there")
    require(x.rank >= 1 and x.shape[-1], f"{x} has nothing along its last axis")
    return on(x, x.shape, to)


@expands(l2_normalization)
def _(op, kernels, x):
    if on_grids(op, x):
        return int8.l2_norm(x, to=op.type.element)
    squares = nn.sum(lax.square(x), axes=(x.type.rank - 1,), keepdims=True)
    return nn.div(x, lax.max(lax.sqrt(squares), const(np.float32(1e-6))))
