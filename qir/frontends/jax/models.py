"""What can be traced besides plain functions, and what the arrays inside are called."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.tree_util import tree_flatten_with_path

from ...errors import QirError
from .equinox import in_inference, is_module

DEPTH = 4
"""How many functions deep closures are searched for named arrays."""


def as_function(f) -> tuple[Callable, Callable]:
    """The function to trace, and the one whose parameters name the inputs."""
    nnx, linen = sys.modules.get("flax.nnx"), sys.modules.get("flax.linen")
    if _is_keras(f):
        return _of_keras(f)
    if nnx is not None and isinstance(f, nnx.Module):
        # cloned inside the trace, so that counters and statistics may change there
        return lambda *args: nnx.clone(f)(*args), f.__call__
    if linen is not None and isinstance(f, linen.Module):
        if f.scope is None:
            raise QirError(f"the linen module {type(f).__name__} has no variables",
                           help="trace `model.bind(variables)`, or a function that calls "
                                "`model.apply(variables, x)`")  # fmt: skip
        module, variables = f.unbind()
        return lambda *args: module.apply(variables, *args), f.__call__
    if not callable(f):
        raise QirError(f"cannot trace a {type(f).__name__}",
                       help="give a function, or a model of Flax, Equinox or Keras")  # fmt: skip
    if is_module(f):
        inner = inspect.unwrap(f)
        return in_inference(f), inner.__call__ if is_module(inner) else inner
    return f, f


def _is_keras(f) -> bool:
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(f, keras.Model)


def _of_keras(model) -> tuple[Callable, Callable]:
    """A Keras model on the JAX backend, which takes its inputs one by one."""
    names = [each.name.split(":")[0] for each in model.inputs]
    weights, others = ([v.value for v in variables] for variables in (
        model.trainable_variables, model.non_trainable_variables))  # fmt: skip

    def run(*xs):
        given = xs[0] if len(xs) == 1 else list(xs)
        return model.stateless_call(weights, others, given, training=False)[0]

    run.__signature__ = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in names])
    return run, run


def array_names(f) -> dict[object, str]:
    """The names of arrays that a model holds or closes over, by `identity`."""
    if _is_keras(f):
        return {identity(v.value): v.path for v in f.variables}
    names: dict[object, str] = {}
    for held in (inspect.unwrap(f), f):  # a transformed model calls its arrays by number
        for name, array in _arrays(held, "", DEPTH):
            names.setdefault(identity(array), name.removeprefix("params."))
    return names


def identity(array) -> object:
    """What tells arrays apart: numpy's by their memory, of which JAX takes views, others by id."""
    if isinstance(array, np.ndarray):
        return array.__array_interface__["data"][0], array.shape, array.strides
    return id(array)


def _arrays(value, name: str, depth: int) -> Iterator[tuple[str, object]]:
    """Every array in a pytree or model, and in what its functions close over, with its path.

    name: what the value itself is called; the keys of a dict speak for themselves.
    """
    for path, leaf in tree_flatten_with_path(_contents(value))[0]:
        inside = path_text(path)
        if isinstance(leaf, (np.ndarray, jax.Array)):
            own = inside and not inside[0].isdigit()
            yield inside if own else ".".join(filter(None, (name, inside))), leaf
        elif depth and _contents(leaf) is not leaf:
            yield from _arrays(leaf, inside, depth - 1)
        elif depth and callable(leaf):
            for inner_name, inner in _held_by(leaf):
                yield from _arrays(inner, inner_name, depth - 1)


def _contents(value):
    """The arrays of a Flax model as nested dicts, anything else as it is."""
    nnx, linen = sys.modules.get("flax.nnx"), sys.modules.get("flax.linen")
    if nnx is not None and isinstance(value, nnx.Module):
        return nnx.to_pure_dict(nnx.state(value))
    if linen is not None and isinstance(value, linen.Module):
        return value.variables if value.scope is not None else {}
    return value


def _held_by(function) -> Iterator[tuple[str, object]]:
    """What a function closes over, is bound to, or reads from its module, by name."""
    if isinstance(function, functools.partial):
        yield "", function.func
        yield from function.keywords.items()
        yield from ((f"x{i}", x) for i, x in enumerate(function.args))
        return
    if hasattr(function, "__self__"):
        yield "", function.__self__
    function = getattr(function, "__wrapped__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        yield from getattr(function, "__dict__", {}).items()
        return
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        if cell is not None and _filled(cell):
            yield name, cell.cell_contents
    for name in code.co_names:
        if name in function.__globals__ and _holds_arrays(function.__globals__[name]):
            yield name, function.__globals__[name]


def _filled(cell) -> bool:
    try:
        cell.cell_contents  # noqa: B018  a cell not yet assigned raises
    except ValueError:
        return False
    return True


def _holds_arrays(value) -> bool:
    """Whether a global is data rather than code."""
    data = isinstance(value, (dict, list, tuple, np.ndarray, jax.Array))
    return data or is_module(value) or _contents(value) is not value


def path_text(path) -> str:
    """A pytree path as one name: `encoder.layers.0.kernel`."""
    return ".".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)
