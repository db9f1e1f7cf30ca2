"""Words for ops, ranges and grids, as explanations have them."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from ..ir import Op, place_of
from ..types import Element

FEW = 8
"""Up to so many scales are shown one by one."""


def about(op: Op) -> str:
    """An op by its kind or name, and its place."""
    node, index = op, ""
    while node.kind in ("item", "quant.stats", "quant.observe"):
        index = f"item {node.attributes['index']} of " if node.kind == "item" else index
        node = node.operands[0]
    name = node.attributes.get("name") if node.kind in ("parameter", "const") else None
    what = {"parameter": "the input", "const": "the constant"}.get(node.kind, node.kind)
    what = f"{index}{what} {name}" if name else f"{index}{what}"
    place = place_of(node)
    return f"{what} at {place}" if place else what


def several(number: int, what: str) -> str:
    """A number of things: `1 requantize`, `3 requantizes`."""
    return f"{number} {what}" if number == 1 else f"{number:,} {what}s"


def listed(things: Sequence, line: Callable[[object], str], most: int) -> Iterator[str]:
    """A line for each of the first things, and how many there are besides."""
    yield from (line(thing) for thing in things[:most])
    if len(things) > most:
        yield f"and {len(things) - most:,} more"


def again(entry: tuple[str, int]) -> str:
    """A text that stands there so many times."""
    text, times = entry
    return text if times == 1 else f"{text} ({times} times)"


def number_text(number: float) -> str:
    """A number in four digits."""
    return f"{number:.4g}"


def range_text(span: tuple[float, float]) -> str:
    """`[-1.5, 6]`."""
    return f"[{number_text(span[0])}, {number_text(span[1])}]"


def element_text(element: Element) -> str:
    """An element as the text has it, many scales by the least and the greatest of them."""
    grid = element.grid
    if grid is None or grid.scale.size <= FEW:
        return str(element)
    least, most = np.min(grid.scale), np.max(grid.scale)
    narrow = " narrow" if grid.narrow else ""
    scales = f"{grid.scale.size} scales from {number_text(least)} to {number_text(most)}"
    block = f"/{grid.block}" if grid.block else ""
    return f"{element.dtype.name}<{scales}:0 @{grid.axis}{block}{narrow}>"


def indented(lines: Iterable[str], by: int = 2) -> Iterator[str]:
    """The lines, further in."""
    return (" " * by + line for line in lines)
