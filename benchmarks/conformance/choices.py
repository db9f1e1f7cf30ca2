"""Random ops that compare and choose."""

from functools import partial

import numpy as np
from qir.dialects import tfl

from qir.ir import Func, item, parameter
from qir.types import DTYPES, Element

from .convolutions import element
from .elementwise import single, some_shape


def _pair(rng, elements):
    """Two operands, one of them broadcast now and then."""
    shape = some_shape(rng)
    other = tuple(1 if rng.integers(4) == 0 else n for n in shape)
    pairs = zip("ab", elements, (shape, other), strict=True)
    return tuple(parameter(name, of[each]) for name, of, each in pairs)


def extremum(op, rng: np.random.Generator) -> Func:
    """A random maximum or minimum."""
    a, b = _pair(rng, (element(rng),) * 2)
    return single(op(a, b), a, b)


def comparison(op, rng: np.random.Generator) -> Func:
    """A random comparison, of one grid as often as of two."""
    first = element(rng)
    a, b = _pair(rng, (first, first if rng.integers(2) else element(rng)))
    return single(op(a, b), a, b)


def selection(op, rng: np.random.Generator) -> Func:
    """A random selection."""
    shape, of = some_shape(rng), element(rng)
    other = shape
    if op is tfl.select_v2:
        other = tuple(1 if rng.integers(3) == 0 else n for n in shape)
    a, b = parameter("a", of[shape]), parameter("b", of[other])
    rows = shape if op is tfl.select_v2 or rng.integers(2) else shape[:1]
    condition = parameter("condition", Element(DTYPES["bool"])[rows])
    return single(op(condition, a, b), condition, a, b)


def place(op, rng: np.random.Generator) -> Func:
    """A random place of an extremum, of values of few levels now and then."""
    x = parameter("x", element(rng)[some_shape(rng)])
    rank = len(x.shape)
    return single(op(x, dimension=int(rng.integers(-rank, rank))), x)


def top(rng: np.random.Generator) -> Func:
    """A random TOPK_V2."""
    shape = some_shape(rng)
    x = parameter("x", element(rng)[shape])
    op = tfl.topk_v2(x, k=int(rng.integers(1, shape[-1] + 1)))
    return Func("main", (x,), (item(op, 0), item(op, 1)), ("values", "places"))


def reduction(op, rng: np.random.Generator) -> Func:
    """A random reduction."""
    x = parameter("x", element(rng)[some_shape(rng)])
    rank = len(x.shape)
    axis = rng.choice(rank, int(rng.integers(1, rank + 1)), replace=False).tolist()
    return single(op(x, axis=axis, keep_dims=bool(rng.integers(2))), x)


CASES = {
    "MAXIMUM": partial(extremum, tfl.maximum), "MINIMUM": partial(extremum, tfl.minimum),
    "EQUAL": partial(comparison, tfl.equal), "NOT_EQUAL": partial(comparison, tfl.not_equal),
    "LESS": partial(comparison, tfl.less), "LESS_EQUAL": partial(comparison, tfl.less_equal),
    "GREATER": partial(comparison, tfl.greater),
    "GREATER_EQUAL": partial(comparison, tfl.greater_equal),
    "SELECT": partial(selection, tfl.select), "SELECT_V2": partial(selection, tfl.select_v2),
    "ARG_MAX": partial(place, tfl.arg_max), "ARG_MIN": partial(place, tfl.arg_min),
    "TOPK_V2": top, "REDUCE_MAX": partial(reduction, tfl.reduce_max),
    "REDUCE_MIN": partial(reduction, tfl.reduce_min),
}  # fmt: skip
KNOWN: dict[tuple[str, str], str] = {}
"""Pairs of operator and kernel set that do not agree, with the cause."""
