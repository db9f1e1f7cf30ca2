"""The ranges of all integers of a function, op by op in one walk."""

from collections.abc import Mapping

from ..ir import OPS, Func, Op
from ..types import TupleType
from .spans import Span
from .values import Range, of_array, stored, union


def spans(func: Func, inputs: Mapping[Op, Range] | None = None) -> dict[Op, Span]:
    """What the integers of every op span, proved from those of its operands.

    inputs: the ranges of parameters; one that is left out may hold all that its storage holds. An
    op says itself what it makes of the ranges of its operands (`OpDefinition.spans`); one that does
    not, and moves elements, has all that its operands hold, another one all that its storage holds.
    """
    found = {op: Span(range) for op, range in (inputs or {}).items()}
    for op in func.ops:
        if op in found:
            continue
        span = _span(op, [found[o].result for o in op.operands])
        found[op] = span if isinstance(span, Span) else Span(span)
    return found


def _span(op: Op, operands: list):
    if op.kind == "const":
        return None if op.type.is_float else of_array(op.value)
    if op.kind == "item":
        return operands[0][op.attributes["index"]]
    definition = OPS.get(op.kind)
    types = op.type.items if isinstance(op.type, TupleType) else (op.type,)
    integers = all(type.dtype.kind == "int" for type in types)
    if definition is not None and definition.span and integers:
        return definition.span[0](op, *operands)
    if definition is not None and definition.moves and integers:
        moved = _moved(op, operands)
        return (moved,) * len(types) if isinstance(op.type, TupleType) else moved
    results = tuple(map(stored, types))
    return results if isinstance(op.type, TupleType) else results[0]


def _moved(op: Op, operands: list[Range]) -> Range:
    """All that the moved operands hold, in whichever channel it ends up."""
    roles = op.definition.roles(op).operands
    data = [x.flat() for x, role in zip(operands, roles, strict=True) if role.kind != "index"]
    return union(*data)


def over_axes(op: Op, x: Range) -> Range:
    """The range of what is combined along the attribute `axes` of an op, or picked from there."""
    rank = op.operands[0].type.rank
    return x if rank - 1 not in {axis % rank for axis in op.attributes["axes"]} else x.flat()
