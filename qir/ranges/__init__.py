"""Ranges of integers: what every value and every accumulator of a graph can hold.

Each op states beside its typing and meaning what it makes of the ranges of its operands;
`spans(func)` walks a function with that. Ends of ranges are proved, shares and spreads predicted.
"""

from .analysis import over_axes, spans
from .spans import Register, Span, rescaled, summed
from .sums import conv_taps, dense_taps, depthwise_taps, transposed, weighted
from .tables import looked_up
from .values import (
    LIMIT,
    Range,
    as_range,
    between,
    fits,
    greatest,
    joined,
    least,
    of_array,
    of_element,
    stored,
    union,
    width,
)

__all__ = [
    "LIMIT", "Range", "Register", "Span", "as_range", "between", "conv_taps", "dense_taps",
    "depthwise_taps", "fits", "greatest", "joined", "least", "looked_up", "of_array", "of_element",
    "over_axes", "rescaled", "spans", "stored", "summed", "transposed", "union", "weighted",
    "width",
]  # fmt: skip
