"""The search: one sort of reduction after the other, until none of them finds anything more.

Large steps come first (whole functions, halves of a graph), small ones on what is left, as in
hierarchical delta debugging. A candidate that cannot be typed costs no test, and none is tested
twice. The result is minimal by single steps: no op, step, option or sample can be left out alone.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from ..ir import Func, Op
from ..pipeline import flat
from ..reproducer import uses_samples
from . import pipelines
from .case import Case, Values
from .graphs import (
    Edit,
    can_pass,
    edited,
    is_tensor,
    part,
    to_number,
    to_operand,
    units,
)
from .minimize import minimized
from .shapes import extents, part_of, resized


@dataclass(eq=False)
class Search:
    """What is smaller and still fails.

    check: whether a text fails as the first one did. better: told of each smaller case. best: the
    smallest so far. tests: how often `check` ran.
    """

    best: Case
    check: Callable[[str], bool]
    better: Callable[[Case], None] = lambda case: None
    known: dict[bytes, bool] = field(default_factory=dict)
    tests: int = 0

    def fails(self, make: Callable[[], Case]) -> bool:
        """Whether a case fails; False where it cannot be made. One that does is the new best."""
        try:
            case = make()
        except Exception:  # what cannot be typed; a plugin's typing may raise anything
            return False
        if not all(func.results for func in case.funcs) or not case.funcs:
            return False
        text = case.text()
        key = hashlib.sha256(text.encode()).digest()
        if key not in self.known:
            self.tests += 1
            self.known[key] = self.check(text)
        if self.known[key]:
            self.best = case
            self.better(case)
        return self.known[key]


def reduced(search: Search) -> Case:
    """The smallest case that a search finds."""
    while True:
        before = search.best.text()
        for phase in PHASES:
            phase(search)
        if search.best.text() == before:
            return search.best


def fewer_functions(search: Search) -> None:
    """Leave out functions."""
    case = search.best
    if len(case.funcs) > 1:
        minimized(case.funcs, lambda kept: search.fails(lambda: replace(case, funcs=kept)), False)


def plain_constants(search: Search) -> None:
    """Make all constants one number at once, which spares every later test their bytes."""
    for number in (0, 1):
        func_edits = {func: {op: to_number(number) for op in _arrays(func)}
                      for func in search.best.funcs}  # fmt: skip
        if any(func_edits.values()) and search.fails(partial(_edited, search.best, func_edits)):
            return


def _arrays(func: Func) -> list[Op]:
    """The constants that are not one number alone."""
    constants = (op for op in func.ops if op.is_const and op.type.size > 1)
    return [op for op in constants if (op.value != op.value.flat[0]).any()]


def _edited(case: Case, edits: Mapping[Func, Mapping[Op, Edit]]) -> Case:
    for func, of_func in edits.items():
        if of_func:
            case = case.with_func(func, edited(func, of_func))
    return case


def fewer_ops(search: Search) -> None:
    """Leave out ops; what others read of them becomes an input."""
    for name in [func.name for func in search.best.funcs]:
        case, func = search.best, _named(search.best, name)
        values = Values(case, func)

        def smaller(ops, case=case, func=func, values=values) -> Case:
            made, inputs = part(func, ops)
            after = case.with_func(func, made)
            if case.samples is None or len(case.funcs) > 1:
                return after
            return after.with_samples(values.samples(inputs))

        minimized(units(func), lambda ops, make=smaller: search.fails(lambda: make(ops)), False)


def fewer_results(search: Search) -> None:
    """Leave out results, and the ops that are there for them alone."""
    for name in [func.name for func in search.best.funcs]:
        case, func = search.best, _named(search.best, name)
        numbers = range(len(func.results))

        def smaller(kept, case=case, func=func) -> Case:
            names = tuple(func.result_names[i] for i in kept) if func.result_names else ()
            results = tuple(func.results[i] for i in kept)
            return case.with_func(func, edited(replace(func, results=results,
                                                       result_names=names), {}))  # fmt: skip

        if len(numbers) > 1:
            minimized(numbers, lambda kept, make=smaller: search.fails(lambda: make(kept)), False)


def _named(case: Case, name: str) -> Func:
    return next(func for func in case.funcs if func.name == name)


def _edits(search: Search, wanted: Callable[[Func], Iterable[tuple[Op, Edit]]]) -> None:
    """Make as many of the wanted edits as still let it fail, in each function."""
    for name in [func.name for func in search.best.funcs]:
        case, func = search.best, _named(search.best, name)
        every = list(wanted(func))

        def smaller(left_out, case=case, func=func, every=every) -> Case:
            made = {}
            for i, (op, edit) in enumerate(every):
                if i not in left_out:
                    made[op] = edit if op not in made else _both(made[op], edit)
            return case.with_func(func, edited(func, made))

        def test(kept, make=smaller) -> bool:
            left_out = set(kept)
            return search.fails(lambda: make(left_out))

        minimized(range(len(every)), test)


def _both(first: Edit, second: Edit) -> Edit:
    """Two edits of attributes of one op as one."""
    return lambda op, operands: second(first(op, operands), operands)


def passed_on(search: Search) -> None:
    """Put an operand of the same type in place of an op, which joins what stood round it."""
    _edits(search, lambda func: [(op, to_operand) for op in func.ops if can_pass(op)])


def as_zeros(search: Search) -> None:
    """Put zeros in place of an op."""
    _edits(search, lambda func: [(op, to_number(0)) for op in units(func) if is_tensor(op)])


def splat_constants(search: Search) -> None:
    """Make constants one number each."""
    for number in (0, 1):
        _edits(search, lambda func, n=number: [(op, to_number(n)) for op in _arrays(func)])


def shared_inputs(search: Search) -> None:
    """Read one input where others of its type are read."""

    def wanted(func: Func):
        first = {}
        for p in reversed(func.parameters):
            first[p.type] = p
        return [(p, lambda op, operands, one=first[p.type]: one)
                for p in func.parameters if p is not first[p.type]]  # fmt: skip

    _edits(search, wanted)


def default_attributes(search: Search) -> None:
    """Give attributes their defaults."""

    def to_default(key: str, default) -> Edit:
        return lambda op, operands: op.with_operands(*operands, **{key: default})

    def wanted(func: Func):
        for op in units(func):
            for key, (_, default) in op.definition.attributes.items():
                value = op.attributes[key]
                if isinstance(default, type) or (type(value) is type(default) and value == default):
                    continue
                yield op, to_default(key, default)

    _edits(search, wanted)


def plain_numbers(search: Search) -> None:
    """Make lists of integers zeros or ones, such as the widths of a padding."""

    def to_plain(key: str, value: tuple, number: int) -> Edit:
        return lambda op, operands: op.with_operands(*operands, **{key: (number,) * len(value)})

    def wanted(func: Func, number: int):
        for op in units(func):
            for key, (_, default) in op.definition.attributes.items():
                value = op.attributes[key]
                integers = isinstance(value, tuple) and all(type(n) is int for n in value)
                if integers and value != default and any(n not in range(number + 1) for n in value):
                    yield op, to_plain(key, value, number)

    for number in (0, 1):
        _edits(search, partial(wanted, number=number))


def smaller_shapes(search: Search) -> None:
    """Make extents less, first each number wherever it stands, then single ones."""
    for name in [func.name for func in search.best.funcs]:
        for extent in extents(_named(search.best, name)):
            _shrunk(search, name, extent, lambda func, less, old=extent: ({old: less}, None))
        for index in range(len(_named(search.best, name).ops)):
            op = _named(search.best, name).ops[index]
            if op.kind not in ("parameter", "const"):
                continue
            for axis, extent in enumerate(op.shape):
                _shrunk(search, name, extent, partial(_one_extent, index=index, axis=axis))


def _shrunk(search: Search, name: str, extent: int, change: Callable) -> None:
    """Try what is less than an extent, the least first; of data the first part and the last.

    change: from a function and what the extent becomes to its `resized` ones.
    """
    for less in _less(extent):
        for last in (False, True):
            case, func = search.best, _named(search.best, name)
            if search.fails(partial(_resized, case, func, *change(func, less), last)):
                return


def _less(extent: int) -> list[int]:
    """What to try in place of an extent: 1, 2, its halves, one less; the least first."""
    found, half = {1, 2, extent - 1}, extent // 2
    while half > 2:
        found.add(half)
        half //= 2
    return sorted(n for n in found if 0 < n < extent)


def _one_extent(func: Func, less: int, index: int, axis: int):
    shape = func.ops[index].shape
    return {}, {func.ops[index]: (*shape[:axis], less, *shape[axis + 1 :])}


def _resized(case: Case, func: Func, everywhere, shapes, last: bool) -> Case:
    made = resized(func, everywhere, shapes, last)
    after = case.with_func(func, made)
    if case.samples is None or len(case.funcs) > 1:
        return after
    cuts = {p.attributes["name"]: (p.shape, new.shape)
            for p, new in zip(func.parameters, made.parameters, strict=True)}  # fmt: skip
    return after.with_samples(tuple(_fitting(item, cuts, last) for item in case.samples))


def _fitting(item, cuts: Mapping[str, tuple], last: bool):
    """An item cut to the new shapes of the inputs that it fitted."""
    if not isinstance(item, Mapping):
        return item
    return {name: part_of(array, cuts[name][1], last)
            if name in cuts and array.shape == cuts[name][0] else array
            for name, array in item.items()}  # fmt: skip


def fewer_steps(search: Search) -> None:
    """Leave out steps, blocks and options of a reproducer's pipeline."""
    case = search.best
    if not case.steps:
        return
    for sorts in (pipelines.steps_in, pipelines.blocks_in, pipelines.options_in):
        case = search.best
        every = tuple(sorts(case.steps))

        def test(kept, case=case, every=every) -> bool:
            gone = [each for each in every if each not in kept]
            return search.fails(lambda: case.with_steps(pipelines.without(case.steps, gone)))

        minimized(every, test)


def fewer_samples(search: Search) -> None:
    """Leave out calibration items; all of them where no step takes any."""
    case = search.best
    if case.samples is None:
        return
    if not any(uses_samples(step) for step in flat(case.steps)) and search.fails(
        lambda: case.with_samples(None)
    ):
        return
    minimized(case.samples, lambda kept: search.fails(lambda: case.with_samples(kept)), False)


def shorter_files(search: Search) -> None:
    """Leave out paragraphs of the text files that a reproducer holds, such as statistics."""
    if search.best.record is None:
        return
    for name in list(search.best.record.files):
        case = search.best
        try:
            parts = case.record.files[name].decode().split("\n\n")
        except UnicodeDecodeError:
            continue

        def test(kept, case=case, name=name) -> bool:
            files = {**case.record.files, name: "\n\n".join(kept).encode()}
            return search.fails(lambda: replace(case, record=replace(case.record, files=files)))

        minimized(parts, test)


def no_locations(search: Search) -> None:
    """Leave out where ops came from, names of results, what a text says of itself besides."""
    case = search.best
    funcs = tuple(replace(func, result_names=()) for func in case.funcs)
    if not search.fails(lambda: replace(case, funcs=funcs, locations=False, headers={})):
        search.fails(lambda: replace(case, locations=False))


PHASES = (fewer_functions, plain_constants, no_locations, fewer_ops, fewer_results, fewer_steps,
          passed_on, fewer_samples, shared_inputs, as_zeros, splat_constants, default_attributes,
          plain_numbers, smaller_shapes, shorter_files)  # fmt: skip
