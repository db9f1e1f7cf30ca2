"""Delta debugging: what of a list is needed for something to fail.

After Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002): their
`ddmin`, of which the reduction to complements alone is kept. Chunks are left out from the whole
list down to single items; for k needed ones of n that is about 2 k log2(n / k) tests.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def minimized(items: Sequence[Item], fails: Callable[[tuple[Item, ...]], bool],
              whole: bool = True) -> tuple[Item, ...]:  # fmt: skip
    """A part of the items that fails, of which no one item can be left out.

    items: which fail; this is not tested. whole: whether leaving out all at once is worth a test.
    Later items are left out before earlier ones.
    """
    kept = tuple(items)
    size = len(kept) if whole else -(-len(kept) // 2)
    while size:
        before = len(kept)
        stop = len(kept)
        while stop > 0:
            shorter = kept[: max(0, stop - size)] + kept[stop:]
            if fails(shorter):
                kept = shorter
            stop -= size
        if size > 1 or len(kept) == before:
            size //= 2
    return kept
