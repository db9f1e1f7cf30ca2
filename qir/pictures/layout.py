"""Where boxes and arrows go: layers from top to bottom, few crossings, little bending.

Sugiyama's method: a layer for each box and a point of its own on every layer that an arrow passes,
an order in each layer with few crossings (igraph), then places that bring what is joined above each
other, as far as the widths of the boxes allow. The last is a least-squares problem with distances
to keep, in one layer at a time, which pooling adjacent violators solves exactly.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

import igraph

from .chart import REST, Chart

Size = tuple[float, float]
Point = tuple[float, float]

BESIDE, BETWEEN, LANE, PORT, EDGE = 18.0, 26.0, 10.0, 12.0, 12.0
"""Points between boxes side by side, between layers, between arrows that pass boxes, between the
heads of arrows at a box, and round the picture."""
NEARLY = 8.0
"""Points that an arrow may start off the middle of its box, if it then goes straight down."""
SWEEPS = 30
STRAIGHT = 8.0
"""How much more a bend weighs in a chain, be it of boxes or along an arrow, than at a fork."""


@dataclass(frozen=True)
class Layout:
    """Places in points, x to the right and y downwards, from 0 to `size`.

    centres: of the boxes, in order. paths: of the arrows, the points that each goes through.
    """

    size: Size
    centres: tuple[Point, ...]
    paths: tuple[tuple[Point, ...], ...]


@dataclass(frozen=True)
class _Net:
    """Boxes and the points where arrows pass layers, by number, boxes first.

    layer, width: of each. links: pairs of them in neighbouring layers. routes: of each arrow, what
    it goes through from box to box.
    """

    layer: list[int]
    width: list[float]
    links: list[tuple[int, int]]
    routes: list[list[int]]


def laid_out(chart: Chart, sizes: Sequence[Size]) -> Layout:
    """Places for the boxes of a chart, which have these widths and heights."""
    net = _net(chart, sizes)
    rows = _ordered(net)
    x = _columns(net, rows)
    _straighten(net, rows, x)
    left = min((x[i] - net.width[i] / 2 for i in range(len(x))), default=0.0) - EDGE
    right = max((x[i] - left + net.width[i] / 2 for i in range(len(x))), default=0.0) + EDGE
    heights = [max((sizes[i][1] for i in row if i < len(sizes)), default=0.0) for row in rows]
    middles, y = [], EDGE
    for height in heights:
        middles.append(y + height / 2)
        y += height + BETWEEN
    centres = [(x[i] - left, middles[net.layer[i]]) for i in range(len(x))]
    paths = _paths(chart, net, centres, sizes, heights)
    bottom = y - BETWEEN + EDGE if rows else 2 * EDGE
    return Layout((right, bottom), tuple(centres[: len(sizes)]), tuple(paths))


def _net(chart: Chart, sizes: Sequence[Size]) -> _Net:
    layers = _layers(chart)
    net = _Net(layers, [width + BESIDE for width, _ in sizes], [], [])
    for arrow in chart.arrows:
        passed = range(layers[arrow.start] + 1, layers[arrow.end])
        route = [arrow.start, *range(len(net.layer), len(net.layer) + len(passed)), arrow.end]
        net.layer.extend(passed)
        net.width.extend([LANE] * len(passed))
        net.links.extend(zip(route, route[1:], strict=False))
        net.routes.append(route)
    return net


def _layers(chart: Chart) -> list[int]:
    """A layer for each box, below those of all it reads, as high as that allows.

    Parameters, and what depends on no parameter, stand right above what reads them.
    """
    count = len(chart.boxes)
    graph = igraph.Graph(count, [(a.start, a.end) for a in chart.arrows], directed=True)
    order = graph.topological_sorting()
    layers, loose = [0] * count, [False] * count
    for i in order:
        above = graph.predecessors(i)
        layers[i] = max((layers[j] + 1 for j in above), default=0)
        loose[i] = all(loose[j] and chart.boxes[j].group != "parameter" for j in above)
    for i in reversed(order):
        below = graph.successors(i)
        if loose[i] and below and chart.boxes[i].group != REST or not graph.predecessors(i):
            layers[i] = min((layers[j] - 1 for j in below), default=layers[i])
    return layers


def _ordered(net: _Net) -> list[list[int]]:
    """What stands in each layer, from left to right."""
    graph = igraph.Graph(len(net.layer), net.links, directed=True)
    x = [place[0] for place in graph.layout_sugiyama(layers=net.layer).coords]
    rows: list[list[int]] = [[] for _ in range(max(net.layer, default=-1) + 1)]
    for i in sorted(range(len(net.layer)), key=lambda i: (x[i], i)):
        rows[net.layer[i]].append(i)
    return rows


def _columns(net: _Net, rows: list[list[int]]) -> list[float]:
    """Places from left to right that make arrows straight."""
    beside: list[list[tuple[int, float]]] = [[] for _ in net.layer]
    below, above = Counter(a for a, _ in net.links), Counter(b for _, b in net.links)
    for a, b in net.links:
        weight = STRAIGHT if below[a] == above[b] == 1 else 1.0
        beside[a].append((b, weight))
        beside[b].append((a, weight))
    x = [0.0] * len(net.layer)
    for row in rows:
        _put(x, row, net.width, [(0.0, 1.0)] * len(row))
    for sweep in range(SWEEPS):
        both = sweep >= SWEEPS // 2
        for row in reversed(rows) if sweep % 2 else rows:
            wishes = []
            for i in row:
                near = [(x[j], w) for j, w in beside[i]
                        if both or (net.layer[j] > net.layer[i]) == sweep % 2]  # fmt: skip
                weight = sum(w for _, w in near)
                place = sum(at * w for at, w in near) / weight if near else x[i]
                wishes.append((place, weight or 0.1))
            _put(x, row, net.width, wishes)
    return x


def _put(x: list[float], row: list[int], width: list[float], wishes) -> None:
    """Put a row as near to its wishes (place, weight) as distances allow, by least squares."""
    offsets, at = [], 0.0
    for before, i in zip([None, *row], row, strict=False):
        at += (width[before] + width[i]) / 2 if before is not None else 0.0
        offsets.append(at)
    blocks: list[list[float]] = []  # place without offsets, weight, members
    for (place, weight), offset in zip(wishes, offsets, strict=True):
        blocks.append([place - offset, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            place, weight, members = blocks.pop()
            last = blocks[-1]
            total = last[1] + weight
            last[:] = [(last[0] * last[1] + place * weight) / total, total, last[2] + members]
    places = (place for place, _, members in blocks for _ in range(members))
    for i, place, offset in zip(row, places, offsets, strict=True):
        x[i] = place + offset


def _straighten(net: _Net, rows: list[list[int]], x: list[float]) -> None:
    """Move the points that arrows pass so that they bend as seldom as their neighbours let them."""
    beside: dict[int, tuple[int | None, int | None]] = {}
    for row in rows:
        for left, i, right in zip([None, *row], row, [*row[1:], None], strict=False):
            beside[i] = (left, right)

    def room(i: int) -> tuple[float, float]:
        left, right = beside[i]
        low = -inf if left is None else x[left] + (net.width[left] + net.width[i]) / 2
        return low, inf if right is None else x[right] - (net.width[right] + net.width[i]) / 2

    for _, *passed, _ in net.routes:
        while passed:
            low, high, run = -inf, inf, 0
            for i in passed:
                least, most = room(i)
                if max(low, least) > min(high, most):
                    break
                low, high, run = max(low, least), min(high, most), run + 1
            middle = sum(x[i] for i in passed[:run]) / max(run, 1)
            for i in passed[: max(run, 1)]:
                x[i] = min(max(middle, low), high) if run else x[i]
            passed = passed[max(run, 1) :]


def _paths(chart: Chart, net: _Net, centres: list[Point], sizes: Sequence[Size],
           heights: list[float]) -> Iterator[tuple[Point, ...]]:  # fmt: skip
    """The points of each arrow, which bends between layers only, so that it never crosses a box.

    At its end it has its own place, and at its start if it is one of several results.
    """
    ends: dict[int, dict[object, float]] = {}
    starts: dict[int, dict[object, float]] = {}
    for number, (arrow, route) in enumerate(zip(chart.arrows, net.routes, strict=True)):
        ends.setdefault(arrow.end, {})[number] = centres[route[-2]][0]
        starts.setdefault(arrow.start, {}).setdefault(arrow.tail, centres[route[1]][0])
    for box, places in (*ends.items(), *starts.items()):
        _spread(places, centres[box][0], sizes[box][0])
    for number, (arrow, route) in enumerate(zip(chart.arrows, net.routes, strict=True)):
        x, y = starts[arrow.start][arrow.tail], centres[arrow.start][1]
        head = ends[arrow.end][number]
        if len(route) == 2 and abs(x - head) < NEARLY:
            x = head
        points = [(x, y + sizes[arrow.start][1] / 2), (x, y + heights[net.layer[arrow.start]] / 2)]
        for i in route[1:-1]:
            (x, y), half = centres[i], heights[net.layer[i]] / 2
            points += [(x, y - half), (x, y + half)]
        y = centres[arrow.end][1]
        points.append((head, y - heights[net.layer[arrow.end]] / 2))
        yield (*points, (head, y - sizes[arrow.end][1] / 2))


def _spread(places: dict[object, float], middle: float, width: float) -> None:
    """Change where arrows come from or go to into places of their own at a box."""
    step = min(PORT, width / (len(places) + 1))
    for i, key in enumerate(sorted(places, key=places.get)):
        places[key] = middle + (i - (len(places) - 1) / 2) * step
