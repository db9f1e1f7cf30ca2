"""Two graphs compared: which op of one is which of the other, and what became of each."""

from .match import matched
from .merge import ADDED, CHANGED, CHANGES, KEPT, REMOVED, Difference, Entry, difference
from .text import diff_text

__all__ = [
    "ADDED", "CHANGED", "CHANGES", "KEPT", "REMOVED", "Difference", "Entry", "diff_text",
    "difference", "matched",
]  # fmt: skip
