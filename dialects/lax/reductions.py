"""Ops that combine elements along axes: reductions, running sums, windows, sorting."""

import numpy as np

from qir.attributes import Ints
from qir.errors import require
from qir.ranges import over_axes
from qir.roles import INDEX, SAME, Roles, RoleTable, free, keeps_float, no_part, same
from qir.shapes import reduced
from qir.types import DTYPES, Element, TupleType, Type, tensor

from .dialect import axis_of, lax, plain, wide

_INDEX = Element(DTYPES["i32"])
_FREE = free()


def _reduction(name: str, compute, doc: str, kinds=("float", "int"), grid: RoleTable = _FREE):
    """An op `name(x, axes=)` on plain numbers of these kinds."""

    def typing(x: Type, *, axes: Ints) -> Type:
        plain(x)
        require(x.dtype.kind in kinds, f"takes {' or '.join(kinds)} elements, found {x}")
        return x.with_shape(reduced(x, axes, keepdims=False))

    typing.__doc__ = doc
    op = lax.op(typing, name=name, grid=grid)
    op.means(lambda op, x: compute(wide(x), axis=op.attributes["axes"], dtype=wide(x).dtype))
    return op


def _extremum(name: str, compute, doc: str):
    """An op `name(x, axes=)` that picks elements, on stored integers too."""

    def typing(x: Type, *, axes: Ints) -> Type:
        require(x.grid is None or x.grid.per_tensor, f"compares values of one scale, found {x}")
        shape = reduced(x, axes, keepdims=False)
        require(x.size or not x.shape, f"an empty {x} has no extremum")
        return x.with_shape(shape)

    typing.__doc__ = doc
    op = lax.op(typing, name=name, grid=same(), on_storage=True)
    op.means(lambda op, x: compute(x, axis=op.attributes["axes"]))
    op.spans(over_axes)
    return op


def _logical(compute):
    return lambda x, axis, dtype: compute(x, axis=axis)


reduce_sum = _reduction("reduce_sum", np.sum, "Sum over axes, which vanish.")
reduce_prod = _reduction("reduce_prod", np.prod, "Product over axes, which vanish.",
                         grid=keeps_float)  # fmt: skip
reduce_and = _reduction("reduce_and", _logical(np.all), "Whether all are true along axes.",
                        ("bool",), no_part)  # fmt: skip
reduce_or = _reduction("reduce_or", _logical(np.any), "Whether any is true along axes.",
                       ("bool",), no_part)  # fmt: skip
reduce_max = _extremum("reduce_max", np.max, "Greatest element over axes, which vanish.")
reduce_min = _extremum("reduce_min", np.min, "Least element over axes, which vanish.")


def _place(name: str, compute, doc: str):
    """An op `name(x, axis=, to=)` that gives the index of an element."""

    def typing(x: Type, *, axis: int, to: Element = _INDEX) -> Type:
        require(x.grid is None or x.grid.per_tensor, f"compares values of one scale, found {x}")
        axis = axis_of(x, axis)
        require(x.shape[axis] > 0, f"an empty axis of {x} has no extremum")
        require(to.dtype.kind == "int" and to.grid is None, f"indices are integers, not {to}")
        return to[(*x.shape[:axis], *x.shape[axis + 1 :])]

    typing.__doc__ = doc
    op = lax.op(typing, name=name, grid=lambda op: Roles((SAME,), INDEX), on_storage=True)
    op.means(lambda op, x: compute(wide(x), axis=op.attributes["axis"]))
    return op


argmax = _place("argmax", np.argmax, "Index of the first greatest element along an axis.")
argmin = _place("argmin", np.argmin, "Index of the first least element along an axis.")


def _running(name: str, compute, doc: str, kinds=("float", "int")):
    """An op `name(x, axis=, reverse=false)` of the shape of x."""

    def typing(x: Type, *, axis: int, reverse: bool = False) -> Type:
        plain(x)
        axis_of(x, axis)
        require(x.dtype.kind in kinds, f"takes {' or '.join(kinds)} elements, found {x}")
        return x

    def meaning(op, x):
        axis = op.attributes["axis"]
        flip = (lambda v: np.flip(v, axis)) if op.attributes["reverse"] else (lambda v: v)
        return flip(compute(flip(wide(x)), axis=axis, dtype=wide(x).dtype))

    typing.__doc__ = doc
    op = lax.op(typing, name=name)
    op.means(meaning)
    return op


cumsum = _running("cumsum", np.cumsum, "Running sum along an axis, from its end if `reverse`.")
cumprod = _running("cumprod", np.cumprod, "Running product along an axis.")
cummax = _running("cummax", np.maximum.accumulate, "Running greatest element along an axis.")
cummin = _running("cummin", np.minimum.accumulate, "Running least element along an axis.")
cumlogsumexp = _running("cumlogsumexp", np.logaddexp.accumulate,
                        "Logarithm of the running sum of powers along an axis.", ("float",))


@lax.op
def sort(*xs: Type, axis: int, keys: int = 1) -> Type | TupleType:
    """Operands in ascending order of the first `keys` of them along an axis; stable."""
    require(xs and 1 <= keys <= len(xs), f"{len(xs)} operands cannot be sorted by {keys} keys")
    require(all(x.shape == xs[0].shape for x in xs), "operands must be of one shape")
    axis_of(xs[0], axis)
    return xs[0] if len(xs) == 1 else TupleType(xs)


@sort.means
def _(op, *xs):
    axis, keys = op.attributes["axis"], op.attributes["keys"]
    order = np.lexsort(tuple(wide(x) for x in reversed(xs[:keys])), axis=axis)
    result = tuple(np.take_along_axis(x, order, axis) for x in xs)
    return result[0] if len(xs) == 1 else result


@lax.op
def top_k(x: Type, *, k: int) -> TupleType:
    """The k greatest elements along the last axis in descending order, and their i32 indices."""
    require(x.dtype.kind != "bool", f"takes numbers, found {x}")
    require(x.rank >= 1 and 0 <= k <= x.shape[-1], f"{x} has no {k} elements along its last axis")
    shape = (*x.shape[:-1], k)
    return TupleType((x.with_shape(shape), tensor("i32", shape)))


@top_k.means
def _(op, x):
    # the first of equals comes first, as in a stable ascending sort of what reverses the order;
    # -x does not for the lowest integer
    if x.dtype.kind in "iu":
        order = np.argsort(~x, axis=-1, kind="stable")
    else:  # NaN is greater than any number
        order = np.lexsort((-wide(x), ~np.isnan(wide(x))), axis=-1)
    order = order[..., : op.attributes["k"]]
    return np.take_along_axis(x, order, -1), order
