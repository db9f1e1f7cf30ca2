"""How far the steps of a pipeline carry the results of a function from what they were.

Every step's function is run on the same samples as the function before it and as the original, and
the results are compared as the reals they stand for: by their largest difference, and by their
signal-to-noise ratio, 10 * log10(sum of squares / sum of squared differences) in dB.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf, log10

import numpy as np

from .arrays import result_labels
from .errors import QirError
from .evaluate import Evaluator
from .ir import Func, Op
from .pipeline import Done, Listener
from .rounding import quantize_array, real
from .samples import filled_batches
from .types import Type

ROOM = 2**27
"""Bytes of results kept of one function; those of further samples are computed anew."""


@dataclass(frozen=True)
class Error:
    """How far one result is from what it should be, over all samples.

    largest: the largest absolute difference. signal, noise: sums of squares of what should be and
    of the differences. strange: the first place where a NaN or an infinity came or went, in words;
    then largest and noise are infinite.
    """

    largest: float = 0.0
    signal: float = 0.0
    noise: float = 0.0
    strange: str | None = None

    @property
    def snr(self) -> float:
        """The signal-to-noise ratio in dB, inf where nothing differs."""
        if self.noise == 0:
            return inf
        if self.signal == 0 or self.noise == inf:
            return -inf
        return 10 * log10(self.signal / self.noise)

    def __str__(self) -> str:
        if self.noise == self.largest == 0:
            return "no error"
        text = f"{self.snr:.1f} dB, max error {self.largest:.3g}"
        return f"{text}, {self.strange}" if self.strange else text


@dataclass(frozen=True)
class Budget:
    """How much error is allowed.

    snr: dB at least. largest: absolute difference at most. step: the pass whose own addition it
    is about (`any`: every pass), None for all that has come together since the original. result:
    the one it is about, None for each of them.
    """

    snr: float | None = None
    largest: float | None = None
    step: str | None = None
    result: str | None = None

    def allows(self, error: Error) -> bool:
        """Whether an error is within the budget; NaN and infinities that came or went never are."""
        if error.strange is not None:
            return False
        quiet = self.snr is None or error.snr >= self.snr
        return quiet and (self.largest is None or error.largest <= self.largest)

    def __str__(self) -> str:
        parts = (("snr", self.snr), ("max", self.largest), ("result", self.result))
        inside = ", ".join(f"{name}={value if name == 'result' else f'{value:g}'}"
                           for name, value in parts if value is not None)  # fmt: skip
        return f"{self.step}({inside})" if self.step else inside


@dataclass(frozen=True, eq=False)
class Probe:
    """Samples of the inputs of a function as it was at first, and what runs functions on them.

    samples: as `qir.samples` takes them, to be read more than once.
    """

    original: Func
    samples: object
    run: Evaluator


@dataclass(frozen=True, eq=False)
class Results:
    """A function with its results on the first samples, as many as there is room for."""

    func: Func
    held: list[tuple[np.ndarray, ...]] = field(default_factory=list)

    def on(self, number: int, inputs: Sequence[np.ndarray], probe: Probe):
        """The results on the sample of that number."""
        if number < len(self.held):
            return self.held[number]
        arrays = probe.run(self.func, _fitted(probe.original, self.func, inputs))
        arrays = tuple(map(np.asarray, arrays))
        size = sum(array.nbytes for array in arrays)
        if number == len(self.held) and size * (number + 1) <= ROOM:
            self.held.append(arrays)
        return arrays


@dataclass(frozen=True, eq=False)
class Measured:
    """What a step did to the results of its function.

    number: of the step, as steps ran on this function, from 1. added: one error a result against
    the function before the step, None where the step left the graph as it was. total: the same
    against the original.
    """

    number: int
    done: Done
    added: tuple[Error, ...] | None
    total: tuple[Error, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the results."""
        return result_labels(self.done.before)


def errors(probe: Probe, found: Results, *wanted: Results) -> list[tuple[Error, ...]]:
    """How far the results of a function are from those of others: an error a result, for each.

    QirError where the signatures cannot be compared.
    """
    for each in wanted:
        _check_results(each.func, found.func)
        _check_inputs(probe.original, each.func)
    _check_inputs(probe.original, found.func)
    sums = [[Error()] * len(found.func.results) for _ in wanted]
    for number, inputs in enumerate(filled_batches(probe.original, probe.samples, "comparison")):
        arrays = found.on(number, inputs, probe)
        for each, so_far in zip(wanted, sums, strict=True):
            pairs = zip(each.func.results, each.on(number, inputs, probe),
                        found.func.results, arrays, strict=True)  # fmt: skip
            for i, (op, x, other, y) in enumerate(pairs):
                error = difference(real(op.type, x), real(other.type, y), number)
                so_far[i] = together(so_far[i], error)
    return [tuple(each) for each in sums]


def difference(wanted: np.ndarray, found: np.ndarray, sample: int) -> Error:
    """The error of one array against another of its shape; sample: its number, for messages."""
    same = (wanted == found) | ((wanted != wanted) & (found != found))
    x, y = wanted.astype(np.float64), found.astype(np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    with np.errstate(all="ignore"):
        apart = np.where(same | ~finite, 0.0, np.abs(x - y))
        signal = float(np.square(x[finite]).sum())
        noise, largest = float(np.square(apart).sum()), float(apart.max(initial=0.0))
    strange = np.argwhere(~same & ~finite)
    if not len(strange):
        return Error(largest, signal, noise)
    at = tuple(strange[0])
    place = f"at {[int(i) for i in at]} of sample {sample}"
    return Error(inf, signal, inf, f"{y[at]:.6g} {place} where {x[at]:.6g} was")


def together(a: Error, b: Error) -> Error:
    """The error over the samples of both."""
    return Error(max(a.largest, b.largest), a.signal + b.signal, a.noise + b.noise,
                 a.strange or b.strange)  # fmt: skip


def measuring(samples_of: Callable[[Func], object | None], run: Evaluator,
              tell: Callable[[Measured], None]) -> Listener:  # fmt: skip
    """A listener for pipelines that measures every step and tells of it.

    samples_of: the samples for a function, None to leave the function out. A function is compared
    with what it was when its first step was told of.
    """
    track: _Track | None = None

    def listen(done: Done) -> None:
        nonlocal track
        if track is None or track.last.func is not done.before:
            samples = samples_of(done.before)
            probe = None if samples is None else Probe(done.before, samples, run)
            first = Results(done.before)
            track = _Track(probe, first, first, 0, (Error(),) * len(done.before.results))
        track, measured = _followed(track, done)
        if measured is not None:
            tell(measured)

    return listen


@dataclass(frozen=True, eq=False)
class _Track:
    """How far a function has come: its results at first and now, its steps and errors so far."""

    probe: Probe | None
    first: Results
    last: Results
    number: int
    total: tuple[Error, ...]


def _followed(track: _Track, done: Done) -> tuple[_Track, Measured | None]:
    """The track one step further, and what is to be told of it."""
    number, last, added, total = track.number + 1, track.last, None, track.total
    if not _one_graph(done.before, done.after):
        last = Results(done.after)
        if track.probe is not None:
            try:
                _check_results(track.first.func, done.after)
                _check_inputs(track.first.func, done.after)
            except QirError as error:
                message = f"after {done.step.action.name}, {error.message}"
                raise QirError(message, at=done.step.place) from None
            added, total = errors(track.probe, last, track.last, track.first)
    elif done.after is not done.before:
        last = Results(done.after, track.last.held)
    measured = None if track.probe is None else Measured(number, done, added, total)
    return _Track(track.probe, track.first, last, number, total), measured


def overrun(budgets: Iterable[Budget], measured: Measured) -> tuple[Budget, int] | None:
    """The first budget that a step is beyond, and the number of the result, if there is one."""
    for budget in budgets:
        if budget.step not in (None, "any", measured.done.step.action.name):
            continue
        found = measured.total if budget.step is None else measured.added
        index = exceeding(budget, measured.labels, found or ())
        if index is not None:
            return budget, index
    return None


def exceeding(budget: Budget, labels: Sequence[str], found: Sequence[Error]) -> int | None:
    """The number of the first result whose error is beyond a budget, if there is one."""
    for i, error in enumerate(found):
        if budget.result in (None, labels[i]) and not budget.allows(error):
            return i
    return None


def _one_graph(a: Func, b: Func) -> bool:
    """Whether two functions are the same nodes, of which equality is identity."""
    return (a.parameters, a.results) == (b.parameters, b.results)


def _check_results(wanted: Func, found: Func) -> None:
    shapes = [[list(r.shape) for r in func.results] for func in (wanted, found)]
    if shapes[0] != shapes[1]:
        raise QirError(f"the results of @{found.name} have the shapes {shapes[1]}, they had "
                       f"{shapes[0]}: they cannot be compared")  # fmt: skip


def _check_inputs(original: Func, func: Func) -> None:
    inputs = [", ".join(f"{p.attributes['name']} {list(p.shape)}" for p in f.parameters)
              for f in (original, func)]  # fmt: skip
    if inputs[0] != inputs[1]:
        raise QirError(f"@{func.name} takes the inputs {inputs[1]}, it took {inputs[0]}: the "
                       "samples do not fit it")  # fmt: skip


def _fitted(original: Func, func: Func, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Inputs of the original as inputs of what it became, put on grids or taken from them."""
    triples = zip(original.parameters, func.parameters, inputs, strict=True)
    return [_converted(old, new, array) for old, new, array in triples]


def _converted(old: Op, new: Op, array: np.ndarray) -> np.ndarray:
    was: Type = old.type
    now: Type = new.type
    if was == now:
        return array
    reals = real(was, array)
    if now.grid is not None and not now.grid.dynamic:
        reals = quantize_array(reals, *now.grid.expanded(now.rank), now.lo, now.hi)
    return reals.astype(now.dtype.numpy)
