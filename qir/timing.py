"""Seconds and counts as a tree: what ran inside what, how often, and what it counted.

Nothing is measured outside a `measured()` block. Rows of one key under one row are one row, so
that what runs for several functions, or round after round, adds up.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter


@dataclass(eq=False)
class Row:
    """One row of the tree: the seconds spent in it, what it counted, and the rows inside it.

    kind: `step` for a pass or combinator, `rule`, or `part` for anything else.
    """

    name: str
    kind: str = "part"
    seconds: float = 0.0
    counts: Counter = field(default_factory=Counter)
    rows: dict[Hashable, "Row"] = field(default_factory=dict)

    def inner(self, name: str, kind: str = "part", key: Hashable = None) -> "Row":
        """The row inside this one under a key, its kind and name where none is given."""
        return self.rows.setdefault((kind, name) if key is None else key, Row(name, kind))


_ROW: ContextVar[Row | None] = ContextVar("row", default=None)


@contextmanager
def measured() -> Iterator[Row]:
    """Measure all that runs inside the block; gives the root of its tree."""
    with _inside(Row("total")) as root:
        yield root


@contextmanager
def span(name: str, kind: str = "part", key: Hashable = None) -> Iterator[None]:
    """Count the seconds of the block, and all that is measured in it, to a row of that name."""
    around = _ROW.get()
    if around is None:
        yield
        return
    with _inside(around.inner(name, kind, key)):
        yield


@contextmanager
def _inside(row: Row) -> Iterator[Row]:
    token, started = _ROW.set(row), perf_counter()
    try:
        yield row
    finally:
        row.seconds += perf_counter() - started
        _ROW.reset(token)


def count(what: str, number: int = 1) -> None:
    """Add to a statistic of the pass at work; nothing happens where nobody asked for it."""
    row = _ROW.get()
    if row is not None:
        row.counts[what] += number


def row_at_work() -> Row | None:
    """The row of what runs now, None where nothing is measured."""
    return _ROW.get()


def timed(name: str, function: Callable) -> Callable:
    """The function with its seconds counted to a row of that name, itself where nobody measures.

    Unlike in a `span`, what it counts goes to the row of what runs now.
    """
    row = _ROW.get()
    return function if row is None else clocked(function, row.inner(name))


def clocked(function: Callable, row: Row) -> Callable:
    """The function with its seconds counted to a row."""

    def measuring(*args):
        started = perf_counter()
        try:
            return function(*args)
        finally:
            row.seconds += perf_counter() - started

    return measuring
