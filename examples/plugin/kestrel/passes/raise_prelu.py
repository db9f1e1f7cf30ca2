"""Raise what models write for PReLU, which no framework has a primitive for, to one op."""

import numpy as np
from qir.dialects import lax, nn
from qir.errors import require
from qir.graph_pass import graph_pass
from qir.ir import Func, Op
from qir.pattern import C, Pattern, V, either
from qir.rewrite import rewrite, rule

from ..dialect import prelu


@graph_pass("float -> float")
def raise_prelu(func: Func) -> Func:
    """Turn what models write for PReLU, a slope for each channel below zero, into kestrel.prelu."""
    return rewrite(func, scaled_below_zero_is_prelu, relu_and_scaled_minimum_is_prelu,
                   relu_and_scaled_opposite_is_prelu)  # fmt: skip


def _scaled(x: Pattern) -> Pattern:
    # An attribute that a pattern does not mention may have any value: a clamp would be lost.
    return nn.mul(x, C.slope, clamp=None)


@rule(lax.select(either(lax.ge, lax.gt)(V.x, C.zero), V.x, _scaled(V.x)) @ "op")
def scaled_below_zero_is_prelu(op, x, zero, slope):
    """PReLU is x where it is positive, slope * x elsewhere."""
    return _prelu(op, x, slope, zero)


@rule(nn.add(nn.relu(V.x), _scaled(nn.minimum(V.x, C.zero)), clamp=None) @ "op")
def relu_and_scaled_minimum_is_prelu(op, x, zero, slope):
    """PReLU is relu(x) + slope * min(x, 0)."""
    return _prelu(op, x, slope, zero)


@rule(nn.sub(nn.relu(V.x), _scaled(nn.relu(lax.neg(V.x))), clamp=None) @ "op")
def relu_and_scaled_opposite_is_prelu(op, x, slope):
    """PReLU is relu(x) - slope * relu(-x)."""
    return _prelu(op, x, slope)


def _prelu(op: Op, x: Op, slope: np.ndarray, zero: np.ndarray | None = None) -> Op:
    # Whatever `require` refuses is what --explain prints, so each reason names what it found.
    require(zero is None or not zero.any(), f"x is compared with {zero}, not with 0")
    require(x.type == op.type, f"{x.type} broadcasts to {op.type}")
    each = slope.ndim and slope.shape[-1:] == x.shape[-1:] and slope.size == x.shape[-1]
    require(each, f"slopes {slope.shape} are not one for each channel of {x.type}")
    require(np.isfinite(slope).all(), f"a slope of {slope} times 0 is no number")
    return prelu(x, slope.reshape(-1))
