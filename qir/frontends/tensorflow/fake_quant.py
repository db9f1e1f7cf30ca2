"""Imports of roundings of training: FakeQuant* and QuantizeAndDequantize*."""

import numpy as np

from qir.dialects import lax, quant

from ...errors import require
from ...ir import Op
from .elementwise import scalar
from .table import attribute, imports, number

ROUNDINGS = (
    "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVarsPerChannel",
    "QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3", "QuantizeAndDequantizeV4",
)  # fmt: skip
"""Operations that stay ops on constants too, so that passes see the grids of weights."""


@imports("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs")
def fake_quant(node, x, *ends):
    if ends:
        _is_known(ends)
        low, high = (np.float32(end.value.item()) for end in ends)
    else:
        low, high = (np.float32(attribute(node, name)) for name in ("min", "max"))
    if low == high == 0:
        return lax.broadcast(scalar(x, 0), shape=x.shape, axes=())
    require(low < high, f"the range [{low}, {high}] has no width")
    if low > 0:  # TensorFlow moves the range until it holds zero
        low, high = np.float32(0), high - low
    elif high < 0:
        low, high = low - high, np.float32(0)
    return quant.fake_quant(x, lo=float(low), hi=float(high), **_width(node))


@imports("FakeQuantWithMinMaxVarsPerChannel")
def fake_quant_per_channel(node, x, low, high):
    _is_known((low, high))
    both = (low.value == 0) & (high.value == 0)
    require(((low.value < high.value) | both).all(), "the range of a channel has no width")
    return quant.fake_quant_per_channel(x, low, high, axis=x.type.rank - 1, **_width(node))


@imports("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV4")
def quantize_and_dequantize(node, x, low, high):
    rounding = attribute(node, "round_mode").lower()
    return _around_zero(node, x, low, high, bits=int(attribute(node, "num_bits")), round=rounding)


@imports("QuantizeAndDequantizeV3")
def quantize_and_dequantize_to_bits(node, x, low, high, bits):
    return _around_zero(node, x, low, high, bits=number(bits, "bits"), round="half_to_even")


def _around_zero(node, x: Op, low: Op, high: Op, **more) -> Op:
    axis = int(attribute(node, "axis"))
    axis = None if axis == -1 else axis
    given = attribute(node, "range_given")
    if not given:
        others = tuple(i for i in range(x.type.rank) if i != axis)
        if x.is_const:
            low, high = x.value.min(axis=others), x.value.max(axis=others)
        else:
            low, high = lax.reduce_min(x, axes=others), lax.reduce_max(x, axes=others)
    return quant.quantize_and_dequantize(
        x, low, high, axis=axis, signed=attribute(node, "signed_input"),
        narrow=attribute(node, "narrow_range"), clamp=given, **more,
    )  # fmt: skip


def _width(node) -> dict:
    return {"bits": int(attribute(node, "num_bits")), "narrow": attribute(node, "narrow_range")}


def _is_known(ends) -> None:
    require(all(end.is_const for end in ends), "the range is computed from an input")
