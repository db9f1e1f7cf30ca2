"""Prove that integers fit: interval analysis of a lowered graph, before it runs anywhere.

A graph that passes is proved to: no input makes an accumulator, or an integer that a rescale holds
on the way, outgrow its bits, and the target takes every number of every rescale. An error lists
the ops for which that is not so, or not proved: an interval holds all that inputs reach, and of
operands that depend on each other more. Warnings are predictions: a bias that looks cut off, many
results beyond the ends of their grid. `qir.ranges` tells how intervals are proved, shares
predicted.
"""

import warnings
from collections.abc import Iterator

import numpy as np

from qir.errors import QirError, QirWarning
from qir.graph_pass import Emit, graph_pass
from qir.ir import Func, Op, place_of
from qir.ranges import LIMIT, Range, Register, Span, spans, width
from qir.registry import target_named
from qir.rounding import Rescale
from qir.target import Target

SPLIT = "split the sum, or coarsen the grids of what it multiplies and adds"
DERIVE = "lower it with another rounding, or to a grid of another scale"
I32 = -(2**31), 2**31 - 1
EDGE = 1e-6
"""By which part a bias may be beyond a half that scales were chosen for, as these are f32."""


@graph_pass("any -> any")
def check_ranges(
    func: Func,
    *,
    target: str = "xla",
    accumulator: int | None = None,
    clip_rate: float = 0.25,
    report: bool = False,
    emit: Emit,
) -> Func:
    """Prove that no integer outgrows its bits on a target; QirError lists every op where one may.

    accumulator: bits of an accumulator, sign included, in place of the target's, of sums of 64 bits
    too. clip_rate: warn of
    ops that a larger part of their results is predicted to be cut off from. report: show what each
    op accumulates, the fewest bits that hold it, and the part of its results cut off.
    """
    found = target_named(target)
    _check_options(accumulator, clip_rate)
    bits = accumulator or found.limit("accumulator_bits") or 64
    wide = accumulator or found.limit("wide_accumulator_bits") or bits
    spanned = spans(func)
    if report:
        emit("\n".join(_table(func, spanned, bits)))
    faulty = {op: list(_faults(op, span, found, (bits, wide))) for op, span in spanned.items()}
    faulty = {op: faults for op, faults in faulty.items() if faults}
    for op, span in spanned.items():
        summed = span.accumulators[-1].bits if span.accumulators else 32
        most = min(wide if summed > 32 else bits, summed)
        doubts = [] if span.bias is None else list(_of_bias(span.bias, most))
        if op not in faulty and span.clipped is not None:
            doubts += _of_clipping(np.asarray(span.clipped), clip_rate)
        for doubt in doubts:
            _warn(f"{op.kind} : {op.type}: {doubt}", place_of(op))
    if faulty:
        some = "1 op is" if len(faulty) == 1 else f"{len(faulty)} ops are"
        lines = (line for op, faults in faulty.items() for line in (_named(op), *faults))
        raise QirError(f"{some} beyond the limits of the target '{target}':\n" + "\n".join(lines))
    return func


def _check_options(accumulator: int | None, clip_rate: float) -> None:
    if accumulator is not None and not 2 <= accumulator <= 64:
        raise QirError(f"check_ranges: an accumulator has 2 to 64 bits, found {accumulator}")
    if not 0 <= clip_rate <= 1:
        raise QirError(f"check_ranges: clip_rate is a part between 0 and 1, found {clip_rate:g}")


def _named(op: Op) -> str:
    return f"  {op.kind} : {op.type}  at {place_of(op) or 'an unknown place'}"


def _faults(op: Op, span: Span, target: Target, bits: tuple[int, int]) -> Iterator[str]:
    """A line for each thing that is proved to be wrong with an op: what, and what to do.

    bits: of an accumulator, and of one that has more than 32.
    """
    held = [(each, min(each.bits, bits[each.bits > 32]), SPLIT) for each in span.accumulators]
    held += [(each, each.bits, DERIVE) for each in span.intermediates]
    for register, has, remedy in held:
        needs = width(register.range)
        if needs > has:
            found = f"{register.what} is in [{', '.join(_ends(register))}]"
            yield f"    {found}: {needs} bits of {has}; {remedy}"
    if span.refusal is not None:
        yield f"    some inputs have no result: {span.refusal}; {DERIVE}"
    for number in op.attributes.values():
        if isinstance(number, Rescale):
            yield from _beyond(number, target)


def _beyond(rescale: Rescale, target: Target) -> Iterator[str]:
    """A line for each number of a rescale that the target does not take."""
    start = f"    the {{}} of {rescale.rounding} is {{}}, {target.name} takes {{}}; {DERIVE}"
    most = target.limit("multiplier_bits", rescale.rounding)
    if most is not None and rescale.multiplier is not None:
        largest = int(np.abs(rescale.multiplier.astype(np.int64)).max())
        if largest.bit_length() + 1 > most:
            yield start.format("multiplier", largest, f"{most} bits")
    low, high = target.limit("shift_range", rescale.rounding) or (None, None)
    if low is not None and rescale.shift is not None:
        ends = int(rescale.shift.min()), int(rescale.shift.max())
        if ends[0] < low or ends[1] > high:
            wrong = ends[0] if ends[0] < low else ends[1]
            yield start.format("shift", wrong, f"{low} to {high}")


def _warn(message: str, at: str | None) -> None:
    # Without a registry Python tells every warning, also one like another op's.
    warnings.warn_explicit(QirWarning(message, at=at), QirWarning, __file__, 1)


def _of_bias(bias: Range, bits: int) -> Iterator[str]:
    """What looks wrong with a bias, and what to do."""
    help = "a larger scale of its weights makes the stored bias smaller"
    cut = ((bias.lo == I32[0]) | (bias.hi == I32[1])) & (bits <= 32)
    large = (np.maximum(-bias.lo, bias.hi) > (1 + EDGE) * 2 ** (bits - 2)) & ~cut
    if cut.any():
        yield f"its bias looks cut off at an end of i32{_where(cut)}; {help}"
    if large.any():
        yield f"its bias takes more than half of {bits} bits{_where(large)}; {help}"


def _of_clipping(shares: np.ndarray, clip_rate: float) -> Iterator[str]:
    """What looks wrong with the grid of an op's results, and what to do."""
    if shares.mean() <= clip_rate:
        return
    worst = f", most of all in channel {int(shares.argmax())}" if shares.ndim else ""
    yield (f"{_percent(shares)} of its results are predicted beyond the ends of its grid{worst}; "
           "compare the range it was calibrated to with its values")  # fmt: skip


def _where(channels: np.ndarray) -> str:
    if not channels.ndim:
        return ""
    first = int(channels.argmax())
    return f" in {int(channels.sum())} of {channels.size} channels, the first is {first}"


def _table(func: Func, spanned: dict[Op, Span], bits: int) -> Iterator[str]:
    """What every op accumulates: the interval, the fewest bits, the predicted share cut off."""
    rows = [("op", "at", "holds", "from", "to", "bits", "cut off")]
    for op, span in spanned.items():
        held = span.accumulators or span.intermediates
        if held:
            widest = max(held, key=lambda each: width(each.range))
            rows.append((op.kind, place_of(op) or "-", widest.what, *_ends(widest),
                         str(width(widest.range)), _percent(span.clipped)))  # fmt: skip
    yield f"integers of @{func.name}, in bits with the sign; an accumulator has {bits}:"
    if len(rows) == 1:
        yield "  no op accumulates"
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{n}}" if i < 3 else f"{cell:>{n}}"
                 for i, (cell, n) in enumerate(zip(row, widths, strict=True)))  # fmt: skip
        yield "  " + "  ".join(cells)


def _percent(shares) -> str:
    return "-" if shares is None else f"{100 * float(np.mean(shares)):.1f} %"


def _ends(register: Register) -> tuple[str, str]:
    lo, hi = register.range.ends
    return ("-2**61 or less" if lo == -LIMIT else str(lo),
            "2**61 or more" if hi == LIMIT else str(hi))  # fmt: skip
