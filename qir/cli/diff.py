"""`qir diff`: each op of a `.tflite` model held against LiteRT's interpreter, on its own inputs."""

from dataclasses import dataclass
from importlib import import_module

import click

from ..expansions import KERNELS, expanded, values_of

KNOWN = {
    ("tflite_reference", "tfl.sum"): "the runtime's reference SUM of int8 is wrong",
    ("tflite_builtin", "tfl.mul"): "the runtime's MUL wraps products below -32768",
}
"""Faults of the runtime, by kernel set and op."""


@dataclass(frozen=True)
class Difference:
    """How many of an op's values differ, and by how many levels at most, on numpy and on XLA."""

    values: int
    numpy: int
    numpy_most: float
    xla: int
    xla_most: float


@click.command("diff")
@click.argument("model")
@click.option("--data", default="random:1", show_default=True, metavar="FILE.npz|random:N",
              help="Inputs by name, as the model stores them, or random (seed N).")  # fmt: skip
@click.option("--kernels", default="all", show_default=True, metavar="all|SET,...",
              help="Kernel sets: tflite_reference, tflite_builtin, xnnpack.")  # fmt: skip
@click.option("--func", "name", metavar="@F", help="The function to run, else main.")
def diff(model, data, kernels, name) -> None:
    """Name the first op whose results differ from LiteRT's, for each kernel set."""
    from .. import api
    from ..errors import QirError, suggestion

    sets = KERNELS if kernels == "all" else kernels.split(",")
    for each in sets:
        if each not in KERNELS:
            raise QirError(f"there is no kernel set '{each}'", help=suggestion(each, KERNELS))
    module = api.read_model(model)
    func = module.main if name is None else module[name.removeprefix("@")]
    arrays = inputs_of(func, data)
    failed = False
    runtime = import_module("qir.targets.tflite.interpreter")
    with runtime.Interpreter() as interpreter:
        for each in sets:
            line, differs = first_difference(func, each, arrays, interpreter)
            click.echo(f"{each}: {line}")
            failed |= differs
    if failed:
        raise click.exceptions.Exit(1)


def inputs_of(func, data: str):
    """The inputs of a function in its order."""
    import numpy as np

    from ..arrays import by_parameter, read_arrays
    from ..errors import QirError

    if not data.startswith("random:"):
        found = by_parameter(read_arrays(data), func, data)
        return list(found.values()) if isinstance(found, dict) else list(found)
    if not data[7:].isdecimal():
        raise QirError(f"'{data}' is no data", help="FILE.npz or random:N")
    rng = np.random.default_rng(int(data[7:]))
    return [rng.normal(0, 3, p.shape).astype(p.type.dtype.numpy) if p.type.is_float else
            rng.integers(p.type.lo, p.type.hi, p.shape, p.type.dtype.numpy, endpoint=True)
            for p in func.parameters]  # fmt: skip


def first_difference(func, kernels: str, arrays, interpreter) -> tuple[str, bool]:
    """What is to be told of a kernel set, and whether an op differs."""
    from ..errors import QirError
    from ..ir import Func, Module
    from ..targets.tflite.interpreter import Failure
    from ..targets.tflite.write import written

    ops = [op for op in func.ops if op.kind not in ("parameter", "const", "item")]
    results = [value for op in ops for value in values_of(op)]
    whole = Func(func.name, func.parameters, tuple(results),
                 tuple(f"v{i}" for i in range(len(results))))  # fmt: skip
    found = interpreter.run(written(Module((whole,))), kernels, [arrays])
    if isinstance(found, Failure):
        return f"the interpreter {'aborts' if found.aborted else 'refuses'}: {found.reason}", False
    known = dict(zip((*func.parameters, *results), (*arrays, *found[0]), strict=True))
    faults = []
    for op in ops:
        where = op.location[0] if op.location else "no name"
        try:
            difference = compared(op, kernels, known)
        except QirError as error:
            return f"{op.kind} ({where}) is not expanded: {error.message}", True
        if not (difference.numpy or difference.xla):
            continue
        told, cause = _told(op, where, difference), KNOWN.get((kernels, op.kind))
        if cause is None:
            return "; ".join([*faults, told]), True
        faults.append(f"{told}, but {cause}")
    agree = f"{'the other' if faults else 'all'} {len(ops) - len(faults)} ops agree"
    return "; ".join([*faults, agree]), False


def compared(op, kernels: str, known) -> Difference:
    """An op's expansion on the interpreter's own inputs, against the interpreter's results."""
    from .. import api
    from ..evaluate import evaluate
    from ..ir import Func, parameter

    fresh = [o if o.is_const else parameter(f"x{i}", o.type) for i, o in enumerate(op.operands)]
    results = values_of(expanded(op, kernels, *fresh))
    given = [(p, known[o]) for p, o in zip(fresh, op.operands, strict=True) if not p.is_const]
    func = Func("main", tuple(p for p, _ in given), results,
                tuple(f"y{i}" for i in range(len(results))))  # fmt: skip
    arrays = [a for _, a in given]
    theirs = [known[value] for value in values_of(op)]
    numpy = _gap(theirs, evaluate(func, arrays))
    xla = _gap(theirs, api.compile(func)(*arrays))
    return Difference(sum(a.size for a in theirs), *numpy, *xla)


def _gap(theirs, ours) -> tuple[int, float]:
    """How many values differ and by how much at most; NaN equals NaN."""
    import numpy as np

    ours = ours if isinstance(ours, (tuple, list)) else (ours,)
    count, most = 0, 0.0
    for a, b in zip(theirs, ours, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        wrong = (a != b) & ~(np.isnan(a) & np.isnan(b))
        count += int(wrong.sum())
        most = max(most, float(np.abs(a[wrong] - b[wrong]).max(initial=0)))
    return count, most


def _told(op, where: str, found: Difference) -> str:
    both = (("numpy", found.numpy, found.numpy_most), ("XLA", found.xla, found.xla_most))
    parts = [f"{n} of {found.values} values on {name}, by {most:g} at most"
             for name, n, most in both]  # fmt: skip
    return f"{op.kind} ({where}) differs: {', '.join(parts)}"
