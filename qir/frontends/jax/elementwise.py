"""Imports of elementwise primitives."""

from qir.dialects import lax

from ...errors import require
from ...ir import const
from ...types import Type, dtype
from .table import imports, type_of_aval

_SAME_NAME = {
    "abs": lax.abs, "acos": lax.acos, "acosh": lax.acosh, "add": lax.add, "and": lax.and_,
    "asin": lax.asin, "asinh": lax.asinh, "atan": lax.atan, "atan2": lax.atan2,
    "atanh": lax.atanh, "cbrt": lax.cbrt, "ceil": lax.ceil, "clamp": lax.clamp, "cos": lax.cos,
    "cosh": lax.cosh, "div": lax.div, "eq": lax.eq, "erf": lax.erf, "erfc": lax.erfc,
    "exp": lax.exp, "exp2": lax.exp2, "expm1": lax.expm1, "floor": lax.floor, "ge": lax.ge,
    "gt": lax.gt, "is_finite": lax.is_finite, "le": lax.le, "log": lax.log, "log1p": lax.log1p,
    "logistic": lax.logistic, "lt": lax.lt, "max": lax.max, "min": lax.min, "mul": lax.mul,
    "ne": lax.ne, "neg": lax.neg, "not": lax.not_, "or": lax.or_, "pow": lax.pow, "rem": lax.rem,
    "rsqrt": lax.rsqrt, "sign": lax.sign, "sin": lax.sin, "sinh": lax.sinh, "sqrt": lax.sqrt,
    "square": lax.square, "sub": lax.sub, "tan": lax.tan, "tanh": lax.tanh, "xor": lax.xor,
}  # fmt: skip


def _import_as(op) -> None:
    imports_it = imports(op.name.removeprefix("lax."), broadcasts=True)
    imports_it(lambda equation, *operands: op(*operands))


for _op in _SAME_NAME.values():
    _import_as(_op)


@imports("add_any", broadcasts=True)
def add_any(equation, a, b):
    return lax.add(a, b)


@imports("copy", "copy_p", "stop_gradient", "name", "sharding_constraint", "pvary")
def identity(equation, x):
    return x


@imports("optimization_barrier")
def optimization_barrier(equation, *xs):
    return xs


@imports("round")
def round_(equation, x):
    ways = {"AWAY_FROM_ZERO": "half_away", "TO_NEAREST_EVEN": "half_even"}
    return lax.round(x, method=ways[equation.params["rounding_method"].name])


@imports("integer_pow")
def integer_pow(equation, x):
    return lax.integer_pow(x, y=equation.params["y"])


@imports("convert_element_type")
def convert_element_type(equation, x):
    to = type_of_aval(equation.outvars[0].aval).element
    return x if to == x.type.element else lax.convert(x, to=to)


@imports("reduce_precision")
def reduce_precision(equation, x):
    bits = equation.params["exponent_bits"], equation.params["mantissa_bits"]
    names = {(8, 23): "f32", (5, 10): "f16", (8, 7): "bf16"}
    require(bits in names, f"no storage has {bits[0]} exponent and {bits[1]} mantissa bits")
    if names[bits] == x.dtype.name:
        return x
    return lax.convert(lax.convert(x, to=names[bits]), to=x.type.element)


@imports("select_n", broadcasts=True)
def select_n(equation, which, *cases):
    if len(cases) == 1:
        return cases[0]
    if which.dtype.name == "bool":
        return lax.select(which, cases[1], cases[0])
    chosen = cases[0]
    for index, case in enumerate(cases[1:], start=1):
        number = const(index, Type(dtype(which.dtype.name), ()))
        chosen = lax.select(lax.ge(which, number), case, chosen)
    return chosen
