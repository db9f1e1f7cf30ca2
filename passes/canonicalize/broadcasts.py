"""Operands of elementwise ops broadcast by themselves: neither a broadcast nor a repetition is
needed, and a graph without them serves any batch."""

import numpy as np

from qir import shapes
from qir.errors import require
from qir.ir import Op, const
from qir.pattern import C, Pattern, V, either
from qir.rewrite import rule
from qir.types import type_of

from ...dialects import lax, nn

BINARY = (
    lax.add, lax.sub, lax.mul, lax.div, lax.max, lax.min, lax.pow, lax.atan2, lax.rem, lax.and_,
    lax.or_, lax.xor, lax.eq, lax.ne, lax.lt, lax.le, lax.gt, lax.ge,
    nn.add, nn.sub, nn.mul, nn.div, nn.maximum, nn.minimum,
)  # fmt: skip
TERNARY = (lax.select, lax.clamp)


def _reading(part: Pattern) -> list[Pattern]:
    """Patterns of elementwise ops that read `part` at some place."""
    binary = [(part, V.b), (V.a, part)]
    ternary = [(part, V.b, V.c), (V.a, part, V.c), (V.a, V.b, part)]
    return [
        *(either(*BINARY)(*operands) @ "op" for operands in binary),
        *(either(*TERNARY)(*operands) @ "op" for operands in ternary),
        nn.softmax(V.x, part) @ "op",
    ]


@rule(*_reading(lax.broadcast(V.x) @ "wide"))
def broadcast_before_elementwise(op, wide, x):
    """An elementwise op broadcasts its operands itself, in numpy's way."""
    axes = wide.attributes["axes"]
    narrow = [1] * wide.type.rank
    for extent, axis in zip(x.shape, axes, strict=True):
        narrow[axis] = extent
    narrow = tuple(narrow[min(axes, default=wide.type.rank) :])  # the first may be the batch
    rest = [narrow if o is wide else o.shape for o in op.operands]
    require(shapes.broadcast(*rest) == op.shape, f"without it the result is no {op.type}")
    if narrow != x.shape:
        x = lax.reshape(x, shape=shapes.open_shape(x.shape, narrow))
    return op.with_operands(*(x if o is wide else o for o in op.operands))


@rule(*_reading(C.k))
def constant_repeats(op, k):
    """A constant that repeats along an axis, or leads with axes of extent 1, is kept once."""
    operands = [_once(o) if o.is_const and o.type.grid is None else o for o in op.operands]
    require(any(a is not b for a, b in zip(operands, op.operands, strict=True)),
            "the constants do not repeat")  # fmt: skip
    require(shapes.broadcast(*(o.shape for o in operands)) == op.shape,
            f"the result would be no {op.type} any more")  # fmt: skip
    return op.with_operands(*operands)


def _once(op: Op) -> Op:
    """The smallest constant that broadcasts to this one."""
    array = op.value
    for axis, extent in enumerate(array.shape):
        if extent > 1:
            first = np.take(array, [0], axis)
            array = first if (array == first).all() else array
    array = array.reshape(_without_leading_ones(array.shape))
    if array.shape == op.shape:
        return op
    return const(array, type_of(array), name=op.attributes["name"], location=op.location)


def _without_leading_ones(shape) -> tuple[int, ...]:
    shape = tuple(shape)
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


RULES = (broadcast_before_elementwise, constant_repeats)
