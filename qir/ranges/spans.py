"""What an op's integers span: its result, what it holds on the way, what its clamp cuts off."""

from dataclasses import dataclass, replace

import numpy as np

from .. import rounding
from ..errors import QirError
from ..rounding import Rescale
from ..types import Type
from . import normal
from .values import Range, between, fits

ACTIVATIONS = (0.0, 6.0)
"""The reals at which relu and relu6 end: a result that stops there is what the model wants."""


@dataclass(frozen=True)
class Register:
    """Integers that an op holds on the way: what they are, their range, the bits it has for them.

    What outgrows its bits is cut to them, as two's complement has it; sums that do so on the way
    and come back are right, so the range of a sum is that of its end.
    """

    what: str
    range: Range
    bits: int = 32

    @property
    def fits(self) -> bool:
        return fits(self.range, self.bits)


@dataclass(frozen=True)
class Span:
    """What is known of the integers of one op.

    result: the range of its value, one for each of several, None for reals. accumulators: what it
    sums up. intermediates: what else has to fit into its bits. clipped: the predicted share of
    results, channel by channel, that the ends of the storage cut off. bias: what is added to sums
    of products. refusal: why some operands have no result at all.
    """

    result: Range | tuple | None
    accumulators: tuple[Register, ...] = ()
    intermediates: tuple[Register, ...] = ()
    clipped: np.ndarray | None = None
    bias: Range | None = None
    refusal: str | None = None


@dataclass(frozen=True)
class Prediction:
    """A normal distribution in steps of a result's grid, and the ends it is cut at."""

    mean: np.ndarray
    variance: np.ndarray
    ends: tuple[np.ndarray, np.ndarray]


def rescaled(
    rescale: Rescale,
    accumulators: tuple[Register, ...],
    type: Type,
    bounds: tuple[int, int],
    intermediates: tuple[Register, ...] = (),
    bias: Range | None = None,
) -> Span:
    """The span of an op that rescales its last accumulator to `type`, clamped to `bounds`."""
    last = accumulators[-1]
    held = (*accumulators, *intermediates)
    predicted = _predicted((last.range, rounding.factors(rescale)))
    if not all(each.fits for each in held):
        return Span(between(*bounds), accumulators, intermediates, bias=bias,
                    clipped=_clipped(predicted, type, bounds))  # fmt: skip
    storage = np.int32 if last.bits == 32 else np.int64
    ends = [np.stack([last.range.lo, last.range.hi]).astype(storage)]
    if any(number.ndim for number in rescale.fields().values()) and ends[0].ndim == 1:
        ends = [np.repeat(ends[0][:, None], type.shape[-1], 1)]
    found = _finished(rescale, rounding.apply, ends, predicted, type, bounds)
    return replace(found, accumulators=accumulators, bias=bias,
                   intermediates=(*intermediates, *found.intermediates))  # fmt: skip


def summed(rescale: Rescale, a: Range, b: Range, type: Type, bounds) -> Span:
    """The span of a weighted sum of two ranges without their zero points."""
    predicted = _predicted(*zip((a, b), rounding.factors(rescale), strict=True))
    a, b = (np.broadcast_arrays(x.lo, x.hi, a.lo + b.lo)[:2] for x in (a, b))
    ends = [np.stack([a[i] for i in (0, 0, 1, 1)]), np.stack([b[i] for i in (0, 1, 0, 1)])]
    return _finished(rescale, rounding.sum_apply, ends, predicted, type, bounds)


def _finished(rescale, run, ends, predicted: Prediction, type: Type, bounds) -> Span:
    """What a contract makes of operands between these ends: every step of it is monotone."""
    lo, hi = bounds
    clipped = _clipped(predicted, type, bounds)
    try:
        values = run(rescale, *ends)
    except QirError as error:
        return Span(between(lo, hi), clipped=clipped, refusal=error.message)
    held = tuple(Register(what, between(found.min(0), found.max(0)), bits)
                 for what, found, bits in rounding.held(rescale, *ends))  # fmt: skip
    if not all(each.fits for each in held):
        return Span(between(lo, hi), intermediates=held, clipped=clipped)
    beyond = values.astype(np.int64) + int(type.zero)
    if not (beyond < lo).any() and not (beyond > hi).any():
        clipped = None if clipped is None else np.zeros_like(clipped)
    values = rounding.saturate(values, int(type.zero), lo, hi).astype(np.int64)
    result = _shaped(values.min(0), values.max(0), predicted, type, bounds)
    return Span(result, intermediates=held, clipped=clipped)


def _predicted(*parts: tuple[Range, np.ndarray]) -> Prediction:
    """The normal distribution of the sum of ranges times real factors, before it is rounded."""
    ends = [np.sort([x.lo * f, x.hi * f], axis=0) for x, f in parts]
    return Prediction(
        sum(x.mean * f for x, f in parts),
        sum(x.variance * np.square(f) for x, f in parts) + normal.ROUNDING,
        (sum(lo for lo, _ in ends) - 0.5, sum(hi for _, hi in ends) + 0.5),
    )


def _shaped(lo, hi, predicted: Prediction, type: Type, bounds) -> Range:
    """The proved range of results, with the moments that the clamp leaves of the predicted ones."""
    zero = int(type.zero)
    mean, variance = normal.clamped(predicted.mean, predicted.variance, bounds[0] - zero,
                                    bounds[1] - zero)  # fmt: skip
    plain = between(lo, hi)
    known = np.isfinite(mean) & np.isfinite(variance)
    mean = np.where(known, np.clip(mean + zero, lo, hi), plain.mean)
    variance = np.where(known & (lo < hi), variance, np.where(lo < hi, plain.variance, 0.0))
    return Range(*np.broadcast_arrays(plain.lo, plain.hi, mean, variance))


def _clipped(predicted: Prediction, type: Type, bounds) -> np.ndarray | None:
    """The predicted share of results beyond the ends of the storage, None where nothing is known.

    A clamp inside the storage is the model's own, and so is an end at real 0 or 6.
    """
    if np.isnan(predicted.mean).any() or np.isnan(predicted.variance).any():
        return None
    zero, scale = int(type.zero), type.scale.astype(np.float64)
    low, high = type.lo - zero, type.hi - zero
    under, over = normal.beyond(low - 0.5, high + 0.5, predicted.mean, predicted.variance,
                                predicted.ends)  # fmt: skip
    counts_under = bounds[0] == type.lo and not _ends_activation(low * scale)
    counts_over = bounds[1] == type.hi and not _ends_activation(high * scale)
    return under * counts_under + over * counts_over


def _ends_activation(real: np.ndarray) -> bool:
    return any(np.allclose(real, end, rtol=1e-6, atol=0) for end in ACTIVATIONS)
