"""Ranges of sums of products with constant weights, from the weights' positive and negative parts.

Over all x in [lo, hi] the sum of w * x is lowest where x is lo under positive weights and hi under
negative ones: sum(max(w, 0)) * lo + sum(min(w, 0)) * hi. The taps of a filter see one channel of
the input, so that its weights are summed over the taps first and the cost is that of reading them.
"""

import numpy as np

from .values import LIMIT, Range, union

EXACT_IN_F64 = 2**53


def dense_taps(w: np.ndarray) -> np.ndarray:
    """A matrix [K,N] as [taps, groups, inputs, outputs]."""
    return w[None, None]


def conv_taps(w: np.ndarray, groups: int = 1) -> np.ndarray:
    """A filter [KH,KW,C/groups,O] as [taps, groups, inputs, outputs]."""
    inner, outputs = w.shape[-2:]
    return w.reshape(-1, inner, groups, outputs // groups).swapaxes(1, 2)


def depthwise_taps(w: np.ndarray) -> np.ndarray:
    """A filter [KH,KW,C,M] as [taps, groups, inputs, outputs], each channel a group."""
    channels, multiplier = w.shape[-2:]
    return w.reshape(-1, channels, 1, multiplier)


def weighted(x: Range, taps: np.ndarray) -> Range:
    """The sums over taps and inputs of x times `taps[T,G,K,O/G]`, one an output."""
    axes = 0 if x.lo.ndim else (0, 2)  # alike inputs: their weights are summed like taps
    positive, total = (np.sum(a, axes, np.int64) for a in (np.maximum(taps, 0), taps))
    squares = np.square(taps, dtype=np.float64).sum(axes)
    if not x.lo.ndim:
        positive, total, squares = (a[:, None] for a in (positive, total, squares))
    negative = total - positive
    lo, hi, mean, variance = (_grouped(a, total.shape) for a in (x.lo, x.hi, x.mean, x.variance))
    predicted = _dot(mean, total.astype(np.float64)), _dot(variance, squares)
    largest = max(_magnitude(lo), _magnitude(hi)) * _magnitude((positive - negative).sum(1))
    if largest >= LIMIT:
        beyond = np.full(predicted[0].shape, LIMIT)
        return Range(-beyond, beyond, *predicted)
    exact = np.float64 if largest < EXACT_IN_F64 else np.int64  # BLAS knows no integers
    lo, hi, positive, negative = (a.astype(exact) for a in (lo, hi, positive, negative))
    lowest = _dot(lo, positive) + _dot(hi, negative)
    highest = _dot(hi, positive) + _dot(lo, negative)
    return Range(lowest.astype(np.int64), highest.astype(np.int64), *predicted)


def transposed(x: Range, w: np.ndarray, strides) -> Range:
    """The sums of a transposed convolution by `w[KH,KW,C,O]`; x reaches 0, as its holes do.

    An output sees the taps of its phase alone, every stride-th one.
    """
    phases = [w[row :: strides[0], column :: strides[1]] for row, column in np.ndindex(*strides)]
    return union(*(weighted(x, conv_taps(w)) for w in phases))


def _grouped(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of the channels of x as [groups, inputs]; the one number of all as it is."""
    return values.reshape(shape[:2]) if values.ndim else np.broadcast_to(values, shape[:2])


def _dot(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`x[G,K]` by `weights[G,K,O/G]`, [O]; 0-d for a single output or none."""
    found = np.matmul(x[:, None, :], weights).reshape(-1)
    return found if found.size > 1 else found.sum()


def _magnitude(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0))
