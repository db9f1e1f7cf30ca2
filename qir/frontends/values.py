"""What a frontend knows of a value while it imports a program, and what it could not import."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import QirError
from ..evaluate import evaluate_op
from ..ir import Op, const, walk
from ..types import type_of

SHOWN = 3


@dataclass(frozen=True, eq=False)
class Known:
    """A value that no input reaches: its array, the framework's where numpy has none, and name."""

    array: object
    name: str | None = None


@dataclass(frozen=True, eq=False)
class Missing:
    """A value that could not be imported; what reads it is not imported either."""


MISSING = Missing()
Value = Op | Known | Missing


def node_of(value: Value, made: dict[Known, Op], location: str) -> Op:
    """A value as a node of the graph; a constant stands where it is first read."""
    if isinstance(value, Op):
        return value
    if value not in made:
        array = np.asarray(value.array)
        made[value] = const(array, type_of(array), value.name, (location,))
    return made[value]


def meanings(results: Sequence[Op]) -> list[np.ndarray]:
    """The arrays of ops that stand on constants alone."""
    done: dict[Op, object] = {}
    for op in walk(results):
        done[op] = evaluate_op(op, [done[o] for o in op.operands])
    return [done[r] for r in results]


def located(results: Sequence[Op], operands: Sequence[Op], location: str) -> None:
    """Stamp what an import built, down to its operands, with the location of what it imports."""
    stack, given = list(results), set(operands)
    while stack:
        op = stack.pop()
        if op not in given and not op.location:
            object.__setattr__(op, "location", (location,))
            stack.extend(op.operands)


@dataclass(frozen=True, eq=False)
class Problems:
    """What could not be imported: by name and reason (None where there is no import), the places.

    what: what the framework calls one.
    """

    what: str
    places: dict[tuple[str, str | None], list[str]] = field(default_factory=dict)

    def add(self, name: str, reason: str | None, place: str) -> None:
        """One more place."""
        self.places.setdefault((name, reason), []).append(place)

    def refuse(self, help: str) -> None:
        """QirError that lists them all, if there are any; help: with {} for what has no import."""
        if not self.places:
            return
        lines = []
        for (name, reason), places in sorted(self.places.items(),
                                             key=lambda p: (p[0][0], str(p[0]))):  # fmt: skip
            unique = list(dict.fromkeys(places))
            more = f" and {len(unique) - SHOWN} more places" if len(unique) > SHOWN else ""
            why = f": {reason}" if reason else ""
            times = "once" if len(places) == 1 else f"{len(places)} times"
            lines.append(f"  {name} ({times}) at {', '.join(unique[:SHOWN])}{more}{why}")
        count = len({name for name, _ in self.places})
        what = f"1 {self.what} is" if count == 1 else f"{count} {self.what}s are"
        lacking = sorted(name for name, reason in self.places if reason is None)
        raise QirError(f"{what} not imported:\n" + "\n".join(lines),
                       help=help.format(lacking[0]) if lacking else None)  # fmt: skip
