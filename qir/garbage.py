"""Pausing Python's garbage collector while many objects are made that all live."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing inside the block.

    Each full collection visits every op of a graph, so that a pass over n ops would pay for n
    visits many times over; a third of the time of parsing goes there.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
