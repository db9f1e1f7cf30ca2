"""From an error to its reproducer: the latest graph and the smallest slice of data that fail alike.

What is tried runs as its text says, read back: who runs the reproducer again sees what was seen
here. Tried first is the graph before the step that failed with the rest of the pipeline, then
those before the blocks round it, then the original one; data is tried item by item.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from ..attributes import ReadFile
from ..errors import QirError
from ..ir import Func, Module
from ..pipeline import Block, Done, Step, Steps, compose, flat
from ..progress import Progress, followed
from ..text import read_module
from ..verify import verify
from .alike import signature
from .record import Reproducer, record_of, reproducer_text
from .rerun import file_options, read_files, rerun

KEPT = 8
"""How many of the first calibration items are held on to."""


@dataclass(eq=False)
class Drawn:
    """The calibration items that passes have drawn: the first ones and the last."""

    first: list = field(default_factory=list)
    last: list = field(default_factory=list)
    count: int = 0
    source: object = None

    def watched(self, resources: Mapping[str, object]) -> Mapping[str, object]:
        """The resources with samples that are noted down when they are drawn."""
        self.source = resources.get("samples")
        known = callable(self.source) or hasattr(self.source, "__iter__")
        if not known or isinstance(self.source, (str, bytes, Mapping)):
            return resources
        return {**resources, "samples": self.draw}

    def draw(self) -> Iterator:
        """The items, noted down one after the other."""
        self.first, self.last, self.count = [], [], 0
        for item in self.source() if callable(self.source) else self.source:
            if len(self.first) < KEPT:
                self.first.append(item)
            self.last, self.count = [item], self.count + 1
            yield item

    def slices(self) -> Iterator[tuple]:
        """What may be enough to fail again: the last item drawn, the first, all that is kept.

        Then twice as many and so on, up to all that were drawn, of data that can be read again.
        """
        if not self.first:
            self.first = list(islice(_again(self.source), 1))
        if self.last:
            yield tuple(self.last)
        if self.first and not _among(self.first[0], self.last):
            yield (self.first[0],)
        yield (*self.first, *(item for item in self.last if not _among(item, self.first)))
        many = 2 * KEPT
        while many < 2 * self.count:
            items = tuple(islice(_again(self.source), min(many, self.count)))
            if len(items) <= KEPT:  # it can be read once alone
                return
            yield items
            many *= 2


def _again(source) -> Iterator:
    """The items of data that nobody has drawn from."""
    items = source() if callable(source) else source
    return iter(items if hasattr(items, "__iter__") else ())


def _among(item, items: list) -> bool:
    return any(item is other for other in items)  # arrays do not compare as one


@dataclass(frozen=True, eq=False)
class _Trial:
    """What is tried to fail like an error."""

    error: Exception
    resources: Mapping[str, object]
    verify_each: bool

    def fails(self, module: Module, record: Reproducer) -> bool:
        """Whether the text of a reproducer fails alike when it is read and run."""
        with followed(Progress()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                again = read_module(reproducer_text(record, module), "<reproducer>")
                read = record_of(again, "<reproducer>")
                resources = {**self.resources, "emit": lambda text: None}
                resources.pop("samples", None)
                if read.samples is not None:
                    resources["samples"] = read.samples
                steps = compose(read.pipeline, resources=list(resources))
                rerun(steps, again, read.files, resources, verifier(self.verify_each))
            except Exception as found:
                return signature(found) == signature(self.error)
        return False


def verifier(wanted: bool) -> Callable[[Done], None] | None:
    """A listener that types every op anew after each pass, if that is wanted."""
    return (lambda done: verify(done.after, done.step.action.name)) if wanted else None


def captured(error: Exception, progress: Progress, drawn: Drawn, verify_each: bool = False,
             steps: Steps | None = None,
             files: Mapping[str, bytes] | None = None) -> tuple[Module, Reproducer]:  # fmt: skip
    """The module and the reproducer of an error that a followed pipeline has raised.

    steps: as they are to be written, where those that ran were others of the same shape. files: the
    contents of the files that they name, None to read them.
    """
    progress.steps = progress.steps if steps is None else steps
    trial = _Trial(error, progress.resources, verify_each)
    record = Reproducer(error_text(error), "", verify_each=verify_each)
    files = read_files(progress.steps) if files is None else files
    for module, steps in _starts(progress):
        named = {name for step in flat(steps) for _, name in file_options(step, ReadFile)}
        record = replace(record, pipeline=steps_text(steps), samples=None,
                         files={name: files[name] for name in files if name in named})  # fmt: skip
        takes = any(uses_samples(step) for step in flat(steps))
        for samples in drawn.slices() if takes and drawn.source is not None else (None,):
            record = replace(record, samples=samples)
            if trial.fails(module, record):
                return module, _fewer_rows(trial, module, record)
    return module, replace(record, again=False)


def error_text(error: Exception) -> str:
    """An error in the lines that are shown of it."""
    if isinstance(error, QirError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def steps_text(steps: Steps) -> str:
    """Steps as a pipeline text, options that say no more than their defaults left out."""
    return ", ".join(str(_brief(step)) for step in steps)


def _brief(step: Step | Block) -> Step | Block:
    if isinstance(step, Block):
        return replace(step, steps=tuple(map(_brief, step.steps)))
    defaults = {name: default for name, (_, default) in step.action.options.items()}
    said = {k: v for k, v in step.options.items()
            if type(v) is not type(defaults[k]) or v != defaults[k]}  # fmt: skip
    return replace(step, options=said)


def uses_samples(step: Step) -> bool:
    """Whether a step takes samples, under its options."""
    option = step.action.replaced_by.get("samples")
    return "samples" in step.action.resources and step.options.get(option) is None


def _starts(progress: Progress) -> Iterator[tuple[Module, Steps]]:
    """Graphs with what was left to do on each, the latest first, the original module last."""
    for depth in range(len(progress.trail), 0, -1):
        trail = progress.trail[:depth]
        yield Module((trail[-1][1],)), rest(progress.steps, [index for index, _ in trail])
    yield Module(progress.module.funcs), progress.steps


def rest(steps: Steps, trail: list[int]) -> Steps:
    """What was left to do when the step was reached to which the indices lead.

    A fixpoint goes on with the round that it was in, then starts over.
    """
    first, *inner = trail
    if not inner:
        return steps[first:]
    block = steps[first]
    inside = rest(block.steps, inner)
    begun = (*inside, block) if block.match is None else (replace(block, steps=inside),)
    return (*begun, *steps[first + 1 :])


def _fewer_rows(trial: _Trial, module: Module, record: Reproducer) -> Reproducer:
    """The same with the half of a lone item's rows that fails alike, and so on by halving."""
    while record.samples is not None and len(record.samples) == 1:
        for half in _halves(module.main, record.samples[0]):
            smaller = replace(record, samples=(half,))
            if trial.fails(module, smaller):
                record = smaller
                break
        else:
            return record
    return record


def _halves(func: Func, item) -> Iterator:
    """An item's upper and lower rows in whole batches; none where it holds no more than one."""
    batch = {p.shape[0] for p in func.parameters if p.type.rank}
    arrays = item.values() if isinstance(item, Mapping) else item
    arrays = [np.asarray(a) for a in (arrays if not isinstance(item, np.ndarray) else [item])]
    rows = {len(a) for a in arrays if a.ndim}
    if len(batch) != 1 or len(rows) != 1 or max(rows) <= max(batch):
        return
    step = max(batch)
    middle = -(-max(rows) // (2 * step)) * step
    for part in (slice(0, middle), slice(middle, None)):
        yield _cut(item, part)


def _cut(item, part: slice):
    if isinstance(item, Mapping):
        return {name: _cut(np.asarray(value), part) for name, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [_cut(np.asarray(value), part) for value in item]
    return item[part] if item.ndim else item
