"""What an op's integers span: its result, what it holds on the way, what its clamp cuts off."""

from dataclasses import dataclass, replace

import numpy as np

from .. import rounding
from ..errors import QirError
from ..rounding import Rescale
from ..types import Type
from .normal import Clamped, Normal, clamped
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


def rescaled(
    rescale: Rescale,
    accumulators: tuple[Register, ...],
    type: Type,
    bounds: tuple[int, int],
    intermediates: tuple[Register, ...] = (),
    bias: Range | None = None,
) -> Span:
    """The span of an op that rescales its last accumulator to `type`, clamped to `bounds`."""
    last, held = accumulators[-1], (*accumulators, *intermediates)
    cut = _cut(type, bounds, (last.range, rounding.factors(rescale)))
    if not all(each.fits for each in held):
        return Span(between(*bounds), accumulators, intermediates, _shares(cut, type, bounds), bias)
    storage = np.int32 if last.bits == 32 else np.int64
    ends = [np.stack([last.range.lo, last.range.hi]).astype(storage)]
    if any(number.ndim for number in rescale.fields().values()) and ends[0].ndim == 1:
        ends = [np.repeat(ends[0][:, None], type.shape[-1], 1)]
    found = _finished(rescale, rounding.apply, ends, cut, type, bounds)
    return replace(found, accumulators=accumulators, bias=bias,
                   intermediates=(*intermediates, *found.intermediates))  # fmt: skip


def summed(rescale: Rescale, a: Range, b: Range, type: Type, bounds: tuple[int, int]) -> Span:
    """The span of a weighted sum of two ranges without their zero points."""
    cut = _cut(type, bounds, *zip((a, b), rounding.factors(rescale), strict=True))
    a, b = (np.broadcast_arrays(x.lo, x.hi, a.lo + b.lo)[:2] for x in (a, b))
    ends = [np.stack([a[i] for i in (0, 0, 1, 1)]), np.stack([b[i] for i in (0, 1, 0, 1)])]
    return _finished(rescale, rounding.sum_apply, ends, cut, type, bounds)


def _cut(type: Type, bounds, *parts: tuple[Range, np.ndarray]) -> Clamped:
    """What a clamp predictably makes of the sum of ranges times real factors, less zero points."""
    ends = [np.sort([x.lo * factor, x.hi * factor], axis=0) for x, factor in parts]
    mean = sum(x.mean * factor for x, factor in parts)
    variance = sum(x.variance * np.square(factor) for x, factor in parts)
    total = Normal(mean, variance, (sum(lo for lo, _ in ends), sum(hi for _, hi in ends)))
    return clamped(total, *(bound - int(type.zero) for bound in bounds))


def _finished(rescale, run, ends, cut: Clamped, type: Type, bounds) -> Span:
    """What a contract makes of operands between these ends: every step of it is monotone."""
    anything, shares = between(*bounds), _shares(cut, type, bounds)
    try:
        values = run(rescale, *ends)
    except QirError as error:
        return Span(anything, clipped=shares, refusal=error.message)
    held = tuple(Register(what, between(found.min(0), found.max(0)), bits)
                 for what, found, bits in rounding.held(rescale, *ends))  # fmt: skip
    if not all(each.fits for each in held):
        return Span(anything, intermediates=held, clipped=shares)
    values = rounding.saturate(values, int(type.zero), *bounds).astype(np.int64)
    result = _result(values.min(0), values.max(0), cut, int(type.zero))
    return Span(result, intermediates=held, clipped=shares)


def _result(lo, hi, cut: Clamped, zero: int) -> Range:
    """The proved range of results, with what is predicted of them where anything is."""
    proved = between(lo, hi)
    known = np.isfinite(cut.mean)
    mean = np.where(known, np.clip(cut.mean + zero, lo, hi), proved.mean)
    variance = np.where(known & (lo < hi), cut.variance, proved.variance)
    return Range(*np.broadcast_arrays(proved.lo, proved.hi, mean, variance))


def _shares(cut: Clamped, type: Type, bounds) -> np.ndarray | None:
    """The predicted shares of results beyond the ends of the storage; None if nothing is known.

    A clamp inside the storage is the model's own, and so is an end at real 0 or 6.
    """
    if np.isnan(cut.mean).any():
        return None
    zero, scale = int(type.zero), type.scale.astype(np.float64)
    counts = [bound == end and not _ends_activation((end - zero) * scale)
              for bound, end in zip(bounds, (type.lo, type.hi), strict=True)]  # fmt: skip
    return cut.under * counts[0] + cut.over * counts[1]


def _ends_activation(real: np.ndarray) -> bool:
    return any((np.abs(real - end) <= 1e-6 * end).all() for end in ACTIVATIONS)
