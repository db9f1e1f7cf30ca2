"""Calibration data as batches that a function takes, every number of it checked.

A batch extent that differs from the traced one is served: items are cut along their leading axis
into the traced batch, and what is left over runs in a copy of the function for that many rows.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from .errors import QirError, suggestion
from .evaluate import checked_input
from .ir import Func, Op
from .observers import first_bad

FORMS = "an array, a list or tuple in input order, or a dict by input name"


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs in order for one run; func: the function for their batch; sample: the item's number.

    Items are counted from 0; several batches may come from one item.
    """

    sample: int
    func: Func
    arrays: tuple[np.ndarray, ...]


def filled_batches(func: Func, samples, purpose: str) -> Iterator[tuple[np.ndarray, ...]]:
    """The same data as inputs for the traced batch alone, to compare functions by.

    Where rows are left over they are repeated until the batch is full, so that graphs which serve
    no other batch can take them. purpose: what the data is for, in messages.
    """
    for sample, arrays in _parts(func, samples, purpose):
        pairs = zip(func.parameters, arrays, strict=True)
        full = [a if a.shape == p.shape else np.resize(a, p.shape) for p, a in pairs]
        yield _checked(func, full, sample, purpose)


def batches(func: Func, samples) -> Iterator[Batch]:
    """Calibration data as batches, in order; nothing of it is left out.

    samples: an iterable of items, or a callable without arguments that gives one; an item is an
    array, a list or tuple in input order, or a dict by input name. QirError, naming input and
    sample, where an item does not fit the function or holds NaN or infinity, and where there is
    none. On a terminal, a progress bar shows how far it is.
    """
    variants = _Variants(func)
    for sample, part in _parts(func, samples, "calibration"):
        fitting = variants.fitting(part, sample)
        yield Batch(sample, fitting, _checked(fitting, part, sample, "calibration"))


def _parts(func: Func, samples, purpose: str) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The arrays of every item, in order, cut into the traced batch, with the item's number."""
    sample = -1
    for sample, item in enumerate(_watched(_iterable(samples, purpose), purpose)):
        arrays = _arrays(func, item, sample)
        rows = _rows(func, arrays, sample)
        for part in [arrays] if rows is None else _cut(func, arrays, rows):
            yield sample, part
    if sample < 0:
        raise QirError(f"the {purpose} data is empty",
                       help="an iterator that was read before gives nothing; pass a list or a "
                            "function that makes it anew")  # fmt: skip


def _iterable(samples, purpose: str) -> Iterable:
    samples = samples() if callable(samples) else samples
    if isinstance(samples, (str, bytes, Mapping)) or not hasattr(samples, "__iter__"):
        raise QirError(f"{purpose} data must be an iterable of items, found "
                       f"{type(samples).__name__}", help=f"an item is {FORMS}")  # fmt: skip
    return samples


def _watched(samples: Iterable, purpose: str) -> Iterable:
    if not sys.stderr.isatty():
        return samples
    from tqdm import tqdm  # only a terminal needs it

    total = len(samples) if hasattr(samples, "__len__") else None
    return tqdm(samples, desc=purpose, unit=" samples", total=total, leave=False)


def _name(parameter: Op) -> str:
    return parameter.attributes["name"]


def _arrays(func: Func, item, sample: int) -> list[np.ndarray]:
    """The arrays of an item in input order."""
    names = [_name(p) for p in func.parameters]
    if isinstance(item, Mapping):
        for name in item:
            if name not in names:
                raise QirError(f"sample {sample}: the model has no input '{name}'",
                               help=suggestion(str(name), names))  # fmt: skip
        for name in names:
            if name not in item:
                found = ", ".join(map(str, item)) or "nothing"
                raise QirError(f"sample {sample} lacks the input '{name}'", help=f"found: {found}")
        values = [item[name] for name in names]
    else:
        values = list(item) if isinstance(item, (list, tuple)) else [item]
    if len(values) != len(names):
        raise QirError(f"sample {sample} has {len(values)} inputs, the model takes {len(names)} "
                       f"({', '.join(names)})", help=f"an item is {FORMS}")  # fmt: skip
    return [_array(value, name, sample) for value, name in zip(values, names, strict=True)]


def _array(value, name: str, sample: int) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:
        array = None
    if array is None or array.dtype.kind not in "biufV":
        of = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else None
        found = of or type(value).__name__
        raise QirError(f"sample {sample}: the input '{name}' is no array of numbers, found "
                       f"{found}", help=f"an item is {FORMS}")  # fmt: skip
    return array


def _rows(func: Func, arrays: list[np.ndarray], sample: int) -> int | None:
    """The batch extent of an item, where it is not the traced one; None where all shapes fit."""
    wrong = [(p, a) for p, a in zip(func.parameters, arrays, strict=True) if a.shape != p.shape]
    if not wrong:
        return None
    for parameter, array in wrong:
        if array.ndim != parameter.type.rank or array.shape[1:] != parameter.shape[1:]:
            _misfit(parameter, array, sample)
    extents = {array.shape[0] for array in arrays if array.ndim}
    traced = {p.shape[0] for p in func.parameters if p.type.rank}
    if len(traced) > 1 or len(extents) > 1 or 0 in extents | traced:
        _misfit(*wrong[0], sample)
    return extents.pop()


def _misfit(parameter: Op, array: np.ndarray, sample: int):
    found, expected = list(array.shape), list(parameter.shape)
    advice = "only the leading extent of all inputs together, the batch, may be another one"
    if found == expected[1:]:
        advice = "the leading axis, the batch, is missing: x[None]"
    raise QirError(f"sample {sample}: the input '{_name(parameter)}' has shape {found}, "
                   f"the model takes {expected}", help=advice)  # fmt: skip


def _cut(func: Func, arrays: list[np.ndarray], rows: int) -> Iterator[list[np.ndarray]]:
    step = next(p.shape[0] for p in func.parameters if p.type.rank)
    for start in range(0, rows, step):
        yield [a[start : start + step] if a.ndim else a for a in arrays]


@dataclass(frozen=True)
class _Variants:
    """A function for its traced batch, and for the batches of leftovers met so far."""

    func: Func
    made: dict[int, Func] = field(default_factory=dict)

    def fitting(self, arrays: list[np.ndarray], sample: int) -> Func:
        parameters = self.func.parameters
        if all(a.shape == p.shape for a, p in zip(arrays, parameters, strict=True)):
            return self.func
        rows = next(a.shape[0] for a in arrays if a.ndim)
        if rows not in self.made:
            try:
                self.made[rows] = self.func.with_batch(rows)
            except QirError as error:
                raise QirError(f"sample {sample} leaves {rows} rows over, and {error.message}",
                               at=error.at, help="give items whose leading extent is a multiple "
                                                 "of the traced batch") from error  # fmt: skip
        return self.made[rows]


def _checked(func: Func, arrays: list[np.ndarray], sample: int,
             purpose: str) -> tuple[np.ndarray, ...]:  # fmt: skip
    checked = []
    for parameter, array in zip(func.parameters, arrays, strict=True):
        try:
            with np.errstate(over="ignore"):
                array = checked_input(parameter, array)
        except QirError as error:
            raise QirError(f"sample {sample}: {error.message}", help=error.help) from None
        bad = first_bad(array)
        if bad is not None:
            raise QirError(f"sample {sample}: the input '{_name(parameter)}' holds {bad[1]} at "
                           f"index {list(bad[0])}", help=f"clean the data: {purpose} needs "
                                                         "finite numbers")  # fmt: skip
        checked.append(array)
    return tuple(checked)
