"""Smaller graphs from a graph: parts of it, and edits of single ops."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..dialect import items
from ..ir import Func, Op, const, item, parameter
from ..types import TupleType
from .case import OWN

Edit = Callable[[Op, tuple[Op, ...]], Op]
"""From an op and its new operands to what stands for it."""


def units(func: Func) -> tuple[Op, ...]:
    """The ops that can be left out, each with its items."""
    return tuple(op for op in func.ops if op.kind not in OWN)


def part(func: Func, ops: Sequence[Op]) -> tuple[Func, dict[str, Op]]:
    """The function of some ops alone, in their order, and its inputs as values of the whole.

    A value that they read and that is none of theirs becomes a parameter, constants stay. Results
    are those of the function among them, and what none of them reads.
    """
    cut = _Part(func)
    for op in ops:
        cut.new[op] = op.remapped(tuple(cut.value(o) for o in op.operands))
    read = {_owner(o) for op in ops for o in op.operands}
    results, names = [], []
    known = dict(zip(func.results, func.result_names or [""] * len(func.results), strict=True))
    for op in ops:
        own = [r for r in known if _owner(r) is op]
        for value in own or ([] if op in read else items(op)):
            results.append(cut.value(value))
            names.append(known.get(value, ""))
    order = {p: i for i, p in enumerate(func.parameters)}
    inputs = sorted(cut.inputs.items(), key=lambda pair: order.get(pair[0], len(order)))
    made = Func(func.name, tuple(p for _, p in inputs), tuple(results),
                tuple(names) if any(names) else ())  # fmt: skip
    return made, {p.attributes["name"]: op for op, p in inputs}


def _owner(value: Op) -> Op:
    """The op that makes a value."""
    return value.operands[0] if value.kind == "item" else value


class _Part:
    """What stands for the values of a function in a part of it."""

    def __init__(self, func: Func):
        self.new: dict[Op, Op] = {}
        self.inputs: dict[Op, Op] = {}
        self.taken = {p.attributes["name"] for p in func.parameters}

    def value(self, op: Op) -> Op:
        if op in self.new or op.is_const:
            return self.new.get(op, op)
        if op.kind == "item" and op.operands[0] in self.new:
            return item(self.new[op.operands[0]], op.attributes["index"])
        if op not in self.inputs:
            self.inputs[op] = op if op.kind == "parameter" else self.cut(op)
        return self.inputs[op]

    def cut(self, op: Op) -> Op:
        number = len(self.taken)
        while f"v{number}" in self.taken:
            number += 1
        self.taken.add(f"v{number}")
        return parameter(f"v{number}", op.type, op.location)


def edited(func: Func, edits: Mapping[Op, Edit]) -> Func:
    """The function with some of its ops changed and all that depends on them typed anew.

    Parameters that nobody reads any more are gone. QirError where the types do not fit.
    """
    new: dict[Op, Op] = {}
    for op in func.ops:
        operands = tuple(new[o] for o in op.operands)
        if op in edits:
            new[op] = edits[op](op, operands)
        else:
            new[op] = retyped(op, operands)
    results = tuple(new[r] for r in func.results)
    made = Func(func.name, (), results, func.result_names)
    used = [op for op in made.ops if op.kind == "parameter"]
    order = {new[p]: i for i, p in reversed(list(enumerate(func.parameters)))}
    return Func(func.name, tuple(sorted(used, key=lambda p: order[p])), results, func.result_names)


def retyped(op: Op, operands: tuple[Op, ...]) -> Op:
    """The op on its new operands, typed anew where their types are new."""
    if all(a is b for a, b in zip(op.operands, operands, strict=True)):
        return op
    if op.kind == "item":
        return item(operands[0], op.attributes["index"])
    if all(a.type == b.type for a, b in zip(op.operands, operands, strict=True)):
        return op.remapped(operands)
    return op.with_operands(*operands)


def to_operand(op: Op, operands: tuple[Op, ...]) -> Op:
    """An edit: the first operand of the same type in place of the op."""
    return next(o for o in operands if o.type == op.type)


def can_pass(op: Op) -> bool:
    """Whether an op has an operand of its own type."""
    return op.kind not in OWN and any(o.type == op.type for o in op.operands)


def to_number(number: int) -> Edit:
    """An edit: a constant of that number alone in place of the value."""

    def edit(op: Op, operands: tuple[Op, ...]) -> Op:
        full = np.full(op.shape, number).astype(op.dtype.numpy)
        return const(full, op.type, location=op.location)

    return edit


def is_tensor(op: Op) -> bool:
    """Whether an op is one value, not several."""
    return not isinstance(op.type, TupleType)
