"""From a JAX program to a graph: inputs named, traced to a jaxpr, equations imported."""

import inspect
import re
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.tree_util import tree_flatten_with_path, tree_leaves, tree_unflatten

from ...dialects import quant
from ...errors import QirError
from ...ir import Func, Module, Op, const, parameter
from . import contractions, elementwise, movement, places, reductions  # noqa: F401  fill the table
from .equations import Importer
from .equinox import without_states
from .locations import Location, Locations
from .models import array_names, as_function, path_text
from .table import type_of_aval
from .variables import named


def trace(f, *example_args, name: str = "main", trainable: int | None = None) -> Module:
    """The graph of a JAX function or a model applied to inputs like `example_args`.

    f: a function, an nnx module, a linen module bound to its variables, or an Equinox module, which
    is traced for inference; states of Equinox are constants. example_args: arrays,
    shapes with dtypes, or pytrees of them. Inputs are named after the parameters of `f` and the
    keys of pytrees, results after the keys of a dict. 64-bit inputs become what JAX makes of them.
    trainable: the number of the argument, as `argnums` of jax.grad, that holds the model's arrays;
    they are no inputs but variables of the graph, named by their paths, with the values given.
    QirError lists every primitive that has no import, with its places.
    """
    function, model = as_function(f)
    arguments = _argument_names(model, len(example_args))
    function, arguments, examples = without_states(function, arguments, example_args)
    names, shapes, tree = _inputs(arguments, examples)
    held = _variables(example_args, examples, trainable)
    closed, outputs = jax.make_jaxpr(
        lambda *leaves: function(*tree_unflatten(tree, leaves)), return_shape=True
    )(*shapes)
    where = Locations(default=f"@{name}")
    whole = str(Location(_line_of(model, where)))
    leaves = tuple(
        held[i] if i in held else parameter(n, type_of_aval(v.aval), (whole,))
        for i, (n, v) in enumerate(zip(names, closed.jaxpr.invars, strict=True))
    )
    importer = Importer(where, array_names(f))
    results = importer.run(closed, leaves)
    inputs = tuple(leaf for leaf in leaves if leaf.kind == "parameter")
    return Module((Func(name, inputs, results, _result_names(outputs)),))


def _variables(arguments: Sequence, examples: Sequence, trainable: int | None) -> dict[int, Op]:
    """The variables of a trace by the number of their leaf among all; of none without a tree.

    examples: those of the arguments that are traced.
    """
    if trainable is None:
        return {}
    if not 0 <= trainable < len(arguments):
        raise QirError(f"argument {trainable} is to hold the variables, {len(arguments)} are given")
    tree = arguments[trainable]
    at = next((i for i, each in enumerate(examples) if each is tree), None)
    if at is None:
        raise QirError(f"argument {trainable} holds a state, which is a constant of the graph")
    start = len(tree_leaves(examples[:at]))
    return {start + i: _variable(name, leaf) for i, (name, leaf) in enumerate(named(tree).items())}


def _variable(name: str, leaf) -> Op:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        raise QirError(f"the variable '{name}' is a shape without values",
                       help="trace with the model's arrays: their values are where training begins"
                       )  # fmt: skip
    array = np.asarray(leaf)
    array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
    return quant.variable(const(array, name=name), name=name)


def _inputs(arguments: Sequence[str], example_args: Sequence):
    """The names and abstract values of the inputs, and the tree that puts arguments together."""
    names, shapes = [], []
    for argument, example in zip(arguments, example_args, strict=True):
        for path, leaf in tree_flatten_with_path(example)[0]:
            inside = path_text(path)
            alone = inside and len(example_args) == 1
            names.append(_word(inside if alone else f"{argument}.{inside}" if inside else argument))
            shapes.append(_abstract(leaf, names[-1]))
    if len(set(names)) != len(names):
        names = [f"{n}_{i}" for i, n in enumerate(names)]
    return names, shapes, jax.tree_util.tree_structure(example_args)


def _abstract(leaf, name: str) -> jax.ShapeDtypeStruct:
    found = np.dtype(getattr(leaf, "dtype", None) or np.asarray(leaf).dtype)
    if found.kind not in "biufV" or (found.kind == "V" and found.name != "bfloat16"):
        raise QirError(f"the example for '{name}' is a {type(leaf).__name__} of {found}",
                       help="give an array of numbers, or a jax.ShapeDtypeStruct")  # fmt: skip
    return jax.ShapeDtypeStruct(np.shape(leaf), jax.dtypes.canonicalize_dtype(found))


def _argument_names(model: Callable, count: int) -> list[str]:
    """What the model calls its first arguments, `x0`, `x1` .. where it does not say."""
    try:
        found = list(inspect.signature(model).parameters.values())
    except (TypeError, ValueError):
        found = []
    names = [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names[:count] + [f"x{i}" for i in range(len(names), count)]


def _result_names(outputs) -> tuple[str, ...]:
    """The keys of a dict of results, joined where it is nested; none for anything else."""
    if not isinstance(outputs, dict) or not tree_leaves(outputs):
        return ()
    return tuple(_word(path_text(path)) for path, _ in tree_flatten_with_path(outputs)[0])


def _word(name: str) -> str:
    """A name that the text can hold."""
    word = re.sub(r"\W+", "_", name).strip("_") or "x"
    return word if not word[0].isdigit() else f"x{word}"


def _line_of(model: Callable, where: Locations) -> str:
    """The line that defines the model."""
    try:
        code = inspect.unwrap(model).__code__
    except AttributeError:
        return where.default
    return f"{where.short(code.co_filename)}:{code.co_firstlineno}"
