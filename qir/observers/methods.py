"""How statistics become a range: one function a method, each with its options as keywords."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qir.errors import QirError, suggestion
from qir.observers.statistics import Statistics, quantile

Range = tuple[float, float]

_GAIN = 0.99  # mse leaves the full range only for an error below this part of its own
_OCTAVES = 12  # a range shrinks to 2**-12 of itself at most: one bin
_TINY = 1e-300  # below it steps would underflow


@dataclass(frozen=True)
class Grid:
    """The integers `lo` to `hi` a range is to be mapped to, and whether 0 is in their middle."""

    lo: int
    hi: int
    symmetric: bool

    def include_zero(self, low: float, high: float) -> Range:
        low, high = min(low, 0.0), max(high, 0.0)
        if self.symmetric:
            high = max(-low, high)
            low = 0.0 - high
        return low, high

    def scale(self, low: float, high: float) -> tuple[float, int, int]:
        """The step of the range, and its first and last level counted from the level of zero."""
        if self.symmetric:
            middle = (self.lo + self.hi + 1) // 2
            step = high / min(self.hi - middle, middle - self.lo)
            return step, self.lo - middle, self.hi - middle
        step = (high - low) / (self.hi - self.lo)
        first = round(low / step)
        return step, first, first + self.hi - self.lo


def solve(
    stats: Statistics,
    method: str = "minmax",
    *,
    lo: int = -128,
    hi: int = 127,
    symmetric: bool = False,
    **options: object,
) -> Range:
    """The range [rmin, rmax] a method finds for a value; it always includes zero.

    `lo` and `hi` are the ends of the integer grid it is for; with `symmetric`, rmin == -rmax.
    `options` are the keywords of the method. Raises QirError for an unknown method or option, an
    option of the wrong type or value, and statistics that have seen no data.
    """
    if method not in METHODS:
        raise QirError(f"unknown method '{method}'", help=suggestion(str(method), METHODS))
    if stats.elements == 0:
        raise QirError("no data was observed, so there is no range", help="run it on samples first")
    if not lo < hi or symmetric and hi - lo < 2:
        raise QirError(f"the integers from {lo} to {hi} are no grid to quantize to")
    known = options_of(method)
    for name, value in options.items():
        if name not in known:
            raise QirError(f"{method} has no option '{name}'", help=suggestion(name, known))
        wanted = type(known[name])
        if isinstance(value, bool) or not isinstance(value, (int, wanted)):
            raise QirError(f"{method} option {name}={value!r} is not a {wanted.__name__}")
    grid = Grid(lo, hi, symmetric)
    low, high = METHODS[method](stats, grid, **options)
    return grid.include_zero(float(low), float(high))


def options_of(method: str) -> dict[str, object]:
    """The options of a method with their defaults."""
    parameters = inspect.signature(METHODS[method]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def minmax(stats: Statistics, grid: Grid) -> Range:
    """The least and the greatest element."""
    return stats.min, stats.max


def ema(stats: Statistics, grid: Grid) -> Range:
    """Moving averages of the samples' minima and maxima (Jacob et al. 2018, arXiv:1712.05877)."""
    return stats.ema_min, stats.ema_max


def percentile(stats: Statistics, grid: Grid, *, keep: float = 0.9999) -> Range:
    """The middle part `keep` of the elements, the rest cut in equal parts from both tails.

    Wu et al. 2020, arXiv:2004.09602, section 4.2, who cut the magnitude; on a one-sided value the
    lower cut does nothing, since zero stays in the range.
    """
    if not 0 < keep <= 1:
        raise QirError(f"percentile option keep={keep} is not in (0, 1]", help="such as keep=0.999")
    cut = (1 - keep) / 2
    return quantile(stats, cut), quantile(stats, 1 - cut)


def mse(stats: Statistics, grid: Grid) -> Range:
    """The range of least mean squared error on its own grid, clipping and rounding both counted.

    Nagel et al. 2021, arXiv:2106.08295, section 3.1, with both ends searched. An element counts as
    the centre of its bin; where bins are wider than steps that would be a false precision, and
    rounding costs step**2 / 12. Exact zeros cost nothing on any grid. The range is left as it is
    unless a shrunk one is better by 1 %, since the histogram cannot tell less.
    """
    centres, counts = _nonzero_bins(stats)

    def error(low: float, high: float) -> float:
        step, first, last = grid.scale(low, high)
        scaled = centres / step
        levels = np.rint(scaled)
        squares = np.square(scaled - np.clip(levels, first, last))
        if stats.width >= step:
            squares[(levels >= first) & (levels <= last)] = 1 / 12
        return float(squares @ counts) * step * step

    full = grid.include_zero(stats.min, stats.max)
    shrunk = _least(error, full, grid, len(counts))
    return shrunk if shrunk == full or error(*shrunk) < _GAIN * error(*full) else full


def entropy(stats: Statistics, grid: Grid) -> Range:
    """The range whose quantized distribution has the least KL divergence from the real one.

    Migacz, "8-bit Inference with TensorRT", GTC 2017: P is the histogram inside the range, with
    what lies outside added to its end bins; Q is the histogram inside, averaged over the bins of
    each level that are not empty, and lacks what lies outside. As there, no step is narrower
    than a bin. Here both ends are searched, and levels are those of the grid at hand. Exact
    zeros, the spike a relu leaves, are left out of both: every grid has zero, so they say
    nothing about it, and would outweigh the rest of their level. End bins are the outermost ones
    in range that are not empty, so no smoothing is needed; a range that leaves more outside than
    inside is none, for all elements in one end bin would diverge by nothing.

    Averaging costs a flat histogram nothing, so outliers beside one stay in the range: there,
    percentile or mse is the better choice.
    """
    centres, counts = _nonzero_bins(stats)
    total = counts.sum()
    ends = np.concatenate([[0], np.cumsum(counts)])

    def divergence(low: float, high: float) -> float:
        step, first, last = grid.scale(low, high)
        start, stop = np.searchsorted(centres, [(first - 0.5) * step, (last + 0.5) * step])
        if step < stats.width or 2 * (ends[stop] - ends[start]) < total:
            return math.inf
        inside = counts[start:stop]
        levels = np.clip(np.rint(centres[start:stop] / step).astype(np.intp) - first, 0, None)
        averages = np.bincount(levels, inside) / np.maximum(np.bincount(levels), 1)
        p = inside.copy()
        p[0] += ends[start]
        p[-1] += total - ends[stop]
        return float(p @ np.log(p / averages[levels])) / total + math.log(inside.sum() / total)

    return _least(divergence, grid.include_zero(stats.min, stats.max), grid, len(counts))


METHODS: dict[str, Callable[..., Range]] = {
    method.__name__: method for method in (minmax, ema, percentile, entropy, mse)
}


def _nonzero_bins(stats: Statistics) -> tuple[np.ndarray, np.ndarray]:
    """Centres and counts of the bins that are not empty, exact zeros left out."""
    counts = stats.counts.astype(np.float64)
    if stats.zeros:
        counts[-stats.start] -= stats.zeros
    used = np.flatnonzero(counts > 0)
    return stats.centres[used], counts[used]


def _least(cost: Callable[[float, float], float], full: Range, grid: Grid, bins: int) -> Range:
    """The range of least cost among `full` with each end shrunk by a power of two, whole or broken.

    Every pair of whole powers down to 2**-12 is tried, then the neighbours of the best at steps
    halved five times. Of equal costs the wider range wins.
    """
    low, high = full
    if high - low < _TINY or bins == 0:
        return full
    tried: dict[tuple[float, float], float] = {}

    def try_powers(down: float, up: float) -> None:
        if (down, up) not in tried and min(down, up) >= 0:
            tried[down, up] = cost(low * 2.0**-down, high * 2.0**-up)

    def neighbours(down: float, up: float, steps: list[float]) -> None:
        if grid.symmetric:
            for a in steps:
                try_powers(down + a, down + a)
            return
        for a in steps if low else [0.0]:
            for b in steps if high else [0.0]:
                try_powers(down + a, up + b)

    neighbours(0.0, 0.0, [float(power) for power in range(_OCTAVES + 1)])
    for halving in range(1, 6):
        step = 2.0**-halving
        best = min(tried, key=lambda powers: (tried[powers], sum(powers)))
        neighbours(*best, [-step, 0.0, step])
    down, up = min(tried, key=lambda powers: (tried[powers], sum(powers)))
    return low * 2.0**-down, high * 2.0**-up
