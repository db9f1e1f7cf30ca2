"""What calibration keeps of one observed value: exact ends, moving averages and a histogram.

The histogram lives on dyadic grids: at exponent e, bin j holds the values x with floor(x / 2**e)
== j. Its window is the bins from that of the minimum to that of the maximum, and e is the least
exponent at which they number at most `BINS` (and at which a double still holds their numbers
exactly). Three facts follow:

* floor(floor(x / 2**e) / 2) == floor(x / 2**(e+1)): coarsening adds bins in pairs and is exact.
* e depends on the minimum and maximum alone and never falls as they spread. So the histogram of a
  stream is a function of the data as a multiset, whatever its order, its batches or its merges.
* At e - 1 the ends are at least `BINS` bins apart, so max - min > (BINS - 1) * 2**(e-1), that is
  2**e < 2 * (max - min) / (BINS - 1). A bin's centre is within half a bin of all it holds, so an
  order statistic read from it is off by less than (max - min) / (BINS - 1) = 1/4095 of the
  range, and a quantile, which interpolates two of them, by no more. The promise of 1/2048 is
  kept with room.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from qir.errors import QirError

BINS = 4096
MOMENTUM = 0.95  # of the moving averages: about the last 20 samples count
LARGEST = float(np.finfo(np.float32).max)
FINEST = -1000  # no bin is narrower than 2**FINEST; f32 needs -203
_CHUNK = 1 << 16  # elements binned at a time, so that the scratch arrays stay in cache


@dataclass(frozen=True, eq=False)
class Statistics:
    """All that calibration remembers of one value; at most 33 KB however much data it saw.

    A sample is one array given to `update`. `counts[i]` is the number of elements in bin
    `start + i` of width `2**exponent`. `ema_*` are the moving averages of the samples' minima and
    maxima, `first_*` those of the first sample, which `merge` needs. `zeros` counts exact zeros.
    """

    samples: int = 0
    elements: int = 0
    zeros: int = 0
    min: float = math.inf
    max: float = -math.inf
    ema_min: float = 0.0
    ema_max: float = 0.0
    first_min: float = 0.0
    first_max: float = 0.0
    exponent: int = FINEST
    start: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statistics) and all(
            np.array_equal(mine, getattr(other, name)) for name, mine in vars(self).items()
        )

    __hash__ = None

    @property
    def width(self) -> float:
        """The width of a bin."""
        return math.ldexp(1.0, self.exponent)

    @property
    def centres(self) -> np.ndarray:
        """The middle of each bin, none of them beyond the minimum or the maximum."""
        middles = (self.start + 0.5 + np.arange(len(self.counts))) * self.width
        return np.clip(middles, self.min, self.max)


def empty() -> Statistics:
    """Statistics that have seen nothing; `merge` with them changes nothing."""
    return Statistics()


def update(stats: Statistics, array: object, name: str | None = None) -> Statistics:
    """Statistics that have also seen `array`, as one sample; an array without elements is none.

    Raises QirError at `name` if the array is not of real numbers or holds a NaN, an infinity or a
    number beyond f32.
    """
    array = _numbers(array, name)
    if array.size == 0:
        return stats
    bad = first_bad(array)
    if bad:
        raise QirError(
            f"holds {bad[1]} at index {list(bad[0])}",
            at=name,
            help=f"calibration needs finite f32 numbers, at most {LARGEST:.4g} in magnitude",
        )
    return merge(stats, _of_sample(array))


def first_bad(array: object) -> tuple[tuple[int, ...], float] | None:
    """The index and value of the first NaN, infinity or number beyond f32, or None."""
    array = _numbers(array, None)
    if array.dtype.kind != "f" or array.size == 0:
        return None
    # A NaN survives min and max, and comparing with it is false: the usual case ends here.
    if float(array.min()) >= -LARGEST and float(array.max()) <= LARGEST:
        return None
    index = np.unravel_index(np.argmin(np.abs(array) <= np.float64(LARGEST)), array.shape)
    return tuple(int(i) for i in index), float(array[index])


def merge(a: Statistics, b: Statistics) -> Statistics:
    """Statistics of the stream of `a` followed by that of `b`.

    Associative, and equal to having streamed everything: exactly, but for the moving averages,
    which agree to rounding. Only these depend on the order. The average over n samples, the
    first of them x1, is m**n * x1 + rest. Continuing from a state s instead replaces x1 by s, so
    it becomes m**n * (s - x1) more than the average of the second stream alone.
    """
    if a.elements == 0 or b.elements == 0:
        return a if b.elements == 0 else b
    exponent, start, stop = _window(a, b)
    counts = np.zeros(stop - start, np.int64)
    _add(counts, a, exponent, start)
    _add(counts, b, exponent, start)
    counts.flags.writeable = False
    ema_min = _continued(a.ema_min, b.first_min, b.ema_min, b.samples)
    ema_max = _continued(a.ema_max, b.first_max, b.ema_max, b.samples)
    return Statistics(
        samples=a.samples + b.samples,
        elements=a.elements + b.elements,
        zeros=a.zeros + b.zeros,
        min=min(a.min, b.min),
        max=max(a.max, b.max),
        ema_min=ema_min,
        ema_max=max(ema_min, ema_max),  # rounding, or an edit, may have crossed them
        first_min=a.first_min,
        first_max=a.first_max,
        exponent=exponent,
        start=start,
        counts=counts,
    )


def quantile(stats: Statistics, q: float) -> float:
    """The q-quantile of all elements, as `np.quantile` defines it, to 1/4095 of max - min."""
    at = min(max(q, 0.0), 1.0) * (stats.elements - 1)
    below = int(at)
    low = _order_statistic(stats, below)
    high = _order_statistic(stats, min(below + 1, stats.elements - 1))
    return low + (at - below) * (high - low)


def _continued(state: float, first: float, ema: float, samples: int) -> float:
    """The average `ema` over some samples, had it begun at `state` before the first of them."""
    moved = ema + MOMENTUM**samples * (state - first)
    return min(max(moved, -LARGEST), LARGEST)


def _order_statistic(stats: Statistics, rank: int) -> float:
    if rank == 0:
        return stats.min
    if rank == stats.elements - 1:
        return stats.max
    bin = int(np.searchsorted(np.cumsum(stats.counts), rank, side="right"))
    return float(stats.centres[bin])


def _numbers(array: object, name: str | None) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "V" and array.dtype.names is None:  # bfloat16 and its like
        try:
            return array.astype(np.float32)
        except (TypeError, ValueError):
            pass
    raise QirError(f"holds {array.dtype}, not real numbers", at=name)


def _of_sample(array: np.ndarray) -> Statistics:
    # Adding 0.0 makes -0.0 positive: the text must not depend on which zero came first.
    low, high = float(array.min()) + 0.0, float(array.max()) + 0.0
    exponent, start, stop = _window_of(low, high)
    flat = array.ravel(order="K")
    counts = np.zeros(stop - start, np.int64)
    scale = math.ldexp(1.0, -exponent)
    for at in range(0, flat.size, _CHUNK):
        bins = flat[at : at + _CHUNK].astype(np.float64)
        bins *= scale
        np.floor(bins, out=bins)
        bins -= start
        counts += np.bincount(bins.astype(np.intp), minlength=len(counts))
    counts.flags.writeable = False
    return Statistics(
        samples=1,
        elements=flat.size,
        zeros=flat.size - int(np.count_nonzero(flat)),
        min=low,
        max=high,
        ema_min=low,
        ema_max=high,
        first_min=low,
        first_max=high,
        exponent=exponent,
        start=start,
        counts=counts,
    )


def _window_of(low: float, high: float) -> tuple[int, int, int]:
    """Exponent, first bin and end of the window of data from `low` to `high`."""
    largest = max(abs(low), abs(high))
    # 54 bits separate even neighbouring doubles; finer bins would not have exact numbers.
    exponent = max(FINEST, math.frexp(largest)[1] - 54) if largest else FINEST
    scale = math.ldexp(1.0, -exponent)
    return _fit(exponent, math.floor(low * scale), math.floor(high * scale))


def _window(a: Statistics, b: Statistics) -> tuple[int, int, int]:
    """Exponent, first bin and end of the window that holds both histograms."""
    exponent = max(a.exponent, b.exponent)
    spans = [
        (s.start >> exponent - s.exponent, s.start + len(s.counts) - 1 >> exponent - s.exponent)
        for s in (a, b)
    ]
    return _fit(exponent, min(s[0] for s in spans), max(s[1] for s in spans))


def _fit(exponent: int, first: int, last: int) -> tuple[int, int, int]:
    """The least coarsening at which the bins `first` to `last` number at most `BINS`."""
    shift = max(0, (last - first).bit_length() - BINS.bit_length() + 1)
    if (last >> shift) - (first >> shift) >= BINS:
        shift += 1
    return exponent + shift, first >> shift, (last >> shift) + 1


def _add(counts: np.ndarray, stats: Statistics, exponent: int, start: int) -> None:
    """Add the histogram of `stats` to `counts`, whose bin 0 is bin `start` at `exponent`."""
    shift = exponent - stats.exponent
    first = stats.start >> shift
    # The first bin of a coarser grid holds only some of its finer ones: count from its own start.
    # A shift beyond 62 bits leaves bins 0 and -1 alone, which capping it leaves as well.
    bins = stats.start + np.arange(len(stats.counts), dtype=np.int64) >> min(shift, 62)
    offsets = bins - first
    sums = np.zeros(int(offsets[-1]) + 1, np.int64)
    np.add.at(sums, offsets, stats.counts)
    counts[first - start : first - start + len(sums)] += sums
