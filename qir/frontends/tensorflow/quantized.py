"""Imports of quantization proper: reals as integers and back in TensorFlow's three modes.

The steps are those of `qir.rounding.modes`, built as ops. A product that a sum follows is clamped
to what is finite, which changes nothing and keeps compilers from computing both at once.
"""

import numpy as np

from qir.dialects import lax

from ...errors import require
from ...ir import Op, const
from ...rounding import modes
from ...types import dtype
from .elementwise import scalar
from .table import attribute, imports, storage


@imports("QuantizeV2")
def quantize(node, x, low, high):
    to, mode = dtype(storage(node.outputs[0].dtype)), attribute(node, "mode")
    require(to.bits <= 16, f"{to} holds more than f32 tells apart")
    low, high, shape = _ends(node, x, low, high)
    require(mode != "MIN_FIRST" or not low.ndim,
            "MIN_FIRST along an axis, which TensorFlow has not either")  # fmt: skip
    least, most = modes.widened(low, high, attribute(node, "ensure_minimum_range"))
    whole, least, most = modes.quantized(
        x, least, most, shape, to, mode, attribute(node, "round_mode"),
        attribute(node, "narrow_range"), OPS)  # fmt: skip
    return lax.convert(whole, to=to.name), const(least), const(most)


def _ends(node, x: Op, low: Op, high: Op):
    """The ends of a range that must be known, and the shape in which they meet x."""
    require(low.is_const and high.is_const, "the range is computed from an input")
    axis = int(attribute(node, "axis"))
    shape = () if axis == -1 else tuple(n if i == axis else 1 for i, n in enumerate(x.shape))
    ends = [end.value.reshape(-1) if axis != -1 else end.value.reshape(()) for end in (low, high)]
    require((ends[0] <= ends[1]).all(), "the range ends below its start")
    return *ends, shape


@imports("Dequantize")
def dequantize(node, x, low, high):
    mode = attribute(node, "mode")
    low, high, shape = _ends(node, x, low, high)
    require(mode != "MIN_FIRST" or not low.ndim,
            "MIN_FIRST along an axis, which TensorFlow has not either")  # fmt: skip
    narrow = attribute(node, "narrow_range")
    y = modes.dequantized(x, low, high, shape, x.dtype, mode, narrow, OPS)
    to = storage(node.outputs[0].dtype)
    return y if to == "f32" else lax.convert(y, to=to)


@imports("Bitcast")
def bitcast(node, x):
    to = storage(node.outputs[0].dtype)
    require(to == x.dtype.name, f"the bits of {x.dtype} read as {to}")
    return x


def _as(ends) -> Op:
    return const(np.asarray(ends, np.float32))


def _apart(product: Op) -> Op:
    return lax.clamp(scalar(product, -modes.MOST), product, scalar(product, modes.MOST))


def _half_away(x: Op) -> Op:
    """x rounded to whole numbers, halves away from zero."""
    size = lax.abs(x)
    whole = lax.floor(size)
    up = lax.ge(lax.sub(size, whole), scalar(x, 0.5))
    return lax.mul(lax.sign(x), lax.add(whole, lax.convert(up, to="f32")))


OPS = modes.Arithmetic(
    add=lax.add, sub=lax.sub, mul=lax.mul, least=lambda x, end: lax.min(x, _as(end)),
    most=lambda x, end: lax.max(x, _as(end)), floor=lax.floor, half_away=_half_away,
    half_even=lax.round, real=lambda x: lax.convert(x, to="f32"), apart=_apart,
    capped=lambda x: lax.clamp(scalar(x, 0), x, scalar(x, modes.MOST)),
)  # fmt: skip
