"""Quantize weights, and leave it to each call to find the grids of what they are multiplied with.

No calibration data are needed, and the results of all ops stay reals.
"""

from typing import Literal

import numpy as np

from qir import journal
from qir.errors import QirError
from qir.graph_pass import graph_pass
from qir.ir import Func, Op, const, derived, kept, transform
from qir.quantizable import FloatKept
from qir.rounding import quantize_array, weight_scale
from qir.selectors import Selector, chooser
from qir.timing import count
from qir.trained import grid_of
from qir.types import DTYPES, Element, Grid

from ..dialects import hybrid, lax, nn, quant

LAYERS = {
    nn.dense.name: hybrid.dense, nn.conv2d.name: hybrid.conv2d,
    nn.depthwise_conv2d.name: hybrid.depthwise_conv2d, nn.lstm.name: hybrid.lstm,
    nn.gru.name: hybrid.gru,
}  # fmt: skip
"""By the float op: what it is with integer weights."""
DEQUANTIZED = (nn.transposed_conv2d.name,)
"""Layers that no kernel computes with integer weights: these are reals again before."""
LOOKUPS = (lax.take.name, lax.gather.name)
"""What reads some rows of a constant: the integers are read, and the rows made reals."""


@graph_pass("float -> mixed", scheme="dynamic_range")
def quantize_dynamic(
    func: Func, *, min_elements: int = 1024,
    weights: Literal["per_channel", "per_tensor"] = "per_channel", where: Selector | None = None,
) -> Func:  # fmt: skip
    """Give layers integer weights, and their inputs an 8-bit grid for each row at each call.

    min_elements: smaller weights stay reals. weights: one scale for each output channel, or one
    for a whole weight. where: the ops it may touch.
    """

    if min_elements < 1:
        raise QirError(f"quantize_dynamic: 'min_elements' is at least 1, found {min_elements}")

    chosen = chooser(func, where)

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        node = kept(op, operands)
        places = _weights(op)
        if not places or not chosen(op):
            return node
        why = _too_small(op, places, min_elements)
        if why is not None:
            journal.note(FloatKept, op, *why)
            return node
        return derived(_with_integers(node, places, weights == "per_channel"), op)

    return transform(func, change)


def _weights(op: Op) -> dict[int, int | None]:
    """The constant f32 weights of an op by operand, each with the axis of its scales."""
    if op.kind in LOOKUPS:
        found = {0: None}
    elif op.kind in LAYERS or op.kind in DEQUANTIZED:
        roles = op.definition.roles(op).operands
        found = {i: role.axis for i, role in enumerate(roles) if role.kind == "weight"}
    else:
        return {}
    constant = all(op.operands[i].is_const and op.operands[i].dtype.name == "f32"
                   and op.operands[i].type.grid is None for i in found)  # fmt: skip
    return found if constant and op.type.is_float else {}


def _too_small(op: Op, places, least: int) -> tuple[str, str] | None:
    for i in places:
        w = op.operands[i]
        if w.type.size < least:
            return f"its weight has {w.type.size} elements", f"min_elements={w.type.size} or less"
        if not np.isfinite(w.value).all():
            return "its weight holds nan or infinity", "finite numbers"
    return None


def _with_integers(op: Op, places: dict[int, int | None], per_channel: bool) -> Op:
    operands = list(op.operands)
    for i, axis in places.items():
        operands[i] = _stored(operands[i], axis if per_channel else None)
        count("weights on a grid")
    if op.kind in LOOKUPS:
        rows = op.definition.build(tuple(operands), op.attributes, location=op.location)
        return quant.dequantize(rows, location=op.location)
    if op.kind in DEQUANTIZED:
        operands = [quant.dequantize(o, location=op.location) if i in places else o
                    for i, o in enumerate(operands)]  # fmt: skip
        return op.definition.build(tuple(operands), op.attributes, location=op.location)
    layer = LAYERS[op.kind]
    if op.kind == nn.lstm.name:
        operands = operands[:6]  # what only gives a grid to the state of an integer cell
    return layer.build(tuple(operands), op.attributes, location=op.location)


def _stored(w: Op, axis: int | None) -> Op:
    """A weight as integers, narrow and symmetric, or on the grid that training gave it."""
    element = grid_of(w)
    if element is None or element.dtype.name != "i8" or element.grid.axis not in (None, axis) or (
            element.grid.zero.any()):  # fmt: skip
        others = tuple(i for i in range(w.type.rank) if i != axis)
        largest = np.abs(w.value).max(axis=others if axis is not None else None, initial=0.0)
        element = Element(DTYPES["i8"], Grid(weight_scale(largest), 0, axis, narrow=True))
    scale, zero = element.grid.expanded(w.type.rank)
    stored = quantize_array(w.value, scale, zero, element.lo, element.hi).astype(np.int8)
    return derived(const(stored, element[w.shape], w.attributes["name"], w.location), w)
