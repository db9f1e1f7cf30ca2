"""A graph as SVG or PNG, drawn by matplotlib without any program from outside."""

import io
import re
import warnings

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path

from ..errors import QirError
from ..interchange import View
from ..ir import Module
from .chart import REST, Arrow, Box, Chart
from .layout import Layout, Point, laid_out
from .look import CHANGES, INK, PALE, look_of, viewed

MOST = 400
"""Boxes that a picture may have."""
FONT, LINE, CHARACTER, MARGIN = 8.0, 10.5, 4.82, 6.0
"""Points: size of the letters, distance of lines, width of a letter, space inside a box."""
TITLE, HEADER, HEAD = 9.5, 24.0, 6.0
"""Points: size of the title's letters, space for it, length of an arrow's head."""
ASCENT = 0.76
"""The height of a letter above its line, in sizes."""
SHARP, PIXELS = 144, 60_000
"""Pixels of a PNG to the inch, unless that makes more than so many from top to bottom."""
STYLE = {
    "font.family": "monospace",
    "font.monospace": ["DejaVu Sans Mono"],  # comes with matplotlib
    "font.size": FONT,
    "text.hinting": "none",  # letters as wide as they are, not as wide as whole pixels
    "svg.fonttype": "none",
    "svg.hashsalt": "qir",
}


def drawn(module: Module, suffix: str, view: View) -> str | bytes:
    """The picture of a view, `.svg` as text or `.png` as bytes, the same for the same graph.

    QirError for more than MOST boxes.
    """
    chart = viewed(module, view)
    if len(chart.boxes) > MOST:
        raise QirError(f"a picture of {len(chart.boxes)} ops cannot be read, {MOST} are the most",
                       help="show a part of it: --around %value --depth 3; or write --to dot and "
                            "look at it in a viewer that zooms")  # fmt: skip
    layout = laid_out(chart, [_size(box) for box in chart.boxes])
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure = _figure(chart, layout)
        data = io.BytesIO()
        if suffix == ".svg":
            figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
            return data.getvalue().decode()
        height = figure.get_figheight()
        figure.savefig(data, format="png", dpi=min(SHARP, PIXELS / height),
                       metadata={"Software": None})  # fmt: skip
        return data.getvalue()


def _size(box: Box) -> tuple[float, float]:
    head = len(box.title) + (len(box.name) + 2 if box.name else 0)
    letters = max((head, *map(len, box.lines)))
    return letters * CHARACTER + 2 * MARGIN, (1 + len(box.lines)) * LINE + 2 * MARGIN - 2


def _figure(chart: Chart, layout: Layout) -> Figure:
    width = max(layout.size[0], len(chart.title) * CHARACTER * TITLE / FONT + 24)
    height, left = layout.size[1] + HEADER, (width - layout.size[0]) / 2
    figure = Figure(figsize=(width / 72, height / 72), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-left, width - left)
    axes.set_ylim(height - HEADER, -HEADER)
    axes.set_axis_off()
    _write_title(axes, 12 - left, 6 - HEADER, chart.title)
    for arrow, path in zip(chart.arrows, layout.paths, strict=True):
        _draw_arrow(axes, arrow, path, layout.centres[arrow.end][0])
    for box, centre in zip(chart.boxes, layout.centres, strict=True):
        _draw_box(axes, box, centre)
    return figure


def _write_title(axes, x: float, y: float, title: str) -> None:
    """The title; what it counts of a difference is written in the colour that stands for it."""
    for part in re.split("(?<=[,:] )", title):
        (_, line) = CHANGES.get(part.strip(", ").rpartition(" ")[2], ("", INK))
        _write(axes, x, y, part, size=TITLE, weight="bold", color=line)
        x += len(part) * CHARACTER * TITLE / FONT


def _draw_box(axes, box: Box, centre: Point) -> None:
    look, (width, height) = look_of(box), _size(box)
    x, y = centre[0] - width / 2, centre[1] - height / 2
    axes.add_artist(FancyBboxPatch(
        (x, y), width, height, boxstyle="round,pad=0,rounding_size=3", facecolor=look.fill,
        edgecolor=look.line, linewidth=1.1, linestyle=(0, (3, 2)) if look.dashed else "solid",
    ))  # fmt: skip
    x, y = x + MARGIN, y + MARGIN - 1
    rest = box.group == REST
    _write(axes, x, y, box.title, weight="normal" if rest else "bold", color=PALE if rest else INK)
    right = centre[0] + width / 2 - MARGIN
    _write(axes, right, y, box.name, color=PALE, ha="right")
    for i, line in enumerate(box.lines, 1):
        _write(axes, x, y + i * LINE, line)


def _draw_arrow(axes, arrow: Arrow, points: tuple[Point, ...], centre: float) -> None:
    look = look_of(arrow)
    x, y = points[-1]
    points = *points[:-2], (x, points[-2][1] - HEAD), (x, y - HEAD)
    places, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if (x0, y0) == (x1, y1):
            continue
        if abs(x0 - x1) < 0.5:
            places, codes = [*places, (x1, y1)], [*codes, Path.LINETO]
        else:
            middle = (y0 + y1) / 2
            places += [(x0, middle), (x1, middle), (x1, y1)]
            codes += [Path.CURVE4] * 3
    axes.add_artist(PathPatch(
        Path(places, codes), facecolor="none", edgecolor=look.line, linewidth=1.0,
        linestyle=(0, (3, 2)) if look.dashed else "solid",
    ))  # fmt: skip
    axes.add_artist(Polygon([(x, y), (x - 2.6, y - HEAD), (x + 2.6, y - HEAD)], facecolor=look.line,
                           edgecolor="none"))  # fmt: skip
    side, at = ("right", x - 4) if x < centre else ("left", x + 4)
    _write(axes, at, y - 9, arrow.head, color=PALE, size=FONT - 1.5, ha=side)
    _write(axes, points[0][0] + 4, points[0][1] + 1, arrow.tail, color=PALE, size=FONT - 1.5)


def _write(axes, x: float, y: float, text: str, **style) -> None:
    """A line of text whose top is at y."""
    shown = "".join(c if c.isprintable() else "·" for c in text)
    if shown:
        base = y + ASCENT * style.get("size", FONT)
        axes.text(x, base, shown, va="baseline", parse_math=False, **{"color": INK, **style})
