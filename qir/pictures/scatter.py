"""Models as points: size against accuracy, with latency as the area; PNG or SVG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox

STYLE = {"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "qir"}
LARGEST = 500.0
"""Area of the largest point, in square points."""
PLACES = tuple((x * far, y * far) for far in (1, 2.5, 4, 5.5, 7)
               for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)))
"""Where a label may stand beside its point, the best place first, in steps of STEP points."""
STEP, GAP = 14.0, 3.0
"""Points: the distance of a label, the room between a label and whatever else there is."""


@dataclass(frozen=True)
class Point:
    """A model: its size in bytes, what it reaches (None or infinite: a line), its latency.

    latency: over that of the float model beside it, for what was measured apart is not comparable.
    """

    name: str
    size: float
    reached: float | None
    latency: float


def scatter(points: Sequence[Point], title: str, label: str, suffix: str) -> str | bytes:
    """The picture of points, `.svg` as text or `.png` as bytes; label: of what they reach."""
    with rc_context(STYLE):
        figure = Figure(figsize=(8, 5), facecolor="white", layout="constrained")
        figure.suptitle(title, fontsize=10)
        _draw(figure.add_subplot(), points, label)
        data = io.BytesIO()
        if suffix == ".svg":
            figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
            return data.getvalue().decode()
        figure.savefig(data, format="png", dpi=144, metadata={"Software": None})
        return data.getvalue()


def _draw(axes, points: Sequence[Point], label: str) -> None:
    placed = [p for p in points if p.reached is not None and abs(p.reached) < float("inf")]
    most = max(p.latency for p in points)
    slowest = next(p for p in points if p.latency == most)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: _bytes(size)))
    axes.set_xlabel("size on disk; area: latency over that of float, "
                    f"for {slowest.name} {most:.2f}")  # fmt: skip
    axes.set_ylabel(label)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.margins(0.2, 0.2)
    sizes = [p.size for p in points]
    axes.set_xlim(min(sizes) / 1.6, max(sizes) * 1.6)
    for p in points:
        if p not in placed:
            axes.axvline(p.size, color="0.5", linestyle="--", linewidth=1)
            axes.annotate(p.name, (p.size, 1), xycoords=("data", "axes fraction"), color="0.3",
                          xytext=(-4, -4), textcoords="offset points", ha="right", va="top",
                          rotation=90)  # fmt: skip
    axes.scatter([p.size for p in placed], [p.reached for p in placed],
                 s=[LARGEST * p.latency / most for p in placed],
                 color="#4477aa", alpha=0.6, edgecolor="#22446a")  # fmt: skip
    _name(axes, placed, most)


def _name(axes, points: Sequence[Point], most: float) -> None:
    """Write each name beside its point where nothing else stands, with a line to it if far off."""
    figure = axes.figure
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what is placed now stays
    pixels = figure.dpi / 72
    taken = [text.get_window_extent() for text in axes.texts]
    radii = []
    for p in points:
        x, y = axes.transData.transform((p.size, p.reached))
        radius = (LARGEST * p.latency / most) ** 0.5 / 2
        radii.append(radius)
        taken.append(_box(axes, x, y, radius * pixels))
    for p, radius in zip(points, radii, strict=True):
        for right, up in PLACES:
            text, away = _written(axes, p, radius, right, up)
            box = text.get_window_extent()
            grown = box.padded(GAP * pixels)
            inside = axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1)
            if inside and not any(grown.overlaps(other) for other in taken):
                break
            if (right, up) != PLACES[-1]:
                text.remove()
        taken.append(box)
        if max(abs(right), abs(up)) > 1:
            axes.annotate("", (p.size, p.reached), xytext=away, textcoords="offset points",
                          arrowprops={"arrowstyle": "-", "color": "0.5", "linewidth": 0.7})


def _written(axes, p: Point, radius: float, right: float, up: float):
    """The name of a point in one of the places beside it, and how far from it that is."""
    sides = [(value > 0) - (value < 0) for value in (right, up)]
    ends = {-1: "right", 0: "center", 1: "left"}, {-1: "top", 0: "center", 1: "bottom"}
    away = [side * radius + STEP / 2 * value
            for side, value in zip(sides, (right, up), strict=True)]  # fmt: skip
    text = axes.annotate(p.name, (p.size, p.reached), xytext=away, textcoords="offset points",
                         ha=ends[0][sides[0]], va=ends[1][sides[1]])  # fmt: skip
    return text, away


def _box(axes, x: float, y: float, radius: float):
    return Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)


def _bytes(size: float) -> str:
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= one:
            return f"{size / one:g} {unit}"
    return f"{size:g} B"
