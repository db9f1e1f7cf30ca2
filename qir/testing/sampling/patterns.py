"""Graphs that match a rule's pattern.

A node of the pattern is drawn in one of two ways: its operands first, each freely, and then what
fits them; or first the types of all its operands, and then each operand, as near to its type as it
can be had. A pattern says nothing of guards; `Steering` adds what a rule's guards want.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...dialect import definition
from ...errors import QirError
from ...ir import Func, Op, const, item
from ...pattern import Pattern
from ...types import TupleType, Type
from .draft import Draft, Mood, Rejected, draw_mood, need
from .nodes import Leaves, drafted, draw_node
from .values import Rng, chance, one_of

Values = Mapping[str, float | Callable[[dict[str, Op]], np.ndarray]]
"""What constants of a pattern hold, by name: a number, or made of what is bound already."""

TRIES, BUDGET = 5, 80
"""How often a node is tried before what stands below it is drawn anew, and all nodes together."""


@dataclass(frozen=True)
class Steering:
    """What makes draws hit a rule whose guards random graphs would seldom pass.

    patterns: finer ones to draw from, () for the rule's own. values: of constants. draw: makes the
    whole node instead. data: the storage of lax and nn values, any by default. steps: by how many
    stored steps an integer result may differ. changes: why the meaning is not to be the same.
    """

    patterns: tuple[Pattern, ...] = ()
    values: Values = field(default_factory=dict)
    draw: Callable[[Leaves], Op] | None = None
    data: str | None = None
    steps: int = 0
    changes: str | None = None


@dataclass
class _Match:
    """A graph on the way: what the names of the pattern stand for, and the nodes drawn."""

    leaves: Leaves
    values: Values
    bound: dict[str, Op] = field(default_factory=dict)
    inner: list[Op] = field(default_factory=list)
    left: int = BUDGET

    @property
    def rng(self) -> Rng:
        return self.leaves.rng


def draw_match(rng: Rng, pattern: Pattern, steering: Steering = Steering()) -> Func:  # noqa: B008
    """A function whose result matches the pattern, as a rule; Rejected if none was found.

    In one of three, nodes inside the pattern are results too, so that they have other users.
    """
    leaves = Leaves(rng, _mood(rng, steering.data, pattern))
    inner: list[Op] = []
    if steering.draw is not None:
        root = steering.draw(leaves)
    else:
        match = _Match(leaves, steering.values)
        root = _node(match, one_of(rng, steering.patterns) if steering.patterns else pattern, None)
        inner = [op for op in match.inner if op is not root]
    results = [root]
    if inner and chance(rng, 0.3):
        results.append(one_of(rng, inner))
    flat = []
    for op in results:
        tuple_ = isinstance(op.type, TupleType)
        flat += [item(op, i) for i in range(len(op.type.items))] if tuple_ else [op]
    return Func("drawn", tuple(leaves.parameters), tuple(flat))


def _mood(rng: Rng, data: str | None, pattern: Pattern) -> Mood:
    logical = any(k.endswith((".and", ".or", ".xor", ".not", "_and", "_or")) for k in pattern.kinds)
    return draw_mood(rng, "bool" if logical and data is None and chance(rng, 0.6) else data)


def _any(match: _Match, pattern: Pattern, name: str, want: Type | None) -> Op:
    """The op that stands for a part of the pattern."""
    if pattern.name in match.bound:
        return match.bound[pattern.name]
    if not pattern.kinds:
        need(want is not None)
        op = _leaf(match, pattern, name, want)
    else:
        op = _node(match, pattern, want)
    return op


def _leaf(match: _Match, pattern: Pattern, name: str, want: Type) -> Op:
    leaves = match.leaves
    if not pattern.constant:
        op = leaves.operand(name, want)
    else:
        value = match.values.get(pattern.name)
        if callable(value):
            found = np.asarray(value(match.bound))
            if found.ndim:  # it has a shape of its own
                want = want.with_shape(found.shape)
            array = np.broadcast_to(found, want.shape).astype(want.dtype.numpy)
            op = const(array, want, location=leaves.place())
        else:
            op = leaves.constant(want, value)
    if pattern.name is not None:
        match.bound[pattern.name] = op
    return op


def _node(match: _Match, pattern: Pattern, want: Type | None) -> Op:
    """A node for a part of the pattern; what a failed attempt has bound is forgotten."""
    for _ in range(TRIES):
        match.left -= 1
        need(match.left > 0)
        bound, count = dict(match.bound), len(match.leaves.parameters)
        drawn = len(match.inner)
        try:
            op = _attempt(match, pattern, want)
        except (Rejected, QirError):
            match.bound = bound
            del match.leaves.parameters[count:], match.inner[drawn:]
            continue
        match.inner.append(op)
        if pattern.name is not None:
            match.bound[pattern.name] = op
        return op
    raise Rejected(str(pattern))


def _attempt(match: _Match, pattern: Pattern, want: Type | None) -> Op:
    kind = one_of(match.rng, pattern.kinds)
    given = dict(pattern.attributes or {})
    if pattern.operands is None:
        return draw_node(kind, match.leaves, want, **given)
    if kind == "item":
        (inner,) = pattern.operands
        whole = _node(match, inner, None)
        return item(whole, int(match.rng.integers(len(whole.type.items))))
    parts = list(pattern.operands)
    swapped = pattern.commutative and len(parts) == 2 and chance(match.rng, 0.4)
    parts = parts[::-1] if swapped else parts
    operands = _operands_first(match, parts) if chance(match.rng, 0.6) else {}
    return _completed(match, kind, parts, operands, want, given)


def _operands_first(match: _Match, parts: list[Pattern]) -> dict[int, Op]:
    """The operands that are nodes themselves, drawn freely."""
    return {i: _node(match, p, None) for i, p in enumerate(parts)
            if p.kinds and p.name not in match.bound}  # fmt: skip


def _completed(match: _Match, kind, parts, operands: dict[int, Op], want, given) -> Op:
    """The node on these operands, the others drawn to fit."""
    op = definition(kind)
    for i, part in enumerate(parts):
        if part.name in match.bound:
            operands[i] = match.bound[part.name]
    known = [operands[i].type if i in operands else None for i in range(len(parts))]
    need(not any(isinstance(t, TupleType) for t in known))
    draft = Draft(match.rng, match.leaves.mood, op, known, want, given)
    types, attributes = drafted(draft)
    need(len(types) == len(parts))
    order = sorted(range(len(parts)), key=lambda i: not parts[i].kinds)
    for i in order:
        if i not in operands:
            operands[i] = _any(match, parts[i], draft.operand_name(i), types[i])
    found = tuple(operands[i] for i in range(len(parts)))
    if any(o.type != t for o, t in zip(found, types, strict=True)):
        # a node came out otherwise than wanted: the attributes may have to follow
        _, attributes = drafted(Draft(match.rng, match.leaves.mood, op, [o.type for o in found],
                                      want, given))  # fmt: skip
    return op.build(found, attributes, location=match.leaves.place())
