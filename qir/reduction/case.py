"""What is made smaller: functions, and where they came as a reproducer, pipeline and samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import QirError
from ..evaluate import each_value
from ..ir import Func, Module, Op
from ..pipeline import Steps, compose
from ..reproducer import Reproducer, record_of, reproducer_text, steps_text
from ..text import random_array, read_module, whole_text

OWN = ("parameter", "const", "item")


@dataclass(frozen=True, eq=False)
class Case:
    """A state of what is made smaller.

    record: what stands above the graph, None where that is no reproducer. steps: its pipeline.
    """

    funcs: tuple[Func, ...]
    record: Reproducer | None = None
    steps: Steps = ()
    headers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    locations: bool = True

    @property
    def ops(self) -> int:
        """How many ops there are, inputs and constants not counted."""
        return sum(op.kind not in OWN for func in self.funcs for op in func.ops)

    @property
    def samples(self) -> tuple | None:
        return None if self.record is None else self.record.samples

    def text(self) -> str:
        """The file that it is."""
        module = Module(self.funcs, self.headers)
        if self.record is None:
            return whole_text(module, self.locations)
        return reproducer_text(self.record, module, self.locations)

    def with_func(self, old: Func, new: Func) -> "Case":
        """The same with another function; samples keep the inputs that it still has."""
        case = replace(self, funcs=tuple(new if f is old else f for f in self.funcs))
        if self.samples is None or len(self.funcs) > 1:
            return case
        names = {p.attributes["name"] for p in new.parameters}
        items = tuple(
            {name: array for name, array in item.items() if name in names}
            if isinstance(item, Mapping) else item
            for item in self.samples
        )  # fmt: skip
        return case.with_samples(items)

    def with_samples(self, samples: tuple | None) -> "Case":
        return replace(self, record=replace(self.record, samples=samples))

    def with_steps(self, steps: Steps) -> "Case":
        """The same with another pipeline; QirError where its forms do not meet."""
        text = steps_text(steps)
        compose(text)
        return replace(self, steps=steps, record=replace(self.record, pipeline=text))


def case_of(text: str, file: str) -> Case:
    """The case that a text holds; QirError where it cannot be read."""
    module = read_module(text, file)
    record = record_of(module, file)
    headers = {name: given for name, given in module.headers.items() if name != "reproducer"}
    if record is None or record.settings or not record.pipeline.strip():
        return Case(module.funcs, record, (), headers)
    steps = compose(record.pipeline, f"the pipeline of {file}")
    record = replace(record, pipeline=steps_text(steps))
    if record.samples is not None and len(module.funcs) == 1:
        items = tuple(_named(module.main, item) for item in record.samples)
        record = replace(record, samples=items)
    return Case(module.funcs, record, steps, headers)


def _named(func: Func, item):
    """A calibration item by input name, as it is where it does not fit the function."""
    if isinstance(item, Mapping):
        return item
    values = item if isinstance(item, (list, tuple)) else [item]
    names = [p.attributes["name"] for p in func.parameters]
    return dict(zip(names, values, strict=True)) if len(names) == len(values) else item


class Values:
    """The values of a function on the samples of a case, computed when they are first asked for."""

    def __init__(self, case: Case, func: Func):
        self.case, self.func = case, func
        self.found: list[dict[Op, np.ndarray]] | None = None

    def samples(self, inputs: Mapping[str, Op]) -> tuple:
        """The samples with inputs that are other values of the function.

        What cannot be computed is random.
        """
        if self.found is None:
            self.found = [_values(self.func, item) for item in self.case.samples]
        return tuple(
            {
                name: known.get(op, random_array(op.type, f"reduced.{name}"))
                for name, op in inputs.items()
            }
            for known in self.found
        )


def _values(func: Func, item) -> dict[Op, np.ndarray]:
    """Every value on one item, as far as it can be computed."""
    if not isinstance(item, Mapping):
        return {}
    inputs = {p: item.get(p.attributes["name"]) for p in func.parameters}
    found = {p: array for p, array in inputs.items() if array is not None}
    if any(p not in found or found[p].shape != p.shape for p in func.parameters):
        return found
    try:
        for op, value in each_value(func, list(inputs.values())):
            found[op] = value
    except (QirError, ArithmeticError, ValueError, TypeError, IndexError):
        pass  # an op that fails may be what all this is about
    return found
