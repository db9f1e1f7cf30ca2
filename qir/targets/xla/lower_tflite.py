"""What TensorFlow Lite's kernels compute in ways of their own: softmax, norms, cells."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from qir.dialects.int8.tflite_norms import normalized
from qir.dialects.int8.tflite_reductions import multiplied, over_last

from ...rounding import gemmlowp
from .kernels.softmax_tflite import (
    in_order,
    softmax_f32,
    softmax_gemmlowp,
    softmax_interpolated,
)
from .table import lowers

WIDE = ("int8.gru", "int8.l2_norm", "int8.lstm", "int8.prod", "int8.log_softmax_f32",
        "int8.log_softmax_gemmlowp")  # fmt: skip
"""Ops that hold 64-bit numbers on the way: one to a row is slow, and there are few."""


@lowers("int8.softmax_gemmlowp")
def _(op, x, exps):
    return softmax_gemmlowp(x, exps, lo=op.type.lo, hi=op.type.hi)


@lowers("int8.softmax_f32")
def _(op, x, exps):
    return softmax_f32(x, exps, lo=op.type.lo, hi=op.type.hi)


@lowers("int8.softmax_interpolated")
def _(op, x, exps, reciprocals):
    return softmax_interpolated(x, exps, reciprocals)


@lowers("int8.l2_norm")
def _(op, x):
    x = x.astype(jnp.int64) - op.operands[0].type.zero.astype(np.int64)
    return jnp.clip(normalized(op, x) + int(op.type.zero), op.type.lo, op.type.hi)


@lowers("int8.log_softmax_gemmlowp")
def _(op, x, exps, steps):
    exps, steps = (jnp.asarray(table).astype(jnp.int64) for table in (exps, steps))
    distance = _below_largest(x)
    weights = gemmlowp.divided(exps, 12)[distance]
    total = gemmlowp.logarithm(jnp.sum(weights, -1, keepdims=True), 12, 5)
    found = gemmlowp.divided(steps[distance] - total, 22) + op.type.hi
    return jnp.clip(found, op.type.lo, op.type.hi)


@lowers("int8.log_softmax_f32")
def _(op, x, exps, reals):
    exps, reals = jnp.asarray(exps), jnp.asarray(reals)
    total = in_order(jnp.moveaxis(exps[_below_largest(x)], -1, 0))[..., None]
    log = jnp.log(total.astype(jnp.float64)).astype(jnp.float32)
    real = reals[x.astype(jnp.int32) - op.operands[0].dtype.lo]
    steps = lax.round((real - (jnp.max(real, -1, keepdims=True) + log)) * np.float32(16),
                      lax.RoundingMethod.TO_NEAREST_EVEN)  # fmt: skip
    return jnp.clip(steps.astype(jnp.int32) + op.type.hi, op.type.lo, op.type.hi)


def _below_largest(x):
    x = x.astype(jnp.int32)
    return jnp.max(x, -1, keepdims=True) - x


@lowers("int8.prod")
def _(op, x):
    x = x.astype(jnp.int64) - op.operands[0].type.zero.astype(np.int64)
    factors = jnp.moveaxis(over_last(op, x), -1, 0)
    step = lambda total, factor: (multiplied(op, total, factor), None)  # noqa: E731
    total, _ = lax.scan(step, factors[0], factors[1:])
    return jnp.clip(multiplied(op, total, 1) + int(op.type.zero), op.type.lo, op.type.hi)
