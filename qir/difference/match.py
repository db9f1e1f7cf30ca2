"""Which op of one graph is which of another, in time linear in their sizes, up to sorting.

What is computed alike from the same inputs is found bottom up, what is used alike top down, by
numbers for equal subgraphs (hash-consing). From what is known it spreads to operands and readers,
and what lies between two known ops is aligned by their order, unique ones first (patience diff,
Bram Cohen). Strict rounds pair ops of one kind, type and attributes, loose ones then those that
have only the kind in common, or its name after the dialect, as `nn.conv2d` and `int8.conv2d`, and
at last what stands alone in one place with one type, an `observe` and the `stats` made of it. How
values are numbered does not matter.
"""

import hashlib
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np

from ..ir import Func, Op

WIDEST = 3
"""How many steps around an op are looked at to tell it from its like."""

Pairs = dict[Op, Op]
Key = Callable[[Op], Hashable]


def matched(old: Func, new: Func, numbers: dict[Op, int] | None = None) -> Pairs:
    """The ops of `old` that `new` has too, each with what it is there.

    numbers: what `natures` gives for both functions, if it is known.
    """
    match = _Match(old, new, numbers or natures(old, new))
    match.shared()
    match.parameters()
    match.by_number(match.bottom_up)
    match.by_number(match.top_down)
    match.spread(match.nature)
    for strict in (match.placed, *match.surroundings(), match.weighted, match.nature):
        match.align(strict)
        match.spread(match.nature)
    for loose in (_kind, _name):
        match.align(loose)
        match.spread(loose)
    match.spread(_type)
    match.constants()
    return match.pairs


def _kind(op: Op) -> Hashable:
    return op.kind


def _name(op: Op) -> Hashable:
    return op.kind.rpartition(".")[2]


def _type(op: Op) -> Hashable:
    return op.type


def natures(*funcs: Func) -> dict[Op, int]:
    """A number for what each op is by itself, equal for ops that do the same with their operands.

    The name of a constant is nothing to it, nor is a location.
    """
    table: dict[tuple, int] = {}
    return {op: table.setdefault(_nature(op), len(table)) for func in funcs for op in func.ops}


def _nature(op: Op) -> tuple:
    if op.is_const:
        array = np.ascontiguousarray(op.value)
        data = array.reshape(-1).view(np.uint8) if array.size else b""
        digest = hashlib.blake2b(data, digest_size=16).digest()
        return (op.kind, op.type, array.dtype.str, digest)
    return (op.kind, op.type, tuple(op.attributes.items()))


class _Match:
    """The pairs found so far, and what is known of the ops of both graphs."""

    def __init__(self, old: Func, new: Func, numbers: dict[Op, int]):
        self.old, self.new, self.natures = old, new, numbers
        self.pairs: Pairs = {}
        self.taken: set[Op] = set()
        self.news: deque[Op] = deque()  # what nothing has spread from yet

    def nature(self, op: Op) -> int:
        """A number for what the op is by itself."""
        return self.natures[op]

    def placed(self, op: Op) -> Hashable:
        """What the op is by itself, and where it came from; None without a location."""
        return (self.natures[op], op.location) if op.location else None

    def weighted(self, op: Op) -> Hashable:
        """What the op is with the constants that it reads; None without any."""
        constants = [self.natures[o] for o in op.operands if o.is_const]
        return (self.natures[op], *constants) if constants else None

    def surroundings(self) -> Iterator[Key]:
        """What an op is with those around it, the wider first (colours of Weisfeiler and Leman)."""
        rounds = [self.natures]
        for _ in range(WIDEST):
            table: dict[tuple, int] = {}
            rounds.append({})
            for func in (self.old, self.new):
                for op in func.ops:
                    reads = [rounds[-2][o] for o in op.operands]
                    read_by = sorted(rounds[-2][user] for user in func.users[op])
                    key = (rounds[-2][op], *reads, None, *read_by)
                    rounds[-1][op] = table.setdefault(key, len(table))
        for colours in reversed(rounds[1:]):
            yield colours.__getitem__

    def pair(self, a: Op, b: Op) -> None:
        self.pairs[a] = b
        self.taken.add(b)
        self.news.append(a)

    def free(self, a: Op, b: Op) -> bool:
        return a not in self.pairs and b not in self.taken

    def shared(self) -> None:
        """Pair every node that stands in both graphs with itself."""
        there = set(self.new.ops)
        for op in self.old.ops:
            if op in there:
                self.pair(op, op)

    def parameters(self) -> None:
        """Pair parameters of one name, then the others in order if their types are the same."""
        by_name = {p.attributes["name"]: p for p in self.new.parameters}
        for p in self.old.parameters:
            found = by_name.get(p.attributes["name"])
            if found is not None and self.free(p, found):
                self.pair(p, found)
        olds = (p for p in self.old.parameters if p not in self.pairs)
        news = (p for p in self.new.parameters if p not in self.taken)
        for a, b in zip(olds, news, strict=False):
            if a.type == b.type:
                self.pair(a, b)

    def by_number(self, number: Callable[[Func, dict], dict[Op, int]]) -> None:
        """Pair ops of equal numbers in order; constants wait for who reads them."""
        table: dict[tuple, int] = {}
        there = defaultdict(deque)
        for op, n in number(self.new, table).items():
            if op not in self.taken and not op.is_const:
                there[n].append(op)
        for op, n in number(self.old, table).items():
            if op not in self.pairs and there.get(n) and not op.is_const:
                self.pair(op, there[n].popleft())

    def bottom_up(self, func: Func, table: dict) -> dict[Op, int]:
        """Numbers for what each op computes: equal ones are equal subgraphs."""
        found: dict[Op, int] = {}
        for op in func.ops:
            key = (self.natures[op], *(found[o] for o in op.operands))
            found[op] = table.setdefault(key, len(table))
        return found

    def top_down(self, func: Func, table: dict) -> dict[Op, int]:
        """Numbers for what becomes of each op: equal ones are read alike, up to the results."""
        found: dict[Op, int] = {}
        reads: dict[Op, list[tuple[int, int]]] = {op: [] for op in func.ops}
        for i, result in enumerate(func.results):
            reads[result].append((-1, i))
        for op in reversed(func.ops):
            key = (self.natures[op], *sorted(reads[op]))
            found[op] = table.setdefault(key, len(table))
            for i, operand in enumerate(op.operands):
                reads[operand].append((found[op], i))
        return found

    def spread(self, key: Key) -> None:
        """Pair operands and readers of paired ops that have equal keys, as far as that leads."""
        self.news = deque(self.pairs)
        while self.news:
            a = self.news.popleft()
            b = self.pairs[a]
            for x, y in zip(a.operands, b.operands, strict=False):
                if self.free(x, y) and (key(x) == key(y) or x.is_const and y.is_const):
                    self.pair(x, y)
            self._spread_to_readers(a, b, key)

    def _spread_to_readers(self, a: Op, b: Op, key: Key) -> None:
        there = defaultdict(list)
        for y in self.new.users[b]:
            if y not in self.taken:
                there[key(y), _slots(y, b)].append(y)
        here = defaultdict(list)
        for x in self.old.users[a]:
            if x not in self.pairs:
                here[key(x), _slots(x, a)].append(x)
        for k, xs in here.items():
            if len(xs) == len(there[k]):  # else who is whom is unclear
                for x, y in zip(xs, there[k], strict=True):
                    self.pair(x, y)

    def align(self, key: Key) -> None:
        """Pair ops between paired ones that have equal keys, in the order of both graphs."""
        back = {b: a for a, b in self.pairs.items()}
        olds = [op for op in self.old.ops if not op.is_const]
        news = [op for op in self.new.ops if not op.is_const]

        def token(op: Op, first: Op | None) -> Hashable:
            """The old op of a pair for both of it, else the key; an op without one is alone."""
            found = first if first is not None else key(op)
            return op if found is None else found

        here = [token(op, op if op in self.pairs else None) for op in olds]
        there = [token(op, back.get(op)) for op in news]
        for i, j in _patience(here, there):
            if self.free(olds[i], news[j]):
                self.pair(olds[i], news[j])

    def constants(self) -> None:
        """Pair constants that are left and equal, in order."""
        there = defaultdict(deque)
        for op in self.new.ops:
            if op.is_const and op not in self.taken:
                there[self.natures[op]].append(op)
        for op in self.old.ops:
            if op.is_const and op not in self.pairs and there[self.natures[op]]:
                self.pair(op, there[self.natures[op]].popleft())


def _slots(reader: Op, value: Op) -> tuple[int, ...]:
    """At which places an op reads a value."""
    return tuple(i for i, operand in enumerate(reader.operands) if operand is value)


def _patience(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Positions of equal elements, ascending in both: unique ones, then those between them."""
    found, gaps = [], [(0, len(a), 0, len(b))]
    while gaps:
        i, i_end, j, j_end = gaps.pop()
        while i < i_end and j < j_end and a[i] == b[j]:
            found.append((i, j))
            i, j = i + 1, j + 1
        while i < i_end and j < j_end and a[i_end - 1] == b[j_end - 1]:
            i_end, j_end = i_end - 1, j_end - 1
            found.append((i_end, j_end))
        anchors = _ascending(_unique(a, i, i_end, b, j, j_end)) if i < i_end and j < j_end else []
        for x, y in anchors:
            found.append((x, y))
            gaps.append((i, x, j, y))
            i, j = x + 1, y + 1
        if anchors:
            gaps.append((i, i_end, j, j_end))
    return found


def _unique(a, i: int, i_end: int, b, j: int, j_end: int) -> list[tuple[int, int]]:
    """Positions of the elements that both stretches hold once, in the order of the first."""
    there: dict[Hashable, list[int]] = defaultdict(list)
    for y in range(j, j_end):
        there[b[y]].append(y)
    here: dict[Hashable, list[int]] = defaultdict(list)
    for x in range(i, i_end):
        here[a[x]].append(x)
    return [(xs[0], there[token][0]) for token, xs in here.items()
            if len(xs) == 1 and len(there.get(token, ())) == 1]  # fmt: skip


def _ascending(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of pairs whose second numbers ascend too (patience sorting)."""
    ends: list[int] = []
    piles: list[int] = []
    before: list[int | None] = []
    for index, (_, y) in enumerate(pairs):
        at = bisect_left(ends, y)
        before.append(piles[at - 1] if at else None)
        ends[at : at + 1], piles[at : at + 1] = [y], [index]
    chosen, index = [], piles[-1] if piles else None
    while index is not None:
        chosen.append(pairs[index])
        index = before[index]
    return chosen[::-1]
