"""Which ops lose most when they are quantized, and how many must not be for a bound to hold.

The loss of an op is measured with that op alone in integers and all else in reals, on sample data.
Left out alone, of many that are quantized, it would be a small difference of two large losses, and
which op is worst would hang on chance; alone, the noise it adds is all there is, and losses of
several add up to about what they lose together (noise of rounding is hardly correlated).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from .drift import Error, difference, together
from .evaluate import Evaluator
from .ir import Func, Op, place_of
from .rounding import real

Arrays = Sequence[np.ndarray]


@dataclass(frozen=True)
class Loss:
    """What a function lost against the one in reals.

    snr: of its worst result, in dB. drop: with labels, the accuracy lost; else the share of rows
    whose largest element is another, of the worst result that has rows, of integers the share of
    elements that differ. None where no result has either.
    """

    snr: float
    drop: float | None

    def __str__(self) -> str:
        said = "no noise" if self.snr == np.inf else f"{self.snr:.1f} dB"
        return said if self.drop is None else f"drop {self.drop:.4g}, {said}"


@dataclass(frozen=True)
class Bounds:
    """What may be lost: a drop at most, a signal-to-noise ratio in dB at least; None for any."""

    max_drop: float | None = None
    min_snr: float | None = None

    def allow(self, loss: Loss) -> bool:
        """Whether a loss is within the bounds."""
        small = self.max_drop is None or (loss.drop or 0.0) <= self.max_drop
        return small and (self.min_snr is None or loss.snr >= self.min_snr)

    def __str__(self) -> str:
        parts = (("max_drop", self.max_drop), ("min_snr", self.min_snr))
        return ", ".join(f"{name}={value:g}" for name, value in parts if value is not None)


@dataclass(frozen=True, eq=False)
class Ranked:
    """Ops that are quantized or not together, the one that computes first, and the loss by them."""

    ops: tuple[Op, ...]
    loss: Loss


@dataclass(frozen=True, eq=False)
class Ranking:
    """An entry of the journal: what every op lost, worst first, and how many were raised.

    to: the scheme that they were raised to. before: the loss of the whole without any raised;
    after: with those that are.
    """

    func: Func
    bounds: Bounds
    rows: tuple[Ranked, ...]
    raised: int
    to: str
    before: Loss
    after: Loss


@dataclass(frozen=True, eq=False)
class Judge:
    """A function in reals with its results on samples, by which others are measured.

    labels: the class of each row of each sample, None where these are not known. Accuracy is that
    of the first result that gives a class for each.
    """

    func: Func
    samples: Sequence[Arrays]
    run: Evaluator
    wanted: Sequence[Arrays]
    labels: Sequence[np.ndarray] | None = None

    @property
    def has_rows(self) -> bool:
        """Whether there can be a drop: some result has rows, or one a class for each label."""
        if self.labels is not None:
            return self.classified is not None
        return any(_classes(np.asarray(x)).size for x in self.wanted[0])

    @property
    def classified(self) -> int | None:
        """The number of the result that gives a class for each label."""
        shape = self.labels[0].shape
        found = (i for i, x in enumerate(self.wanted[0]) if _classes(np.asarray(x)).shape == shape)
        return next(found, None)

    def loss(self, func: Func) -> Loss:
        """What a function of the same inputs and results loses on the samples."""
        count = len(self.func.results)
        errors, differing, rows = [Error()] * count, [0] * count, [0] * count
        for number, (inputs, wanted) in enumerate(zip(self.samples, self.wanted, strict=True)):
            found = self.run(func, inputs)
            for i, (result, x, y) in enumerate(zip(func.results, wanted, found, strict=True)):
                x, y = np.asarray(x), real(result.type, np.asarray(y))
                errors[i] = together(errors[i], difference(x, y, number))
                lost = self._lost(i, number, _classes(x), _classes(y))
                differing[i] += int(lost.sum())
                rows[i] += lost.size
        drops = [n / total for n, total in zip(differing, rows, strict=True) if total]
        return Loss(min((e.snr for e in errors), default=np.inf), max(drops, default=None))

    def _lost(self, result: int, sample: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """For each row 1 where its class is lost, -1 where it is won, 0 where nothing changes."""
        if self.labels is None:
            return (x != y).astype(int)
        if result != self.classified:
            return np.zeros(0, int)
        labels = self.labels[sample]
        return (x == labels).astype(int) - (y == labels)


def judge(func: Func, samples: Sequence[Arrays], run: Evaluator,
          labels: Sequence[np.ndarray] | None = None) -> Judge:  # fmt: skip
    """What measures others by a function in reals."""
    return Judge(func, samples, run, [tuple(run(func, arrays)) for arrays in samples], labels)


def _classes(x: np.ndarray) -> np.ndarray:
    """Where the largest element of each row is; of integers, these themselves."""
    if x.dtype.kind in "iub":
        return x
    if not x.ndim or x.shape[-1] < 2:
        return np.zeros(0, int)
    return x.argmax(axis=-1)


def ranked(units: Sequence[tuple[Op, ...]], alone: Callable[[tuple[Op, ...]], Func],
           judge: Judge) -> tuple[Ranked, ...]:  # fmt: skip
    """The units by what each loses alone in integers, worst first; equal ones in their order."""
    found = [Ranked(unit, judge.loss(alone(unit))) for unit in units]
    return tuple(sorted(found, key=lambda each: each.loss.snr))


def raised_until(rows: Sequence[Ranked], raised: Callable[[tuple[Op, ...]], Func], judge: Judge,
                 bounds: Bounds) -> tuple[int, Loss, Loss]:  # fmt: skip
    """How many of the worst must be in reals for the bounds to hold; the losses without and with.

    Halves what is left to try, as if the loss never grew with the number; the count it gives was
    measured. Where even all are not enough, it is one more than there are.
    """
    losses: dict[int, Loss] = {}

    def loss(count: int) -> Loss:
        if count not in losses:
            ops = reduce(lambda a, b: a + b, (row.ops for row in rows[:count]), ())
            losses[count] = judge.loss(raised(ops))
        return losses[count]

    if bounds.allow(loss(0)):
        return 0, loss(0), loss(0)
    if not bounds.allow(loss(len(rows))):
        return len(rows) + 1, loss(0), loss(len(rows))
    low, high = 0, len(rows)  # `low` is too few, `high` is enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if bounds.allow(loss(middle)) else (middle, high)
    return high, loss(0), loss(high)


def ranking_lines(ranking: Ranking) -> Iterator[str]:
    """What is told of a ranking: every op with its loss, and what was raised."""
    yield f"sensitivity of @{ranking.func.name}, each alone in integers, worst first:"
    for number, row in enumerate(ranking.rows):
        op, more = row.ops[0], len(row.ops) - 1
        and_more = f" and {more} more" if more else ""
        state = f"  raised to {ranking.to}" if number < ranking.raised else ""
        yield (f"  {_decibels(row.loss):>9}  {op.kind} : {op.type}{and_more}, at "
               f"{place_of(op) or 'an unknown place'}{state}")  # fmt: skip
    yield f"  without any raised: {ranking.before}"
    yield f"  with {ranking.raised} of {len(ranking.rows)} raised for {ranking.bounds}: " + str(
        ranking.after
    )


def _decibels(loss: Loss) -> str:
    return "no noise" if loss.snr == np.inf else f"{loss.snr:.1f} dB"
