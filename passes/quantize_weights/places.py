"""Where ops read weights, and along which axes these have channels and are summed."""

from collections.abc import Iterator
from dataclasses import dataclass

from qir.ir import OPS, Op

from ...dialects import lax, nn


@dataclass(frozen=True)
class Place:
    """An operand that may be a weight: its number, the axis of channels or rows, and of blocks."""

    operand: int
    channels: int
    summed: int


def places_of(op: Op) -> Iterator[Place]:
    """The operands of an op that are weights by their roles, factors of products, or tables."""
    definition = OPS.get(op.kind)
    if definition is None:
        return
    for number, role in enumerate(definition.roles(op).operands):
        if role.kind == "weight":
            yield Place(number, role.axis, role.summed)
    for place in PLACES.get(op.kind, lambda op: ())(op):
        if op.operands[place.operand].type.rank > 1:
            yield place


def _matmul(op: Op) -> Iterator[Place]:
    last = op.type.rank - 1
    sides = (last, last - 1), (last - 1, last)
    adjoint = op.attributes["adjoint_a"], op.attributes["adjoint_b"]
    for number, (depth, other) in enumerate(sides):
        yield Place(number, depth, other) if adjoint[number] else Place(number, other, depth)


def _dot_general(op: Op) -> Iterator[Place]:
    for number, side in enumerate("ab"):
        summed, batch = op.attributes[f"contract_{side}"], op.attributes[f"batch_{side}"]
        rest = [i for i in range(op.operands[number].type.rank) if i not in (*summed, *batch)]
        if rest and summed:
            yield Place(number, rest[-1], summed[-1])


def _convolution(op: Op) -> Iterator[Place]:
    outputs, inputs, *_ = op.attributes["rhs_spec"]
    yield Place(1, outputs, inputs)


def _take(op: Op) -> Iterator[Place]:
    yield _table(op.operands[0].type.rank, op.attributes["axis"])


def _gather(op: Op) -> Iterator[Place]:
    yield _table(op.operands[0].type.rank, next(iter(op.attributes["start_index_map"]), 0))


def _table(rank: int, axis: int) -> Place:
    """Rows along the axis that is looked up, blocks along the last one of a row."""
    axis %= max(rank, 1)
    return Place(0, axis, rank - 1 if axis != rank - 1 else rank - 2)


PLACES = {
    nn.matmul.name: _matmul, lax.dot_general.name: _dot_general,
    lax.conv_general_dilated.name: _convolution, lax.take.name: _take, lax.gather.name: _gather,
}  # fmt: skip
"""By kind, the weights of ops whose roles do not say that an operand is one."""
