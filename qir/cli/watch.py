"""What `qir opt` shows of a pipeline at work: graphs and rules, as comment lines."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from ..errors import QirError, suggestion
from ..ir import Op, place_of
from ..pipeline import Done, Listener, Steps, flat
from ..rewrite import Firing
from ..text import print_func
from ..timing import span
from ..verify import verify

Note = Callable[[str], None]
"""Where a line or a block of text goes that is not the graph itself."""

SHOWN = 3
"""How many places of one rule are named; for the others there is their number."""


def watcher(wishes, log: list[Firing], note: Note, then: Listener | None = None) -> Listener:
    """The listener that does what the wishes say; then: a listener told after it."""
    told = 0

    def listen(done: Done) -> None:
        nonlocal told
        name = done.step.action.name
        if wishes.verify_each:
            with span("verify"):
                verify(done.after, name)
        if wishes.explain:
            note_rules(name, log[told:], note)
            told = len(log)
        if wishes.print_after_all or name in wishes.print_after:
            note(f"// after {done.step}")
            note(print_func(done.after, wishes.locations))
        if then is not None:
            then(done)

    return listen


def note_rules(step: str, log: Iterable[Firing], note: Note) -> None:
    """What each rule did and where: that it fired, or why it declined.

    Reasons that differ in their figures alone are one, told by the first of them.
    """
    found: dict[tuple, list[Firing]] = {}
    for firing in log:
        found.setdefault((firing.rule, _shape(firing.reason)), []).append(firing)
    for (rule, _), firings in found.items():
        note("\n".join(f"// {line}" for line in _lines(f"{step}: {rule}", firings)))


_FIGURE = re.compile(r"%?-?\d+(\.\d+)?(e[+-]?\d+)?")


def _shape(reason: str | None) -> str | None:
    """A reason without its figures."""
    return None if reason is None else _FIGURE.sub("#", reason)


def _lines(who: str, firings: list[Firing]) -> Iterator[str]:
    """What one rule did, in one way: at one place in a line, at several with a line for each."""
    did = "fired" if firings[0].fired else "declined"
    such = "" if len({f.reason for f in firings}) == 1 else "such as "
    why = "" if firings[0].fired else f": {such}{firings[0].reason}"
    times = "" if len(firings) == 1 else f" ({len(firings)} times)"
    places = Counter(_place(f.op) for f in firings)
    if len(places) == 1:
        yield f"{who} {did} at {next(iter(places))}{why}{times}"
        return
    yield f"{who} {did}{why}{times}"
    for place, number in list(places.items())[:SHOWN]:
        yield f"  at {place}" + ("" if number == 1 else f" ({number} times)")
    if len(places) > SHOWN:
        yield f"  and at {len(places) - SHOWN} other{'s' * (len(places) > SHOWN + 1)}"


def _place(op: Op) -> str:
    place = place_of(op)
    return f"{op.kind} ({place})" if place else op.kind


def check_names(wanted: tuple[str, ...], steps: Steps) -> None:
    """QirError if a pass to print after is not in the pipeline."""
    present = {step.action.name for step in flat(steps)}
    for name in wanted:
        if name not in present:
            raise QirError(f"--print-after: the pipeline has no pass '{name}'",
                           help=suggestion(name, present))  # fmt: skip
