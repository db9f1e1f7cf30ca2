"""Imports of primitives that combine elements along axes."""

import numpy as np

from qir.dialects import lax

from ...errors import require
from .table import imports, type_of_aval

_REDUCTIONS = (lax.reduce_sum, lax.reduce_prod, lax.reduce_max, lax.reduce_min, lax.reduce_and,
               lax.reduce_or)  # fmt: skip
_RUNNING = (lax.cumsum, lax.cumprod, lax.cummax, lax.cummin)
_WINDOWS = (lax.reduce_window_sum, lax.reduce_window_max, lax.reduce_window_min)


def _import_reduction(op) -> None:
    imports_it = imports(op.name.removeprefix("lax."))
    imports_it(lambda equation, x: op(x, axes=tuple(equation.params["axes"])))


def _import_running(op) -> None:
    @imports(op.name.removeprefix("lax."))
    def build(equation, x):
        return op(x, axis=equation.params["axis"], reverse=equation.params["reverse"])


def _import_window(op) -> None:
    imports_it = imports(op.name.removeprefix("lax."))
    imports_it(lambda equation, x: _window(op, equation.params, x))


for _op in _REDUCTIONS:
    _import_reduction(_op)
for _op in _RUNNING:
    _import_running(_op)
for _op in _WINDOWS:
    _import_window(_op)


def _window(op, p, x):
    low, high = zip(*p["padding"], strict=True)
    return op(
        x, window=p["window_dimensions"], strides=p["window_strides"], padding=(*low, *high),
        base_dilation=_unless_ones(p["base_dilation"]),
        window_dilation=_unless_ones(p["window_dilation"]),
    )  # fmt: skip


def _unless_ones(values):
    return tuple(values) if any(n != 1 for n in values) else None


@imports("reduce_window")
def reduce_window(equation, x, start):
    """A window with a computation of its own: known where that is one sum or extremum."""
    body = equation.params["jaxpr"]
    names = [e.primitive.name for e in getattr(body, "jaxpr", body).eqns]
    ops = {
        "add": (lax.reduce_window_sum, lax.add),
        "max": (lax.reduce_window_max, lax.max),
        "min": (lax.reduce_window_min, lax.min),
    }
    require(len(names) == 1 and names[0] in ops, f"reduce_window of {names} is not imported")
    windows, combine = ops[names[0]]
    neutral = start.is_const and not np.any(start.value)
    require(names[0] != "add" or neutral, "a window sum must start at 0")
    y = _window(windows, equation.params, x)
    return y if names[0] == "add" else combine(y, start)


@imports("argmax", "argmin")
def argmax(equation, x):
    (axis,) = equation.params["axes"]
    op = lax.argmax if equation.primitive.name == "argmax" else lax.argmin
    return op(x, axis=axis, to=type_of_aval(equation.outvars[0].aval).element)


@imports("sort")
def sort(equation, *xs):
    return lax.sort(*xs, axis=equation.params["dimension"], keys=equation.params["num_keys"])


@imports("top_k")
def top_k(equation, x):
    axis = equation.params.get("axis", x.type.rank - 1)
    require(axis == x.type.rank - 1, f"top_k along axis {axis}, not the last, is not imported")
    return lax.top_k(x, k=int(equation.params["k"]))
