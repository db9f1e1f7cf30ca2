"""Why a node of a graph has its grid, told from what `propagate_types` wrote down."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator

from ..decisions import GridChanged, GridsChosen, Range
from ..ir import Op
from ..labelling import cost
from ..types import Element
from .words import about, again, element_text, listed, range_text, several

SHOWN = 8
"""How many sharers of a grid are listed; of others there is their number."""


def grid_lines(chosen: GridsChosen, node: Op, changes: Iterable[GridChanged]) -> Iterator[str]:
    """The grid of a node, the constraint that decided, and what else it might have been."""
    changed = {each.value: element_text(each.own) for each in changes if each.reader is node}
    element = chosen.elements[node]
    if node in chosen.fixed:
        exact = node.attributes.get("exact", False)
        why = "its range states" if exact else f"{node.kind} prescribes for its results"
        yield f"{element_text(element)}, which {why}"
        yield from _shared(chosen, node)
        return
    yield f"{element_text(element)}, {_decided(chosen, node)}"
    if node in chosen.parts:
        yield f"{node.kind} takes one grid for what it reads and makes:"
        for op, span in chosen.parts[node]:
            was = f", requantized from {changed[op]}" if op in changed else ""
            yield f"  {range_text(span)} of {about(op)}{was}"
    yield from _shared(chosen, node)
    if len(chosen.verdicts[node]) > 1:
        yield "to choose from were, by range:"
        yield from (f"  {_verdict(chosen, node, label)}" for label in chosen.verdicts[node])


def _decided(chosen: GridsChosen, node: Op) -> str:
    """What decided on the grid of an open node."""
    own, group = range_text(chosen.ranges[node]), sharers(chosen, node)
    if isinstance(chosen.labels[node], Element):
        giver = next(n for n in group if n in chosen.fixed)
        return f"which {about(giver)} prescribes; it covers {own} as well"
    if not group:
        return f"for its own range {own} alone"
    whole = range_text(united(chosen, (node, *group)))
    mine = "" if whole == own else f"; its own is {own}"
    return f"for {whole}, the range of the {len(group) + 1} that share it{mine}"


def united(chosen: GridsChosen, nodes: tuple[Op, ...]) -> Range:
    """The range of all of some open nodes, zero included."""
    spans = [(0.0, 0.0), *(chosen.ranges[n] for n in nodes if n in chosen.ranges)]
    return min(lo for lo, _ in spans), max(hi for _, hi in spans)


def sharers(chosen: GridsChosen, node: Op) -> tuple[Op, ...]:
    """The other nodes on one grid with a node, because they had to agree or gained by it.

    A fixed grid may be found at places that have nothing to do with each other: there, those that
    hang together are meant.
    """
    label = chosen.labels[node]
    if not isinstance(label, Element):
        return tuple(n for n, other in chosen.labels.items() if other == label and n is not node)
    around: dict[Op, list[Op]] = {}
    for transfer in chosen.transfers:
        ends = [n for n in (transfer.producer, *transfer.consumers) if chosen.labels[n] == label]
        for end in ends:
            around.setdefault(end, []).extend(ends)
    queue = [node]
    for each in queue:  # grows while it is walked
        queue += [n for n in dict.fromkeys(around.get(each, ())) if n not in queue]
    return tuple(queue[1:])


def _shared(chosen: GridsChosen, node: Op) -> Iterator[str]:
    """Who else is on the grid of a node, and what each brings to it."""
    group = sharers(chosen, node)
    if not group:
        return
    yield "shared with"

    def line(other: Op) -> str:
        if other in chosen.fixed:
            return f"{about(other)}, which prescribes it"
        text = f"{range_text(chosen.ranges[other])} of {about(other)}"
        if other.kind == "quant.stats":
            return f"{text}, observed as '{other.attributes['name']}'"
        return f"{text}, which takes one grid for what it reads and makes"

    lines = Counter(map(line, group))
    yield from (f"  {text}" for text in listed(list(lines.items()), again, SHOWN))


def _verdict(chosen: GridsChosen, node: Op, label: Hashable) -> str:
    """Whether a node took a label, why it may not carry it, or what taking it would have cost."""
    span = range_text(chosen.spans[label])
    if isinstance(label, Element):
        span = f"{span} of the prescribed {element_text(label)}"
    why_not = chosen.verdicts[node][label]
    if chosen.labels[node] == label:
        return f"{span} was taken"
    if why_not is not None:
        return f"{span} {why_not}"
    around = [t for t in chosen.transfers if node in (t.producer, *t.consumers)]
    more = cost({**chosen.labels, node: label}, around) - cost(chosen.labels, around)
    if more > 0:
        return f"{span} would have cost {several(more, 'requantize')} more"
    return f"{span} would have cost no fewer requantizes"

