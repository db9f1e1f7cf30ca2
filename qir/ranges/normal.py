"""What a clamp cuts off of integers, and what spread it leaves them: normal distributions.

An accumulator sums many products, so a normal distribution of its mean and variance is taken for
it, cut at the ends that are proved. A clamped value has the moments of the distribution with what
is beyond the bounds moved onto them, as Nagel et al. 2019 have it for relu ("Data-Free Quantization
Through Weight Equalization and Bias Correction", appendix C). Elements are taken to be independent:
where they are not, as neighbours in an image, the spread of their sums is predicted too narrow.
"""

from dataclasses import dataclass

import numpy as np

from ..special import erf

ROUNDING = 1 / 12
"""The variance that rounding to integers adds."""
TINY = 1e-9


@dataclass(frozen=True)
class Normal:
    """A normal distribution of reals that are to be rounded, and the ends it is cut at."""

    mean: np.ndarray
    variance: np.ndarray
    ends: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Clamped:
    """What bounds make of a distribution: the shares beyond them, and the moments of the rest.

    The moments count what is beyond a bound as standing on it.
    """

    under: np.ndarray
    over: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def clamped(x: Normal, lo: int, hi: int) -> Clamped:
    """The distribution of integers rounded from x and clamped to [lo, hi]; NaN stays NaN."""
    deviation = np.sqrt(x.variance + ROUNDING)
    bounds = np.broadcast_arrays(x.ends[0] - 0.5, lo - 0.5, hi + 0.5, x.ends[1] + 0.5, x.mean)[:4]
    z = (np.stack(bounds) - x.mean) / deviation
    first, low, high, last = (1 + erf(z / np.sqrt(2))) / 2  # shares below each bound
    density = np.exp(-np.square(z[1:3]) / 2) / np.sqrt(2 * np.pi)
    inside, (left, right) = high - low, (lo - x.mean, hi - x.mean)
    offset = left * low + right * (1 - high) + deviation * (density[0] - density[1])
    square = np.square(left) * low + np.square(right) * (1 - high)
    square += np.square(deviation) * (inside + z[1] * density[0] - z[2] * density[1])
    whole = np.maximum(last - first, TINY)
    return Clamped(
        np.clip((low - first) / whole, 0, 1),
        np.clip((last - high) / whole, 0, 1),
        x.mean + offset,
        np.maximum(square - np.square(offset), 0),
    )


def weights(entries: np.ndarray, mean, variance) -> np.ndarray:
    """How likely each of some integers is, up to a factor."""
    spread = np.asarray(np.maximum(variance, ROUNDING))[..., None]
    return np.exp(-np.square(entries - np.asarray(mean)[..., None]) / (2 * spread))
