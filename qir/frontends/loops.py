"""Loops written out step by step: parts of sequences, and sequences of parts."""

from collections.abc import Sequence

import numpy as np

from qir.dialects import lax

from ..errors import Declined
from ..ir import Op
from .values import MISSING, Known, Missing, Value, located, node_of

STEPS = 1024
"""Steps of the longest loop that is written out."""


def at_most(steps: int) -> None:
    """Decline a loop that is too long to be written out."""
    if steps > STEPS:
        raise Declined(f"a loop of {steps} steps, of {STEPS} at most")


def part(value: Value, index: int, location: str) -> Value:
    """The slice of a sequence, along its first axis, at a place."""
    if isinstance(value, Missing):
        return MISSING
    if isinstance(value, Known):
        return Known(np.asarray(value.array)[index], value.name)
    rest = value.shape[1:]
    row = lax.slice(value, start=(index, *(0,) * len(rest)), limit=(index + 1, *rest))
    found = lax.reshape(row, shape=rest)
    located([found], [value], location)
    return found


def stacked(parts: Sequence[Value], made: dict[Known, Op], location: str) -> Value:
    """The sequence that these are the slices of, along a first axis."""
    if any(isinstance(each, Missing) for each in parts):
        return MISSING
    if all(isinstance(each, Known) for each in parts):
        return Known(np.stack([np.asarray(each.array) for each in parts]))
    rows = [node_of(each, made, location) for each in parts]
    found = lax.concatenate(*(lax.reshape(row, shape=(1, *row.shape)) for row in rows), axis=0)
    located([found], rows, location)
    return found
