"""Imports of elementwise primitives."""

from qir.dialects import lax

from ...ir import const
from ...types import Element, Type, dtype
from .table import imports, type_of_aval

_SAME_NAME = {
    "abs": lax.abs, "acos": lax.acos, "acosh": lax.acosh, "add": lax.add, "and": lax.and_,
    "asin": lax.asin, "asinh": lax.asinh, "atan": lax.atan, "atan2": lax.atan2,
    "atanh": lax.atanh, "cbrt": lax.cbrt, "ceil": lax.ceil, "clamp": lax.clamp, "clz": lax.clz,
    "cos": lax.cos, "cosh": lax.cosh, "div": lax.div, "eq": lax.eq, "erf": lax.erf,
    "erfc": lax.erfc,
    "exp": lax.exp, "exp2": lax.exp2, "expm1": lax.expm1, "floor": lax.floor, "ge": lax.ge,
    "gt": lax.gt, "is_finite": lax.is_finite, "le": lax.le, "log": lax.log, "log1p": lax.log1p,
    "logistic": lax.logistic, "lt": lax.lt, "max": lax.max, "min": lax.min, "mul": lax.mul,
    "ne": lax.ne, "neg": lax.neg, "not": lax.not_, "or": lax.or_,
    "population_count": lax.population_count, "pow": lax.pow, "rem": lax.rem,
    "rsqrt": lax.rsqrt, "shift_left": lax.shift_left,
    "shift_right_arithmetic": lax.shift_right_arithmetic,
    "shift_right_logical": lax.shift_right_logical, "sign": lax.sign, "sin": lax.sin,
    "sinh": lax.sinh, "sqrt": lax.sqrt,
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


@imports("optimization_barrier", "device_put")
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
    p = equation.params
    return lax.reduce_precision(
        x, exponent_bits=int(p["exponent_bits"]), mantissa_bits=int(p["mantissa_bits"]))


@imports("bitcast_convert_type")
def bitcast_convert_type(equation, x):
    to = type_of_aval(equation.outvars[0].aval).element
    return x if to == x.type.element else lax.bitcast(x, to=to)


@imports("eq_to", "lt_to", "le_to")
def in_total_order(equation, a, b):
    """Floats as they follow one another in sign and bits: -NaN, -0 and 0, NaN apart."""
    compare = {"eq_to": lax.eq, "lt_to": lax.lt, "le_to": lax.le}[equation.primitive.name]
    return compare(_ordered(a), _ordered(b))


def _ordered(x):
    """Integers in the order of floats: those of negative ones with all but the sign turned."""
    if not x.type.is_float:
        return x
    to = dtype(f"i{x.dtype.bits}")
    bits = lax.bitcast(x, to=Element(to))
    sign = lax.shift_right_arithmetic(bits, const(to.bits - 1, Type(to, ())))
    return lax.xor(bits, lax.and_(sign, const(to.hi, Type(to, ()))))


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
