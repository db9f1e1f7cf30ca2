"""What `qir opt` shows of a pipeline at work: graphs, rules and seconds, as comment lines."""

from collections import Counter
from collections.abc import Callable
from time import perf_counter

from ..errors import QirError, suggestion
from ..ir import place_of
from ..pipeline import Done, Listener, Steps, flat
from ..rewrite import Firing
from ..text import print_func
from ..verify import verify

Note = Callable[[str], None]
"""Where a line or a block of text goes that is not the graph itself."""


def watcher(wishes, log: list[Firing], seconds: Counter, note: Note,
            then: Listener | None = None) -> Listener:  # fmt: skip
    """The listener that does what the wishes say; seconds by pass are counted into `seconds`.

    then: a listener told after it, whose time is no pass's.
    """
    started, told = perf_counter(), 0

    def listen(done: Done) -> None:
        nonlocal started, told
        name = done.step.action.name
        seconds[name] += perf_counter() - started
        if wishes.verify_each:
            verify(done.after, name)
        if wishes.explain:
            note_rules(name, log[told:], note)
            told = len(log)
        if wishes.print_after_all or name in wishes.print_after:
            note(f"// after {done.step}")
            note(print_func(done.after, wishes.locations))
        if then is not None:
            then(done)
        started = perf_counter()

    return listen


def note_rules(step: str, log: list[Firing], note: Note) -> None:
    """One line for each rule and place: that it fired, or why it declined."""
    lines = Counter(_firing_text(step, firing) for firing in log)
    for line, count in lines.items():
        note(line if count == 1 else f"{line} ({count} times)")


def _firing_text(step: str, firing: Firing) -> str:
    place = place_of(firing.op)
    where = f"{firing.op.kind} ({place})" if place else firing.op.kind
    if firing.fired:
        return f"// {step}: {firing.rule} fired at {where}"
    return f"// {step}: {firing.rule} declined at {where}: {firing.reason}"


def note_seconds(seconds: Counter, note: Note) -> None:
    """The seconds of each pass, longest first, and their sum."""
    for name, spent in seconds.most_common():
        note(f"// {spent:9.4f} s  {name}")
    note(f"// {seconds.total():9.4f} s  in all")


def check_names(wanted: tuple[str, ...], steps: Steps) -> None:
    """QirError if a pass to print after is not in the pipeline."""
    present = {step.action.name for step in flat(steps)}
    for name in wanted:
        if name not in present:
            raise QirError(f"--print-after: the pipeline has no pass '{name}'",
                           help=suggestion(name, present))  # fmt: skip
