"""The way of a function through a pipeline: its graph after each step, and what made what.

What the passes and the rewriting driver wrote down (`qir.journal`) is put together to one graph of
descent over the ops of all stages.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..decisions import ConstantPlaced, GridChanged, GridsChosen, RangeFound, WeightStored
from ..ir import Derived, Func, Op
from ..journal import recorded
from ..pipeline import Done
from ..quantizable import FloatKept
from ..rewrite import Firing

ENTRIES = (Derived, Firing, FloatKept, RangeFound, GridsChosen, GridChanged, ConstantPlaced,
           WeightStored)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Link:
    """How an op came about: from older ones, in which step (from 1), by which firing if any.

    number: of the entry in the journal, so that links have an order.
    """

    number: int
    step: int
    op: Op
    olds: tuple[Op, ...]
    firing: Firing | None = None


@dataclass(frozen=True, eq=False)
class History:
    """One function through a pipeline.

    names, stages: the pass that made each graph, and the graphs, the first being the one that went
    in. links: how an op came about; it has several where it stands for several. heirs: the ops
    made from an op. entries: all else that was decided, by its kind, each with its step.
    """

    names: tuple[str, ...]
    stages: tuple[Func, ...]
    links: dict[Op, list[Link]]
    heirs: dict[Op, list[Op]]
    entries: dict[type, list[tuple[int, object]]] = field(default_factory=dict)

    def lineage(self, op: Op) -> dict[Op, None]:
        """The op and all that it was made from, nearest first."""

        def olds(each: Op) -> Iterator[Op]:
            yield from (old for link in self.links.get(each, ()) for old in link.olds)
            yield from each.operands if each.kind == "item" else ()

        return _reached(op, olds)

    def offspring(self, op: Op) -> dict[Op, None]:
        """The op and all that was made from it."""

        def heirs(each: Op) -> Iterator[Op]:
            yield from self.heirs.get(each, ())
            yield from (each.items or {}).values()

        return _reached(op, heirs)

    def made_by(self, lineage: Iterable[Op]) -> list[Link]:
        """The links between the ops of a lineage, in order."""
        links = (link for op in lineage for link in self.links.get(op, ()))
        found = {link.number: link for link in links}
        return [found[number] for number in sorted(found)]

    def decisions(self, kind: type) -> list:
        """The entries of a kind, in order."""
        return [entry for _, entry in self.entries.get(kind, ())]


@dataclass(frozen=True, eq=False)
class Follower:
    """Listens to a pipeline; `history` is what it knows of a function afterwards."""

    log: list
    done: list[tuple[Done, int]] = field(default_factory=list)

    def listen(self, done: Done) -> None:
        """Note that a step has run, and how far the journal is."""
        self.done.append((done, len(self.log)))

    def history(self, func: Func) -> History:
        """The way of a function that went in, given as it went in."""
        names, stages = ["the input"], [func]
        found = History((), (), {}, {})
        start = 0
        for done, end in self.done:
            if done.before.name == func.name:
                names.append(done.step.action.name)
                stages.append(done.after)
                for number in range(start, end):
                    _enter(found, number, len(names) - 1, self.log[number])
            start = end
        return History(tuple(names), tuple(stages), found.links, found.heirs, found.entries)


@contextmanager
def followed() -> Iterator[Follower]:
    """Write down all that a pipeline decides inside the block, if the follower listens to it."""
    with recorded(*ENTRIES) as log:
        yield Follower(log)


def _enter(found: History, number: int, step: int, entry: object) -> None:
    if isinstance(entry, Derived):
        _link(found, Link(number, step, entry.op, entry.olds))
    elif not isinstance(entry, Firing):
        found.entries.setdefault(type(entry), []).append((step, entry))
    elif entry.fired:
        olds = tuple(dict.fromkeys((*entry.matched, *entry.consumed)))
        # Arrays come from arrays where there are any, and values are what other values became.
        arrays = tuple(op for op in olds if op.is_const and op.type.size > 1) or olds
        values = tuple(op for op in olds if not op.is_const) or olds
        for op in dict.fromkeys((*entry.built, entry.replacement)):
            _link(found, Link(number, step, op, arrays if op.is_const else values, entry))


def _link(found: History, link: Link) -> None:
    found.links.setdefault(link.op, []).append(link)
    for old in link.olds:
        found.heirs.setdefault(old, []).append(link.op)


def _reached(start: Op, around: Callable[[Op], Iterable[Op]]) -> dict[Op, None]:
    found = {start: None}
    queue = [start]
    for op in queue:  # grows while it is walked
        for other in around(op):
            if other not in found:
                found[other] = None
                queue.append(other)
    return found
