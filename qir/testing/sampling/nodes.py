"""Random nodes: one op on fresh operands or on given ones."""

from ...dialect import definition
from ...errors import QirError
from ...ir import Op, const, parameter
from ...types import Type
from . import contractions, recurrent  # noqa: F401  fill the table of operand shapes
from .attributes import draw_attributes
from .draft import Draft, Mood, Rejected
from .operands import operand_types
from .values import Rng, chance, draw_constant

ATTEMPTS = 8
CONSTANTS = {"w", "u", "b", "r", "h", "c", "gamma", "beta", "values", "exps", "starts"}
"""Operands that are constants in most graphs."""


class Leaves:
    """The leaves of a graph being drawn: its parameters, numbered, and its constants."""

    def __init__(self, rng: Rng, mood: Mood):
        self.rng, self.mood = rng, mood
        self.parameters: list[Op] = []
        self.places = 0

    def place(self) -> tuple[str, ...]:
        """A location that no other node has."""
        self.places += 1
        return (f"drawn:{self.places}",)

    def parameter(self, type: Type) -> Op:
        self.parameters.append(parameter(f"x{len(self.parameters)}", type, self.place()))
        return self.parameters[-1]

    def constant(self, type: Type, number: float | None = None) -> Op:
        return const(draw_constant(self.rng, type, number), type, location=self.place())

    def operand(self, name: str, type: Type) -> Op:
        """A leaf for an operand of this name."""
        fixed = self.mood.fixed if name in CONSTANTS else chance(self.rng, 0.06)
        return self.constant(type) if fixed else self.parameter(type)


def drafted(draft: Draft) -> tuple[list[Type], dict[str, object]]:
    """Operand types and attributes for an op; Rejected where they cannot be drawn."""
    try:
        types = operand_types(draft)
        return types, draw_attributes(draft, types)
    except (QirError, ValueError, IndexError, KeyError) as error:
        raise Rejected(str(error)) from None


def operand_count(rng: Rng, kind: str) -> int:
    """How many operands a node of this kind gets; 0 leaves it to those of a variable number."""
    op = definition(kind)
    if op.variadic:
        return len(op.required)
    optional = sum(chance(rng, 0.6) for _ in op.optional)
    return len(op.required) + optional


def draw_node(kind: str, leaves: Leaves, want: Type | None = None, **given) -> Op:
    """A node of this kind on fresh leaves; Rejected if none of some attempts is well-typed."""
    op = definition(kind)
    for _ in range(ATTEMPTS):
        count = operand_count(leaves.rng, kind)
        draft = Draft(leaves.rng, leaves.mood, op, [None] * count, want, given)
        try:
            types, attributes = drafted(draft)
        except Rejected:
            continue
        known = len(leaves.parameters)
        operands = tuple(leaves.operand(draft.operand_name(i), t) for i, t in enumerate(types))
        try:
            return op.build(operands, attributes, location=leaves.place())
        except QirError:
            del leaves.parameters[known:]
    raise Rejected(kind)
