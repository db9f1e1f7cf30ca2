"""Functions of one value of up to 16 bits, or of two of 8, as tables of their results."""

import numpy as np

from qir import shapes
from qir.errors import require
from qir.ranges import looked_up
from qir.types import Element, Type

from .dialect import int8, is_quantized


@int8.op
def table(x: Type, values: Type, *, to: Element) -> Type:
    """Any function of one stored value: `values[x - lowest stored x]`, an entry for each.

    x of 8 bits takes 256 entries of the result, x of 16 takes 65,536.
    """
    is_quantized(x, "the input")
    require(x.dtype.bits <= 16, f"a table needs an input of at most 16 bits, found {x}")
    entries = 2**x.dtype.bits
    require(values.shape == (entries,), f"{x.dtype} needs {entries} entries, found {values}")
    require(values.element == to, f"the entries are {values.element}, the result is {to}")
    return to[x.shape]


@table.means
def _(op, x, values):
    return values[x.astype(np.int32) - op.operands[0].type.dtype.lo]


@table.spans
def _(op, x, values):
    if not op.operands[1].is_const:
        return values.flat()
    return looked_up(x, op.operands[1].value, lowest=op.operands[0].dtype.lo)


@int8.op
def pair_table(a: Type, b: Type, values: Type, *, to: Element) -> Type:
    """Any function of two 8-bit values: `values[a - lowest a, b - lowest b]`, 256 by 256 entries.

    a and b broadcast to each other.
    """
    for side, x in (("left", a), ("right", b)):
        is_quantized(x, f"the {side} side")
        require(x.dtype.bits == 8, f"takes 8 bits, found {x}")
    require(values.shape == (256, 256), f"needs 256 by 256 entries, found {values}")
    require(values.element == to, f"the entries are {values.element}, the result is {to}")
    return to[shapes.broadcast(a.shape, b.shape)]


@pair_table.means
def _(op, a, b, values):
    rows, columns = (x.astype(np.int32) - operand.dtype.lo
                     for x, operand in zip((a, b), op.operands, strict=False))  # fmt: skip
    return values[rows, columns]


@pair_table.spans
def _(op, a, b, values):
    return values.flat()
