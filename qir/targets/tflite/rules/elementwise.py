"""Sums, products, casts, and functions of one value."""

import numpy as np

from qir.dialects import int8, nn, quant, tfl

from ....errors import require
from ....ir import Op, parameter
from ....pattern import V, either
from ....rewrite import rule
from .fitting import finish, product_of_scales, same_rescale


@rule(either(int8.add, int8.sub, int8.mul, nn.add, nn.sub, nn.mul)(V.a, V.b) @ "op")
def sum_or_product(op, a, b):
    """Broadcasting is the same."""
    if op.kind == "int8.mul":
        same_rescale(op, product_of_scales(op))
    elif op.type.grid is not None:
        same_rescale(op, a.type.scale, b.type.scale * (-1 if op.kind == "int8.sub" else 1))
    build = {"add": tfl.add, "sub": tfl.sub, "mul": tfl.mul}[op.kind.partition(".")[2]]
    return build(a, b, **finish(op))


@rule(quant.quantize(V.x) @ "op")
def quantized(op, x):
    """Reals onto a grid."""
    return tfl.quantize(x, to=op.type.element)


@rule(quant.dequantize(V.x) @ "op")
def dequantized(op, x):
    """Off a grid."""
    return tfl.dequantize(x)


@rule(int8.requantize(V.x) @ "op")
def requantized(op, x):
    """From one grid to another."""
    require(op.attributes["clamp"] is None, "the change of grid clamps")
    same_rescale(op, x.type.scale)
    return tfl.quantize(x, to=op.type.element)


@rule(int8.table(V.x, V.values) @ "op")
def function(op, x, values):
    """A table is the operator whose own table it is, to one level."""
    require(values.is_const, "the table is computed")
    candidates = (build(x, to=op.type.element) for build in FUNCTIONS)
    found = next((each for each in candidates if _alike(each, x, values.value)), None)
    require(found is not None, "no operator has this table")
    return found


FUNCTIONS = (tfl.relu, tfl.relu6, tfl.relu_n1_to_1, tfl.logistic, tfl.tanh, tfl.exp)


def _alike(candidate: Op, x: Op, values: np.ndarray) -> bool:
    stored = np.arange(x.dtype.lo, x.dtype.hi + 1).astype(x.dtype.numpy)
    line = candidate.with_operands(parameter("x", x.type.with_shape(stored.shape)))
    theirs = candidate.definition.evaluate(line, stored)
    return int(np.abs(theirs.astype(np.int32) - values).max()) <= 1


RULES = (sum_or_product, quantized, dequantized, requantized, function)
