"""The grid of a weight, and its integers there."""

from dataclasses import dataclass

import numpy as np

from qir.errors import QirError
from qir.ir import Op, const, place_of
from qir.rounding import CLIPS, quantize_array, weight_scale
from qir.trained import grid_of
from qir.types import DTYPES, Element, Grid

from .places import Place


@dataclass(frozen=True)
class Wish:
    """What was asked for: `block` None for none, `clip` a name of `CLIPS`."""

    bits: int
    block: int | None
    per_channel: bool
    clip: str


def stored(weight: Op, reader: Op, place: Place, wish: Wish) -> tuple[Op, str | None]:
    """A weight as a constant of integers, and why it is not in blocks where these were asked for.

    QirError for a weight that is not finite.
    """
    values = np.asarray(weight.value, np.float32)
    if not np.isfinite(values).all():
        raise QirError(f"the weight of {reader.kind} holds nan or infinity", at=place_of(reader),
                       help="quantization needs finite weights")  # fmt: skip
    left, dtype = _unblocked(weight, place, wish), DTYPES[f"i{wish.bits}"]
    element = _trained(weight, values, Element(dtype))
    if element is None:
        block = wish.block if left is None else None
        element = Element(dtype, _grid(values, place, wish, block, dtype.hi))
    else:
        left = None
    scale, zero = element.grid.expanded(weight.type.rank)
    integers = quantize_array(values, scale, zero, element.lo, element.hi).astype(np.int8)
    name = weight.attributes["name"]
    return const(integers, element[weight.shape], name, weight.location), left


def _unblocked(weight: Op, place: Place, wish: Wish) -> str | None:
    extent = weight.shape[place.summed]
    if wish.block is None or extent % wish.block == 0:
        return None
    return (f"blocks of {wish.block} do not fill axis {place.summed} of {weight.type}, "
            "along which its products are summed")  # fmt: skip


def _trained(weight: Op, values: np.ndarray, element: Element) -> Element | None:
    """The grid that training rounded a weight to, where its integers fit into the bits."""
    given = grid_of(weight)
    if given is None:
        return None
    scale, zero = given.grid.expanded(weight.type.rank)
    integers = np.round(values.astype(np.float64) / scale) + zero
    if integers.size and not (element.lo <= integers.min() and integers.max() <= element.hi):
        return None
    return Element(element.dtype, Grid(scale=given.grid.scale, zero=given.grid.zero,
                                       axis=given.grid.axis))  # fmt: skip


def _grid(values: np.ndarray, place: Place, wish: Wish, block: int | None, hi: int) -> Grid:
    """A symmetric grid with a scale for each block or channel, or one for all."""
    if block is not None:
        axis = place.summed
        parts = (values.shape[axis] // block, block)
        rows = np.moveaxis(
            values.reshape(*values.shape[:axis], *parts, *values.shape[axis + 1 :]), axis + 1, -1
        )
    elif wish.per_channel:
        axis = place.channels
        rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    else:
        axis, rows = None, values.reshape(1, -1)
    shape = rows.shape[:-1] if axis is not None else ()
    flat = np.ascontiguousarray(rows).reshape(-1, rows.shape[-1])
    scale = weight_scale(CLIPS[wish.clip](flat, hi), hi).reshape(shape)
    return Grid(scale, 0, axis, block, narrow=True)
