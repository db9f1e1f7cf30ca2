"""Patterns: what a rule looks for, written like the op it matches.

`V.x` binds any value, `C.w` the array of a constant, `nn.conv2d(V.x, C.w)` an op with such
operands; `@ "conv"` names the node, `.once()` demands that nothing else reads it, `...` stands
for any operands. Attributes not mentioned match anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .ir import Op


@dataclass(frozen=True, eq=False)
class Pattern:
    """One node of a pattern.

    kinds: full op names that match, () for any value. operands: None for any. constant: matches
    constants only and binds the array under `name`.
    """

    kinds: tuple[str, ...] = ()
    operands: tuple["Pattern", ...] | None = None
    attributes: Mapping[str, object] | None = None
    name: str | None = None
    single: bool = False
    constant: bool = False
    commutative: bool = False

    def once(self) -> "Pattern":
        """The same, if a single operand slot or result reads the node."""
        return replace(self, single=True)

    def __matmul__(self, name: str) -> "Pattern":
        return replace(self, name=name)

    def __str__(self) -> str:
        if self.constant:
            return f"C.{self.name}"
        if not self.kinds:
            return f"V.{self.name}"
        inside = "..." if self.operands is None else ", ".join(map(str, self.operands))
        return f"{'|'.join(self.kinds)}({inside})"


class _Binder:
    """`V.x`, `C.w`: an attribute access makes the pattern."""

    def __init__(self, constant: bool):
        self._constant = constant

    def __getattr__(self, name: str) -> Pattern:
        return Pattern(name=name, constant=self._constant)


V = _Binder(constant=False)
C = _Binder(constant=True)


def either(*definitions):
    """Any of several ops at one place of a pattern: `either(nn.add, nn.sub)(V.x, C.k)`."""
    kinds = tuple(d.name for d in definitions)
    commutative = all(d.commutative for d in definitions)
    return lambda *operands, **attributes: node(kinds, operands, attributes, commutative)


def node(kinds, operands, attributes, commutative=False) -> Pattern:
    """A pattern for ops of these kinds."""
    inner = None if operands == (...,) else tuple(operands)
    return Pattern(kinds, inner, attributes or None, commutative=commutative)


def bound_names(pattern: Pattern) -> set[str]:
    """Every name the pattern binds when it matches."""
    names, stack = set(), [pattern]
    while stack:
        part = stack.pop()
        names |= {part.name} - {None}
        stack.extend(part.operands or ())
    return names


def may_match(pattern: Pattern, kinds: tuple[str, ...]) -> bool:
    """Whether an op on operands of these kinds can match, whatever else they are."""
    wanted = pattern.operands
    if wanted is None:
        return True
    if len(wanted) != len(kinds):
        return False
    if all(map(_may_be, wanted, kinds)):
        return True
    return pattern.commutative and len(kinds) == 2 and all(map(_may_be, wanted, kinds[::-1]))


def _may_be(pattern: Pattern, kind: str) -> bool:
    if pattern.constant:
        return kind == "const"
    return not pattern.kinds or kind in pattern.kinds


def match(pattern: Pattern, op: Op, uses: Mapping[Op, int]) -> dict | None:
    """What the pattern binds at this op, None if it does not match.

    The nodes it matched, root first, are under `None`.
    """
    bound, nodes = {}, []
    if not _match(pattern, op, uses, bound, nodes):
        return None
    return {**bound, None: tuple(nodes)}


def _match(pattern: Pattern, op: Op, uses, bound: dict, nodes: list[Op]) -> bool:
    """Whether it matches; what it binds goes into `bound` and `nodes`, also where it does not."""
    if pattern.kinds and op.kind not in pattern.kinds:
        return False
    if pattern.constant and op.kind != "const":
        return False
    if pattern.single and uses.get(op, 1) != 1:
        return False
    if pattern.attributes and not _attributes_match(pattern.attributes, op):
        return False
    if pattern.name is not None:
        value = op.value if pattern.constant else op
        if pattern.name in bound and not _same(bound[pattern.name], value):
            return False
        bound[pattern.name] = value
    if pattern.kinds or pattern.constant:
        nodes.append(op)
    if pattern.operands is None:
        return True
    if len(pattern.operands) != len(op.operands):
        return False
    if not pattern.commutative or len(op.operands) != 2:
        return _match_operands(pattern.operands, op.operands, uses, bound, nodes)
    before, count = bound.copy(), len(nodes)
    if _match_operands(pattern.operands, op.operands, uses, bound, nodes):
        return True
    bound.clear()
    bound.update(before)
    del nodes[count:]
    return _match_operands(pattern.operands, op.operands[::-1], uses, bound, nodes)


def _match_operands(patterns, operands, uses, bound: dict, nodes: list[Op]) -> bool:
    for pattern, operand in zip(patterns, operands, strict=True):
        if not _match(pattern, operand, uses, bound, nodes):
            return False
    return True


def _attributes_match(wanted: Mapping[str, object], op: Op) -> bool:
    return all(op.attributes.get(key) == value for key, value in wanted.items())


def _same(a, b) -> bool:
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a is b
