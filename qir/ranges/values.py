"""What the integers of a value can be, proved, and how they are spread, predicted.

A `Range` carries both through arithmetic: ends that enclose every integer the value can hold, and
the mean and variance of a model in which elements are independent of each other. Each is one
number for the tensor or one for each index of its last axis.
"""

from dataclasses import dataclass

import numpy as np

from ..types import Element, Type

LIMIT = 2**61
"""Ends saturate here: an end of LIMIT stands for that and all beyond, more than 62 bits."""

SPREAD = 36.0
"""Of what is known by its ends alone, width**2 / SPREAD is taken for the variance.

Normally distributed values that end at 3 sigma have that; uniform ones would have 12. What
calibration saw of activations ends at 3 to 4 sigma, and a spread taken too wide warns of clipping
where there is none.
"""


@dataclass(frozen=True, eq=False)
class Range:
    """The integers from lo to hi, i64, with the mean and variance predicted for them, f64.

    All of one shape: 0-d, or 1-d with one entry an index of the last axis. A mean or variance of
    NaN is unknown, and stays so in sums and products.
    """

    lo: np.ndarray
    hi: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    def __repr__(self) -> str:
        lo, hi = self.ends
        return f"<range [{lo}, {hi}]{f' of {self.lo.size} channels' if self.lo.ndim else ''}>"

    @property
    def ends(self) -> tuple[int, int]:
        """The lowest and the highest integer of all channels."""
        return int(self.lo.min()), int(self.hi.max())

    def __add__(self, other) -> "Range":
        other = as_range(other)
        return Range(_total(self.lo, other.lo, -LIMIT), _total(self.hi, other.hi, LIMIT),
                     self.mean + other.mean, self.variance + other.variance)  # fmt: skip

    def __neg__(self) -> "Range":
        return Range(-self.hi, -self.lo, -self.mean, self.variance)

    def __sub__(self, other) -> "Range":
        return self + -as_range(other)

    def __mul__(self, other) -> "Range":
        other = as_range(other)
        corners = [_product(a, b) for a in (self.lo, self.hi) for b in (other.lo, other.hi)]
        m, n, v, w = self.mean, other.mean, self.variance, other.variance
        return Range(np.minimum.reduce(corners), np.maximum.reduce(corners), m * n,
                     v * w + v * n * n + w * m * m)  # fmt: skip

    def times(self, count: int) -> "Range":
        """The sum of `count` integers of this range, independent of each other."""
        return Range(_product(self.lo, np.int64(count)), _product(self.hi, np.int64(count)),
                     self.mean * count, self.variance * count)  # fmt: skip

    def reaching(self, *values: int) -> "Range":
        """The range with some more integers in it, too rare to be predicted."""
        return Range(np.minimum(self.lo, min(values)), np.maximum(self.hi, max(values)),
                     self.mean, self.variance)  # fmt: skip

    def clamped(self, lo: int, hi: int) -> "Range":
        """What is left of the range when what is beyond lo and hi becomes these."""
        return Range(np.clip(self.lo, lo, hi), np.clip(self.hi, lo, hi),
                     np.clip(self.mean, lo, hi), self.variance)  # fmt: skip

    def unpredicted(self) -> "Range":
        """The range with mean and variance unknown."""
        unknown = np.full(self.lo.shape, np.nan)
        return Range(self.lo, self.hi, unknown, unknown)

    def flat(self) -> "Range":
        """The range of all channels together."""
        if not self.lo.ndim:
            return self
        mean = self.mean.mean()
        return Range(self.lo.min(), self.hi.max(), mean,
                     self.variance.mean() + np.square(self.mean - mean).mean())  # fmt: skip

    def channels(self, extent: int) -> "Range":
        """The range with one entry for each of `extent` channels."""
        return Range(*(np.broadcast_to(a, (extent,)) for a in
                       (self.lo, self.hi, self.mean, self.variance)))  # fmt: skip

    def mapped(self, function) -> "Range":
        """The range with `function` applied to each of its four arrays, if it has channels."""
        if not self.lo.ndim:
            return self
        return Range(*map(function, (self.lo, self.hi, self.mean, self.variance)))


def between(lo, hi) -> Range:
    """All integers from lo to hi, of which no more is known."""
    lo, hi = _limited(np.asarray(lo)), _limited(np.asarray(hi))
    low, high = lo.astype(np.float64), hi.astype(np.float64)
    return Range(lo, hi, (low + high) / 2, np.square(high - low) / SPREAD)


def of_element(element: Element | Type) -> Range:
    """All that is stored on a grid; values of both signs are taken to lie around real zero."""
    found = between(element.lo, element.hi)
    zero, margin = float(np.median(element.grid.zero)), (element.hi - element.lo) / 16
    if not element.lo + margin < zero < element.hi - margin:
        return found
    return Range(found.lo, found.hi, np.float64(zero), found.variance)


def as_range(value) -> Range:
    """A range as it is; an integer, or an array of one an index of the last axis, as one."""
    if isinstance(value, Range):
        return value
    exact = np.asarray(value, np.int64)
    return Range(exact, exact, exact.astype(np.float64), np.zeros(exact.shape))


def stored(type: Type) -> Range | None:
    """All that the storage of a type holds; None for reals."""
    if type.is_float:
        return None
    found = between(max(type.dtype.lo, -LIMIT), min(type.dtype.hi, LIMIT))
    if type.grid is not None and not type.grid.dynamic:
        mean = of_element(type).mean
        return Range(found.lo, found.hi, mean, found.variance)
    return found


def of_array(array: np.ndarray) -> Range:
    """The integers of an array, channel by channel."""
    if array.size == 0:
        return as_range(0)
    values = array.reshape(-1, array.shape[-1] if array.ndim else 1)
    lo, hi = _limited(values.min(0)), _limited(values.max(0))
    found = Range(lo, hi, values.mean(0, np.float64), values.var(0, np.float64))
    return found if values.shape[1] > 1 else found.flat()


def union(*ranges: Range) -> Range:
    """All integers of several ranges, each as likely."""
    means = np.broadcast_arrays(*(r.mean for r in ranges))
    mean = np.mean(means, axis=0)
    inner = np.mean(np.broadcast_arrays(*(r.variance for r in ranges)), axis=0)
    return Range(_least(*(r.lo for r in ranges)), _most(*(r.hi for r in ranges)), mean,
                 inner + np.var(means, axis=0))  # fmt: skip


def joined(*parts: Range) -> Range:
    """The ranges of channels one after the other."""
    arrays = zip(*((p.lo, p.hi, p.mean, p.variance) for p in parts), strict=True)
    return Range(*map(np.concatenate, arrays))


def greatest(a: Range, b: Range) -> Range:
    """The greater of two integers."""
    either = union(a, b)
    return Range(np.maximum(a.lo, b.lo), np.maximum(a.hi, b.hi), either.mean, either.variance)


def least(a: Range, b: Range) -> Range:
    """The lesser of two integers."""
    return -greatest(-a, -b)


def width(range: Range) -> int:
    """The fewest bits, sign included, that hold every integer of a range."""
    lo, hi = range.ends
    return max((~lo if lo < 0 else lo).bit_length(), (~hi if hi < 0 else hi).bit_length()) + 1


def fits(range: Range, bits: int) -> bool:
    """Whether so many bits, sign included, hold every integer of a range."""
    return width(range) <= bits


def _least(*arrays) -> np.ndarray:
    return np.minimum.reduce(np.broadcast_arrays(*arrays))


def _most(*arrays) -> np.ndarray:
    return np.maximum.reduce(np.broadcast_arrays(*arrays))


def _limited(values) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype != object:  # Python's integers, which may be beyond 64 bits
        values = values.astype(np.int64, copy=False)
    return np.minimum(np.maximum(values, -LIMIT), LIMIT).astype(np.int64)


def _total(a, b, end: int) -> np.ndarray:
    """The sum of two ends on one side; what is beyond the limit stays there."""
    return np.where((a == end) | (b == end), end, _limited(a + b))


def _product(a, b) -> np.ndarray:
    """The product, saturated; its size is taken from that in f64, which does not overflow."""
    about = np.multiply(a, b, dtype=np.float64)
    with np.errstate(over="ignore"):
        exact = np.multiply(a, b)
    return np.where(np.abs(about) < LIMIT, exact, np.where(about < 0, -LIMIT, LIMIT))
