"""A firing of a rule as two small functions: what it replaced, and what it put in its place."""

from collections.abc import Iterable

from .ir import Func, Op, kept, parameter, walk
from .rewrite import Firing
from .types import TupleType

MOST = 24
"""Ops that an excerpt may show beside those that the pattern names."""


def excerpts(firing: Firing) -> tuple[Func, Func]:
    """What stood at a firing before and after it, as functions of the values that both read.

    A rule may look further than its pattern does: shown is all between the values that the
    replacement reads and the node it replaces, unless that is too much to read.
    """
    ends = (firing.op, firing.replacement)
    old = walk(ends[:1])
    there = set(old)
    new = [op for op in walk(ends[1:]) if op not in there]
    inside = {*firing.matched, *new, *_constants(walk(ends))}
    reads = {o for op in new for o in op.operands if o in there} | ({ends[1]} & there)
    between = _between(reads - inside, old) - inside
    inside |= between if len(between) <= MOST else set()
    needed = _reached(ends, inside)
    shown: dict[Op, Op] = {}
    inputs: list[Op] = []
    for op in walk(ends):
        if op not in needed:
            continue
        if op in inside:
            shown[op] = kept(op, tuple(shown[o] for o in op.operands))
        else:
            name = op.attributes["name"] if op.kind == "parameter" else f"_{len(inputs)}"
            shown[op] = parameter(name, op.type, op.location)
            inputs.append(shown[op])
    before, after = (Func(name, tuple(inputs), (shown[end],))
                     for name, end in zip(("before", "after"), ends, strict=True))  # fmt: skip
    return before, after


def _constants(ops: Iterable[Op]) -> set[Op]:
    """The constants, and what depends on them alone."""
    found: set[Op] = set()
    for op in ops:
        if op.is_const or op.operands and all(o in found for o in op.operands):
            found.add(op)
    return found


def _between(reads: set[Op], ops: Iterable[Op]) -> set[Op]:
    """The ops that depend on one of the values, without those values."""
    found: set[Op] = set()
    for op in ops:
        if op not in reads and any(o in reads or o in found for o in op.operands):
            found.add(op)
    return found


def _reached(ends: Iterable[Op], inside: set[Op]) -> set[Op]:
    """The ops of an excerpt and the values that they read; an op of several results is inside."""
    found, stack = set(), list(ends)
    while stack:
        op = stack.pop()
        if isinstance(op.type, TupleType):
            inside.add(op)
        if op not in found:
            found.add(op)
            stack.extend(op.operands if op in inside else ())
    return found
