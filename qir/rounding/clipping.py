"""Where symmetric weights are clipped: their largest magnitude, or less for a finer step.

Every function takes rows of weights, each of which gets a scale of its own, and gives for each row
the magnitude that the last stored value `hi` stands for.
"""

from collections.abc import Callable

import numpy as np

from .grids import NEAR_ZERO

SEARCH = ((1 / 20, range(-19, 0)), (1 / 100, (-4, -3, -2, -1, 1, 2, 3, 4)))
"""`mse` goes so many steps of this length from the best fraction so far, which is 1 at first."""
STEPS = 30
"""`octav` stops after so many steps of Newton's method; it takes 3 to 12."""

Clip = Callable[[np.ndarray, int], np.ndarray]


def minmax(rows: np.ndarray, hi: int) -> np.ndarray:
    """The largest magnitude: nothing is clipped."""
    return np.abs(rows).max(axis=1, initial=0.0)


def mse(rows: np.ndarray, hi: int) -> np.ndarray:
    """Of 28 fractions of the largest magnitude, and 1, the one whose squared error is least.

    Every twentieth first, then the hundredths around the best of them. It never costs more than
    `minmax`.
    """
    largest = minmax(rows, hi)
    best, least = np.ones(len(rows)), _error(rows, largest, hi)
    for step, counts in SEARCH:
        centre = best
        for count in counts:
            fraction = np.clip(centre + count * step, 1 / 100, 1)
            error = _error(rows, largest * fraction, hi)
            best = np.where(error < least, fraction, best)
            least = np.minimum(error, least)
    return largest * best


def _error(rows: np.ndarray, clip: np.ndarray, hi: int) -> np.ndarray:
    """The squared error of each row on the grid that reaches to its clip."""
    scale = (np.maximum(clip, NEAR_ZERO / 2) / hi).astype(np.float32)[:, None]
    rounded = np.clip(np.rint(rows / scale), -hi, hi) * scale
    return np.square(rows - rounded, dtype=np.float32).sum(axis=1, dtype=np.float64)


def octav(rows: np.ndarray, hi: int) -> np.ndarray:
    """The clip of least expected squared error, by the Newton recursion of OCTAV.

    Sakr et al., Optimal Clipping and Magnitude-aware Differentiation for Improved
    Quantization-aware Training (ICML 2022, arXiv:2206.06501): what lies beyond the clip s costs its
    distance, the rest the noise of a step, s^2 / (12 hi^2) here. The recursion starts at the mean
    magnitude. Where nothing lies beyond, the largest magnitude is the clip.
    """
    size = np.abs(rows)
    largest = size.max(axis=1, initial=0.0).astype(np.float64)
    present = np.maximum((size > 0).sum(axis=1), 1)
    clip = size.sum(axis=1, dtype=np.float64) / present
    for _ in range(STEPS):
        beyond = size > clip[:, None]
        outside = beyond.sum(axis=1)
        inside = present - outside
        total = np.where(beyond, size, 0).sum(axis=1, dtype=np.float64)
        weight = inside / (12.0 * hi * hi) + outside
        new = np.where(outside > 0, total / np.maximum(weight, 1e-30), largest)
        if np.allclose(new, clip, rtol=1e-5, atol=0):
            break
        clip = new
    return np.minimum(clip, largest)


CLIPS: dict[str, Clip] = {"minmax": minmax, "mse": mse, "octav": octav}
"""By the name that an option has for it."""
