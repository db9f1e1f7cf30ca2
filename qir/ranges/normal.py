"""Predicted shares beyond a bound, and what a clamp leaves of a spread: normal distributions.

An accumulator sums many products, so a normal distribution of its mean and variance is taken for
it, and a clamped value has the moments of that distribution with what is beyond the bounds moved
onto them; Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction", appendix C, do the same for relu. Elements are taken to be independent: where they
are not, as neighbours in an image, the spread of their sums is predicted too narrow.
"""

import numpy as np

from ..special import erf

ROUNDING = 1 / 12
"""The variance that rounding to integers adds."""
TINY = 1e-9


def below(bound, mean, deviation) -> np.ndarray:
    """The share of a normal distribution below a bound."""
    return (1 + erf(np.asarray((bound - mean) / deviation) / np.sqrt(2))) / 2


def beyond(lo, hi, mean, variance, ends) -> tuple[np.ndarray, np.ndarray]:
    """The shares below lo and above hi of a normal distribution cut at `ends`, a pair."""
    deviation = np.sqrt(variance)
    shares = [below(bound, mean, deviation) for bound in (ends[0], lo, hi, ends[1])]
    whole = np.maximum(shares[3] - shares[0], TINY)
    return tuple(np.clip(part / whole, 0, 1) for part in (shares[1] - shares[0],
                                                          shares[3] - shares[2]))  # fmt: skip


def clamped(mean, variance, lo, hi) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of a normal distribution when what is beyond lo and hi becomes these."""
    deviation = np.sqrt(variance)
    under, over = below(lo, mean, deviation), 1 - below(hi, mean, deviation)
    inside = 1 - under - over
    low, high = (lo - mean) / deviation, (hi - mean) / deviation
    at_low, at_high = (np.exp(-np.square(z) / 2) / np.sqrt(2 * np.pi) for z in (low, high))
    moved = mean * inside + deviation * (at_low - at_high)
    first = lo * under + hi * over + moved
    # The second moment around the old mean, so that large means lose no digits.
    second = variance * (inside + low * at_low - high * at_high)
    second += np.square(lo - mean) * under + np.square(hi - mean) * over
    return first, np.maximum(second - np.square(first - mean), 0)


def weights(entries: np.ndarray, mean, variance) -> np.ndarray:
    """How likely each of some integers is, up to a factor."""
    spread = np.asarray(np.maximum(variance, ROUNDING))[..., None]
    return np.exp(-np.square(entries - np.asarray(mean)[..., None]) / (2 * spread))
