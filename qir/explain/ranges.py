"""Where a range comes from, told from the statistics that calibration kept."""

from collections.abc import Iterator

from ..decisions import RangeFound
from ..ir import Op
from ..observers import Statistics
from .words import number_text, range_text, several


def range_lines(found: RangeFound) -> Iterator[str]:
    """What an observer saw, the range that the method solved, and what of the data is outside."""
    stats, name = found.statistics, found.observer.attributes["name"]
    seen = f"{several(stats.elements, 'element')} of {several(stats.samples, 'sample')}"
    zeros = f", {_part(stats.zeros, stats)} of them 0" if stats.zeros else ""
    yield f"the observer '{name}' saw {seen} in {range_text((stats.min, stats.max))}{zeros}"
    options = ", ".join(f"{key}={value}" for key, value in found.options.items())
    method = f"{found.method}({options})" if options else found.method
    outside = clipped(stats, found.lo, found.hi)
    lost = f"{_part(outside, stats)} are clipped" if outside else "none are clipped"
    yield f"{method} gives {range_text((found.lo, found.hi))}, {lost}"


def given_line(stats: Op) -> str:
    """The range that stood in the graph which went in."""
    span = range_text((stats.attributes["lo"], stats.attributes["hi"]))
    return f"the graph that went in gives '{stats.attributes['name']}' the range {span}"


def clipped(stats: Statistics, lo: float, hi: float) -> int:
    """How many elements lie outside a range, read from the histogram: a bin counts whole."""
    if lo <= stats.min and stats.max <= hi:
        return 0
    centres = stats.centres
    return int(stats.counts[(centres < lo) | (centres > hi)].sum())


def _part(number: int, stats: Statistics) -> str:
    share = 100 * number / stats.elements
    return f"{number_text(share)} %" if share >= 0.001 else several(number, "element")
