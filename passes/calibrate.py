"""Run sample data through a graph and find the range of every observed value.

What is kept of a value is its statistics (`qir.observers`), whose size does not depend on the
amount of data. They can be saved, edited, loaded and solved again by another method.
"""

import warnings
from typing import Literal

import numpy as np

from qir import journal, observers, segments
from qir.attributes import ReadFile, WrittenFile
from qir.decisions import RangeFound
from qir.errors import QirError, QirWarning, suggestion
from qir.evaluate import each_value, evaluate
from qir.graph_pass import Run, Samples, graph_pass
from qir.ir import Func, Op, kept, place_of, transform
from qir.observers import Statistics
from qir.samples import Batch, batches
from qir.timing import count, timed

from ..dialects import quant

Method = Literal["minmax", "ema", "percentile", "entropy", "mse"]


ENDLESS = 1e9
"""A range wider than this stands for no activation: masks put numbers like -1e10 or -3.4e38."""


@graph_pass("observed -> calibrated", samples="stats")
def calibrate(
    func: Func,
    *,
    method: Method | None = None,
    keep: float | None = None,
    stats: ReadFile | None = None,
    save_stats: WrittenFile | None = None,
    samples: Samples,
    run: Run = evaluate,
) -> Func:
    """Find the range of every observed value, from sample data or from saved statistics.

    method: how, for all values; none leaves it to each observer, and `minmax` to those that do not
    say. keep: the part of the elements that `percentile` keeps, 0.9999 if not given. stats: a file
    of statistics to use instead of samples. save_stats: a file to write the statistics to. The
    traced batch cuts the data: each batch of it is one sample of the moving averages of `ema`.
    """
    observed = _observed(func)
    methods = {name: method or op.attributes["method"] or "minmax" for name, op in observed.items()}
    if keep is not None and observed and "percentile" not in methods.values():
        raise QirError("keep is an option of method=percentile, which no observer uses",
                       help=f"in use: {', '.join(sorted(set(methods.values())))}")  # fmt: skip
    if stats is not None:
        found = _loaded(stats, observed)
    else:
        found = _gathered(func, observed, samples, run) if observed else {}
    if save_stats is not None:
        observers.save(save_stats, found)
    options = {"percentile": {} if keep is None else {"keep": keep}}
    range_of, ranges = timed("solving", _range), {}
    for name, op in observed.items():
        how = methods[name], options.get(methods[name], {})
        ranges[op] = range_of(op, found[name], *how)
        journal.note(RangeFound, op, found[name], *how, *ranges[op])
    count("values observed", len(ranges))

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op not in ranges:
            return kept(op, operands)
        lo, hi = ranges[op]
        name = op.attributes["name"]
        return quant.stats(*operands, name=name, lo=lo, hi=hi, location=op.location)

    return transform(func, change) if observed else func


def _observed(func: Func) -> dict[str, Op]:
    """The observers of a function by name."""
    found: dict[str, Op] = {}
    for op in func.ops:
        if op.kind != quant.observe.name:
            continue
        name = op.attributes["name"]
        if name in found:
            raise QirError(f"two observers are called '{name}'", at=place_of(op),
                           help="statistics are kept by name, so names are unique")  # fmt: skip
        found[name] = op
    return found


def _range(op: Op, stats: Statistics, method: str, options: dict) -> tuple[float, float]:
    """The solved range of an observer, both ends f32; of a value without elements any will do."""
    if not op.type.size:
        return 0.0, 0.0
    name = op.attributes["name"]
    try:
        lo, hi = observers.solve(stats, method, **options)
    except QirError as error:
        raise QirError(f"the range of '{name}': {error.message}", help=error.help) from None
    if hi - lo > ENDLESS:
        message = (f"'{name}' spans [{lo:.3g}, {hi:.3g}]: 8 bits keep only its largest values "
                   "apart; a mask written as a huge number does this")  # fmt: skip
        warnings.warn(QirWarning(message, at=place_of(op)), stacklevel=2)
    return float(np.float32(lo)) + 0.0, float(np.float32(hi)) + 0.0


def _loaded(path: str, observed: dict[str, Op]) -> dict[str, Statistics]:
    """The statistics of a file; every observer must be among them, others are only reported."""
    found = observers.load(path)
    unused = sorted(found.keys() - observed.keys())
    missing = [name for name in observed if name not in found]
    if missing:
        shown = ", ".join(f"'{name}'" for name in missing[:8])
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        raise QirError(f"there are no statistics of {shown}{more}", at=path,
                       help=f"{suggestion(missing[0], unused or found)}; gather them anew from "
                            "samples, or rename them in the file")  # fmt: skip
    if unused:
        shown = ", ".join(f"'{name}'" for name in unused[:8])
        more = f" and {len(unused) - 8} more" if len(unused) > 8 else ""
        warnings.warn(QirWarning(f"nobody observes {shown}{more}", at=path), stacklevel=2)
    return {name: found[name] for name in observed}


def _gathered(func: Func, observed: dict[str, Op], samples, run) -> dict[str, Statistics]:
    """The statistics of all observed values over all samples."""
    names = list(observed)
    found = dict.fromkeys(names, observers.empty())
    plans: dict[Func, tuple[segments.Segments, dict[Op, list[str]]]] = {}
    run, update = timed("evaluation", run), timed("statistics", observers.update)
    for batch in batches(func, samples):
        if batch.func not in plans:
            plans[batch.func] = _plan(batch.func)
        plan, named = plans[batch.func]
        count("batches run")
        for value, array in segments.run(plan, batch.arrays, run):
            for name in named[value]:
                try:
                    found[name] = update(found[name], array)
                except QirError as error:
                    raise _blamed(plan.func, value, batch, f"{error.message}") from None
    return found


def _plan(func: Func) -> tuple[segments.Segments, dict[Op, list[str]]]:
    """The function that gives all observed values, cut in pieces, and the names of each value."""
    bare: dict[Op, Op] = {}
    named: dict[Op, list[str]] = {}
    for op in func.ops:
        bare[op] = kept(op, tuple(bare[o] for o in op.operands))
        if op.kind == quant.observe.name:
            bare[op] = bare[op.operands[0]]
            named.setdefault(bare[op], []).append(op.attributes["name"])
    return segments.cut(Func(func.name, func.parameters, tuple(named))), named


def _blamed(func: Func, value: Op, batch: Batch, found: str) -> QirError:
    """The error for a value that is not finite, at the op where that began."""
    first, bad = _first_bad(func.with_results((value,)), batch) or (value, None)
    if bad is not None:
        found = f"holds {bad[1]} at index {list(bad[0])}"
    return QirError(f"sample {batch.sample}: the result of {first.kind} {found}",
                    at=place_of(first) or place_of(value),
                    help="calibration needs finite values; was the model trained, and is the "
                         "sample prepared as in training?")  # fmt: skip


def _first_bad(func: Func, batch: Batch):
    """The first op whose result has NaN, or if none has, infinity; and where. By the reference."""
    infinite = None
    for op, value in each_value(func, batch.arrays):
        if op.is_const or not isinstance(value, np.ndarray):
            continue
        bad = observers.first_bad(value)
        if bad is not None and np.isnan(bad[1]):
            return op, bad
        infinite = infinite or (bad and (op, bad))
    return infinite
