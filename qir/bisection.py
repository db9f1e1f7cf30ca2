"""Finding the step that breaks accuracy, and inside it the firing of a rule.

A pipeline is run once and every step measured, so the first step is found whatever later ones do.
Its firings are deterministic: the step runs again with only its first N firings, and N is searched
for by halving, between one that is within the budget and one that is beyond.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from .drift import Budget, Error, Measured, Probe, Results, errors, exceeding, measuring, overrun
from .errors import QirError
from .evaluate import Evaluator
from .ir import Func, Module, walk
from .noise import Entry, entries
from .partial import first_firings
from .pipeline import Block, Step, Steps, run_module
from .rewrite import Firing, recorded, restricted
from .types import TupleType

SKIPS = 16
"""How many numbers of firings may be passed over because their graphs cannot be judged."""


@dataclass(frozen=True, eq=False)
class Course:
    """A pipeline as it ran over a module: each step measured, in order, and how often its rules
    fired. failed: the error that ended it early."""

    steps: tuple[Measured, ...]
    firings: tuple[int, ...]
    failed: QirError | None = None


@dataclass(frozen=True, eq=False)
class Search:
    """What is known of a step's firings.

    total: how many there are. tried: errors by number of firings, None where the graph could not
    be judged. within, beyond: the nearest two, so that the budget is kept with the first number of
    firings and not with the second; beyond is 0 if the step breaks it without any, within is total
    if the step does something else when it runs again. firing: number `beyond`, if within is one
    less. own: how far what it put in place is from what it took away.
    """

    total: int
    tried: Mapping[int, tuple[Error, ...] | None]
    within: int
    beyond: int
    firing: Firing | None = None
    own: Error | None = None


@dataclass(frozen=True, eq=False)
class Bisector:
    """A pipeline, the module it runs over, and what it is judged by.

    samples_of: the samples for a function, None for one that is left out.
    """

    steps: Steps
    module: Module
    samples_of: Callable[[Func], object | None]
    run: Evaluator
    resources: Mapping[str, object]
    budget: Budget

    def course(self) -> Course:
        """Run the pipeline and measure every step, up to its end or to an error."""
        measured: list[Measured] = []
        firings: list[int] = []
        failed = None

        def tell(found: Measured) -> None:
            measured.append(found)
            firings.append(sum(firing.fired for firing in log))

        listener = measuring(self.samples_of, self.run, tell)

        def listen(done) -> None:
            listener(done)
            log.clear()  # counted, and it would keep every graph in between

        with recorded() as log:
            try:
                run_module(self.steps, self.module, self.resources, listen)
            except QirError as error:
                failed = error
        return Course(tuple(measured), tuple(firings), failed)

    def broken(self, course: Course) -> list[int]:
        """The steps that break the budget, by their index in the course.

        A total stays beyond until a step mends it, so it is broken by the step that it was within
        before; what steps add by themselves each may break.
        """
        bad = [overrun((self.budget,), measured) is not None for measured in course.steps]
        if self.budget.step is not None:
            return [i for i, each in enumerate(bad) if each]
        first = [measured.number == 1 for measured in course.steps]
        return [i for i, each in enumerate(bad) if each and (first[i] or not bad[i - 1])]

    def search(self, measured: Measured, firings: int) -> Search:
        """Narrow the firings of a step down to the one that breaks the budget."""
        trial = _Trial(self, measured, self._probe(measured))
        if firings == 0 or trial.bad(0):
            return Search(firings, trial.tried, 0, 0)
        if trial.bad(firings) is False:
            return Search(firings, trial.tried, firings, firings)
        if trial.tried[firings] is None:
            trial.tried[firings] = measured.total if self.budget.step is None else measured.added
        within, beyond = 0, firings
        while open_ := [n for n in range(within + 1, beyond) if n not in trial.refused]:
            middle = open_[len(open_) // 2]
            verdict = trial.bad(middle)
            if verdict is None and len(trial.refused) > SKIPS:
                break
            if verdict is not None:
                within, beyond = (within, middle) if verdict else (middle, beyond)
        found = Search(firings, trial.tried, within, beyond)
        return trial.named(found) if beyond - within == 1 else found

    def entries(self, measured: Measured, search: Search) -> list[Entry]:
        """Where the noise enters that no firing brings; of the step as a whole, if none fires."""
        trial = _Trial(self, measured, self._probe(measured))
        after = trial.after(0)[0] if search.total else measured.done.after
        return entries(trial.probe, measured.done.before, after)

    def _probe(self, measured: Measured) -> Probe:
        original = self.module[measured.done.before.name]
        return Probe(original, self.samples_of(original), self.run)


@dataclass(frozen=True, eq=False)
class _Trial:
    """One step, run again and again with fewer firings than it takes."""

    by: Bisector
    measured: Measured
    probe: Probe
    tried: dict[int, tuple[Error, ...] | None] = field(default_factory=dict)
    references: list[Results] = field(default_factory=list)

    @property
    def refused(self) -> set[int]:
        return {n for n, found in self.tried.items() if found is None}

    def after(self, firings: int) -> tuple[Func, list[Firing]]:
        """The step's function after so many firings, and what its rules did."""
        step: Step = self.measured.done.step
        handed = {name: self.by.resources[name] for name in step.action.resources
                  if name in self.by.resources}  # fmt: skip
        match = match_of(self.by.steps, step)
        with recorded() as log, nullcontext() if match is None else restricted(match):
            after = first_firings(step.action, self.measured.done.before, firings,
                                  {**step.options, **handed})  # fmt: skip
        return after, log

    def bad(self, firings: int) -> bool | None:
        """Whether so many firings are beyond the budget; None where that cannot be judged."""
        if not self.references:
            own = self.by.budget.step is not None
            reference = self.measured.done.before if own else self.probe.original
            self.references.append(Results(reference))
        if firings not in self.tried:
            try:
                after, _ = self.after(firings)
                self.tried[firings] = errors(self.probe, Results(after), *self.references)[0]
            except QirError:  # a graph between two firings may be one that nothing takes
                self.tried[firings] = None
        found = self.tried[firings]
        if found is None:
            return None
        return exceeding(self.by.budget, self.measured.labels, found) is not None

    def named(self, found: Search) -> Search:
        """The search with the firing it came to."""
        _, log = self.after(found.beyond)
        fired = [firing for firing in log if firing.fired]
        if len(fired) != found.beyond:  # not what it did before
            return Search(found.total, found.tried, found.total, found.total)
        return replace(found, firing=fired[-1], own=self.own(fired[-1]))

    def own(self, firing: Firing) -> Error | None:
        """How far a replacement is from what it replaces, where both can be evaluated."""
        ends, before = (firing.op, firing.replacement), self.measured.done.before
        known = set(before.parameters)
        strangers = any(op.kind == "parameter" and op not in known for op in walk(ends))
        if strangers or isinstance(firing.op.type, TupleType):
            return None
        taken, put = (Func(before.name, before.parameters, (end,)) for end in ends)
        try:
            return errors(self.probe, Results(put), Results(taken))[0][0]
        except QirError:
            return None


def match_of(steps: Steps, step: Step) -> str | None:
    """The expression of the innermost `only` round a step."""
    within = [b.match for b in blocks_round(steps, step) or () if b.match is not None]
    return within[-1] if within else None


def blocks_round(steps: Steps, step: Step) -> tuple[Block, ...] | None:
    """The combinators that a step of a pipeline stands in, outermost first; None if not in it."""
    for each in steps:
        if each is step:
            return ()
        inner = blocks_round(each.steps, step) if isinstance(each, Block) else None
        if inner is not None:
            return (each, *inner)
    return None
