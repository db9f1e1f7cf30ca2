"""Imports of operations element by element."""

import numpy as np

from qir.dialects import lax, nn

from ...errors import require
from ...ir import Op, const
from ...types import Type
from .table import attribute, imports, storage

_SAME = {
    "Abs": lax.abs, "Acos": lax.acos, "Acosh": lax.acosh, "Add": lax.add, "AddV2": lax.add,
    "Asin": lax.asin, "Asinh": lax.asinh, "Atan": lax.atan, "Atan2": lax.atan2,
    "Atanh": lax.atanh, "Ceil": lax.ceil, "Cos": lax.cos, "Cosh": lax.cosh, "Elu": nn.elu,
    "Equal": lax.eq, "Erf": lax.erf, "Erfc": lax.erfc, "Exp": lax.exp, "Expm1": lax.expm1,
    "Floor": lax.floor, "Greater": lax.gt, "GreaterEqual": lax.ge, "IsFinite": lax.is_finite,
    "Less": lax.lt, "LessEqual": lax.le, "Log": lax.log, "Log1p": lax.log1p,
    "LogicalAnd": lax.and_, "LogicalNot": lax.not_, "LogicalOr": lax.or_, "Maximum": lax.max,
    "Minimum": lax.min, "Mul": lax.mul, "Neg": lax.neg, "NotEqual": lax.ne, "Pow": lax.pow,
    "RealDiv": lax.div, "Relu": nn.relu, "Relu6": nn.relu6, "Rint": lax.round,
    "Round": lax.round, "Rsqrt": lax.rsqrt, "Sigmoid": nn.sigmoid, "Sign": lax.sign,
    "Sin": lax.sin, "Sinh": lax.sinh, "Sqrt": lax.sqrt, "Square": lax.square, "Sub": lax.sub,
    "Tan": lax.tan, "Tanh": nn.tanh,
}  # fmt: skip


def _import_as(name: str, op) -> None:
    imports(name)(lambda node, *operands: op(*operands))


for _name, _op in _SAME.items():
    _import_as(_name, _op)


def scalar(x: Op, value) -> Op:
    """A number of the storage that x has."""
    return const(np.asarray(value).astype(x.dtype.numpy), Type(x.dtype, ()))


@imports("Identity", "StopGradient", "PreventGradient", "Snapshot", "CheckNumerics",
         "PlaceholderWithDefault")  # fmt: skip
def identity(node, x):
    return x


@imports("IdentityN")
def identities(node, *xs):
    return xs


@imports("ZerosLike", "OnesLike")
def same_everywhere(node, x):
    value = scalar(x, 1 if node.type == "OnesLike" else 0)
    return lax.broadcast(value, shape=x.shape, axes=())


@imports("BiasAdd")
def bias_add(node, x, b):
    if attribute(node, "data_format") == "NCHW":
        b = lax.reshape(b, shape=(-1, *(1,) * (x.type.rank - 2)))
    return lax.add(x, b)


@imports("AddN")
def add_n(node, *xs):
    total = xs[0]
    for x in xs[1:]:
        total = lax.add(total, x)
    return total


@imports("SquaredDifference")
def squared_difference(node, a, b):
    return lax.square(lax.sub(a, b))


@imports("Div", "FloorDiv")
def division(node, a, b):
    quotient = lax.div(a, b)
    if node.type == "Div":
        return quotient
    if a.type.is_float:
        return lax.floor(quotient)
    require(b.is_const and (b.value > 0).all(), "a divisor of integers that may be negative")
    rest = lax.sub(a, lax.mul(quotient, b))
    below = lax.convert(lax.lt(rest, scalar(rest, 0)), to=a.type.element)
    return lax.sub(quotient, below)


@imports("DivNoNan")
def division_without_nan(node, a, b):
    zero = scalar(a, 0)
    return lax.select(lax.eq(b, zero), lax.broadcast(zero, shape=b.shape, axes=()), lax.div(a, b))


@imports("Reciprocal", "Inv")
def reciprocal(node, x):
    return lax.div(scalar(x, 1), x)


@imports("LeakyRelu")
def leaky_relu(node, x):
    return nn.leaky_relu(x, slope=attribute(node, "alpha"))


@imports("Selu")
def selu(node, x):
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    below = lax.mul(lax.expm1(lax.min(x, scalar(x, 0))), scalar(x, alpha))
    return lax.mul(lax.select(lax.gt(x, scalar(x, 0)), x, below), scalar(x, scale))


@imports("Softplus")
def softplus(node, x):
    return lax.add(lax.max(x, scalar(x, 0)), lax.log1p(lax.exp(lax.neg(lax.abs(x)))))


@imports("Softsign")
def softsign(node, x):
    return lax.div(x, lax.add(lax.abs(x), scalar(x, 1)))


@imports("ClipByValue")
def clip_by_value(node, x, low, high):
    return lax.clamp(low, x, high)


@imports("Select", "SelectV2")
def select(node, condition, a, b):
    if node.type == "Select" and condition.shape != a.shape and condition.type.rank == 1:
        condition = lax.reshape(condition, shape=(-1, *(1,) * (a.type.rank - 1)))
    return lax.select(condition, a, b)


@imports("Cast")
def cast(node, x):
    to = storage(attribute(node, "DstT"))
    return x if to == x.dtype.name else lax.convert(x, to=to)
