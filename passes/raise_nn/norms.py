"""Softmax and the norms over the last axis."""

import numpy as np

from qir.errors import require
from qir.ir import Op
from qir.pattern import C, V
from qir.rewrite import rule

from ...dialects import lax, nn
from .build import constant_of, like, number


@rule(nn.div(lax.exp(V.x) @ "powers", nn.sum(V.powers, keepdims=True) @ "total", clamp=None))
def powers_over_their_sum_are_softmax(x, powers, total):
    """softmax is exp(x) over its sum along an axis."""
    axes = total.attributes["axes"]
    require(len(axes) == 1 and x.type.size, f"the sum is over {len(axes)} axes of {x.type}")
    last = axes[0] == x.type.rank - 1
    return nn.softmax(x, axis=-1 if last else axes[0])


_SHIFTED = nn.sub(V.x, V.peak, clamp=None)


@rule(nn.softmax(_SHIFTED) @ "op", nn.softmax(_SHIFTED, V.mask) @ "op")
def softmax_needs_no_shift(op, x, peak):
    """softmax does not change when its greatest input is taken away from all of them."""
    axis = op.attributes["axis"] % op.type.rank
    require(peak.kind == "nn.reduce_max", f"what is taken away is {peak.kind}")
    require(peak.operands[0] is x, "it is the maximum of something else")
    same = peak.attributes["keepdims"] and peak.attributes["axes"] == (axis,)
    require(same, f"the maximum is not over axis {axis}")
    return op.with_operands(x, *op.operands[1:])


_VARIANCE = nn.add(V.variance, C.epsilon, clamp=None)
_CENTRED = nn.sub(V.x, V.mean, clamp=None)


@rule(
    nn.mul(_CENTRED, lax.rsqrt(_VARIANCE), clamp=None),
    nn.div(_CENTRED, lax.sqrt(_VARIANCE), clamp=None),
)
def normalized_by_deviation_is_layer_norm(x, mean, variance, epsilon):
    """layer_norm is (x - mean) / sqrt(variance + epsilon) over the last axis."""
    return _layer_norm(x, mean, variance, epsilon)


@rule(
    nn.mul(_CENTRED, nn.mul(lax.rsqrt(_VARIANCE), C.gamma, clamp=None), clamp=None),
    nn.mul(nn.mul(_CENTRED, C.gamma, clamp=None), lax.rsqrt(_VARIANCE), clamp=None),
)
def scaled_deviation_is_layer_norm(x, mean, variance, epsilon, gamma):
    """The scale of a layer_norm may meet the deviation first."""
    return nn.mul(_layer_norm(x, mean, variance, epsilon), gamma)


def _layer_norm(x: Op, mean: Op, variance: Op, epsilon) -> Op:
    require(_is_mean_of(mean, x) and _meets(x, mean.shape),
            f"{mean.kind} is not the mean of the value over its last axis")  # fmt: skip
    require(_is_variance_of(variance, x) and _meets(x, variance.shape, epsilon.shape),
            f"{variance.kind} is not the variance over the last axis")  # fmt: skip
    ones = np.ones(x.shape[-1], x.dtype.numpy)
    return nn.layer_norm(x, ones, np.zeros_like(ones), epsilon=number(epsilon))


_POWER = nn.add(V.power, C.epsilon, clamp=None)


@rule(
    nn.mul(V.x, lax.rsqrt(_POWER), clamp=None),
    nn.div(V.x, lax.sqrt(_POWER), clamp=None),
)
def normalized_by_power_is_rms_norm(x, power, epsilon):
    """rms_norm is x / sqrt(mean(x * x) + epsilon) over the last axis."""
    return _rms_norm(x, power, epsilon)


@rule(
    nn.mul(V.x, nn.mul(lax.rsqrt(_POWER), C.gamma, clamp=None), clamp=None),
    nn.mul(nn.mul(V.x, C.gamma, clamp=None), lax.rsqrt(_POWER), clamp=None),
)
def scaled_power_is_rms_norm(x, power, epsilon, gamma):
    """The scale of an rms_norm may meet the power first."""
    return nn.mul(_rms_norm(x, power, epsilon), gamma)


def _rms_norm(x: Op, power: Op, epsilon) -> Op:
    squared = _mean_source(power)
    require(squared is not None and _square_source(squared) is x
            and _meets(x, power.shape, epsilon.shape),
            f"{power.kind} is not the mean square of the value over its last axis")  # fmt: skip
    return nn.rms_norm(x, np.ones(x.shape[-1], x.dtype.numpy), epsilon=number(epsilon))


def _plain(op: Op) -> Op:
    """What a reshape that inserts the reduced axis was made of."""
    inserts = op.kind == "lax.reshape" and op.shape == (*op.operands[0].shape, 1)
    return op.operands[0] if inserts else op


def _meets(x: Op, *shapes) -> bool:
    """Whether values of these shapes hold one number for each row of x along its last axis.

    A mean that was not kept would meet the last axis with the one before it.
    """
    found = np.broadcast_shapes(*shapes)
    return (1,) * (x.type.rank - len(found)) + found == (*x.shape[:-1], 1)


def _mean_source(op: Op) -> Op | None:
    """x, where op is mean(x) over the last axis, kept or not."""
    op = _plain(op)
    if op.kind != "nn.mean" or op.attributes["axes"] != (op.operands[0].type.rank - 1,):
        return None
    return op.operands[0]


def _square_source(op: Op) -> Op | None:
    """x, where op is x * x."""
    if op.kind == "lax.square" or op.kind == "lax.integer_pow" and op.attributes["y"] == 2:
        return op.operands[0]
    twice = op.kind == "nn.mul" and op.operands[0] is op.operands[1]
    return op.operands[0] if twice and op.attributes["clamp"] is None else None


def _is_mean_of(op: Op, x: Op) -> bool:
    return _mean_source(op) is x


def _is_variance_of(op: Op, x: Op) -> bool:
    """mean((x - mean(x))**2), or mean(x**2) - mean(x)**2, which may be kept from being negative."""
    op = _plain(op)
    if op.kind == "nn.relu":
        op = _plain(op.operands[0])
    if op.kind == "nn.sub":
        squares, square = op.operands
        squares, mean = _mean_source(squares), _square_source(_plain(square))
        if squares is None or mean is None or op.operands[0].shape != op.operands[1].shape:
            return False
        return _square_source(squares) is x and _is_mean_of(mean, x)
    squares = _mean_source(op)
    centred = None if squares is None else _square_source(squares)
    if centred is None or centred.kind != "nn.sub":
        return False
    mean = centred.operands[1]
    return centred.operands[0] is x and _is_mean_of(mean, x) and _meets(x, mean.shape)


@rule(nn.mul(nn.layer_norm(V.x, C.gamma, C.beta).once() @ "norm", C.k) @ "op")
def scale_belongs_to_layer_norm(op, norm, x, gamma, beta, k):
    """A scale along the last axis after a layer_norm belongs in its gamma and beta."""
    k = _along_last_axis(op, norm, k)
    return norm.with_operands(x, like(constant_of(op), gamma * k), like(norm.operands[2], beta * k))


@rule(nn.add(nn.layer_norm(V.x, C.gamma, C.beta).once() @ "norm", C.k) @ "op")
def shift_belongs_to_layer_norm(op, norm, x, beta, k):
    """A shift along the last axis after a layer_norm belongs in its beta."""
    shifted = beta + _along_last_axis(op, norm, k)
    return norm.with_operands(x, norm.operands[1], like(constant_of(op), shifted))


@rule(nn.mul(nn.rms_norm(V.x, C.gamma).once() @ "norm", C.k) @ "op")
def scale_belongs_to_rms_norm(op, norm, x, gamma, k):
    """A scale along the last axis after an rms_norm belongs in its gamma."""
    return norm.with_operands(x, like(constant_of(op), gamma * _along_last_axis(op, norm, k)))


def _along_last_axis(op: Op, norm: Op, k: np.ndarray) -> np.ndarray:
    require(op.attributes["clamp"] is None and op.type == norm.type, f"the result is {op.type}")
    require(np.isfinite(k).all(), "the constant is not finite")
    require(k.size == 1 or k.size == k.shape[-1] == norm.shape[-1],
            f"the constant {list(k.shape)} varies along more than the last axis")  # fmt: skip
    return k.reshape(-1)


RULES = (
    powers_over_their_sum_are_softmax, softmax_needs_no_shift,
    normalized_by_deviation_is_layer_norm, scaled_deviation_is_layer_norm,
    normalized_by_power_is_rms_norm, scaled_power_is_rms_norm, scale_belongs_to_layer_norm,
    shift_belongs_to_layer_norm, scale_belongs_to_rms_norm,
)  # fmt: skip
