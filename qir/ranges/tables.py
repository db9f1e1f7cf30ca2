"""Ranges of what is looked up in a table."""

import numpy as np

from . import normal
from .values import Range


def looked_up(x: Range, values: np.ndarray, lowest: int) -> Range:
    """The entries that x reaches, exactly; `values[0]` is that of the stored value `lowest`."""
    values = values.astype(np.int64)
    stored = np.arange(values.size) + lowest
    inside = (stored >= np.asarray(x.lo)[..., None]) & (stored <= np.asarray(x.hi)[..., None])
    likely = np.where(inside, normal.weights(stored, x.mean, x.variance), 0.0)
    known = likely.sum(-1, keepdims=True) > 0  # neither NaN nor too far out
    likely = np.where(known, likely, inside)
    likely /= likely.sum(-1, keepdims=True)
    mean = likely @ values.astype(np.float64)
    return Range(
        np.where(inside, values, values.max()).min(-1),
        np.where(inside, values, values.min()).max(-1),
        mean,
        (likely * np.square(values - np.asarray(mean)[..., None])).sum(-1),
    )
