"""`--timing` and `--pass-statistics`: the tree of what ran, as comment lines."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..timing import Row, measured

Note = Callable[[str], None]

LEAST = 0.0005
"""Parts of passes that take less of all the time are not shown."""


@contextmanager
def accounted(timing: bool, statistics: bool, note: Note) -> Iterator[None]:
    """Measure what runs inside the block, where that is wanted, and note the tree at its end."""
    if not (timing or statistics):
        yield
        return
    with measured() as root:
        yield
    if statistics:
        note("\n".join(statistics_lines(root)))
    if timing:
        note("\n".join(timing_lines(root)))


def timing_lines(root: Row) -> list[str]:
    """Every row with its seconds and its share of all, in order, and what it counted below it."""
    total = root.seconds or 1.0
    blank = " " * len(_figures(0.0, total))

    def lines(row: Row, indent: str) -> Iterator[str]:
        rows, idle = _apart(row)
        shown = 0.0
        for each in rows:
            if each.kind == "part" and not each.counts and each.seconds < LEAST * total:
                continue
            shown += each.seconds
            yield f"//{_figures(each.seconds, total)}{indent}{_title(each)}"
            yield from (f"//{blank}{indent}  {text}" for text in _statistics(each))
            yield from lines(each, f"{indent}  ")
        if idle:
            spent = sum(each.seconds for each in idle)
            shown += spent
            many = f"{len(idle)} rule{'s' * (len(idle) > 1)} without a match"
            yield f"//{_figures(spent, total)}{indent}{many}"
        if shown and row.seconds - shown >= LEAST * total:
            yield f"//{_figures(row.seconds - shown, total)}{indent}the rest"

    header = f"//{'seconds':>10}{'share':>9}"
    return [header, *lines(root, "  "), f"//{_figures(root.seconds, total)}  total"]


def statistics_lines(root: Row) -> list[str]:
    """What every pass counted and how often its rules fired, in the order of the pipeline."""

    def lines(row: Row, indent: str) -> Iterator[str]:
        for each in _apart(row)[0]:
            inside = [*(f"{indent}  {t}" for t in _statistics(each)), *lines(each, f"{indent}  ")]
            if each.kind == "rule" or each.kind == "step" or inside:
                yield f"{indent}{_title(each)}"
            yield from inside

    return [f"// {line}" for line in lines(root, "")]


def _apart(row: Row) -> tuple[list[Row], list[Row]]:
    """The rows inside a row, listeners last, and those of rules that matched nowhere."""
    rows = sorted(row.rows.values(), key=lambda each: each.name == "listeners")
    idle = [each for each in rows if each.kind == "rule" and not each.counts]
    return [each for each in rows if each not in idle], idle


def _title(row: Row) -> str:
    if row.kind != "rule":
        return row.name
    said = (f"{what} {row.counts[what]}" for what in ("fired", "declined") if row.counts[what])
    return f"{row.name}: {', '.join(said)}"


def _statistics(row: Row) -> list[str]:
    return [] if row.kind == "rule" else [f"{what}: {n}" for what, n in row.counts.items()]


def _figures(seconds: float, total: float) -> str:
    return f"{seconds:10.4f}{100 * seconds / total:7.1f} %"
