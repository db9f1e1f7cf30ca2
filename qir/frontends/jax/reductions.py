"""Imports of primitives that combine elements along axes."""

import numpy as np

from qir.dialects import lax

from ...dialect import items
from ...errors import require
from ...ir import const
from ...types import DTYPES, Element
from .table import imports, type_of_aval

INDEX = Element(DTYPES["i32"])

_REDUCTIONS = (lax.reduce_sum, lax.reduce_prod, lax.reduce_max, lax.reduce_min, lax.reduce_and,
               lax.reduce_or)  # fmt: skip
_RUNNING = (lax.cumsum, lax.cumprod, lax.cummax, lax.cummin, lax.cumlogsumexp)
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
def reduce_window(equation, *operands):
    """A window with a computation of its own: known where that is one sum or extremum."""
    x, start = _lone(operands)
    ops = {
        "add": (lax.reduce_window_sum, lax.add),
        "max": (lax.reduce_window_max, lax.max),
        "min": (lax.reduce_window_min, lax.min),
    }
    name = _computation(equation, ops)
    windows, combine = ops[name]
    neutral = start.is_const and not np.any(start.value)
    require(name != "add" or neutral, "a window sum must start at 0")
    y = _window(windows, equation.params, x)
    return y if name == "add" else combine(y, start)


@imports("reduce")
def reduce(equation, *operands):
    """A reduction with a computation of its own: known where that is one op."""
    x, start = _lone(operands)
    ops = {
        "add": (lax.reduce_sum, lax.add), "mul": (lax.reduce_prod, lax.mul),
        "max": (lax.reduce_max, lax.max), "min": (lax.reduce_min, lax.min),
        "and": (lax.reduce_and, lax.and_), "or": (lax.reduce_or, lax.or_),
    }  # fmt: skip
    over, combine = ops[_computation(equation, ops)]
    return combine(over(x, axes=tuple(equation.params["dimensions"])), start)


def _lone(operands):
    require(len(operands) == 2, f"one of {len(operands) // 2} values at once is not imported")
    return operands


def _computation(equation, known) -> str:
    """The name of the one primitive that a reduction computes."""
    body = equation.params["jaxpr"]
    body = getattr(body, "jaxpr", body)
    names = [e.primitive.name for e in body.eqns]
    whole = len(names) == 1 and set(body.eqns[0].invars) == set(body.invars)
    require(whole and names[0] in known, f"{equation.primitive.name} of {names} is not imported")
    return names[0]


@imports("reduce_xor")
def reduce_xor(equation, x):
    require(x.dtype.kind == "bool", f"it combines {x.type}, not truth values")
    count = lax.reduce_sum(lax.convert(x, to=INDEX), axes=tuple(equation.params["axes"]))
    return lax.eq(lax.and_(count, const(np.int32(1))), const(np.int32(1)))


@imports("psum", "pmax", "pmin")
def over_mapped_axes(equation, *xs):
    """What `vmap` maps is an axis by now; devices have no axis."""
    p = equation.params
    axes = p["axes"]
    require(all(isinstance(axis, int) for axis in axes) and p["axis_index_groups"] is None,
            f"it speaks to the devices of {axes}")  # fmt: skip
    over = {"psum": lax.reduce_sum, "pmax": lax.reduce_max, "pmin": lax.reduce_min}
    return tuple(over[equation.primitive.name](x, axes=tuple(axes)) for x in xs)


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
    return _greatest(x, int(equation.params["k"]), axis)


@imports("approx_top_k")
def approx_top_k(equation, x):
    """All of the greatest or least elements, of which an approximation may lack some."""
    p = equation.params
    require(p["aggregate_to_topk"], "one that keeps more than k candidates is not imported")
    axis = p["reduction_dimension"] % x.type.rank
    if p["is_max_k"]:
        return _greatest(x, int(p["k"]), axis)
    values, places = _greatest(lax.neg(x), int(p["k"]), axis)
    return lax.neg(values), places


def _greatest(x, k: int, axis: int):
    """The k greatest elements along an axis, which is last meanwhile, and where they stand."""
    last = x.type.rank - 1
    order = [last if i == axis else axis if i == last else i for i in range(last + 1)]
    turned = x if axis == last else lax.transpose(x, permutation=order)
    found = items(lax.top_k(turned, k=k))
    return found if axis == last else tuple(lax.transpose(y, permutation=order) for y in found)
