"""Fold scales and shifts into the layers before and after them."""

import numpy as np

from qir import trained
from qir.errors import require
from qir.graph_pass import graph_pass
from qir.ir import Func, Op, const
from qir.pattern import C, V, either
from qir.rewrite import rewrite, rule
from qir.shapes import pads_of

from ..dialects import lax, nn
from ..dialects.nn import channels
from ..dialects.nn.channels import LAYER_KINDS, LAYERS

STEPS = 32
"""How far up a layer is looked for."""
_MOVES = either(lax.reshape, lax.transpose)
_LAYER = either(*LAYERS)(...)


@graph_pass("float -> float")
def fold_bn(func: Func) -> Func:
    """Fold scale and shift chains (batch norm among them) into the layer before or after them."""
    return rewrite(
        func, subtracted_constant_is_added, layer_from_constant_is_negated, scale_passes_shift,
        scales_merge, shifts_merge, scale_folds_into_layer, shift_folds_into_bias,
        scale_before_layer_folds, shift_before_layer_folds, number_passes_movement,
        number_passes_matmul, channels_pass_reshape,
    )  # fmt: skip


@rule(nn.sub(V.x, C.k) @ "op")
def subtracted_constant_is_added(op, x, k):
    """x - k is x + (-k)."""
    return nn.add(x, -k, clamp=op.attributes["clamp"])


@rule(nn.sub(C.k, _LAYER.once() @ "layer") @ "op")
def layer_from_constant_is_negated(op, k, layer):
    """k - x is -x + k, and the sign folds into the layer."""
    return nn.add(nn.mul(layer, -1.0), k, clamp=op.attributes["clamp"])


@rule(nn.mul(nn.add(V.x, C.shift, clamp=None).once(), C.k) @ "op")
def scale_passes_shift(op, x, shift, k):
    """(x + shift) * k is x * k + shift * k."""
    require(x.type == op.type, f"{x.type} broadcasts to {op.type}")
    _is_finite(k)
    return nn.add(nn.mul(x, k), _product(shift, k), clamp=op.attributes["clamp"])


@rule(nn.mul(nn.mul(V.x, C.first, clamp=None).once(), C.k) @ "op")
def scales_merge(op, x, first, k):
    """Two scales are one."""
    require(x.type == op.type, f"{x.type} broadcasts to {op.type}")
    return nn.mul(x, _product(first, k), clamp=op.attributes["clamp"])


@rule(nn.add(nn.add(V.x, C.first, clamp=None).once(), C.k) @ "op")
def shifts_merge(op, x, first, k):
    """Two shifts are one."""
    require(x.type == op.type, f"{x.type} broadcasts to {op.type}")
    _does_not_grow(first, k)
    return nn.add(x, _exactly(np.add, first, k), clamp=op.attributes["clamp"])


@rule(nn.mul(_LAYER.once() @ "layer", C.k) @ "op")
def scale_folds_into_layer(op, layer, k):
    """A per-channel scale after a layer belongs in its filter and bias."""
    w, b = _parameters(layer)
    k = _per_channel(op, layer, k)
    along = channels.along_results(layer, k)
    filters = trained.scaled(layer.operands[1], _exactly(np.multiply, w, along), along)
    bias = [] if b is None else [_like(layer.operands[2], _exactly(np.multiply, b, k))]
    return layer.with_operands(layer.operands[0], filters, *bias, clamp=op.attributes["clamp"])


@rule(nn.add(_LAYER.once() @ "layer", C.k) @ "op")
def shift_folds_into_bias(op, layer, k):
    """A per-channel shift after a layer belongs in its bias."""
    _, b = _parameters(layer)
    k = _per_channel(op, layer, k)
    named = layer.operands[2] if b is not None else next(o for o in op.operands if o.is_const)
    bias = _like(named, k if b is None else _exactly(np.add, b, k))
    return layer.with_operands(*layer.operands[:2], bias, clamp=op.attributes["clamp"])


@rule(
    either(*LAYERS)(nn.mul(V.x, C.k, clamp=None).once() @ "scaled", V.w) @ "layer",
    either(*LAYERS)(nn.mul(V.x, C.k, clamp=None).once() @ "scaled", V.w, V.b) @ "layer",
)
def scale_before_layer_folds(layer, scaled, x, k):
    """A per-channel scale before a layer belongs in its filter; zero padding stays zero."""
    w = _weight(layer)
    k = _per_input(scaled, x, k, layer)
    filters = trained.scaled(layer.operands[1], _exactly(np.multiply, w, k), k)
    return layer.with_operands(x, filters, *layer.operands[2:])


@rule(
    either(nn.conv2d, nn.depthwise_conv2d, nn.dense)(
        nn.add(V.x, C.k, clamp=None).once() @ "shifted", V.w
    ) @ "layer",
    either(nn.conv2d, nn.depthwise_conv2d, nn.dense)(
        nn.add(V.x, C.k, clamp=None).once() @ "shifted", V.w, V.b
    ) @ "layer",
)  # fmt: skip
def shift_before_layer_folds(layer, shifted, x, k):
    """A per-channel shift before a layer without padding adds a constant to its bias."""
    w, k = _weight(layer), _per_input(shifted, x, k, layer)
    if layer.kind != "nn.dense":
        a = layer.attributes
        pads = pads_of(x.type, w.shape[:2], a["strides"], a["padding"], a["dilation"])
        require(not np.any(pads), f"the padding {pads} is not shifted")
    amounts = w.astype(np.float64) * k
    _is_finite(amounts)
    if layer.kind == "nn.depthwise_conv2d":
        added = amounts.sum(axis=(0, 1)).reshape(-1)
    else:
        added = amounts.reshape(-1, w.shape[-1]).sum(axis=0)
    if len(layer.operands) == 2:
        bias = const(added, layer.operands[1].type.with_shape(added.shape))
    else:
        bias = _like(layer.operands[2], layer.operands[2].value + added)
    return layer.with_operands(x, layer.operands[1], bias)


@rule(nn.mul(_MOVES(V.x).once() @ "move", C.k) @ "op")
def number_passes_movement(op, move, x, k):
    """One number can scale before elements move, if a layer in front can take it."""
    require(k.size == 1 and op.type == move.type, f"the constant {list(k.shape)} is no number")
    _is_finite(k)
    require(_leads_to_layer(x), "no layer stands in front")
    return move.with_operands(nn.mul(x, k.reshape(()), clamp=op.attributes["clamp"]))


@rule(either(nn.mul, nn.add)(lax.reshape(_LAYER.once() @ "layer").once() @ "move", C.k) @ "op")
def channels_pass_reshape(op, move, layer, k):
    """A scale or shift along channels can come before a reshape that leaves them last."""
    require(layer.shape[-1] == move.shape[-1], f"{layer.type} has other channels than {move.type}")
    require(layer.attributes["clamp"] is None, "the layer's result is clamped")
    k = _per_channel(op, move, k)
    build = nn.mul if op.kind == "nn.mul" else nn.add
    return move.with_operands(build(layer, k, clamp=op.attributes["clamp"]))


@rule(nn.mul(nn.matmul(V.a, V.b, clamp=None).once() @ "product", C.k) @ "op")
def number_passes_matmul(op, product, a, b, k):
    """One number can scale an operand of a matmul, if a layer in front of it can take it."""
    require(k.size == 1 and op.type == product.type, f"the constant {list(k.shape)} is no number")
    _is_finite(k)
    require(_leads_to_layer(a) or _leads_to_layer(b), "no layer stands in front")
    k, clamp = k.reshape(()), op.attributes["clamp"]
    if _leads_to_layer(a):
        return product.with_operands(nn.mul(a, k), b, clamp=clamp)
    return product.with_operands(a, nn.mul(b, k), clamp=clamp)


def _leads_to_layer(op: Op) -> bool:
    """Whether a number that scales op can move up to a layer, through movement and matmuls."""
    stack = [op]
    for _ in range(STEPS):
        if not stack:
            return False
        op = stack.pop()
        if op.kind in ("lax.reshape", "lax.transpose"):
            stack.append(op.operands[0])
        elif op.kind == "nn.matmul" and op.attributes["clamp"] is None:
            stack += op.operands
        elif op.kind in LAYER_KINDS and op.attributes["clamp"] is None and op.operands[1].is_const:
            return True
    return False


def _weight(layer: Op) -> np.ndarray:
    require(all(o.is_const for o in layer.operands[1:]), "its weights are no constants")
    return layer.operands[1].value


def _parameters(layer: Op) -> tuple[np.ndarray, np.ndarray | None]:
    """Filter and bias of a layer whose result is not clamped."""
    require(layer.attributes["clamp"] is None, "its result is clamped")
    return _weight(layer), layer.operands[2].value if len(layer.operands) > 2 else None


def _per_channel(op: Op, layer: Op, k: np.ndarray) -> np.ndarray:
    """A constant after a layer as one number a channel; Declined if it varies elsewhere."""
    count = layer.shape[-1]
    require(op.type == layer.type, f"{layer.type} broadcasts to {op.type}")
    _is_finite(k)
    require(k.size == 1 or k.size == k.shape[-1] == count,
            f"the constant {list(k.shape)} varies along more than its last axis")  # fmt: skip
    return np.broadcast_to(k.reshape(-1), count)


def _per_input(before: Op, x: Op, k: np.ndarray, layer: Op) -> np.ndarray:
    """A constant before a layer, shaped to multiply the layer's filter."""
    require(before.type == x.type, f"{x.type} broadcasts to {before.type}")
    _is_finite(k)
    require(k.size == 1 or k.size == k.shape[-1] == x.shape[-1],
            f"the constant {list(k.shape)} varies along more than its last axis")  # fmt: skip
    k = np.broadcast_to(k.reshape(-1), x.shape[-1]).astype(np.float64)
    return channels.along_inputs(layer, k)


def _is_finite(k: np.ndarray) -> None:
    """Infinity times zero, or less infinity, would be NaN wherever it is folded into."""
    require(np.isfinite(k).all(), "the constant is not finite")


def _does_not_grow(a: np.ndarray, b: np.ndarray) -> None:
    grown = np.broadcast_shapes(a.shape, b.shape)
    require(np.prod(grown) <= max(a.size, b.size),
            f"constants {list(a.shape)} and {list(b.shape)} vary along different axes")  # fmt: skip


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    _does_not_grow(a, b)
    return _exactly(np.multiply, a, b)


def _exactly(function, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """In double, rounded once."""
    return function(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)


def _like(old: Op, value: np.ndarray) -> Op:
    """A constant of another value with the name and place of an old one."""
    value = value.astype(old.type.dtype.numpy, copy=False)
    type = old.type.with_shape(value.shape)
    return const(value, type, name=old.attributes["name"], location=old.location)
