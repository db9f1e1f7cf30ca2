"""Constants added after a layer as its bias."""

import math

import numpy as np

from qir.errors import require
from qir.ir import Op
from qir.pattern import C, V, either
from qir.rewrite import rule

from ...dialects import lax, nn
from .build import constant_of, like

_LAYER = either(nn.conv2d, nn.depthwise_conv2d, nn.transposed_conv2d, nn.dense)(V.x, V.w)


@rule(nn.add(_LAYER.once() @ "layer", C.k, clamp=None) @ "op")
def added_constant_is_bias(op, layer, x, w, k):
    """A constant along the last axis that is added to a layer is its bias."""
    _adds_to(op, layer, layer)
    bias = _bias(k, layer.shape[-1:], op.type.rank)
    return layer.with_operands(x, w, like(constant_of(op), bias))


@rule(nn.add(lax.reshape(_LAYER.once() @ "layer").once() @ "split", C.k, clamp=None) @ "op")
def constant_added_to_heads_is_bias(op, split, layer, x, w, k):
    """A constant added to a layer whose last axis was split, into heads for one, is its bias."""
    _adds_to(op, split, layer)
    lead = layer.type.rank - 1
    tail = split.shape[lead:]
    kept = split.shape[:lead] == layer.shape[:-1] and math.prod(tail) == layer.shape[-1]
    require(kept, f"the reshape to {list(split.shape)} does more than split the last axis")
    bias = like(constant_of(op), _bias(k, tail, op.type.rank))
    return split.with_operands(layer.with_operands(x, w, bias))


def _adds_to(op: Op, value: Op, layer: Op) -> None:
    require(op.type == value.type, f"{value.type} broadcasts to {op.type}")
    require(layer.attributes["clamp"] is None, "the layer's result is clamped")


def _bias(k: np.ndarray, tail, rank: int) -> np.ndarray:
    """A constant as one bias for each index of the last axes; Declined if it varies elsewhere."""
    full = (1,) * (rank - k.ndim) + k.shape
    require(all(n == 1 for n in full[: rank - len(tail)]),
            f"the constant {list(k.shape)} varies along more than the channels")  # fmt: skip
    return np.broadcast_to(k.reshape(full[rank - len(tail) :]), tail).reshape(-1)


RULES = (added_constant_is_bias, constant_added_to_heads_is_bias)
