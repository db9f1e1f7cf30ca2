"""How boxes and arrows look, by dialect or by change, and the chart that a view asks for."""

import zlib
from dataclasses import dataclass

from ..interchange import View
from ..ir import Module
from .chart import REST, Arrow, Box, Chart, chart_of, chart_of_difference, nearby

INK, PALE, GREY = "#1f2933", "#7b8794", "#cbd2d9"
DIALECTS = {
    "lax": ("#eceff1", "#78909c"),
    "nn": ("#e3f0fd", "#2f7fc1"),
    "quant": ("#fff2d9", "#d98e04"),
    "int8": ("#e2f5e5", "#2e8b45"),
    "xla": ("#dcf3f1", "#128a80"),
    "parameter": ("#ffffff", "#52606d"),
    "result": ("#ffffff", "#52606d"),
    "const": ("#f7f7f7", "#9aa5b1"),
    REST: ("#ffffff", "#ffffff"),
}
"""The colour inside a box and that of its border."""
OTHERS = (
    ("#f3e8fb", "#8e4fc0"), ("#fde8ee", "#c2416b"), ("#eef3da", "#7f8f1f"), ("#e8eafb", "#5159c4"),
)  # fmt: skip
"""For dialects from elsewhere, by their names."""
CHANGES = {
    "kept": ("#ffffff", "#9aa5b1"),
    "changed": ("#fff3c4", "#c99a00"),
    "removed": ("#fde1e1", "#c53030"),
    "added": ("#ddf6e3", "#2f8f46"),
}


@dataclass(frozen=True)
class Look:
    """Colours of a box or an arrow, and whether its line is dashed."""

    fill: str
    line: str
    dashed: bool = False


def look_of(thing: Box | Arrow) -> Look:
    """How a box or an arrow is to look."""
    dashed = thing.change == "removed"
    if isinstance(thing, Arrow):
        line = CHANGES[thing.change][1] if thing.change in ("added", "removed") else "#52606d"
        return Look("none", line, dashed)
    if thing.change and thing.group != REST:
        return Look(*CHANGES[thing.change], dashed)
    if thing.group in DIALECTS:
        return Look(*DIALECTS[thing.group])
    return Look(*OTHERS[zlib.crc32(thing.group.encode()) % len(OTHERS)])


def viewed(module: Module, view: View) -> Chart:
    """The chart of a view on a module's one function."""
    (func,) = module.funcs
    if view.difference is None:
        chart = chart_of(func, view.names)
    else:
        chart = chart_of_difference(view.difference, view.names)
    return chart if view.around is None else nearby(chart, view.around, view.depth)
