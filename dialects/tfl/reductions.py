"""Means, sums and products over axes, as each kernel set rounds them."""

from functools import partial
from math import prod

import numpy as np

from qir import shapes
from qir.attributes import Ints
from qir.errors import require
from qir.expansions import expands
from qir.ir import Op, const
from qir.rounding import Rescale, apply, derive
from qir.types import Element, Type

from .. import int8, lax, nn
from ..int8.dialect import real_scale
from .dialect import axes_of, builtin, of_16_bits, on, on_grids, regridded


@builtin("MEAN", "ReducerOptions", slots="x axis")
def mean(x: Type, *, axis: Ints, keep_dims: bool = False, to: Element | None = None) -> Type:
    """The mean over axes."""
    require(axis, f"{list(axis)} are no axes of {x}")
    return on(x, shapes.reduced(x, axes_of(x, axis), keep_dims), to)


@expands(mean)
def _(op, kernels, x):
    axes = axes_of(x.type, op.attributes["axis"])
    keep = op.attributes["keep_dims"]
    if not on_grids(op, x):
        return nn.mean(x, axes=axes, keepdims=keep)
    count = prod(x.shape[a] for a in axes)
    require(0 < count < 2**23, f"a mean of {count} values, whose sum is none of 32 bits")
    over = {"to": op.type.element, "axes": axes, "keepdims": keep}
    if of_16_bits(x.type, op.type):
        require(count < 2**16, f"a mean of {count} values of 16 bits, whose sum is none of 32")
        return int8.mean(x, rescale=_mean_rescale(x.type, op.type, count), **over)
    if kernels == "xnnpack":
        return _by_thresholds(x, partial(_xnnpack_mean, x.type, op.type, count), count, over)
    if kernels == "tflite_builtin" and keep and axes == (1, 2) and x.type.rank == 4:
        return _by_thresholds(x, partial(_image_mean, x.type, op.type, count), count, over)
    return int8.mean(x, rescale=_mean_rescale(x.type, op.type, count), **over)


@builtin("SUM", "ReducerOptions", slots="x axis")
def sum_(x: Type, *, axis: Ints, keep_dims: bool = False, to: Element | None = None) -> Type:
    """The sum over axes."""
    return on(x, shapes.reduced(x, axes_of(x, axis), keep_dims), to)


@expands(sum_)
def _(op, kernels, x):
    over = {"axes": axes_of(x.type, op.attributes["axis"]), "keepdims": op.attributes["keep_dims"]}
    if not on_grids(op, x):
        if x.type.is_float:
            return nn.sum(x, **over)
        return lax.reshape(lax.reduce_sum(x, axes=over["axes"]), shape=_kept(op))
    over["to"] = op.type.element
    require(x.dtype.bits == 8, f"computes on 8 bits, found {x.type}")
    if kernels == "tflite_reference":
        rescale = derive("tflite_reference", real_scale(x.type, to=op.type).reshape(()))
        return int8.sum_(x, rescale=rescale, **over)
    count = prod(x.shape[a] for a in over["axes"])
    require(count < 2**23, f"a sum of {count} values is none of 32 bits")
    return _by_thresholds(x, partial(_builtin_sum, x.type, op.type, count), count, over)


@builtin("REDUCE_PROD", "ReducerOptions", slots="x axis")
def reduce_prod(x: Type, *, axis: Ints, keep_dims: bool = False,
                to: Element | None = None) -> Type:  # fmt: skip
    """The product over axes."""
    return on(x, shapes.reduced(x, axes_of(x, axis), keep_dims), to)


@expands(reduce_prod)
def _(op, kernels, x):
    axes = axes_of(x.type, op.attributes["axis"])
    if on_grids(op, x):
        count = prod(x.shape[axis] for axis in axes)
        require(count, f"a product of nothing, over {list(axes)} of {x.type}")
        if count == 1 and kernels != "tflite_reference":  # the builtin kernel copies as it is
            return regridded(lax.reshape(x, shape=_kept(op)), op)
        # a part of the result's scale goes into each step
        real = np.float64(x.type.scale) / np.power(np.float64(op.type.scale), 1.0 / count)
        return int8.prod(x, to=op.type.element, rescale=derive("tflite_reference", real), axes=axes,
                         keepdims=op.attributes["keep_dims"])  # fmt: skip
    return lax.reshape(lax.reduce_prod(x, axes=axes), shape=_kept(op))


def _kept(op) -> Ints:
    """The shape of a reduction, open along a batch that was not reduced."""
    reduced = 0 in axes_of(op.operands[0].type, op.attributes["axis"])
    return op.shape if reduced else shapes.open_batch(op.shape)


def _mean_rescale(x: Type, to: Type, count: int) -> Rescale:
    """The ratio of the scales over the count, the division cut off (TFLite's mean of 8 bits)."""
    whole = derive("tflite_reference", real_scale(x, to=to).reshape(()))
    multiplier, exponent = int(whole.multiplier), int(whole.shift)
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    return Rescale("tflite_reference", multiplier=(multiplier << shift) // count,
                   shift=exponent - shift)  # fmt: skip


def _image_mean(x: Type, to: Type, count: int, totals: np.ndarray) -> np.ndarray:
    """Of sums of stored values over height and width: the builtin kernel's rounding.

    Zero points become a bias in f32, cut off after half a step (optimized/integer_ops/mean.h).
    """
    steps = np.float32(np.float32(x.zero) * x.scale) / to.scale
    bias = int(to.zero) - int(steps + np.float32(0.5 if steps > 0 else -0.5))
    real = np.float64(np.float32(x.scale / np.float32(np.float32(count) * to.scale)))
    return apply(derive("tflite_reference", real), totals) + bias


def _builtin_sum(x: Type, to: Type, count: int, totals: np.ndarray) -> np.ndarray:
    """Of sums of stored values: a product and a sum in f32, then half away from zero."""
    scale = np.float32(x.scale / to.scale)
    bias = np.float32(np.float32(-int(x.zero)) * scale) * np.float32(count)
    reals = np.float64(totals.astype(np.float32) * scale + bias)
    return (np.sign(reals) * np.floor(np.abs(reals) + 0.5)).astype(np.int64) + int(to.zero)


def _xnnpack_mean(x: Type, to: Type, count: int, totals: np.ndarray) -> np.ndarray:
    """Of sums of stored values: XNNPACK's, a product and a sum in f32, then half to even."""
    scale = np.float32(x.scale / to.scale) * np.float32(np.float32(1) / np.float32(count))
    shift = np.float32(to.zero) - np.float32(count * int(x.zero)) * scale
    return np.rint(totals.astype(np.float32) * scale + shift).astype(np.int64)


def _by_thresholds(x: Op, rounded, count: int, over: dict) -> Op:
    """A mean whose result is a monotone function of the sum of stored values.

    rounded: from sums i32 to unclamped results.
    """
    to = over["to"]
    require(x.dtype.bits == 8 and to.dtype.bits == 8,
            f"computes on 8 bits, found {x.type} to {to}")  # fmt: skip
    low, high = (np.full(to.hi - to.lo, count * end, np.int64) for end in (x.type.lo, x.type.hi))
    wanted, most = np.arange(to.lo + 1, to.hi + 1), high.copy()
    while (low <= high).any():  # the smallest sum that comes to each level
        middle = (low + high) >> 1
        reached = rounded(middle.astype(np.int32)) >= wanted
        open_ = low <= high
        high = np.where(open_ & reached, middle - 1, high)
        low = np.where(open_ & ~reached, middle + 1, low)
    thresholds = np.where(low > most, np.iinfo(np.int32).max, low).astype(np.int32)
    return int8.threshold_sum(x, const(thresholds, name="thresholds"), **over)
