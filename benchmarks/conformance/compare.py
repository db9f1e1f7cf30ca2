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


def compare(func: Func, kernels: str, arrays, interpreter: Interpreter, xla=True) -> Agreement:
    """Run a graph of tfl ops with a kernel set, and what it is expanded to, on the same arrays."""
    found = interpreter.run(written(Module((func,))), kernels, [arrays])
    if isinstance(found, Failure):
        return Agreement(failure=found)
    (theirs,) = found
    expanded = run_steps(compose(f"expand_tfl(kernels={kernels})"), func)
    ours = evaluate(expanded, arrays)
    compiled = qir.compile(expanded)(*arrays) if xla else ours
    pairs = [np.abs(np.asarray(a, np.float64) - b) for a, b in zip(theirs, ours, strict=True)]
    shapes = [(a.shape, b.shape) for a, b in zip(theirs, ours, strict=True)]
    assert all(a == b for a, b in shapes), f"shapes differ: {shapes}"
    return Agreement(
        sum(a.size for a in theirs),
        sum(int((p != 0).sum()) for p in pairs),
        sum(int((a != b).sum()) for a, b in zip(theirs, map(np.asarray, compiled), strict=True)),
        int(max((p.max(initial=0) for p in pairs), default=0)),
    )
