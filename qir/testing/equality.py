"""EVAL: a graph before and after a pipeline, run on random inputs and compared."""

import zlib

import numpy as np

from ..errors import QirError
from ..evaluate import evaluate
from ..ir import Func, Module
from ..rounding import real
from ..types import Type

RTOL, ATOL, RUNS = 1e-5, 1e-6, 2


def compare(before: Module, after: Module, rtol=RTOL, atol=ATOL, low=None, high=None, runs=RUNS):
    """QirError if a function's results differ on random inputs.

    Floats (and integers on a grid, by what they stand for) may differ by atol + rtol * |before|;
    plain integers and truth values by atol alone, so not at all unless atol is 1 or more. Inputs
    are normal for floats, or uniform in [low, high]; integers take all stored values.
    """
    for old in before.funcs:
        new = after[old.name]
        _same_signature(old, new)
        for run in range(int(runs)):
            inputs = [_random(p.type, f"{old.name}.{i}.{run}", low, high)
                      for i, p in enumerate(old.parameters)]  # fmt: skip
            xs, ys = evaluate(old, inputs), evaluate(new, inputs)
            results = zip(old.results, xs, new.results, ys, strict=True)
            for i, (a, x, b, y) in enumerate(results):
                _compare_arrays(f"result {i} of @{old.name}", a.type, x, b.type, y, rtol, atol)


def _same_signature(old: Func, new: Func) -> None:
    found = [str(p.type) for p in new.parameters], len(new.results)
    wanted = [str(p.type) for p in old.parameters], len(old.results)
    if found != wanted:
        raise QirError(f"EVAL: @{old.name} took {wanted[0]} and gave {wanted[1]} results, now it "
                       f"takes {found[0]} and gives {found[1]}")  # fmt: skip


def _random(type: Type, seed: str, low, high) -> np.ndarray:
    generator = np.random.default_rng(zlib.crc32(seed.encode()))
    if type.is_float and low is None and high is None:
        return generator.standard_normal(type.shape).astype(type.dtype.numpy)
    if type.is_float:
        ends = (-1.0 if low is None else low), (1.0 if high is None else high)
        return generator.uniform(*ends, type.shape).astype(type.dtype.numpy)
    ends = [type.lo, type.hi] if type.dtype.bits <= 16 else [-1000, 1000]
    ends = [max(ends[0], type.lo), ends[1]]
    if type.grid is None and low is not None:
        ends[0] = int(low)
    if type.grid is None and high is not None:
        ends[1] = int(high)
    return generator.integers(*ends, type.shape, endpoint=True).astype(type.dtype.numpy)


def _compare_arrays(what: str, a: Type, x, b: Type, y, rtol: float, atol: float) -> None:
    if x.shape != y.shape:
        raise QirError(f"EVAL: {what} had the shape {list(x.shape)}, now {list(y.shape)}")
    x, y = real(a, x), real(b, y)
    if x.size == 0:
        return
    if x.dtype.kind != "f":
        x, y, rtol = x.astype(np.float64), y.astype(np.float64), 0.0
        atol = atol if atol >= 1 else 0.0
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(x - y))
        excess = np.where(same, -np.inf, error - (atol + rtol * np.abs(x)))
    excess = np.where(np.isnan(excess), np.inf, excess)
    worst = np.unravel_index(np.argmax(excess), excess.shape)
    if excess[worst] > 0:
        at = [int(i) for i in worst]
        raise QirError(f"EVAL: {what} differs at {at}: {x[worst]:.9g} before, {y[worst]:.9g} after "
                       f"({int((excess > 0).sum())} of {x.size} values differ by more than "
                       f"atol={atol:g}, rtol={rtol:g})")  # fmt: skip
