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

from .errors import Declined, QirError
from .ir import Func, Op, kept, place_of
from .pattern import Pattern, bound_names, match

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

    matched: the nodes that the pattern stands for, root first, known where it fired. source: the
    rule itself.
    """

    rule: str
    op: Op
    reason: str | None = None
    replacement: Op | None = None
    matched: tuple[Op, ...] = ()
    source: Rule | None = None

    @property
    def fired(self) -> bool:
        return self.reason is None


_LOG: ContextVar[list | None] = ContextVar("firings", default=None)


@contextmanager
def recorded():
    """Collect the firings and refusals of every rewrite inside the block into the list it gives."""
    log: list[Firing] = []
    outer, token = _LOG.get(), _LOG.set(log)
    try:
        yield log
    finally:
        _LOG.reset(token)
        if outer is not None:
            outer.extend(log)


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


def rewrite(func: Func, *rules: Rule) -> Func:
    """Apply the rules everywhere until none fires; every replacement keeps its type."""
    index, limit = _by_kind(rules), _LIMIT.get()
    for _ in range(SWEEPS):
        sweep = _Sweep(index, dict(func.uses), _LOG.get(), limit)
        func, fired = sweep.run(func)
        if not fired:
            if limit is not None:
                limit.func = func
            return func
    raise QirError(f"rules still fire after {SWEEPS} sweeps over @{func.name}: "
                   f"{', '.join(sorted(fired))}", help="two of them undo each other")  # fmt: skip


def _by_kind(rules) -> dict[str, list[tuple[Rule, Pattern]]]:
    index: dict[str, list] = {}
    for each in rules:
        for pattern in each.patterns:
            for kind in pattern.kinds:
                index.setdefault(kind, []).append((each, pattern))
    return index


class _Sweep:
    """One walk over a function; holds the use counts, kept exact while nodes come and go."""

    def __init__(self, index, uses: dict[Op, int], log: list | None, firings: Limit | None):
        self.index, self.uses, self.log, self.firings = index, uses, log, firings
        self.fresh: set[Op] = set()  # built by a rule, not settled yet
        self.parent: dict[Op, tuple[str, Op, int]] = {}  # what built a node, and its generation
        self.fired: set[str] = set()
        self.limit = GENERATIONS

    def run(self, func: Func) -> tuple[Func, set[str]]:
        self.limit = GENERATIONS + len(func.ops)  # an op may rightly be hoisted over all others
        new: dict[Op, Op] = {}
        for op in func.ops:
            node = self.moved(op, kept(op, tuple(new[o] for o in op.operands)))
            new[op] = self.settle(node)
        if all(new[op] is op for op in func.results):
            return func, self.fired
        return replace(func, results=tuple(new[r] for r in func.results)), self.fired

    def moved(self, op: Op, node: Op) -> Op:
        """A rebuilt node inherits the uses of the node it stands for."""
        if node is not op:
            self.uses[node] = self.uses.get(node, 0) + self.uses.pop(op, 0)
        return node

    def settle(self, first: Op) -> Op:
        """Try rules on a node, and on all that they build, until none fires; what it became."""
        became: dict[Op, Op] = {}
        stack, settled = [first], set()
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
            node = self.moved(op, kept(op, tuple(_end(became, o) for o in op.operands)))
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
        candidates = self.index.get(node.kind, ())
        if not candidates or not selected(node):
            return None
        if self.firings is not None and self.firings.left == 0:
            return None
        for each, pattern in candidates:
            bound = match(pattern, node, self.uses)
            if bound is None:
                continue
            matched = bound.pop(None)
            try:
                built = each.build(*(bound[name] for name in each.parameters))
            except Declined as declined:
                self.note(Firing(each.name, node, reason=str(declined), source=each))
                continue
            self.check(each, node, built)
            self.adopt(each, node, built, matched)
            self.fired.add(each.name)
            if self.firings is not None:
                self.firings.left -= 1
            self.note(Firing(each.name, node, None, built, matched, each))
            return built
        return None

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
        if self.parent.get(node, ("", node, 0))[2] >= self.limit:
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

    def adopt(self, each: Rule, node: Op, built: Op, matched: tuple[Op, ...]) -> None:
        """Count the uses of what was built, forget those of what died, stamp locations."""
        location = _united(op.location for op in matched)
        generation = self.parent.get(node, ("", node, 0))[2] + 1
        for op in self.unknown(built):
            self.uses[op] = 0
            self.fresh.add(op)
            self.parent[op] = (each.name, node, generation)
            found = op.operands[0].location if op.kind == "item" else op.location
            object.__setattr__(op, "location", _united((found, location)))
            for operand in op.operands:
                self.uses[operand] += 1
        self.uses[built] += self.uses.get(node, 0)
        self.drop(node)

    def unknown(self, built: Op) -> list[Op]:
        """Nodes never counted before, operands first."""
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

    def drop(self, node: Op) -> None:
        dead = [node]
        while dead:
            op = dead.pop()
            self.uses.pop(op, None)
            for operand in op.operands:
                if operand not in self.uses:
                    continue
                self.uses[operand] -= 1
                if self.uses[operand] == 0 and operand.kind != "parameter":
                    dead.append(operand)


def _end(became: dict[Op, Op], op: Op) -> Op:
    while op in became:
        op = became[op]
    return op


def _united(locations) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for location in locations:
        found.update(dict.fromkeys(location))
    return tuple(found)[:LOCATIONS]
