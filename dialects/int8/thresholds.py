"""Sums brought to 8 bits by thresholds, for kernels that round in ways of their own."""

import numpy as np

from qir import shapes
from qir.attributes import Ints
from qir.errors import require
from qir.ranges import Register, Span, between, over_axes
from qir.types import Element, Type

from .dialect import int8, is_quantized


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
