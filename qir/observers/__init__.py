"""Calibration statistics: gathered in one pass, merged, saved as text, solved into ranges."""

from qir.observers.methods import METHODS, options_of, solve
from qir.observers.statistics import (
    BINS,
    MOMENTUM,
    Statistics,
    empty,
    first_bad,
    merge,
    quantile,
    update,
)
from qir.observers.text import from_text, load, save, to_text

__all__ = [
    "BINS",
    "METHODS",
    "MOMENTUM",
    "Statistics",
    "empty",
    "first_bad",
    "from_text",
    "load",
    "merge",
    "options_of",
    "quantile",
    "save",
    "solve",
    "to_text",
    "update",
]
