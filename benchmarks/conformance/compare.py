"""One graph of tfl ops against the interpreter: how many values differ, on numpy and on XLA."""

from dataclasses import dataclass

import numpy as np

import qir
from qir.evaluate import evaluate
from qir.ir import Func, Module
from qir.pipeline import compose, run_steps
from qir.targets.tflite.interpreter import Failure, Interpreter
from qir.targets.tflite.write import written


@dataclass(frozen=True)
class Agreement:
    """How many values were compared, how many differ on numpy and on XLA, by how many levels.

    failure: why the interpreter did not run the model, None if it did.
    """

    values: int = 0
    numpy: int = 0
    xla: int = 0
    levels: int = 0
    failure: Failure | None = None


def inputs_for(func: Func, rng: np.random.Generator) -> list[np.ndarray]:
    """Random inputs: integers of the whole storage, normal floats."""
    return [_random(p.type, rng) for p in func.parameters]


def _random(type, rng):
    if type.is_float:
        return rng.normal(0, 3, type.shape).astype(type.dtype.numpy)
    if type.dtype.name == "bool":
        return rng.integers(0, 2, type.shape).astype(bool)
    return rng.integers(type.lo, type.hi, type.shape, type.dtype.numpy, endpoint=True)


def compare(func: Func, kernels: str, batches, interpreter: Interpreter, xla=True) -> Agreement:
    """Run a graph of tfl ops with a kernel set, and what it is expanded to, on the same arrays.

    batches: for each run the arrays of all parameters.
    """
    found = interpreter.run(written(Module((func,))), kernels, batches)
    if isinstance(found, Failure):
        return Agreement(failure=found)
    expanded = run_steps(compose(f"expand_tfl(kernels={kernels})"), func)
    compiled = qir.compile(expanded) if xla else None
    values = wrong = wrong_compiled = levels = 0
    for arrays, theirs in zip(batches, found, strict=True):
        ours = evaluate(expanded, arrays)
        values += sum(each.size for each in theirs)
        wrong += _differing(theirs, ours)
        wrong_compiled += _differing(theirs, compiled(*arrays)) if xla else 0
        levels = max(levels, *(_levels(a, b) for a, b in zip(theirs, ours, strict=True)))
    return Agreement(values, wrong, wrong_compiled, levels)


def _differing(theirs, ours) -> int:
    pairs = [(a, np.asarray(b)) for a, b in zip(theirs, ours, strict=True)]
    shapes = [(a.shape, b.shape) for a, b in pairs]
    assert all(a == b for a, b in shapes), f"shapes differ: {shapes}"
    return sum(int((a != b).sum()) for a, b in pairs)


def _levels(a, b) -> int:
    return int(np.abs(np.asarray(a, np.float64) - b).max(initial=0))
