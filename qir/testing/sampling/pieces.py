"""A value cut into slices and joined again."""

from importlib import import_module

from ...ir import Op
from .nodes import Leaves
from .values import chance, draw_shape


def draw_pieces(leaves: Leaves) -> Op:
    """A concatenation of slices of one value, as they lie in it or the other way round."""
    rng, lax = leaves.rng, import_module("qir.dialects.lax")
    shape = [n + 1 for n in draw_shape(rng, int(rng.integers(1, 4)))]
    axis = int(rng.integers(len(shape)))
    shape[axis] += 2
    x = leaves.parameter(leaves.mood.data[tuple(shape)])
    reverse = chance(rng, 0.4)
    step = 1 if reverse else int(rng.integers(1, 3))
    low = int(rng.integers(2))
    starts = list(range(low, shape[axis] - step + 1, step))
    pieces = []
    for start in starts[::-1] if reverse else starts:
        begin, end = [0] * len(shape), list(shape)
        begin[axis], end[axis] = start, start + step
        pieces.append(lax.slice(x, start=begin, limit=end, location=leaves.place()))
    return lax.concatenate(*pieces, axis=axis, location=leaves.place())
