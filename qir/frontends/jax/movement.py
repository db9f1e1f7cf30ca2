"""Imports of primitives that move elements.

A leading extent that comes from an operand is written -1, so that the graph serves any batch.
"""

import numpy as np

from qir.dialects import lax

from ...dialect import items
from ...errors import require
from ...ir import const
from .table import imports


@imports("reshape")
def reshape(equation, x):
    require(equation.params.get("dimensions") is None, "reshape with dimensions is not imported")
    return lax.reshape(x, shape=_inferred(x.shape, equation.params["new_sizes"]))


def _inferred(old, new) -> tuple[int, ...]:
    """`new` with -1 where the leading extent of `old` went: after the ones put before it."""
    new = tuple(int(n) for n in new)
    if not old or 0 in new:
        return new
    at = 0
    while old[0] != 1 and at < len(new) - 1 and new[at] == 1:
        at += 1
    return with_unknown(new, at)


def with_unknown(shape, at: int) -> tuple[int, ...]:
    """A shape with -1 at one place, so that the extent there is any."""
    return tuple(-1 if i == at and 0 not in shape else n for i, n in enumerate(shape))


@imports("squeeze")
def squeeze(equation, x):
    gone = {d % x.type.rank for d in equation.params["dimensions"]}
    shape = tuple(n for i, n in enumerate(x.shape) if i not in gone)
    return lax.reshape(x, shape=shape if 0 in gone else with_unknown(shape, 0))


@imports("broadcast_in_dim")
def broadcast_in_dim(equation, x):
    shape = tuple(int(n) for n in equation.params["shape"])
    axes = tuple(equation.params["broadcast_dimensions"])
    if shape == x.shape:
        return x
    if tuple(shape[a] for a in axes) == x.shape and all(
        n == 1 for i, n in enumerate(shape) if i not in axes
    ):
        return lax.reshape(x, shape=with_unknown(shape, axes[0]) if axes else shape)
    extents = dict(zip(axes, x.shape, strict=True))
    known = tuple(-1 if extents.get(i) == n else n for i, n in enumerate(shape))
    return lax.broadcast(x, shape=known, axes=axes)


@imports("transpose")
def transpose(equation, x):
    return lax.transpose(x, permutation=tuple(equation.params["permutation"]))


@imports("concatenate")
def concatenate(equation, *xs):
    return lax.concatenate(*xs, axis=equation.params["dimension"])


@imports("stack")
def stack(equation, *xs):
    axis = equation.params["axis"]
    return lax.concatenate(*(_with_axis(x, axis) for x in xs), axis=axis)


def _with_axis(x, axis: int):
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    return lax.reshape(x, shape=with_unknown(shape, 1 if axis == 0 else 0) if x.shape else shape)


@imports("unstack")
def unstack(equation, x):
    axis = equation.params["axis"]
    shape = tuple(n for i, n in enumerate(x.shape) if i != axis)
    shape = shape if axis == 0 else with_unknown(shape, 0)
    parts = items(lax.split(x, sizes=(1,) * x.shape[axis], axis=axis))
    return tuple(lax.reshape(part, shape=shape) for part in parts)


@imports("tile")
def tile(equation, x):
    for axis, count in enumerate(equation.params["reps"]):
        x = lax.concatenate(*[x] * count, axis=axis) if count != 1 else x
    return x


@imports("pad")
def pad(equation, x, value):
    low, high, interior = zip(*equation.params["padding_config"], strict=True)
    interior = interior if any(interior) else None
    if value.is_const:
        return lax.pad(x, low=low, high=high, interior=interior, value=float(value.value))
    y = lax.pad(x, low=low, high=high, interior=interior)
    # along an axis that gains nothing the mask repeats
    sides = zip(x.shape, low, high, interior or low, strict=True)
    gains = [bool(a or b or n > 1 and interior and between) for n, a, b, between in sides]
    shape = [n if grown else 1 for n, grown in zip(x.shape, gains, strict=True)]
    ones = const(np.ones(shape, bool))
    return lax.select(lax.pad(ones, low=low, high=high, interior=interior), y, value)


@imports("slice")
def slice_(equation, x):
    p = equation.params
    strides = p["strides"] if p["strides"] and any(s != 1 for s in p["strides"]) else None
    limit = whole(x, p["limit_indices"])
    return lax.slice(x, start=p["start_indices"], limit=limit, strides=strides)


def whole(x, extents) -> tuple[int, ...]:
    """Extents with -1 in front where they are that of x."""
    extents = tuple(int(n) for n in extents)
    return (-1, *extents[1:]) if extents[:1] == x.shape[:1] else extents


@imports("split")
def split(equation, x):
    sizes = tuple(int(n) for n in equation.params["sizes"])
    return lax.split(x, sizes=sizes, axis=equation.params["axis"])


@imports("rev")
def rev(equation, x):
    return lax.reverse(x, axes=tuple(equation.params["dimensions"]))
