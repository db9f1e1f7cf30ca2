"""Weights as integers of 8, 4 or 2 bits that are made real again where they are read."""

import warnings
from typing import Literal

from qir import journal
from qir.decisions import WeightStored
from qir.errors import QirError, QirWarning
from qir.graph_pass import graph_pass
from qir.ir import Func, Op, derived, kept, place_of, transform
from qir.selectors import Selector, chooser
from qir.timing import count
from qir.types import DTYPES, Element

from ...dialects import lax, quant
from .grids import Wish, stored
from .places import Place, places_of


@graph_pass("float -> mixed", scheme="weight_only_i{bits}")
def quantize_weights(
    func: Func,
    *,
    bits: Literal[8, 4, 2] = 8,
    block: Literal[32, 64, 128, 256] | None = None,
    granularity: Literal["per_channel", "per_tensor"] = "per_channel",
    clip: Literal["minmax", "mse", "octav"] = "minmax",
    min_elements: int = 1024,
    where: Selector | None = None,
) -> Func:
    """Store constant weights and tables as integers, read through `quant.dequantize`.

    Weights are the constants that convolutions, products of matrices and recurrent cells multiply
    by, tables those that `lax.take` and `lax.gather` look up rows of. One of fewer than
    `min_elements` elements stays as it is. A grid is symmetric, with a scale for each output
    channel or row, for all of them (`granularity`), or for each `block` of elements along the axis
    that products are summed along; where that axis is no multiple of the block, `granularity`
    holds, and a warning says so. `clip`: the magnitude that the last integer stands for: the
    largest, the one of least squared error among 29 fractions of it, or that of OCTAV. What
    training rounded to a grid stays on it, if it fits into the bits. where: the ops whose weights
    are stored; others that read the same constant read it as it was.
    """
    if min_elements < 1:
        raise QirError(f"quantize_weights: 'min_elements' is at least 1, found {min_elements}")
    wish = Wish(bits, block, granularity == "per_channel", clip)
    new: dict[Op, Op] = {}
    unblocked: list[tuple[Op, str]] = []
    chosen = chooser(func, where)
    for weight, (reader, place) in _weights(func, min_elements, chosen).items():
        made, left = stored(weight, reader, place, wish)
        new[weight] = _read(made, weight)
        journal.note(WeightStored, weight, reader, made, clip, left)
        unblocked += [(reader, left)] if left is not None else []
    _warn(unblocked, granularity, len(new))
    count("weights stored as integers", len(new))

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if where is None:
            return new[op] if op in new else kept(op, operands)
        if chosen(op):
            pairs = zip(op.operands, operands, strict=True)
            operands = tuple(new.get(old, now) for old, now in pairs)
        return kept(op, operands)

    return transform(func, change)


def _weights(func: Func, min_elements: int, chosen) -> dict[Op, tuple[Op, Place]]:
    """Each weight with the op that reads it first, and how."""
    found: dict[Op, tuple[Op, Place]] = {}
    for op in func.ops:
        if not chosen(op):
            continue
        for place in places_of(op):
            weight = op.operands[place.operand]
            if weight.is_const and weight.type.is_float and weight.type.size >= min_elements:
                found.setdefault(weight, (op, place))
    return found


def _read(made: Op, weight: Op) -> Op:
    """The reals of a stored weight, in the storage that the weight had."""
    real = quant.dequantize(made, location=weight.location)
    if weight.dtype != DTYPES["f32"]:
        real = lax.convert(real, to=Element(weight.dtype), location=weight.location)
    for each in (made, real):
        derived(each, weight)
    return real


def _warn(unblocked: list[tuple[Op, str]], granularity: str, total: int) -> None:
    if not unblocked:
        return
    reader, reason = unblocked[0]
    text = (f"{len(unblocked)} of {total} weights have no blocks and are stored {granularity}: "
            f"{reason}")  # fmt: skip
    text += f", and {len(unblocked) - 1} more" if len(unblocked) > 1 else ""
    warnings.warn(QirWarning(text, at=place_of(reader)), stacklevel=2)
