"""Where the grid of a constant comes from: a weight's, a bias's, an operand's."""

from collections.abc import Iterator

import numpy as np

from ..decisions import ConstantPlaced, WeightStored
from ..rounding import weight_scale
from ..trained import grid_of
from ..types import Element
from .words import FEW, about, element_text, number_text, range_text, several


def constant_lines(placed: ConstantPlaced) -> Iterator[str]:
    """The grid that an op wanted for a constant, and what its scale was made from."""
    element = placed.stored.type.element
    yield f"{element_text(element)}, as {_PARTS[placed.role]} of {about(placed.reader)}"
    if placed.role == "weight":
        yield from _weight(placed, element)
    elif placed.role == "bias":
        yield from _bias(*placed.of)
    elif placed.role == "same":
        yield f"the grid is that of all which {placed.reader.kind} reads and makes"
    else:
        values = placed.source.value
        yield f"for its own range {range_text((min(values.min(), 0.0), max(values.max(), 0.0)))}"


def weight_lines(kept: WeightStored) -> Iterator[str]:
    """The grid that a weight is stored on, which its readers take it off again."""
    yield f"{element_text(kept.stored.type.element)}, as a weight of {about(kept.reader)}"
    if not kept.stored.type.element.grid.narrow:
        yield "training rounded it to this grid"
        return
    yield f"the last integer stands for what {kept.clip} finds in each part that has a scale"
    if kept.left is not None:
        yield f"it has no blocks: {kept.left}"


_PARTS = {
    "weight": "a weight",
    "bias": "a bias",
    "same": "an operand on the shared grid",
    "free": "an operand",
}


def _weight(placed: ConstantPlaced, element: Element) -> Iterator[str]:
    """Training, or the largest magnitudes, that the scales come from."""
    source, given = placed.source, grid_of(placed.source)
    if placed.left is not None:
        yield f"not the grid that training rounded it to: {placed.left}"
    elif given is not None:
        yield "training rounded it to this grid"
        yield from _raised(int((element.grid.scale > given.grid.scale).sum()))
        return
    grid, array = element.grid, np.abs(source.value.astype(np.float64))
    others = tuple(i for i in range(array.ndim) if i != grid.axis)
    largest = array.max(axis=others if grid.axis is not None else None, initial=0.0)
    whose = "the largest magnitude"
    if grid.axis is not None:
        whose = f"the largest magnitude in each of {several(largest.size, 'channel')}"
    yield f"a scale is {whose} / {element.hi}, so that 0 is stored as 0:"
    if largest.size <= FEW:
        yield f"  {', '.join(number_text(x) for x in np.atleast_1d(largest))}"
    else:
        low, high = int(largest.argmin()), int(largest.argmax())
        yield (f"  from {number_text(largest[low])} in channel {low} to "
               f"{number_text(largest[high])} in channel {high}")  # fmt: skip
    yield from _raised(int((grid.scale > weight_scale(largest, element.hi)).sum()))


def _raised(raised: int) -> Iterator[str]:
    if raised:
        yield f"  {several(raised, 'scale')} raised, that the bias fits into half of 32 bits"


def _bias(x: Element, weight: Element) -> Iterator[str]:
    """The product of scales that a bias stands on."""
    yield "its scale is the product of those of input and weight, that it may be added to the sums:"
    yield f"  {element_text(x)} of the input, {element_text(weight)} of the weight"
