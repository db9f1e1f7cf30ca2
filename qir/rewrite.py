"""Rules and the driver that applies them.

A rule is a pattern and a function that builds what replaces it. The driver walks a function once,
operands before users, tries every rule at each node, and settles what a rule has just built at
once, so that a chain of rewrites costs one sweep; it sweeps again until nothing fires.
"""

import inspect
import re
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from . import journal, timing
from .errors import Declined, QirError
from .garbage import paused
from .ir import OPS, Derived, Func, Op, kept, place_of
from .pattern import Pattern, bound_names, match, may_match
from .schemes import ATTRIBUTE, scheme_of

SWEEPS = 50
GENERATIONS = 200
LOCATIONS = 8


@dataclass(frozen=True, eq=False)
class Rule:
    """Patterns, any of which may match, and the function that builds the replacement."""

    name: str
    patterns: tuple[Pattern, ...]
    build: Callable
    parameters: tuple[str, ...]

    @property
    def doc(self) -> str:
        return inspect.cleandoc(self.build.__doc__ or "")

    @property
    def place(self) -> str:
        """Where the rule is declared: file:line."""
        code = inspect.unwrap(self.build).__code__
        return f"{code.co_filename}:{code.co_firstlineno}"

    def __call__(self, *args, **kwargs):
        return self.build(*args, **kwargs)


@dataclass(frozen=True)
class Firing:
    """One attempt of a rule at a node that its pattern matched; reason is why it declined.

    matched: the nodes that the pattern stands for, root first, known where it fired, as are built,
    what the rule made, and consumed, what nobody reads any more. source: the rule itself. fix: what
    a user could do where it declined, if the rule knows.
    """

    rule: str
    op: Op
    reason: str | None = None
    replacement: Op | None = None
    matched: tuple[Op, ...] = ()
    source: Rule | None = None
    built: tuple[Op, ...] = ()
    consumed: tuple[Op, ...] = ()
    fix: str | None = None

    @property
    def fired(self) -> bool:
        return self.reason is None


def recorded():
    """Collect the firings and refusals of every rewrite inside the block into the list it gives."""
    return journal.recorded(Firing)


_ONLY: ContextVar[re.Pattern | None] = ContextVar("only", default=None)


@contextmanager
def restricted(match: str):
    """Inside the block passes touch only ops one of whose locations matches the expression."""
    token = _ONLY.set(re.compile(match))
    try:
        yield
    finally:
        _ONLY.reset(token)


def selected(op: Op) -> bool:
    """Whether a pass may touch this op; passes that do not use `rewrite` ask it themselves."""
    only = _ONLY.get()
    return only is None or any(only.search(text) for text in op.location)


@dataclass(eq=False)
class Limit:
    """How many firings may still take effect; func: what the last `rewrite` gave."""

    left: int
    func: Func | None = None


_LIMIT: ContextVar[Limit | None] = ContextVar("limit", default=None)


@contextmanager
def limited(firings: int):
    """Inside the block only so many firings take effect, counted over all rewrites in it.

    Matches after them are not tried. Gives the `Limit`, in which they are counted down.
    """
    token = _LIMIT.set(limit := Limit(firings))
    try:
        yield limit
    finally:
        _LIMIT.reset(token)


def rule(*patterns: Pattern) -> Callable[[Callable], Rule]:
    """Declare a rule: `@rule(pattern)` over a function whose parameters the pattern binds."""
    if not patterns or not all(isinstance(p, Pattern) and p.kinds for p in patterns):
        raise TypeError("a rule needs patterns whose root is an op")

    def declare(build: Callable) -> Rule:
        parameters = tuple(inspect.signature(build).parameters)
        for pattern in patterns:
            missing = set(parameters) - bound_names(pattern)
            if missing:
                raise TypeError(f"rule {build.__name__}: no {sorted(missing)} in {pattern}")
        return Rule(build.__name__, tuple(patterns), build, parameters)

    return declare


@paused()
def rewrite(func: Func, *rules: Rule) -> Func:
    """Apply the rules everywhere until none fires; every replacement keeps its type."""
    index, limit = _by_kind(rules), _LIMIT.get()
    for _ in range(SWEEPS):
        sweep = _Sweep(index, dict(func.uses), limit)
        func, fired = sweep.run(func)
        timing.count("sweeps")
        if not fired:
            if limit is not None:
                limit.func = func
            return func
    raise QirError(f"rules still fire after {SWEEPS} sweeps over @{func.name}: "
                   f"{', '.join(sorted(fired))}", help="two of them undo each other")  # fmt: skip


def _by_kind(rules) -> dict[str, list[tuple]]:
    """For each kind of op: rules, their patterns, and what matches and builds, in this order."""
    index: dict[str, list] = {}
    for each in rules:
        ways = _clocked(each)
        for pattern in each.patterns:
            for kind in pattern.kinds:
                index.setdefault(kind, []).append((each, pattern, *ways))
    return index


def _clocked(each: Rule) -> tuple[Callable, Callable]:
    """What matches and what builds, counted and timed where somebody measures."""
    around = timing.row_at_work()
    if around is None:
        return match, each.build
    row = around.inner(each.name, "rule")

    def build(*args):
        try:
            built = each.build(*args)
        except Declined:
            row.counts["declined"] += 1
            raise
        row.counts["fired"] += 1
        return built

    return timing.clocked(match, row), timing.clocked(build, row)


class _Sweep:
    """One walk over a function; holds the use counts, kept exact while nodes come and go."""

    def __init__(self, index, uses: dict[Op, int], firings: Limit | None):
        self.index, self.uses, self.firings = index, uses, firings
        self.log, self.links = journal.listener(Firing), journal.listener(Derived)
        self.likely: dict[tuple[str, ...], list] = {}  # candidates by kinds, as they are met
        self.fresh: set[Op] = set()  # built by a rule, not settled yet
        self.parent: dict[Op, tuple[str, Op, int]] = {}  # what built a node, and its generation
        self.fired: set[str] = set()
        self.limit = GENERATIONS

    def run(self, func: Func) -> tuple[Func, set[str]]:
        self.limit = GENERATIONS + len(func.ops)  # an op may rightly be hoisted over all others
        new: dict[Op, Op] = {}
        for op in func.ops:
            node = kept(op, tuple([new[o] for o in op.operands]))
            if node is not op:
                self.moved(op, node)
            new[op] = self.settle(node) if self.candidates(node) else node
        if all(new[op] is op for op in func.results):
            return func, self.fired
        return replace(func, results=tuple(new[r] for r in func.results)), self.fired

    def moved(self, op: Op, node: Op) -> Op:
        """A rebuilt node inherits the uses of the node it stands for."""
        if node is not op:
            self.uses[node] = self.uses.get(node, 0) + self.uses.pop(op, 0)
            if self.links is not None:
                self.links.append(Derived(node, (op,)))
        return node

    def settle(self, first: Op) -> Op:
        """Try rules on a node, and on all that they build, until none fires; what it became.

        The operands of the node are settled.
        """
        built = self.fire(first)
        if built not in self.fresh:
            return built or first
        became, stack, settled = {first: built}, [built], set()
        while stack:
            op = stack[-1]
            if op in became or op in settled:
                stack.pop()
                continue
            waiting = [o for o in op.operands if o in self.fresh and o not in became]
            waiting = [o for o in waiting if o not in settled]
            if waiting:
                stack.extend(waiting)
                continue
            node = self.moved(op, kept(op, tuple([_end(became, o) for o in op.operands])))
            self.fresh.discard(op)
            if node is not op:
                became[op] = node
                self.parent[node] = self.parent.get(op, ("", op, 0))
            replacement = self.fire(node)
            if replacement is None:
                settled.add(node)
            else:
                became[node] = replacement
                if replacement in self.fresh:
                    stack.append(replacement)
        return _end(became, first)

    def fire(self, node: Op) -> Op | None:
        candidates = self.candidates(node)
        if not candidates or not selected(node):
            return None
        if self.firings is not None and self.firings.left == 0:
            return None
        for each, pattern, find, build in candidates:
            bound = find(pattern, node, self.uses)
            if bound is None:
                continue
            matched = bound.pop(None)
            try:
                built = build(*(bound[name] for name in each.parameters))
            except Declined as declined:
                self.note(Firing(each.name, node, str(declined), source=each, fix=declined.fix))
                continue
            self.check(each, node, built)
            fresh, dead = self.adopt(each, node, built, matched)
            self.fired.add(each.name)
            if self.firings is not None:
                self.firings.left -= 1
            self.note(Firing(each.name, node, None, built, matched, each, fresh, dead))
            return built
        return None

    def candidates(self, node: Op) -> list:
        """The rules that may match an op of this kind on operands of these kinds."""
        if node.kind not in self.index:
            return []
        kinds = (node.kind, *[operand.kind for operand in node.operands])
        if kinds not in self.likely:
            named = self.index[node.kind]
            self.likely[kinds] = [each for each in named if may_match(each[1], kinds[1:])]
        return self.likely[kinds]

    def note(self, firing: Firing) -> None:
        if self.log is not None:
            self.log.append(firing)

    def check(self, each: Rule, node: Op, built) -> None:
        if not isinstance(built, Op):
            raise TypeError(f"rule {each.name} must give an op, it gave {built!r}")
        if built is node:
            raise TypeError(f"rule {each.name} gave back the node it matched")
        if built.type != node.type:
            raise QirError(f"rule {each.name} would change a type: {node.type} became {built.type}",
                           at=place_of(node))  # fmt: skip
        if node in self.parent and self.parent[node][2] >= self.limit:
            raise QirError(f"rules undo each other without end at {node.kind}: "
                           f"{', '.join(self.cycle(node))}", at=place_of(node))  # fmt: skip

    def cycle(self, node: Op) -> list[str]:
        names, at = set(), node
        for _ in range(GENERATIONS):
            if at not in self.parent:
                break
            name, at, _ = self.parent[at]
            names.add(name)
        return sorted(names - {""})

    def adopt(self, each: Rule, node: Op, built: Op, matched: tuple[Op, ...]) -> tuple:
        """Count the uses of what was built, forget those of what died, stamp locations.

        Gives the new nodes and the dead ones.
        """
        fresh = self.unknown(built)
        location = _united(op.location for op in matched) if fresh else ()
        generation = self.parent[node][2] + 1 if node in self.parent else 1
        for op in fresh:
            self.uses[op] = 0
            self.fresh.add(op)
            self.parent[op] = (each.name, node, generation)
            found = op.operands[0].location if op.kind == "item" else op.location
            object.__setattr__(op, "location", _united((found, location)))
            self.inherit(op, node)
            for operand in op.operands:
                self.uses[operand] += 1
        self.uses[built] += self.uses.get(node, 0)
        return tuple(fresh), self.drop(node)

    def inherit(self, op: Op, node: Op) -> None:
        """What stands in place of an op that was given a scheme has this scheme, or its own."""
        name = scheme_of(node)
        if name is not None and op.kind in OPS and scheme_of(op) is None:
            object.__setattr__(op, "attributes", {**op.attributes, ATTRIBUTE: name})

    def unknown(self, built: Op) -> list[Op]:
        """Nodes never counted before, operands first."""
        if built in self.uses:
            return []
        order, stack, seen = [], [(built, False)], set()
        while stack:
            op, ready = stack.pop()
            if ready:
                order.append(op)
            elif op not in self.uses and op not in seen:
                seen.add(op)
                stack.append((op, True))
                stack.extend((o, False) for o in op.operands)
        return order

    def drop(self, node: Op) -> tuple[Op, ...]:
        """Forget a node and all that only it has read; gives them, users first."""
        dead = [node]
        for op in dead:  # grows while it is walked
            self.uses.pop(op, None)
            for operand in op.operands:
                if operand not in self.uses:
                    continue
                self.uses[operand] -= 1
                if self.uses[operand] == 0 and operand.kind != "parameter":
                    dead.append(operand)
        return tuple(dead)


def _end(became: dict[Op, Op], op: Op) -> Op:
    while op in became:
        op = became[op]
    return op


def _united(locations) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for location in locations:
        found.update(dict.fromkeys(location))
    return tuple(found)[:LOCATIONS]
