"""What `qir opt` shows of a pipeline at work: graphs and rules, as comment lines."""

import re
from collections.abc import Callable, Iterable

from ..errors import QirError, suggestion
from ..ir import Op, place_of
from ..pipeline import Done, Steps, flat
from ..rewrite import Firing
from ..text import print_func
from ..timing import span
from ..verify import verify

Note = Callable[[str], None]
"""Where a line or a block of text goes that is not the graph itself."""

SHOWN = 3
"""How many places of one rule are named; of more there is the number."""


def watcher(wishes, log: list[Firing], note: Note) -> Callable[[Done], None]:
    """The listener that does what the wishes say."""
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

    return listen


def note_rules(step: str, log: Iterable[Firing], note: Note) -> None:
    """What each rule did and where: that it fired, or why it declined.

    Reasons that differ in their figures alone are one, told by the first of them.
    """
    found: dict[tuple, list[Firing]] = {}
    for firing in log:
        found.setdefault((firing.rule, _shape(firing.reason)), []).append(firing)
    for (rule, _), firings in found.items():
        note(f"// {step}: {rule} {_line(firings)}")


_FIGURE = re.compile(r"%?-?\d+(\.\d+)?(e[+-]?\d+)?")


def _shape(reason: str | None) -> str | None:
    """A reason without its figures."""
    return None if reason is None else _FIGURE.sub("#", reason)


def _line(firings: list[Firing]) -> str:
    """What one rule did, in one way, at some places."""
    did = "fired" if firings[0].fired else "declined"
    such = "" if len({f.reason for f in firings}) == 1 else "such as "
    why = "" if firings[0].fired else f": {such}{firings[0].reason}"
    times = "" if len(firings) == 1 else f" ({len(firings)} times)"
    return f"{did} at {_places([f.op for f in firings])}{why}{times}"


def _places(ops: list[Op]) -> str:
    """The first places of some ops, and how many there are besides; equal ones once."""
    found: dict[str, int] = {}
    for op in ops:
        place = place_of(op)
        text = f"{op.kind} ({place})" if place else op.kind
        found[text] = found.get(text, 0) + 1
    shown = list(found)[:SHOWN]
    more = len(ops) - sum(found[text] for text in shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def check_names(wanted: tuple[str, ...], steps: Steps) -> None:
    """QirError if a pass to print after is not in the pipeline."""
    present = {step.action.name for step in flat(steps)}
    for name in wanted:
        if name not in present:
            raise QirError(f"--print-after: the pipeline has no pass '{name}'",
                           help=suggestion(name, present))  # fmt: skip
