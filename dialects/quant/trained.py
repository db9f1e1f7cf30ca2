"""What a rounding of training says of grids: the one that an 8-bit integer form can obey."""

import numpy as np

from qir.ir import Op, const
from qir.rounding import activation_grid, weight_scale
from qir.trained import with_one_zero
from qir.types import DTYPES, Element

from .fake import fake_quant, fake_quant_per_channel, levels_of, quantize_and_dequantize, ranges_of

FAKE = (fake_quant.name, fake_quant_per_channel.name, quantize_and_dequantize.name)
"""The ops that round as training did."""


def on_levels(op: Op) -> Element | None:
    """The levels of a rounding of training as integers of 8 bits; None where they have no such.

    A range that is computed has none, nor has one of more than 8 bits; fewer bits use a part of
    the integers.
    """
    a, found = op.attributes, ranges_of(op)
    if a["bits"] > 8 or found is None or not all(np.isfinite(end).all() for end in found):
        return None
    levels = levels_of(op, *found)
    usable = np.isfinite(levels.step) & (levels.step > 0) & ~levels.empty
    if not usable.all() and a.get("axis") is None:
        return None
    step = np.where(usable, levels.step, weight_scale(0.0))
    zero = np.where(usable, levels.zero, 2 ** (a["bits"] - 1)) - 2 ** (a["bits"] - 1)
    if op.kind == quantize_and_dequantize.name and a["signed"]:
        zero = np.zeros_like(step)
    zero = np.broadcast_to(zero, step.shape)
    axis = a.get("axis")
    step, zero = (each.reshape(-1) if axis is not None else each for each in (step, zero))
    narrow = a["narrow"] and a["bits"] == 8 and a.get("signed", True)
    return Element(DTYPES["i8"], with_one_zero(step, zero, axis, narrow))


def ends(op: Op) -> tuple[float, float] | None:
    """The range whose 8-bit grid of an activation is that of a rounding of training.

    None where there is none: of other widths, along an axis, of a range that is computed, or that
    bounds nothing. A range that leaves out the lowest level is given that level, so that the step
    stays the same.
    """
    bounded = op.attributes["bits"] == 8 and op.attributes.get("clamp", True)
    element = on_levels(op) if bounded else None
    if element is None or not element.grid.per_tensor:
        return None
    grid = np.float32(element.grid.scale), int(element.grid.zero)
    exact = tuple((stored - grid[1]) * np.float64(grid[0]) for stored in (-128, 127))
    short = tuple(map(np.float32, exact))
    lo, hi = short if activation_grid(*short) == grid else exact
    return float(lo), float(hi)


def fixed(op: Op) -> Op:
    """A rounding of a constant as the constant that it gives, which keeps the grid it is on."""
    source = op.operands[0]
    value = op.definition.evaluate(op, *[o.value for o in op.operands])
    return const(value, op.type, source.attributes["name"], source.location, on_levels(op))
