"""quant ops on XLA: the casts between reals and stored integers, bit for bit as numpy has them.

Casts of at most 16 bits compute in f32. Wider ones need f64; `wide` says which, and compile.py then
runs the whole function with 64-bit types.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from ...dialects.quant import requantize
from ...dialects.quant.fake import levels_of, onto_integers, ranges_of
from ...evaluate import evaluate_op
from ...ir import parameter
from ...rounding import fake
from ...rounding.grids import in_f32
from ...types import TupleType, Type
from . import rescale
from .kernels import stored
from .lower_nn import clamped
from .lower_tflite import WIDE
from .table import lowers


def wide_program(func) -> bool:
    """Whether a function needs 64-bit types on XLA.

    What depends on constants alone is numpy's, and so are biases of 64 bits, which sums in words
    take as they are (`wide_sums.py`).
    """
    biases = {op.operands[2] for op in func.ops if op.kind in BIASED and len(op.operands) > 2}
    known = {b for b in biases if b.is_const} - set(func.results)
    return any(wide(op) for op in func.ops if op not in known and not _known(op))


BIASED = ("int8.conv2d", "int8.depthwise_conv2d", "int8.transposed_conv2d", "int8.dense",
          "xla.conv", "xla.depthwise", "xla.dot")  # fmt: skip
"""Ops whose bias, their third operand, may have 64 bits."""


def _known(op) -> bool:
    return bool(op.operands) and all(operand.is_const for operand in op.operands)


def wide(op) -> bool:
    """Whether an op holds 64-bit numbers or needs them on the way."""
    types = op.type.items if isinstance(op.type, TupleType) else (op.type,)
    if op.kind in WIDE or any(type.dtype.bits == 64 for type in types):
        return True
    if op.kind == "quant.quantize":
        return not in_f32(*_steps(op.attributes["to"]))
    if op.kind == "quant.dequantize":
        return op.operands[0].dtype.bits > 16
    return op.kind == "quant.requantize" and not _tabulated(op)


@lowers("quant.observe", "quant.stats", "quant.variable")
def _(op, x):
    return x


@lowers("quant.quantize")
def _(op, x):
    to = op.attributes["to"]
    scale, zero = to.grid.expanded(op.type.rank)
    low, high = _steps(to)
    if in_f32(low, high):
        return rescale.quantize(x, scale, zero, to.lo, to.hi)
    value = jnp.clip(quotient(x.astype(jnp.float64), scale), to.lo - zero, to.hi - zero)
    value = lax.round(value, lax.RoundingMethod.AWAY_FROM_ZERO)
    return jnp.where(value != value, 0, value).astype(jnp.int64) + zero


@lowers("quant.dequantize")
def _(op, x):
    type = op.operands[0].type
    if type.dtype.bits > 16:
        return _reals(type, x)
    scale, zero = type.grid.expanded(type.rank)
    return rescale.dequantize(x, scale, zero)


@lowers("quant.widen")
def _(op, x):
    return x.astype(jnp.float32)


@lowers("quant.dense")
def _(op, x, w, b=None):
    y = stored.dense(x, w, op.operands[1].type)
    return clamped(op, y if b is None else y + b)


@lowers("quant.take")
def _(op, x, indices):
    type, axis = op.operands[0].type, op.attributes["axis"]
    slices = jnp.take(x, indices, axis, mode="clip")
    if type.grid is None:
        return slices.astype(jnp.float32)
    shape = (*slices.shape[:axis], indices.size, *slices.shape[axis + indices.ndim :])
    scale, zero = (_taken(part, type, indices.reshape(-1), axis)
                   for part in (type.grid.scale, type.grid.zero))  # fmt: skip
    return rescale.dequantize(slices.reshape(shape), scale, zero).reshape(op.shape)


def _taken(numbers, type: Type, indices, axis: int):
    """Scales or zero points for the slices at some indices, [...,indices,...]."""
    grid = type.grid
    if numbers.ndim == 0:
        return numbers
    if grid.block is None:
        shape = [1] * type.rank
        shape[grid.axis] = numbers.size
        numbers = numbers.reshape(shape)
    elif grid.axis == axis:
        indices = jnp.clip(indices, 0, type.shape[axis] - 1) // grid.block
    if numbers.shape[axis] > 1:
        numbers = jnp.take(jnp.asarray(numbers), indices, axis, mode="clip")
    if grid.block is not None and grid.axis != axis:
        numbers = jnp.repeat(numbers, grid.block, grid.axis)
    return numbers


@lowers("quant.requantize")
def _(op, x):
    to, type = op.attributes["to"], op.operands[0].type
    if _tabulated(op):
        entries = np.arange(type.dtype.lo, type.dtype.hi + 1).astype(type.dtype.numpy)
        every = parameter("every", Type(type.dtype, entries.shape, type.grid))
        values = evaluate_op(requantize(every, to=to), [entries])
        return jnp.take(values, x.astype(jnp.int32) - np.int32(type.dtype.lo), mode="clip")
    scale, zero = to.grid.expanded(op.type.rank)
    steps = lax.round(quotient(_reals(type, x), scale), lax.RoundingMethod.AWAY_FROM_ZERO)
    return jnp.clip(steps + zero.astype(np.float64), to.lo, to.hi)


@lowers("quant.fake_quant")
def _(op, x):
    return fake.onto_quotient(x, levels_of(op, *ranges_of(op)), jnp, quotient)


@lowers("quant.fake_quant_per_channel")
def _(op, x, lo, hi):
    return fake.onto_product(x, levels(op, lo, hi), jnp)


@lowers("quant.quantize_and_dequantize")
def _(op, x, lo, hi):
    return onto_integers(op, x, levels(op, lo, hi), jnp)


def levels(op, lo, hi):
    """The levels of a range: by numpy where the range is known, else by XLA."""
    known = ranges_of(op)
    return levels_of(op, lo, hi, jnp, quotient) if known is None else levels_of(op, *known)


def _tabulated(op) -> bool:
    type, to = op.operands[0].type, op.attributes["to"]
    return type.dtype.bits <= 16 and type.grid.per_tensor and to.grid.per_tensor


def _steps(to):
    zero = to.grid.zero.astype(np.int64)
    return to.lo - zero, to.hi - zero


def quotient(x, scale):
    """x / scale, as a division."""
    # A divisor that XLA sees broadcast becomes a product with its reciprocal; see rescale.quantize.
    return x / jnp.where(x != x, x, jnp.asarray(scale, x.dtype))


def _reals(type, x):
    scale, zero = type.grid.expanded(type.rank)
    return (x.astype(jnp.int64) - zero).astype(jnp.float64) * scale.astype(np.float64)
