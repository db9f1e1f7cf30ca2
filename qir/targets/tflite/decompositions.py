"""Float ops that TensorFlow Lite has no operator for, as those it has.

Before quantization, so that every part gets a grid of its own.
"""

from qir.dialects import lax, nn

from ...ir import Op, const
from ...pattern import V
from ...rewrite import Rule, rule


def rules() -> tuple[Rule, ...]:
    """The rules that `decompose(target=tflite)` applies."""
    return (layer_norm_by_parts, rms_norm_by_parts)


@rule(nn.layer_norm(V.x, V.gamma, V.beta) @ "op")
def layer_norm_by_parts(op, x, gamma, beta):
    """(x - mean) / deviation * gamma + beta, each step an op."""
    centred = nn.sub(x, _mean(x))
    return nn.add(nn.mul(_over_root_mean_square(op, centred), gamma), beta)


@rule(nn.rms_norm(V.x, V.gamma) @ "op")
def rms_norm_by_parts(op, x, gamma):
    """x / root mean square * gamma, each step an op."""
    return nn.mul(_over_root_mean_square(op, x), gamma)


def _over_root_mean_square(op: Op, x: Op) -> Op:
    epsilon = const(x.dtype.numpy.type(op.attributes["epsilon"]))
    return nn.mul(x, lax.rsqrt(nn.add(_mean(nn.mul(x, x)), epsilon)))


def _mean(x: Op) -> Op:
    return nn.mean(x, axes=(x.type.rank - 1,), keepdims=True)
