"""Fold scales and shifts that training changes into the layers before them, as ops on the weights.

`fold_bn` computes with constants; here a weight becomes `weight * gamma * rsqrt(var + eps)` in the
graph itself, so that training rounds the weight that inference will have.
"""

from qir.errors import require
from qir.graph_pass import graph_pass
from qir.ir import Func, Op
from qir.pattern import V, either
from qir.rewrite import rewrite, rule
from qir.variables import is_fixed, variables

from ..dialects import lax, nn

_LAYER = either(nn.conv2d, nn.depthwise_conv2d, nn.transposed_conv2d, nn.dense)(...)


@graph_pass("float -> float")
def fold_variables(func: Func) -> Func:
    """Fold scales and shifts computed from variables, as of batch norms, into what they follow."""
    if not variables(func):
        return func
    return rewrite(
        func, subtracted_variable_is_added, variable_scale_passes_shift, variable_scales_merge,
        variable_shifts_merge, variable_scale_folds_into_layer, variable_shift_folds_into_bias,
        variable_scale_belongs_to_norm, variable_shift_belongs_to_norm,
    )  # fmt: skip


@rule(nn.sub(V.x, V.k) @ "op")
def subtracted_variable_is_added(op, x, k):
    """x - k is x + (-k)."""
    _one_is_fixed(x, k)
    require(is_fixed(k), "it subtracts from what training changes")
    return nn.add(x, lax.neg(k), clamp=op.attributes["clamp"])


@rule(nn.mul(nn.add(V.x, V.shift, clamp=None).once() @ "shifted", V.k) @ "op")
def variable_scale_passes_shift(op, shifted, x, shift, k):
    """(x + shift) * k is x * k + shift * k."""
    x, shift = _split(shifted, op, x, shift, k)
    return nn.add(nn.mul(x, k), nn.mul(shift, k), clamp=op.attributes["clamp"])


@rule(nn.mul(nn.mul(V.x, V.first, clamp=None).once() @ "scaled", V.k) @ "op")
def variable_scales_merge(op, scaled, x, first, k):
    """Two scales are one."""
    x, first = _split(scaled, op, x, first, k)
    return nn.mul(x, nn.mul(first, k), clamp=op.attributes["clamp"])


@rule(nn.add(nn.add(V.x, V.first, clamp=None).once() @ "shifted", V.k) @ "op")
def variable_shifts_merge(op, shifted, x, first, k):
    """Two shifts are one."""
    x, first = _split(shifted, op, x, first, k)
    return nn.add(x, nn.add(first, k), clamp=op.attributes["clamp"])


@rule(nn.mul(_LAYER.once() @ "layer", V.k) @ "op")
def variable_scale_folds_into_layer(op, layer, k):
    """A scale for each channel after a layer belongs in its filter and bias."""
    k = _per_channel(op, layer, k)
    w = layer.operands[1]
    along = k
    if layer.kind == "nn.depthwise_conv2d" and k.type.rank:
        along = _reshaped(k, w.shape[-2:])
    bias = [nn.mul(b, k) for b in layer.operands[2:]]
    clamp = op.attributes["clamp"]
    return layer.with_operands(layer.operands[0], nn.mul(w, along), *bias, clamp=clamp)


@rule(nn.add(_LAYER.once() @ "layer", V.k) @ "op")
def variable_shift_folds_into_bias(op, layer, k):
    """A shift for each channel after a layer belongs in its bias."""
    k = _per_channel(op, layer, k)
    if not k.type.rank:
        k = lax.broadcast(k, shape=layer.shape[-1:], axes=())
    bias = nn.add(layer.operands[2], k) if len(layer.operands) > 2 else k
    return layer.with_operands(*layer.operands[:2], bias, clamp=op.attributes["clamp"])


@rule(nn.mul(either(nn.layer_norm, nn.rms_norm)(...).once() @ "norm", V.k, clamp=None) @ "op")
def variable_scale_belongs_to_norm(op, norm, k):
    """A scale for each channel after a norm is one of its own."""
    k = _per_channel(op, norm, k)
    return norm.with_operands(norm.operands[0], *(nn.mul(own, k) for own in norm.operands[1:]))


@rule(nn.add(nn.layer_norm(V.x, V.gamma, V.beta).once() @ "norm", V.k, clamp=None) @ "op")
def variable_shift_belongs_to_norm(op, norm, x, gamma, beta, k):
    """A shift for each channel after a layer norm is its own."""
    return norm.with_operands(x, gamma, nn.add(beta, _per_channel(op, norm, k)))


def _one_is_fixed(a: Op, b: Op) -> None:
    require(is_fixed(a) != is_fixed(b), "not one operand is computed from variables alone")


def _split(inner: Op, op: Op, a: Op, b: Op, k: Op) -> tuple[Op, Op]:
    """Of what an inner op reads first what inputs reach, then what they do not."""
    _one_is_fixed(a, b)
    require(is_fixed(k), "what comes after it is not computed from variables alone")
    x, fixed = (b, a) if is_fixed(a) else (a, b)
    require(x.type == inner.type == op.type, f"{x.type} broadcasts to {op.type}")
    return x, fixed


def _per_channel(op: Op, layer: Op, k: Op) -> Op:
    """A value after a layer or norm as one number or as one a channel; Declined if it varies."""
    require(all(map(is_fixed, (k, *layer.operands[1:]))),
            "it or the layer's weight is not computed from variables alone")  # fmt: skip
    require(layer.attributes.get("clamp") is None, "the layer's result is clamped")
    require(op.type == layer.type, f"{layer.type} broadcasts to {op.type}")
    if k.type.size == 1:
        return _reshaped(k, ())
    channels = layer.shape[-1]
    require(k.type.size == k.shape[-1] == channels,
            f"the factor or summand {k.type} varies along more than its last axis")  # fmt: skip
    return _reshaped(k, (channels,))


def _reshaped(k: Op, shape: tuple[int, ...]) -> Op:
    while k.kind == "lax.reshape":
        (k,) = k.operands
    return k if k.shape == shape else lax.reshape(k, shape=shape)
