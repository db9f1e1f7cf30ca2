"""Training with the rounding of inference: a graph as a JAX function, and its results put back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from .errors import QirError, suggestion
from .ir import Func, Module, Op, kept, transform
from .rounding import fake
from .variables import bound, is_ranged, ranged


@dataclass(frozen=True, eq=False)
class Trainable:
    """A graph with variables for JAX to differentiate.

    apply: `(ranges, params, *inputs)` to what the traced function gives, `params` a tree like the
    one it was traced with; any of it may be differentiated, jitted and optimized. ranges: by the
    name of each rounded activation the ends `[lo, hi]` to begin with. moved: `(ranges, params,
    *inputs, momentum=0.99)` to ranges moved towards what the values reach on these inputs, for
    training that does not learn them by gradient.
    """

    apply: Callable
    ranges: dict[str, np.ndarray]
    moved: Callable


def to_jax(module: Module | Func) -> Trainable:
    """A graph that was traced with `trainable` as a JAX function of the same tree.

    Roundings in it have straight-through gradients. It is traced by JAX like any function: no
    program is compiled before the caller's own.
    """
    func = _main(module)
    named = import_module("qir.frontends.jax.variables").named
    run, seen = import_module("qir.targets.xla.trainable").functions(func)
    leaves = import_module("jax").tree_util.tree_leaves

    def apply(ranges, params, *inputs):
        results = run(ranges, named(params), leaves(inputs))
        if func.result_names and all(func.result_names):
            return dict(zip(func.result_names, results, strict=True))
        return results[0] if len(results) == 1 else results

    def moved(ranges, params, *inputs, momentum: float = 0.99):
        values = seen(ranges, named(params), leaves(inputs))
        return {name: _moved(ends, values[name], momentum) for name, ends in ranges.items()}

    ranges = {name: np.array([op.attributes["lo"], op.attributes["hi"]], np.float32)
              for name, op in ranged(func).items()}  # fmt: skip
    return Trainable(apply, ranges, moved)


def _moved(ends, value, momentum: float):
    found = import_module("jax.numpy").stack([value.min(), value.max()])
    return momentum * ends + (1 - momentum) * found


def bind(module: Module | Func, params, ranges: Mapping[str, object] | None = None) -> Module:
    """A module whose variables are constants with the values in a tree, and whose ranges are these.

    params: a tree like that of the trace. ranges: as `Trainable` has them; those of the module
    where they are left out. The result is what `qir.quantize` takes, with `pipeline="qat"`.
    """
    values = import_module("qir.frontends.jax.variables").named(params)
    return Module((_with_ranges(bound(_main(module), values), ranges or {}),))


def _with_ranges(func: Func, ranges: Mapping[str, object]) -> Func:
    found = ranged(func)
    for name in ranges:
        if name not in found:
            raise QirError(f"@{func.name} rounds no value called '{name}'",
                           help=suggestion(name, found))  # fmt: skip

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        node = kept(op, operands)
        if not is_ranged(op) or op.attributes["name"] not in ranges:
            return node
        name = op.attributes["name"]
        ends = np.asarray(ranges[name], np.float32)
        if ends.shape != (2,) or not np.isfinite(ends).all():
            raise QirError(f"the range of '{name}' is {ends}, expected two finite numbers")
        lo, hi = fake.around_zero(*ends)
        return node.rebuild(lo=float(lo), hi=float(hi))

    return transform(func, change)


def _main(module: Module | Func) -> Func:
    return module if isinstance(module, Func) else module.main
