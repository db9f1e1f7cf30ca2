"""Clamps and paddings become attributes of the layers they stand beside."""

import numpy as np

from qir.errors import require
from qir.graph_pass import graph_pass
from qir.ir import Func, Op
from qir.pattern import C, V, either
from qir.rewrite import rewrite, rule
from qir.shapes import pads_of
from qir.windows import shortest_padding

from ..dialects import lax, nn

CLAMPED = (nn.conv2d, nn.depthwise_conv2d, nn.transposed_conv2d, nn.dense, nn.matmul, nn.add,
           nn.sub, nn.mul, nn.div)  # fmt: skip
ACTIVATIONS = {"nn.relu": (0.0, np.inf), "nn.relu6": (0.0, 6.0)}
BOUNDED = {**ACTIVATIONS, "nn.sigmoid": (0.0, 1.0), "nn.softmax": (0.0, 1.0),
           "nn.tanh": (-1.0, 1.0)}  # fmt: skip
BETWEEN = ("nn.max_pool", "nn.avg_pool", "nn.mean", "nn.reduce_max", "nn.reduce_min",
           "lax.reshape", "lax.transpose", "lax.slice")  # fmt: skip
"""Ops whose results lie between the least and the greatest of their operand."""
_CLAMPED = either(*CLAMPED)(...)
_ACTIVATION = either(nn.relu, nn.relu6)
_EXTREMUM = either(nn.maximum, nn.minimum)
_MONOTONE = either(lax.reshape, lax.transpose, nn.max_pool)(V.x)


@graph_pass("float -> float")
def fuse_activations(func: Func) -> Func:
    """Make relu, relu6 and other clamps bounds of the op before them, and zero padding its own."""
    return rewrite(
        func, activation_within_bounds_vanishes, relu_before_relu6_vanishes,
        activation_becomes_clamp, extremum_becomes_clamp, activation_passes_movement,
        padding_before_convolution_merges, padding_before_max_pool_merges,
    )  # fmt: skip


@rule(_ACTIVATION(V.x) @ "activation")
def activation_within_bounds_vanishes(activation, x):
    """An activation of what lies within its bounds already does nothing."""
    low, high = _bounds(x)
    floor, ceiling = ACTIVATIONS[activation.kind]
    require(floor <= low and high <= ceiling, f"{x.kind} lies between {low:g} and {high:g}")
    return x


@rule(nn.relu6(nn.relu(V.x)))
def relu_before_relu6_vanishes(x):
    """relu6 does what relu does, and more."""
    return nn.relu6(x)


@rule(_ACTIVATION(_CLAMPED.once() @ "op") @ "activation")
def activation_becomes_clamp(op, activation):
    """relu and relu6 after an op that can clamp are bounds of its result."""
    return op.rebuild(clamp=_narrowed(op, *ACTIVATIONS[activation.kind]))


@rule(_EXTREMUM(_CLAMPED.once() @ "op", C.k) @ "extremum")
def extremum_becomes_clamp(op, k, extremum):
    """A number as the least or greatest result of an op that can clamp is a bound of it."""
    require(k.size == 1 and extremum.type == op.type, f"the bound {list(k.shape)} is no number")
    low, high = (float(k.item()), np.inf)
    if extremum.kind == "nn.minimum":
        low, high = -np.inf, low
    return op.rebuild(clamp=_narrowed(op, low, high))


def _narrowed(op: Op, low: float, high: float) -> tuple[float, float]:
    """The bounds of what is clamped by an op's own bounds and then by these."""
    old = op.attributes["clamp"] or (-np.inf, np.inf)
    return tuple(min(max(bound, low), high) for bound in old)


@rule(_ACTIVATION(_MONOTONE.once() @ "move") @ "activation")
def activation_passes_movement(activation, move, x):
    """An activation can come before elements move, or the greatest is picked, if an op in front
    can clamp."""
    front = x
    while front.kind in ("lax.reshape", "lax.transpose", "nn.max_pool"):
        front = front.operands[0]
    require("clamp" in front.attributes, f"{front.kind} in front cannot clamp")
    return move.with_operands(activation.with_operands(x))


_PADDED = lax.pad(V.x) @ "pad"


@rule(
    either(nn.conv2d, nn.depthwise_conv2d)(_PADDED, V.w) @ "layer",
    either(nn.conv2d, nn.depthwise_conv2d)(_PADDED, V.w, V.b) @ "layer",
)
def padding_before_convolution_merges(layer, pad, x, w):
    """Zeros around an image before a convolution are padding of the convolution."""
    require(pad.attributes["value"] == 0, f"it pads with {pad.attributes['value']:g}")
    padding = _merged(layer, pad, x, w.shape[:2])
    return layer.with_operands(x, *layer.operands[1:], padding=padding)


@rule(nn.max_pool(_PADDED) @ "layer")
def padding_before_max_pool_merges(layer, pad, x):
    """Values around an image that never are the greatest are padding of a max_pool."""
    value = pad.attributes["value"]
    require(value <= _bounds(x)[0], f"a padding of {value:g} may be the greatest of its window")
    return layer.with_operands(x, padding=_merged(layer, pad, x, layer.attributes["window"]))


def _merged(layer: Op, pad: Op, x: Op, window):
    """The padding of a layer on x in place of the padded x."""
    a, dilation = layer.attributes, layer.attributes.get("dilation", (1, 1))
    low, high = pad.attributes["low"], pad.attributes["high"]
    require(not any(pad.attributes["interior"] or ()), "it pads between the elements")
    require(not any((low[0], high[0], low[3], high[3])), "it pads the batch or the channels")
    require(min(*low, *high) >= 0, f"it crops by {list(low)} and {list(high)}")
    own = pads_of(pad.type, window, a["strides"], a["padding"], dilation)
    outer = zip(low[1:3], high[1:3], strict=True)
    pads = tuple((p + q, r + s) for (p, r), (q, s) in zip(own, outer, strict=True))
    most = window if layer.kind == "nn.max_pool" else (np.inf, np.inf)
    fits = all(0 <= n < m for pair, m in zip(pads, most, strict=True) for n in pair)
    require(fits and x.type.size,
            f"together they would pad by {pads}")  # fmt: skip
    return shortest_padding(pads, x.shape[1:3], window, a["strides"], dilation)


def _bounds(op: Op) -> tuple[float, float]:
    """Between what an op's results lie, as far as it and what it only selects from tell."""
    while op.kind in BETWEEN:
        op = op.operands[0]
    return op.attributes.get("clamp") or BOUNDED.get(op.kind, (-np.inf, np.inf))
