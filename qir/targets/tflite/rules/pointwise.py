"""Ops element by element that operators compute under names of their own."""

from qir.dialects import lax, nn, tfl

from ....errors import require
from ....ir import Op
from ....pattern import V, either
from ....rewrite import rule
from ....types import Element

OF_ONE = {
    lax.abs: tfl.abs, lax.neg: tfl.neg, lax.exp: tfl.exp, lax.log: tfl.log, lax.sqrt: tfl.sqrt,
    lax.rsqrt: tfl.rsqrt, lax.square: tfl.square, lax.sin: tfl.sin, lax.cos: tfl.cos,
    lax.floor: tfl.floor, lax.ceil: tfl.ceil, lax.tanh: tfl.tanh, lax.logistic: tfl.logistic,
    nn.tanh: tfl.tanh, nn.sigmoid: tfl.logistic, nn.relu: tfl.relu, nn.relu6: tfl.relu6,
    nn.elu: tfl.elu, nn.hard_swish: tfl.hard_swish,
}  # fmt: skip
OF_TWO = {
    lax.add: tfl.add, lax.sub: tfl.sub, lax.mul: tfl.mul, lax.div: tfl.div,
    lax.eq: tfl.equal, lax.ne: tfl.not_equal, lax.lt: tfl.less, lax.le: tfl.less_equal,
    lax.gt: tfl.greater, lax.ge: tfl.greater_equal, lax.max: tfl.maximum, lax.min: tfl.minimum,
    nn.maximum: tfl.maximum, nn.minimum: tfl.minimum,
}  # fmt: skip
_BY_KIND = {ours.name: theirs for ours, theirs in (OF_ONE | OF_TWO).items()}
STORED = ("f32", "i32", "i64")
"""Storages that every kernel of these operators takes."""


def _takes(*operands: Op) -> None:
    for operand in operands:
        known = operand.type.grid is not None or operand.dtype.name in STORED
        require(known, f"its kernels take f32, i32 and i64, found {operand.type}")


@rule(either(*OF_ONE)(V.x) @ "op")
def function_of_one(op, x):
    """Functions of reals and of plain integers."""
    _takes(x)
    return _BY_KIND[op.kind](x)


@rule(either(*OF_TWO)(V.a, V.b) @ "op")
def function_of_two(op, a, b):
    """Broadcasting is the same."""
    _takes(a, b)
    return _BY_KIND[op.kind](a, b)


@rule(lax.round(V.x) @ "op")
def rounded(op, x):
    """To the nearest integer, half to even."""
    _takes(x)
    require(op.attributes["method"] == "half_even", "it rounds halves away from zero")
    return tfl.round(x)


@rule(nn.gelu(V.x) @ "op")
def gelu(op, x):
    """By the error function or by tanh."""
    _takes(x)
    return tfl.gelu(x, approximate=op.attributes["approximate"])


@rule(nn.silu(V.x) @ "op")
def silu(op, x):
    """x times its sigmoid."""
    _takes(x)
    return tfl.mul(x, tfl.logistic(x))


@rule(nn.leaky_relu(V.x) @ "op")
def leaky_relu(op, x):
    """The slope is alpha."""
    _takes(x)
    return tfl.leaky_relu(x, alpha=op.attributes["slope"])


@rule(lax.clamp(V.low, V.x, V.high) @ "op")
def clamped(op, low, x, high):
    """The greater of one bound and the lesser of the other."""
    _takes(low, x, high)
    return tfl.maximum(low, tfl.minimum(x, high))


@rule(lax.select(V.condition, V.a, V.b) @ "op")
def selected(op, condition, a, b):
    """All three broadcast to each other."""
    _takes(a, b)
    return tfl.select_v2(condition, a, b)


NAMES = {"f32": "FLOAT32", "i8": "INT8", "i16": "INT16", "i32": "INT32", "i64": "INT64",
         "u8": "UINT8", "u32": "UINT32", "bool": "BOOL", "f16": "FLOAT16"}  # fmt: skip


@rule(lax.convert(V.x) @ "op")
def cast(op, x):
    """Toward zero, where reals become integers."""
    require({x.dtype.name, op.dtype.name} <= NAMES.keys(), f"casts no {x.type} to {op.type}")
    return tfl.cast(x, to=Element(op.dtype), in_data_type=NAMES[x.dtype.name],
                    out_data_type=NAMES[op.dtype.name])  # fmt: skip


RULES = (function_of_one, function_of_two, rounded, gelu, silu, leaky_relu, clamped, selected,
         cast)  # fmt: skip
