"""Activation functions, as JAX and its users spell them."""

import math

from qir.errors import require
from qir.ir import Op
from qir.pattern import C, Pattern, V, either
from qir.rewrite import rule

from ...dialects import lax, nn
from .build import is_number, number


def _sum(a: Pattern, b: Pattern) -> Pattern:
    return nn.add(a, b, clamp=None)


def _product(a: Pattern, b: Pattern) -> Pattern:
    return nn.mul(a, b, clamp=None)


def _of_one_shape(op: Op, *values: Op) -> None:
    require(all(v.type == op.type for v in values), f"a value broadcasts to {op.type}")


@rule(either(lax.tanh, lax.logistic)(V.x) @ "op")
def activation_of_one_primitive(op, x):
    """tanh and the logistic function are primitives."""
    return {"lax.tanh": nn.tanh, "lax.logistic": nn.sigmoid}[op.kind](x)


@rule(either(lax.max, nn.maximum)(V.x, C.zero) @ "op")
def maximum_with_zero_is_relu(op, x, zero):
    """relu is max(x, 0)."""
    require(x.type == op.type and x.type.is_float, f"{x.type} and a constant give {op.type}")
    is_number(zero, 0.0)
    return nn.relu(x)


@rule(
    either(lax.min, nn.minimum)(nn.relu(V.x), C.six) @ "op",
    nn.relu(either(lax.min, nn.minimum)(V.x, C.six)) @ "op",
)
def relu_to_six_is_relu6(op, x, six):
    """relu6 is min(relu(x), 6), or relu(min(x, 6))."""
    require(x.type == op.type, f"{x.type} broadcasts to {op.type}")
    is_number(six, 6.0)
    return nn.relu6(x)


@rule(nn.div(C.one, _sum(lax.exp(lax.neg(V.x)), C.also_one), clamp=None) @ "op")
def logistic_quotient_is_sigmoid(op, one, x, also_one):
    """sigmoid is 1 / (1 + exp(-x))."""
    is_number(one, 1.0)
    is_number(also_one, 1.0)
    require(x.type == op.type, f"{x.type} broadcasts to {op.type}")
    return nn.sigmoid(x)


@rule(_product(_sum(nn.tanh(_product(V.x, C.half)), C.one), C.factor) @ "op")
def half_of_tanh_is_sigmoid(op, x, half, one, factor):
    """sigmoid is (1 + tanh(x / 2)) / 2."""
    is_number(half, 0.5)
    is_number(one, 1.0)
    is_number(factor, 0.5)
    _of_one_shape(op, x)
    return nn.sigmoid(x)


@rule(_product(V.x, nn.sigmoid(V.x)))
def gated_by_sigmoid_is_silu(x):
    """silu is x * sigmoid(x)."""
    return nn.silu(x)


@rule(nn.div(V.x, _sum(lax.exp(lax.neg(V.x)), C.one), clamp=None) @ "op")
def quotient_is_silu(op, x, one):
    """silu is x / (1 + exp(-x))."""
    is_number(one, 1.0)
    _of_one_shape(op, x)
    return nn.silu(x)


def _scaled_gate(gate: Pattern) -> list[Pattern]:
    """x times a gate of x times a constant, in any order."""
    return [
        _product(_product(V.x, C.factor), gate) @ "op",
        _product(V.x, _product(gate, C.factor)) @ "op",
        _product(_product(V.x, gate), C.factor) @ "op",
    ]


@rule(*_scaled_gate(nn.relu6(_sum(V.x, C.three))))
def gated_by_relu6_is_hard_swish(op, x, three, factor):
    """hard_swish is x * relu6(x + 3) / 6."""
    is_number(three, 3.0)
    is_number(factor, 1 / 6)
    require(x.type == op.type, f"{x.type} broadcasts to {op.type}")
    return nn.hard_swish(x)


def _clipped(inside: Pattern) -> list[Pattern]:
    """Between 0 and a constant, in either order."""
    lesser = either(lax.min, nn.minimum)
    return [lesser(nn.relu(inside), C.top), nn.relu(lesser(inside, C.top))]


@rule(*(_product(V.x, gate) @ "op" for gate in _clipped(_sum(_product(V.x, C.factor), C.half))))
def gated_by_line_between_bounds_is_hard_swish(op, x, factor, half, top):
    """hard_swish is x * min(max(x / 6 + 1 / 2, 0), 1)."""
    is_number(factor, 1 / 6)
    is_number(half, 0.5)
    is_number(top, 1.0)
    _of_one_shape(op, x)
    return nn.hard_swish(x)


@rule(*(_product(V.x, gate) @ "op" for gate in _clipped(_product(_sum(V.x, C.three), C.factor))))
def gated_by_part_between_bounds_is_hard_swish(op, x, three, factor, top):
    """hard_swish is x * min(max((x + 3) / 6, 0), 1)."""
    is_number(three, 3.0)
    is_number(factor, 1 / 6)
    is_number(top, 1.0)
    _of_one_shape(op, x)
    return nn.hard_swish(x)


@rule(_product(V.x, _sum(_product(either(lax.erf, nn.tanh)(V.y) @ "gate", C.half), C.other)) @ "op")
def gate_of_halves_is_half_of_gate(op, x, gate, half, other):
    """x * (1 / 2 + f(y) / 2) is x * (1 + f(y)) / 2."""
    is_number(half, 0.5)
    is_number(other, 0.5)
    _of_one_shape(op, x, gate)
    return nn.mul(nn.mul(x, nn.add(gate, 1.0)), 0.5)


@rule(*_scaled_gate(_sum(lax.erf(_product(V.x, C.root)), C.one)))
def gated_by_erf_is_gelu(op, x, root, one, factor):
    """gelu is x * (1 + erf(x / sqrt(2))) / 2."""
    is_number(root, math.sqrt(0.5))
    is_number(one, 1.0)
    is_number(factor, 0.5)
    require(x.type == op.type, f"{x.type} broadcasts to {op.type}")
    return nn.gelu(x, approximate=False)


@rule(*_scaled_gate(lax.erfc(_product(lax.neg(V.x), C.root))))
def gated_by_erfc_is_gelu(op, x, root, factor):
    """gelu is x * erfc(-x / sqrt(2)) / 2."""
    is_number(root, math.sqrt(0.5))
    is_number(factor, 0.5)
    require(x.type == op.type, f"{x.type} broadcasts to {op.type}")
    return nn.gelu(x, approximate=False)


def _tanh_gate(inside: Pattern) -> Pattern:
    return _sum(nn.tanh(inside), C.one)


def _cubes(factor: Pattern) -> list[Pattern]:
    """A constant times the third power of x, in the orders in which it is written."""
    twice, once = _product(V.x, V.x), _product(V.x, factor)
    return [_product(lax.integer_pow(V.x, y=3), factor), _product(_product(twice, V.x), factor),
            _product(_product(once, V.x), V.x), _product(_product(twice, factor), V.x)]  # fmt: skip


def _squares(factor: Pattern) -> list[Pattern]:
    """A constant times the square of x."""
    return [_product(lax.square(V.x), factor), _product(lax.integer_pow(V.x, y=2), factor),
            _product(_product(V.x, V.x), factor), _product(_product(V.x, factor), V.x)]  # fmt: skip


@rule(*(
    pattern for cube in _cubes(C.third)
    for pattern in _scaled_gate(_tanh_gate(_product(_sum(cube, V.x), C.root)))
))  # fmt: skip
def gated_by_tanh_is_gelu(op, x, third, root, one, factor):
    """The approximate gelu is x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2."""
    is_number(third, 0.044715)
    is_number(root, math.sqrt(2 / math.pi))
    is_number(one, 1.0)
    is_number(factor, 0.5)
    _of_one_shape(op, x)
    return nn.gelu(x, approximate=True)


@rule(*(
    pattern for square in _squares(C.third)
    for pattern in _scaled_gate(_tanh_gate(_product(_product(V.x, C.root), _sum(square, C.unit))))
))  # fmt: skip
def gated_by_tanh_of_product_is_gelu(op, x, third, root, one, factor, unit):
    """The approximate gelu may write x * (1 + 0.044715 * x**2)."""
    is_number(third, 0.044715)
    is_number(unit, 1.0)
    is_number(root, math.sqrt(2 / math.pi))
    is_number(one, 1.0)
    is_number(factor, 0.5)
    _of_one_shape(op, x)
    return nn.gelu(x, approximate=True)


@rule(*(
    pattern for cube in _cubes(C.third)
    for pattern in _scaled_gate(_tanh_gate(_sum(cube, _product(V.x, C.root))))
))  # fmt: skip
def gated_by_tanh_of_sum_is_gelu(op, x, third, root, one, factor):
    """The root of 2 / pi may be a factor of either term."""
    is_number(third, 0.044715 * math.sqrt(2 / math.pi))
    is_number(root, math.sqrt(2 / math.pi))
    is_number(one, 1.0)
    is_number(factor, 0.5)
    _of_one_shape(op, x)
    return nn.gelu(x, approximate=True)


@rule(lax.select(either(lax.ge, lax.gt)(V.x, C.zero), V.x, _product(V.x, C.slope)) @ "op")
def scaled_below_zero_is_leaky_relu(op, x, zero, slope):
    """leaky_relu is x where it is positive, slope * x elsewhere."""
    is_number(zero, 0.0)
    require(math.isfinite(number(slope)), f"a slope of {number(slope):g}")
    require(x.type == op.type, f"{x.type} broadcasts to {op.type}")
    return nn.leaky_relu(x, slope=number(slope))


@rule(nn.maximum(V.x, _product(V.x, C.slope)) @ "op")
def maximum_with_scaled_is_leaky_relu(op, x, slope):
    """leaky_relu is max(x, slope * x) for slopes up to one."""
    require(0 <= number(slope) <= 1, f"a slope of {number(slope):g}")
    require(x.type == op.type, f"{x.type} broadcasts to {op.type}")
    return nn.leaky_relu(x, slope=number(slope))


@rule(
    lax.select(lax.gt(V.x, C.zero), V.x, lax.expm1(nn.minimum(V.x, C.zero))) @ "op",
    lax.select(lax.gt(V.x, C.zero), V.x, lax.expm1(V.x)) @ "op",
    _sum(nn.relu(V.x), lax.expm1(nn.minimum(V.x, C.zero))) @ "op",
)
def exponential_below_zero_is_elu(op, x, zero):
    """elu is x where it is positive, exp(x) - 1 elsewhere."""
    is_number(zero, 0.0)
    require(x.type == op.type, f"{x.type} broadcasts to {op.type}")
    return nn.elu(x)


@rule(
    lax.select(either(lax.gt, lax.ge)(V.x, C.k), V.x, C.k) @ "op",
    lax.select(either(lax.lt, lax.le)(V.x, C.k), C.k, V.x) @ "op",
)
def greater_one_selected_is_maximum(op, x, k):
    """The greater of a value and a constant, selected, is their maximum."""
    require(x.type.is_float, f"{x.type} is no float")
    return nn.maximum(x, k)


@rule(
    lax.select(either(lax.lt, lax.le)(V.x, C.k), V.x, C.k) @ "op",
    lax.select(either(lax.gt, lax.ge)(V.x, C.k), C.k, V.x) @ "op",
)
def smaller_one_selected_is_minimum(op, x, k):
    """The smaller of a value and a constant, selected, is their minimum."""
    require(x.type.is_float, f"{x.type} is no float")
    return nn.minimum(x, k)


@rule(lax.select(either(lax.gt, lax.ge)(V.x, C.high), C.high, nn.maximum(V.x, C.low)) @ "op")
def selected_above_is_minimum(op, x, high, low):
    """A value cut off below and, by a selection, above lies between two constants."""
    require((low <= high).all(), "the lower bound is above the upper one")
    return nn.minimum(nn.maximum(x, low), high)


RULES = (
    activation_of_one_primitive, maximum_with_zero_is_relu, relu_to_six_is_relu6,
    logistic_quotient_is_sigmoid, half_of_tanh_is_sigmoid, gated_by_sigmoid_is_silu,
    quotient_is_silu, gated_by_relu6_is_hard_swish, gated_by_line_between_bounds_is_hard_swish,
    gated_by_part_between_bounds_is_hard_swish, gate_of_halves_is_half_of_gate,
    gated_by_erf_is_gelu, gated_by_erfc_is_gelu, gated_by_tanh_is_gelu,
    gated_by_tanh_of_product_is_gelu, gated_by_tanh_of_sum_is_gelu,
    scaled_below_zero_is_leaky_relu, maximum_with_scaled_is_leaky_relu,
    exponential_below_zero_is_elu, greater_one_selected_is_maximum,
    smaller_one_selected_is_minimum, selected_above_is_minimum,
)  # fmt: skip
