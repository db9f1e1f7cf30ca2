"""Reductions for kernels that round in ways of their own: sums by thresholds, products."""

import numpy as np

from qir import shapes
from qir.attributes import Ints
from qir.errors import require
from qir.ranges import Register, Span, between, over_axes, stored
from qir.rounding import Rescale, gemmlowp
from qir.types import Element, Type

from .dialect import centred, int8, is_quantized


@int8.op
def threshold_sum(x: Type, thresholds: Type, *, to: Element, axes: Ints,
                  keepdims: bool = False) -> Type:  # fmt: skip
    """The lowest stored value plus the number of thresholds that a sum reaches.

    The sum is that of the stored values of x over `axes`, zero point and all; thresholds: i32, one
    for each stored value of `to` but the lowest. Any rescale that is monotone can be stated so
    (Umuroglu et al., FINN, 2017, have activations by thresholds), and no float is left to round.
    """
    is_quantized(x, "the input")
    require(x.dtype.bits == 8, f"takes 8 bits, found {x}")
    levels = to.hi - to.lo
    require(thresholds.dtype.name == "i32" and thresholds.shape == (levels,),
            f"the thresholds must be i32[{levels}], found {thresholds}")  # fmt: skip
    return to[shapes.reduced(x, axes, keepdims)]


@threshold_sum.means
def _(op, x, thresholds):
    total = x.sum(op.attributes["axes"], np.int32, keepdims=op.attributes["keepdims"])
    reached = np.searchsorted(np.sort(thresholds), total, side="right")
    return (op.type.lo + reached).astype(op.dtype.numpy)


@threshold_sum.spans
def _(op, x, thresholds):
    shape = op.operands[0].shape
    count = int(np.prod([shape[axis] for axis in op.attributes["axes"]], dtype=np.int64))
    total = over_axes(op, x).times(count)
    return Span(between(op.type.lo, op.type.hi), (Register("the sum", total),))


@int8.op
def prod(x: Type, *, to: Element, rescale: Rescale, axes: Ints, keepdims: bool = False) -> Type:
    """The product of `x - zero` over `axes`, factor by factor in order of storage.

    Each product, and the last one again, is rescaled in 64 bits (TFLite's `QuantizedReduceProd`).
    """
    is_quantized(x, "the input")
    require(x.dtype.bits == 8 and x.size, f"takes 8 bits and something of it, found {x}")
    require(rescale.rounding == "tflite_reference" and rescale.multiplier.size == 1
            and int(rescale.shift) <= 14,
            f"takes one factor below 2**14 by tflite_reference, found {rescale}")  # fmt: skip
    return to[shapes.reduced(x, axes, keepdims)]


@prod.means
def _(op, x):
    factors = over_last(op, centred(op, 0, x).astype(np.int64))
    total = factors[..., 0]
    for i in range(1, factors.shape[-1]):
        total = multiplied(op, total, factors[..., i])
    return np.clip(multiplied(op, total, 1) + int(op.type.zero), op.type.lo, op.type.hi)


def over_last(op, x):
    """The axes that an op reduces as the last one of what its result has, kept or not."""
    axes = [axis % x.ndim for axis in op.attributes["axes"]]
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    return x.transpose((*kept, *sorted(axes))).reshape((*op.shape, -1))


def multiplied(op, a, b):
    """A step of a product, cut to 32 bits; a, b: i64 of numpy or of a library like it."""
    rescale = op.attributes["rescale"]
    product = gemmlowp.rescaled_wide(a * b, int(rescale.multiplier), int(rescale.shift))
    return product.astype(np.int32).astype(np.int64)


prod.spans(lambda op, x: stored(op.type))
