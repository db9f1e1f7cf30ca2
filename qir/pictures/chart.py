"""What a picture of a graph shows: boxes with text, arrows between them.

A box is an op, with the constants it reads written into it. One of an op's several results is no
box of its own, the arrow says which it is. Where boxes stand and how they look is for the drawer.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..difference import ADDED, CHANGED, KEPT, REMOVED, Difference, Entry
from ..errors import QirError
from ..ir import Func, Op, place_of
from ..text import value_names
from .label import lines_of_change, lines_of_op, operand_names, type_label

REST = "rest"
"""The group of a box that stands for ops not shown."""


@dataclass(frozen=True)
class Box:
    """An op of the picture, or one of its ends.

    title: the kind of op. name: of its value. lines: what stands below. group: the dialect,
    `parameter`, `result` or REST. change: what became of it, in the picture of a difference.
    place: where it came from.
    """

    title: str
    name: str = ""
    lines: tuple[str, ...] = ()
    group: str = ""
    change: str = ""
    place: str = ""


@dataclass(frozen=True)
class Arrow:
    """From the box of a value to a box that reads it, both by number.

    tail, head: which of several results, which of several operands it is. change: as a box has it.
    """

    start: int
    end: int
    tail: str = ""
    head: str = ""
    change: str = ""


@dataclass(frozen=True)
class Chart:
    """A whole picture, its boxes in the order of the graph.

    homes: the boxes that an op is written in, several for a constant with several readers.
    """

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    homes: Mapping[Op, tuple[int, ...]]


def chart_of(func: Func, names: Mapping[Op, str] | None = None) -> Chart:
    """A chart of one function; names: of values, where they are not to be numbered."""
    entries = [Entry(None, op, "") for op in func.ops]
    known = {**value_names(func), **(names or {})}
    return _chart(f"@{func.name}: {len(func.ops)} ops", (func,), entries, known)


def chart_of_difference(found: Difference, names: Mapping[Op, str] | None = None) -> Chart:
    """A chart of two functions laid over each other.

    What both have is one box, under the name that it has in the new function; the name of what is
    gone is marked as the old function's.
    """
    known = {**value_names(found.old), **value_names(found.new), **(names or {})}
    gone = (entry.old for entry in found.entries if entry.new is None)
    known |= {op: f"old {known[op]}" for op in gone}
    return _chart(f"@{found.new.name}: {found}", (found.old, found.new), found.entries, known)


def _chart(title: str, funcs: tuple[Func, ...], entries: Iterable[Entry], names) -> Chart:
    """funcs: the old one and the new one, or one alone; entries: what became of their ops."""
    boxes: list[Box] = []
    homes: dict[Op, list[int]] = {}
    ends = {result for func in funcs for result in func.results}
    for entry in entries:
        ops = {entry.old, entry.new} - {None}
        if entry.op.kind == "item" or entry.op.is_const and not ops & ends:
            continue
        homes |= {op: [len(boxes)] for op in ops}
        boxes.append(_box(entry, names[entry.op]))
    first_end = len(boxes)
    boxes += _end_boxes(funcs)
    arrows = _laid_over(*(_arrows(func, homes, first_end) for func in funcs))
    return Chart(title, tuple(boxes), arrows, {op: tuple(at) for op, at in homes.items()})


def _laid_over(old: dict[Arrow, None], new: dict[Arrow, None] | None = None) -> tuple[Arrow, ...]:
    """The arrows of two functions, those of both once; of one function as they are.

    An op whose operands may be swapped has nothing written at its arrows; where it is an op only
    before or only after, they are still the same arrows.
    """
    if new is None:
        return tuple(old)
    gone = {arrow: None for arrow in old if arrow not in new}
    alike = defaultdict(list)
    for arrow in gone:
        alike[replace(arrow, head="")].append(arrow)
    found = []
    for arrow in new:
        like = alike[replace(arrow, head="")] if arrow not in old else [arrow]
        same = next((a for a in like if a == arrow or not (a.head and arrow.head)), None)
        if same in gone:
            like.remove(same)
            del gone[same]
        found.append(arrow if same is not None else replace(arrow, change=ADDED))
    return (*found, *(replace(arrow, change=REMOVED) for arrow in gone))


def _box(entry: Entry, name: str) -> Box:
    op, old = entry.op, entry.old
    lines, change, title = lines_of_op(op, _constants(op)), entry.change, op.kind
    if old is not None and entry.new is not None:
        lines, differs = lines_of_change(old, op, _constants(old), _constants(op))
        change = CHANGED if differs else change
        title = op.kind if old.kind == op.kind else f"{old.kind} → {op.kind}"
    group = op.kind if op.kind in ("parameter", "const") else op.kind.partition(".")[0]
    return Box(title, name, lines, group, change, place_of(op) or "")


def _end_boxes(funcs: tuple[Func, ...]) -> list[Box]:
    """A box for each result of one function, or of two."""
    boxes = []
    for i in range(max(len(func.results) for func in funcs)):
        there = [func for func in funcs if i < len(func.results)]
        types = dict.fromkeys(type_label(func.results[i].type) for func in there)
        names = dict.fromkeys(func.result_names[i] for func in there if func.result_names)
        change = "" if len(funcs) == 1 else CHANGED if len(types) > 1 else KEPT
        if len(there) < len(funcs):
            change = REMOVED if there == [funcs[0]] else ADDED
        boxes.append(Box("return", " → ".join(names), (" → ".join(types),), "result", change))
    return boxes


def _arrows(func: Func, homes: dict[Op, list[int]], first_end: int) -> dict[Arrow, None]:
    """The arrows of one function; enters into `homes` what has no box and where it is written."""
    found: dict[Arrow, None] = {}
    for op in func.ops:
        if op.kind == "item":
            homes[op] = homes[op.operands[0]]
        if op.is_const or op.kind == "item":
            continue
        (home,) = homes[op]
        read = [(i, o) for i, o in enumerate(op.operands) if not o.is_const]
        named = len({o for _, o in read}) > 1 and not op.definition.commutative
        for i, operand in read:
            head = operand_names(op)[i] if named else ""
            found[Arrow(homes[operand][0], home, _tail(operand), head)] = None
        for constant in set(op.operands) - {o for _, o in read}:
            homes.setdefault(constant, []).append(home)
    for i, result in enumerate(func.results):
        found[Arrow(homes[result][0], first_end + i, _tail(result))] = None
    return found


def _tail(value: Op) -> str:
    return str(value.attributes["index"]) if value.kind == "item" else ""


def _constants(op: Op) -> dict[str, Op]:
    """The constants among an op's operands, by the operand's name."""
    if op.kind in ("parameter", "const", "item"):
        return {}
    return {name: o for name, o in zip(operand_names(op), op.operands, strict=True) if o.is_const}


def nearby(chart: Chart, middle: Op, depth: int) -> Chart:
    """The part of a chart that is at most `depth` arrows away from an op, either way.

    What is cut off shows as a box of the group REST at the end of an arrow. QirError for an op that
    the chart does not show.
    """
    if middle not in chart.homes:
        raise QirError("the picture does not show this value, no result depends on it")
    beside: list[list[int]] = [[] for _ in chart.boxes]
    for arrow in chart.arrows:
        beside[arrow.start].append(arrow.end)
        beside[arrow.end].append(arrow.start)
    away = dict.fromkeys(chart.homes[middle], 0)
    queue = deque(away)
    while queue:
        at = queue.popleft()
        for other in beside[at] if away[at] < depth else ():
            if other not in away:
                away[other] = away[at] + 1
                queue.append(other)
    name = chart.boxes[chart.homes[middle][0]].name
    return _cut(chart, sorted(away), f"{chart.title}, {depth} around {name}")


def _cut(chart: Chart, kept: list[int], title: str) -> Chart:
    """The boxes of these numbers, and a stub for each value that they read or give elsewhere."""
    number = {old: new for new, old in enumerate(kept)}
    boxes, arrows = [chart.boxes[i] for i in kept], []
    stubs: dict[tuple, int] = {}
    for arrow in chart.arrows:
        inside = arrow.start in number, arrow.end in number
        if not any(inside):
            continue
        if not all(inside):  # all that a value gives elsewhere is one stub
            outer = chart.boxes[arrow.start if inside[1] else arrow.end]
            stub = ("from", arrow.start) if inside[1] else ("to", arrow.start)
            if stub not in stubs:
                stubs[stub] = len(boxes)
                text = f"{outer.name} {outer.title}" if inside[1] else "…"
                boxes.append(Box(text.strip(), group=REST))
        start = number[arrow.start] if inside[0] else stubs["from", arrow.start]
        end = number[arrow.end] if inside[1] else stubs["to", arrow.start]
        arrows.append(replace(arrow, start=start, end=end))
    arrows = list(dict.fromkeys(arrows))
    homes = {op: tuple(number[i] for i in at if i in number) for op, at in chart.homes.items()}
    return Chart(title, tuple(boxes), tuple(arrows), {op: at for op, at in homes.items() if at})
