"""Softmax where the sum of powers is not what divides."""

from qir.errors import require
from qir.ir import Op
from qir.pattern import C, V
from qir.rewrite import rule

from ...dialects import lax, nn
from .build import is_number

_POWERS = lax.exp(V.x) @ "powers"
_TOTAL = nn.sum(V.powers, keepdims=True) @ "total"


@rule(nn.mul(_POWERS, nn.div(C.one, _TOTAL, clamp=None), clamp=None))
def powers_times_reciprocal_are_softmax(x, powers, total, one):
    """softmax is exp(x) times one over its sum along an axis."""
    is_number(one, 1.0)
    return _softmax(x, total)


@rule(lax.exp(nn.sub(V.x, lax.log(nn.sum(lax.exp(V.x), keepdims=True) @ "total"), clamp=None)))
def powers_of_log_softmax_are_softmax(x, total):
    """softmax is the power of what lies below the logarithm of the sum of powers."""
    return _softmax(x, total)


def _softmax(x: Op, total: Op) -> Op:
    axes = total.attributes["axes"]
    require(len(axes) == 1 and x.type.size, f"the sum is over {len(axes)} axes of {x.type}")
    return nn.softmax(x, axis=-1 if axes[0] == x.type.rank - 1 else axes[0])


RULES = (powers_times_reciprocal_are_softmax, powers_of_log_softmax_are_softmax)
