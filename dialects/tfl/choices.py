"""Ops that compare and choose: maxima, comparisons, selection, places of extrema."""

from typing import Literal

import numpy as np

from qir import shapes
from qir.attributes import Ints
from qir.errors import require
from qir.expansions import expands
from qir.ir import Op, const
from qir.rounding import apply, derive
from qir.types import DTYPES, Element, TupleType, Type, tensor

from .. import int8, lax
from .dialect import axes_of, builtin, is_quantized, of_16_bits, on, regridded, stored
from .unary import stored_values


def _extremum(operator: str, doc: str):
    def typing(a: Type, b: Type, *, to: Element | None = None) -> Type:
        require(a.element == b.element, f"takes operands on one grid, found {a} and {b}")
        return on(a, shapes.broadcast(a.shape, b.shape), to)

    typing.__doc__ = doc
    return builtin(operator, "MaximumMinimumOptions")(typing)


maximum = _extremum("MAXIMUM", "The greater of two elements.")
minimum = _extremum("MINIMUM", "The lesser of two elements.")


@expands(maximum, minimum)
def _(op, kernels, a, b):
    return regridded((lax.max if op.kind == "tfl.maximum" else lax.min)(a, b), op)


def _comparison(operator: str, options: str, doc: str):
    def typing(a: Type, b: Type) -> Type:
        require(is_quantized(a, b) or a.element == b.element, f"compares {a} with {b}")
        return tensor("bool", shapes.broadcast(a.shape, b.shape))

    typing.__doc__ = doc
    return builtin(operator, options)(typing)


equal = _comparison("EQUAL", "EqualOptions", "Whether a equals b.")
not_equal = _comparison("NOT_EQUAL", "NotEqualOptions", "Whether a differs from b.")
less = _comparison("LESS", "LessOptions", "Whether a is less than b.")
less_equal = _comparison("LESS_EQUAL", "LessEqualOptions", "Whether a is at most b.")
greater = _comparison("GREATER", "GreaterOptions", "Whether a is greater than b.")
greater_equal = _comparison("GREATER_EQUAL", "GreaterEqualOptions", "Whether a is at least b.")
COMPARED = {"equal": lax.eq, "not_equal": lax.ne, "less": lax.lt, "less_equal": lax.le,
            "greater": lax.gt, "greater_equal": lax.ge}  # fmt: skip


@expands(equal, not_equal, less, less_equal, greater, greater_equal)
def _(op, kernels, a, b):
    compared = COMPARED[op.kind.partition(".")[2]]
    if not is_quantized(a.type, b.type):
        return compared(a, b)
    ordered = op.kind not in ("tfl.equal", "tfl.not_equal")
    if ordered and of_16_bits(a.type, b.type):  # stored integers, whatever their scales
        return compared(stored(a), stored(b))
    return compared(_for_comparison(a), _for_comparison(b))


def _for_comparison(x: Op) -> Op:
    """An operand with 8 more bits, times its scale (comparisons.cc of the reference kernels)."""
    require(x.dtype.bits == 8 or x.dtype.name == "i16" and not int(x.type.zero),
            f"compares 8 bits, or 16 of zero point 0, found {x.type}")  # fmt: skip
    centred = (stored_values(x.type) - int(x.type.zero)).astype(np.int32) << 8
    values = apply(derive("tflite_reference", np.float64(x.type.scale)), centred)
    i32 = Element(DTYPES["i32"])
    return int8.table(x, const(values.astype(np.int32), name="table"), to=i32)


def _selected(condition: Type, a: Type, b: Type) -> None:
    require(condition.dtype.name == "bool", f"selects by bool, found {condition}")
    require(a.element == b.element, f"selects from operands on one grid, found {a} and {b}")


@builtin("SELECT", "SelectOptions")
def select(condition: Type, a: Type, b: Type, *, to: Element | None = None) -> Type:
    """a where the condition holds, else b; a condition of rank 1 is that of the first axis."""
    _selected(condition, a, b)
    rows = condition.rank <= 1 and condition.size in (1, *a.shape[:1])
    require(a.shape == b.shape and (condition.shape == a.shape or rows),
            f"selects from {a} and {b} by {condition}")  # fmt: skip
    return on(a, a.shape, to)


@builtin("SELECT_V2", "SelectV2Options")
def select_v2(condition: Type, a: Type, b: Type, *, to: Element | None = None) -> Type:
    """a where the condition holds, else b; all three broadcast to each other."""
    _selected(condition, a, b)
    return on(a, shapes.broadcast(condition.shape, a.shape, b.shape), to)


@expands(select, select_v2)
def _(op, kernels, condition, a, b):
    if op.kind == "tfl.select" and condition.shape != a.shape:
        shape = (-1, *(1,) * (a.type.rank - 1)) if a.type.rank else ()
        condition = lax.reshape(condition, shape=shape)
    return regridded(lax.select(condition, a, b), op)


Integer = Literal["INT32", "INT64"]


def _place(operator: str, options: str, doc: str):
    def typing(x: Type, *, dimension: int, output_type: Integer = "INT32") -> Type:
        (axis,) = axes_of(x, (dimension,))
        require(x.shape[axis], f"an empty axis of {x} has no extremum")
        return tensor(f"i{output_type[3:]}", (*x.shape[:axis], *x.shape[axis + 1 :]))

    typing.__doc__ = doc
    return builtin(operator, options, slots="x dimension")(typing)


arg_max = _place("ARG_MAX", "ArgMaxOptions", "The place of the greatest element along an axis.")
arg_min = _place("ARG_MIN", "ArgMinOptions", "The place of the least element along an axis.")


@expands(arg_max, arg_min)
def _(op, kernels, x):
    build = lax.argmax if op.kind == "tfl.arg_max" else lax.argmin
    return build(stored(x), axis=op.attributes["dimension"] % x.type.rank, to=op.type.element)


@builtin("TOPK_V2", "TopKV2Options", slots="x k")
def topk_v2(x: Type, *, k: int) -> TupleType:
    """The k greatest elements along the last axis in descending order, and their places."""
    return lax.top_k.typing(x, k=k)


@expands(topk_v2)
def _(op, kernels, x):
    return lax.top_k(x, k=op.attributes["k"])


def _reduced(operator: str, doc: str):
    def typing(x: Type, *, axis: Ints, keep_dims: bool = False, to: Element | None = None) -> Type:
        shape = shapes.reduced(x, axes_of(x, axis), keep_dims)
        require(x.size, f"an empty {x} has no extremum")
        return on(x, shape, to)

    typing.__doc__ = doc
    return builtin(operator, "ReducerOptions", slots="x axis")(typing)


reduce_max = _reduced("REDUCE_MAX", "The greatest element over axes.")
reduce_min = _reduced("REDUCE_MIN", "The least element over axes.")


@expands(reduce_max, reduce_min)
def _(op, kernels, x):
    build = lax.reduce_max if op.kind == "tfl.reduce_max" else lax.reduce_min
    axes = axes_of(x.type, op.attributes["axis"])
    shape = op.shape if 0 in axes else shapes.open_batch(op.shape)
    return regridded(lax.reshape(build(x, axes=axes), shape=shape), op)
