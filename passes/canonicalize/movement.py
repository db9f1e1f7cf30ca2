"""Movement that goes nowhere, and two movements that are one."""

from itertools import pairwise

from qir import shapes
from qir.errors import require
from qir.ir import Op
from qir.pattern import Pattern, V, either
from qir.rewrite import rule

from ...dialects import lax, nn


@rule(lax.reshape(V.x) @ "op")
def reshape_to_same_shape(op, x):
    """A reshape to the shape that is there already does nothing."""
    require(op.shape == x.shape, f"{x.shape} becomes {op.shape}")
    return x


@rule(lax.reshape(lax.reshape(V.x)) @ "op")
def reshape_of_reshape(op, x):
    """Of two reshapes the last one counts."""
    return op.with_operands(x)


@rule(lax.transpose(V.x) @ "op")
def transpose_to_same_order(op, x):
    """A transpose that keeps every axis in its place does nothing."""
    order = op.attributes["permutation"]
    require(order == tuple(range(x.type.rank)), f"the order becomes {list(order)}")
    return x


@rule(lax.transpose(lax.transpose(V.x) @ "inner") @ "op")
def transpose_of_transpose(op, inner, x):
    """Two transposes are one; it may well be none."""
    first = inner.attributes["permutation"]
    return op.with_operands(x, permutation=[first[i] for i in op.attributes["permutation"]])


@rule(lax.transpose(V.x) @ "op")
def transpose_of_ones_is_reshape(op, x):
    """A transpose that moves only axes of extent 1 is a reshape.

    The leading axis must stay: at batch 1 it has extent 1, and another batch is to be the same.
    """
    order = op.attributes["permutation"]
    require(order and order[0] == 0, "the leading axis moves")
    require(x.type.grid is None or x.type.grid.per_tensor, "a grid along an axis moves with it")
    wide = [axis for axis in order if x.shape[axis] != 1]
    require(wide == sorted(wide), "axes longer than 1 change their order")
    return lax.reshape(x, shape=shapes.open_shape(x.shape, op.shape))


@rule(lax.broadcast(V.x) @ "op")
def broadcast_of_nothing_is_reshape(op, x):
    """A broadcast that repeats nothing is a reshape."""
    require(x.type.size == op.type.size, f"{list(x.shape)} repeats to {list(op.shape)}")
    return lax.reshape(x, shape=shapes.open_shape(x.shape, op.shape))


@rule(lax.concatenate(V.x))
def concatenate_of_one(x):
    """A concatenation of one operand is that operand."""
    return x


@rule(lax.concatenate(...) @ "op")
def concatenate_of_what_has_elements(op):
    """Operands without elements add nothing: `jnp.pad` pads by no rows that way."""
    full = [o for o in op.operands if o.type.size]
    require(0 < len(full) < len(op.operands), "all operands have elements, or none")
    return op.with_operands(*full)


@rule(Pattern(("item",), (lax.split(V.x),)) @ "part")
def split_into_one(part, x):
    """The only part of a split is the whole."""
    require(part.type == x.type, "there are several parts")
    return x


@rule(lax.slice(V.x) @ "op")
def slice_of_all(op, x):
    """A slice from the start to the end of every axis does nothing."""
    require(op.shape == x.shape, f"{list(op.shape)} is left of {list(x.shape)}")
    return x


@rule(lax.concatenate(...) @ "op")
def slices_side_by_side_are_one(op):
    """Slices of one value that are joined as they lie in it are one slice, or its reverse."""
    kinds = {o.kind for o in op.operands}
    require(kinds == {"lax.slice"} and len({o.operands[0] for o in op.operands}) == 1,
            "the operands are no slices of one value")  # fmt: skip
    (x, *_), axis = op.operands[0].operands, op.attributes["axis"] % op.type.rank
    places = [_place(o) for o in op.operands]
    rest = {tuple(p for i, p in enumerate(place) if i != axis) for place in places}
    require(len(rest) == 1, "the slices differ along other axes")
    along = [place[axis] for place in places]
    low, high = min(a for a, _ in along), max(b for _, b in along)
    start, limit = list(op.operands[0].attributes["start"]), op.operands[0].attributes["limit"]
    start[axis] = low
    limit = [high if i == axis and high < x.shape[axis] else -1 if i == axis else n
             for i, n in enumerate(limit)]  # fmt: skip
    whole = lax.slice(x, start=start, limit=limit)
    if all(b == c for (_, b), (c, _) in pairwise(along)):
        return whole
    single = all(b - a == 1 for a, b in along)
    require(single and all(a - c == 1 for (a, _), (c, _) in pairwise(along)),
            "the slices do not lie side by side")  # fmt: skip
    return lax.reverse(whole, axes=(axis,))


def _place(cut: Op) -> tuple[tuple[int, int], ...]:
    """Where a slice starts and ends along each axis; Declined if it leaves some out between."""
    a, (x,) = cut.attributes, cut.operands
    require(all(n == 1 for n in a["strides"] or ()), "a slice leaves elements out")
    ends = (m if b == -1 else b for b, m in zip(a["limit"], x.shape, strict=True))
    return tuple(zip(a["start"], ends, strict=True))


@rule(lax.dynamic_slice(...) @ "op")
def slice_at_constants(op):
    """A slice whose starts are constants is a plain slice."""
    x, *starts = op.operands
    require(all(s.is_const for s in starts), "a start is known at run time")
    sizes = zip(starts, x.shape, op.shape, strict=True)
    low = [min(max(int(s.value), 0), n - size) for s, n, size in sizes]
    ends = zip(low, op.shape, op.attributes["sizes"], strict=True)
    high = [-1 if size == -1 else start + n for start, n, size in ends]
    return lax.slice(x, start=low, limit=high)


@rule(lax.pad(V.x) @ "op")
def pad_by_nothing(op, x):
    """A padding of no elements does nothing."""
    a = op.attributes
    widths = (*a["low"], *a["high"], *(a["interior"] or ()))
    require(not any(widths), f"it pads by {list(a['low'])} and {list(a['high'])}")
    return x


@rule(lax.reverse(V.x) @ "op")
def reverse_of_ones(op, x):
    """Axes of extent 1 are their own reverse."""
    require(all(x.shape[a] == 1 for a in op.attributes["axes"]), "elements change places")
    return x


@rule(either(
    nn.mean, nn.sum, nn.reduce_max, nn.reduce_min, lax.reduce_sum, lax.reduce_max, lax.reduce_min,
    lax.reduce_prod, lax.reduce_and, lax.reduce_or,
)(V.x) @ "op")  # fmt: skip
def reduction_of_ones_is_reshape(op, x):
    """A reduction over axes of extent 1 is a reshape, unless the batch is one of them."""
    axes = [a % x.type.rank for a in op.attributes["axes"]]
    require(all(x.shape[a] == 1 for a in axes), f"{op.kind} reduces {x.type}")
    require(0 not in axes, "the leading axis is reduced")
    return lax.reshape(x, shape=shapes.open_shape(x.shape, op.shape))


RULES = (
    reshape_to_same_shape, reshape_of_reshape, transpose_to_same_order, transpose_of_transpose,
    transpose_of_ones_is_reshape, broadcast_of_nothing_is_reshape, concatenate_of_one,
    concatenate_of_what_has_elements, split_into_one, slices_side_by_side_are_one, slice_of_all,
    slice_at_constants, pad_by_nothing, reverse_of_ones, reduction_of_ones_is_reshape,
)  # fmt: skip
