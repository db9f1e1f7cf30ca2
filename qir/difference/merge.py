"""What became of every op of two graphs, in one order that suits both."""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from ..ir import Func, Op
from .match import Pairs, matched, natures

KEPT, CHANGED, REMOVED, ADDED = CHANGES = ("kept", "changed", "removed", "added")


@dataclass(frozen=True, eq=False)
class Entry:
    """An op of the old graph, of the new one, or of both; change: one of CHANGES."""

    old: Op | None
    new: Op | None
    change: str

    @property
    def op(self) -> Op:
        """The op as it is now, or as it was."""
        return self.new if self.new is not None else self.old


@dataclass(frozen=True, eq=False)
class Difference:
    """Two functions compared.

    entries: all ops of both, operands before readers. An op is changed if its attributes or its
    type are others, or if it reads another of the ops that are in both graphs; one that reads
    something else because the op between is gone, or is new, is kept.
    """

    old: Func
    new: Func
    entries: tuple[Entry, ...]

    @cached_property
    def pairs(self) -> Pairs:
        """The ops that both have, from old to new."""
        return {e.old: e.new for e in self.entries if e.old is not None and e.new is not None}

    @property
    def returns_others(self) -> bool:
        """Whether results are others of the ops that both have, more, fewer or renamed."""
        old, new = self.old, self.new
        return (
            len(old.results) != len(new.results)
            or old.result_names != new.result_names
            or _rewired(old.results, new.results, self.pairs, set(self.pairs.values()))
        )

    @property
    def takes_others(self) -> bool:
        """Whether the parameters are more, fewer, or in another order."""
        return [self.pairs.get(p) for p in self.old.parameters] != list(self.new.parameters)

    @property
    def same(self) -> bool:
        """Whether there is no difference."""
        unlike = any(entry.change != KEPT for entry in self.entries)
        return not (unlike or self.returns_others or self.takes_others)

    def __str__(self) -> str:
        counted = Counter(entry.change for entry in self.entries)
        parts = [f"{counted[change]} {change}" for change in (KEPT, ADDED, REMOVED, CHANGED)]
        parts += ["other parameters"] if self.takes_others else []
        parts += ["other results"] if self.returns_others else []
        return ", ".join(parts)


def difference(old: Func, new: Func) -> Difference:
    """What became of every op on the way from one function to the other."""
    numbers = natures(old, new)
    pairs = matched(old, new, numbers)
    order = list(_merged(old, new, pairs))  # which parts pairs that no order suits
    there = set(pairs.values())
    found = []
    for a, b in order:
        if a is None or b is None:
            found.append(Entry(a, b, ADDED if a is None else REMOVED))
        else:
            same = numbers[a] == numbers[b] and not _rewired(a.operands, b.operands, pairs, there)
            found.append(Entry(a, b, KEPT if same else CHANGED))
    return Difference(old, new, tuple(found))


def _rewired(olds: Sequence[Op], news: Sequence[Op], pairs: Pairs, there: Set[Op]) -> bool:
    """Whether where one value stood another stands, both of them in both graphs."""
    return len(olds) != len(news) or any(
        a in pairs and b in there and pairs[a] is not b for a, b in zip(olds, news, strict=True)
    )


OLD, NEW = 0, 1
Node = tuple[int, Op]
"""An op in the old graph or in the new one; both may hold the same one."""


def _merged(old: Func, new: Func, pairs: Pairs) -> Iterator[tuple[Op | None, Op | None]]:
    """The ops of both functions, a pair as one, operands before readers in both graphs.

    A pair that cannot be one, for each graph has it behind another pair that is behind it in the
    other, is taken out of `pairs`. (Topological sorting, Kahn's, of both graphs in step.)
    """
    funcs, partners = (old, new), (pairs, {b: a for a, b in pairs.items()})
    rank = _ranks(old, new, partners[NEW])
    node_at = {r: node for node, r in rank.items()}
    left = {node: len(set(node[1].operands)) for node in rank}
    ready, held, done = [rank[node] for node in rank if not left[node]], [], set()
    heapq.heapify(ready)
    while ready or held:
        stuck = not ready
        node = side, op = node_at[heapq.heappop(held if stuck else ready)]
        other = (1 - side, partners[side].get(op))
        if node in done:
            continue
        if other[1] is not None and left[other] and not stuck:
            heapq.heappush(held, rank[node])
            continue
        if other[1] is not None and stuck:
            del partners[side][op], partners[1 - side][other[1]]
            other = (1 - side, None)
        yield (op, other[1]) if side == OLD else (other[1], op)
        for emitted in (node, other) if other[1] is not None else (node,):
            done.add(emitted)
            for user in funcs[emitted[0]].users[emitted[1]]:
                left[emitted[0], user] -= 1
                if not left[emitted[0], user]:
                    heapq.heappush(ready, rank[emitted[0], user])


def _ranks(old: Func, new: Func, back: Pairs) -> dict[Node, tuple[int, int, int, int]]:
    """Where ops are to stand: in the order of the old graph, new ones behind what they follow."""
    ranks = {(OLD, op): (i, 0, 0, OLD) for i, op in enumerate(old.ops)}
    place = -1
    for j, op in enumerate(new.ops):
        if op in back:
            place = ranks[OLD, back[op]][0]
        ranks[NEW, op] = (place, 0, 0, NEW) if op in back else (place, 1, j, NEW)
    return ranks
