"""Sums, products, casts, and functions of one value."""

from functools import partial

import numpy as np

from qir.dialects import int8, nn, quant, tfl

from ....errors import QirError, require
from ....expansions import meaning
from ....ir import Op, const, parameter
from ....pattern import V, either
from ....rewrite import rule
from ....types import DTYPES, Element
from .fitting import finish, product_of_scales, same_rescale


@rule(either(int8.add, int8.sub, int8.mul, nn.add, nn.sub, nn.mul)(V.a, V.b) @ "op")
def sum_or_product(op, a, b):
    """Broadcasting is the same."""
    if op.kind == "int8.mul":
        same_rescale(op, product_of_scales(op))
    elif op.type.grid is not None:
        same_rescale(op, a.type.scale, b.type.scale * (-1 if op.kind == "int8.sub" else 1))
    name = op.kind.partition(".")[2]
    if name != "mul" and op.dtype.bits == 16:
        return {"add": tfl.add, "sub": tfl.sub}[name](a, b, pot_scale_int16=False, **finish(op))
    return {"add": tfl.add, "sub": tfl.sub, "mul": tfl.mul}[name](a, b, **finish(op))


@rule(quant.quantize(V.x) @ "op")
def quantized(op, x):
    """Reals onto a grid."""
    return tfl.quantize(x, to=op.type.element)


@rule(int8.requantize(V.x) @ "op")
def requantized(op, x):
    """From one grid to another."""
    require(op.attributes["clamp"] is None, "the change of grid clamps")
    same_rescale(op, x.type.scale)
    return tfl.quantize(x, to=op.type.element)


@rule(int8.flip_sign(V.x) @ "op")
def resigned(op, x):
    """From i8 to u8 and back, where the runtime flips the highest bit too."""
    require(op.dtype.bits == 8, f"its kernels store no {op.type}")
    return tfl.quantize(x, to=op.type.element)


@rule(nn.div(V.a, V.b) @ "op", int8.div(V.a, V.b) @ "op")
def quotient(op, a, b):
    """On stored integers too, but that the runtime takes no divisor that is zero."""
    if op.type.grid is not None:
        bits = op.attributes["bits"]
        same_rescale(op, a.type.scale / np.float64(b.type.scale) / 2**bits)
    return tfl.div(a, b, **finish(op))


@rule(int8.table(V.x, V.values) @ "op")
def function(op, x, values):
    """A table is the operator whose own table it is, nearly, or else looked up in as it is.

    The place of a value is the integer that it is stored as, counted from the lowest.
    """
    require(x.dtype.name in LOOKED_UP, f"looks up what i8, u8 and i16 store, found {x.type}")
    to = op.type.element
    if values.is_const and to.dtype == x.dtype:
        builds = OF_BYTES if x.dtype.name == "u8" else (
            *FUNCTIONS, *_sloped(x, to, values.value))  # fmt: skip
        candidates = (build(x, to=to) for build in builds)
        found = next((each for each in candidates if _alike(each, x, values.value)), None)
        if found is not None:
            return found
    require(to.dtype.name in (*LOOKED_UP, "i32", "f32"), f"gathers no {to}")
    places = tfl.cast(x, to=Element(DTYPES["i32"]), in_data_type=LOOKED_UP[x.dtype.name],
                      out_data_type="INT32")  # fmt: skip
    if x.dtype.lo:
        places = tfl.add(places, const(np.int32(-x.dtype.lo), name="lowest"))
    return tfl.gather(values, places)


def _square(x: Op, to: Element) -> Op:
    return tfl.mul(x, x, to=to)


def _sloped(x: Op, to: Element, values: np.ndarray):
    """A leaky relu with the slope that a table has half way down, if it has one."""
    zero = int(x.type.zero)
    place = (x.dtype.lo + zero) // 2
    steps = int(values[place - x.dtype.lo]) - int(to.grid.zero)
    reals = steps * float(to.grid.scale), (place - zero) * float(x.type.scale)
    return (partial(tfl.leaky_relu, alpha=reals[0] / reals[1]),) if place < zero and steps else ()


FUNCTIONS = (
    tfl.relu, tfl.relu6, tfl.relu_n1_to_1, tfl.logistic, tfl.tanh, tfl.exp, tfl.gelu,
    partial(tfl.gelu, approximate=True), tfl.rsqrt, tfl.sqrt, tfl.log, tfl.elu, tfl.hard_swish,
    tfl.abs, _square,
)  # fmt: skip
"""What a table may be, from an operand and the element of the result."""
OF_BYTES = (tfl.relu, tfl.relu6, tfl.relu_n1_to_1, tfl.logistic, tfl.tanh, tfl.gelu,
            partial(tfl.gelu, approximate=True), tfl.hard_swish, _square)  # fmt: skip
"""Those that have kernels for u8."""
LOOKED_UP = {"i8": "INT8", "u8": "UINT8", "i16": "INT16"}


NEARLY = {8: 1, 16: 32}
"""By how many levels an operator's own table may be off, by the bits of its values.

Lines between 513 entries are off by some of 65,536 levels. An eighth of a level of 8 bits is what
the others take for their rounding.
"""


def _alike(candidate: Op, x: Op, values: np.ndarray) -> bool:
    stored = np.arange(x.dtype.lo, x.dtype.hi + 1).astype(x.dtype.numpy)
    line = parameter("x", x.type.with_shape(stored.shape))
    try:
        theirs = meaning(candidate.with_operands(*(line,) * len(candidate.operands)),
                         "tflite_reference", [stored] * len(candidate.operands))  # fmt: skip
    except QirError:  # grids that its kernels do not take
        return False
    return int(np.abs(theirs.astype(np.int32) - values).max()) <= NEARLY[x.dtype.bits]


RULES = (sum_or_product, quotient, quantized, requantized, resigned, function)
