"""Transposes move toward the results, where they meet and cancel: NCHW models end as NHWC."""

from qir.errors import require
from qir.ir import OPS, Op, item
from qir.pattern import Pattern, V, either
from qir.rewrite import rule

from ...dialects import lax, nn
from .build import aligned, inverse, reshaped, transposed


def _pointwise(operands: int) -> tuple:
    """The pointwise ops of the lax and nn dialects with so many operands."""
    return tuple(d for name, d in OPS.items()
                 if name.startswith(("lax.", "nn.")) and d.pointwise
                 and len(d.required) == operands)  # fmt: skip


_TURN = lax.transpose(V.x) @ "turn"


@rule(either(*_pointwise(1))(_TURN) @ "op")
def transpose_after_function(op, turn, x):
    """What is done to each element can be done before they change places."""
    return turn.with_operands(op.with_operands(x))


@rule(
    either(*_pointwise(2))(_TURN, V.b) @ "op",
    either(*_pointwise(2))(V.a, _TURN) @ "op",
    either(*_pointwise(3))(_TURN, V.b, V.c) @ "op",
    either(*_pointwise(3))(V.a, _TURN, V.c) @ "op",
    either(*_pointwise(3))(V.a, V.b, _TURN) @ "op",
)
def transpose_after_arithmetic(op, turn):
    """Arithmetic on values in one order of axes can be done in the order they came from."""
    require(turn.type.rank == op.type.rank, f"{turn.type} gains axes in {op.type}")
    order = turn.attributes["permutation"]
    operands = (_untransposed(o, order, op.type.rank, turn.type.size) for o in op.operands)
    return transposed(op.with_operands(*operands), order)


def _untransposed(operand: Op, order, rank: int, size: int) -> Op:
    """The operand, of that rank, in the order from which `order` makes the op's.

    What is no constant may gain a transpose if that moves less than the `size` elements saved.
    """
    if operand.kind == "lax.transpose" and operand.attributes["permutation"] == order:
        return operand.operands[0]
    if operand.type.rank == 0:
        return operand
    cheap = operand.is_const or operand.type.size < size
    require(cheap, f"{operand.kind} comes in another order of axes")
    full = (1,) * (rank - operand.type.rank) + operand.shape
    result = transposed(reshaped(operand, full), inverse(order))
    tail = result.shape
    while result.is_const and tail and tail[0] == 1:
        tail = tail[1:]
    return reshaped(result, tail)


@rule(either(
    nn.mean, nn.sum, nn.reduce_max, nn.reduce_min, lax.reduce_sum, lax.reduce_max, lax.reduce_min,
    lax.reduce_prod, lax.reduce_and, lax.reduce_or,
)(_TURN) @ "op")  # fmt: skip
def transpose_after_reduction(op, turn, x):
    """A reduction takes the same axes wherever they stand."""
    order, rank = turn.attributes["permutation"], turn.type.rank
    gone = {order[a % rank] for a in op.attributes["axes"]}
    reduced = op.with_operands(x, axes=sorted(gone))
    if op.attributes.get("keepdims"):
        return transposed(reduced, order)
    left = [axis for axis in order if axis not in gone]
    return transposed(reduced, [sorted(left).index(axis) for axis in left])


@rule(
    either(nn.softmax, lax.cumsum, lax.cumprod, lax.cummax, lax.cummin)(_TURN) @ "op",
    nn.softmax(_TURN, V.mask) @ "op",
)
def transpose_after_function_of_axis(op, turn, x):
    """A function along an axis takes the same axis wherever it stands."""
    order, rank = turn.attributes["permutation"], turn.type.rank
    axis = order[op.attributes["axis"] % rank]
    named = -1 if op.kind == "nn.softmax" and axis == rank - 1 else axis
    mask = (_untransposed(o, order, rank, op.type.size + 1) for o in op.operands[1:])
    return turn.with_operands(op.with_operands(x, *mask, axis=named))


@rule(either(lax.pad, lax.slice)(_TURN) @ "op")
def transpose_after_cropping(op, turn, x):
    """Padding and slicing take the same axes wherever they stand."""
    back = inverse(turn.attributes["permutation"])
    lists = {name: [values[i] for i in back]
             for name, values in op.attributes.items() if isinstance(values, tuple)}  # fmt: skip
    return turn.with_operands(op.with_operands(x, **lists))


@rule(lax.reverse(_TURN) @ "op")
def transpose_after_reverse(op, turn, x):
    """Axes can be reversed before they change places."""
    order = turn.attributes["permutation"]
    return turn.with_operands(op.with_operands(x, axes=[order[a] for a in op.attributes["axes"]]))


@rule(lax.take(_TURN, V.indices) @ "op")
def transpose_after_take(op, turn, x, indices):
    """Slices can be taken along an axis before it changes its place."""
    require(indices.type.rank == 1, f"indices {indices.type} change the number of axes")
    order = turn.attributes["permutation"]
    axis = order[op.attributes["axis"] % turn.type.rank]
    return turn.with_operands(op.with_operands(x, indices, axis=axis))


@rule(Pattern(("item",), (lax.split(_TURN) @ "parts",)) @ "op")
def transpose_after_split(op, parts, turn, x):
    """A value can be split before its axes change places."""
    order = turn.attributes["permutation"]
    axis = order[parts.attributes["axis"] % turn.type.rank]
    split = parts.with_operands(x, axis=axis)
    return turn.with_operands(item(split, op.attributes["index"]))


@rule(lax.concatenate(...) @ "op")
def transpose_after_concatenate(op):
    """Values in one order of axes can be joined in the order they came from."""
    turns = [o for o in op.operands if o.kind == "lax.transpose"]
    orders = {o.attributes["permutation"] for o in turns}
    require(len(orders) == 1, f"its operands come in {len(orders)} orders")
    (order,) = orders
    require(all(o.kind == "lax.transpose" or o.is_const for o in op.operands),
            "an operand is not transposed")  # fmt: skip
    operands = [transposed(o, inverse(order)) for o in op.operands]
    axis = order[op.attributes["axis"] % op.type.rank]
    return turns[0].with_operands(op.with_operands(*operands, axis=axis))


@rule(lax.transpose(lax.transpose(V.x) @ "inner") @ "op")
def transposes_meet(op, inner, x):
    """Two transposes are one, or none."""
    return transposed(inner, op.attributes["permutation"])


@rule(lax.reshape(lax.reshape(V.x)) @ "op")
def reshapes_meet(op, x):
    """Two reshapes are one, or none."""
    return reshaped(x, op.shape)


@rule(lax.reshape(_TURN) @ "op")
def transpose_after_reshape_by_ones(op, turn, x):
    """Axes of extent 1 can be inserted or dropped before the others change places."""
    sources = aligned(turn.shape, op.shape)
    require(sources is not None, f"{list(turn.shape)} to {list(op.shape)} moves elements")
    order = turn.attributes["permutation"]
    # a new axis stays where it is, the others fill the remaining places in the order of x
    new = [i for i, source in enumerate(sources) if source is None]
    rest = sorted((order[s], i) for i, s in enumerate(sources) if s is not None)
    places = [i for i in range(op.type.rank) if i not in new]
    at = {i: i for i in new} | {i: p for (_, i), p in zip(rest, places, strict=True)}
    shape = [0] * op.type.rank
    for i, place in at.items():
        shape[place] = op.shape[i]
    return transposed(reshaped(x, shape), [at[i] for i in range(op.type.rank)])


RULES = (
    transposes_meet, reshapes_meet, transpose_after_function, transpose_after_arithmetic,
    transpose_after_reduction, transpose_after_function_of_axis, transpose_after_cropping,
    transpose_after_reverse, transpose_after_take, transpose_after_split,
    transpose_after_concatenate, transpose_after_reshape_by_ones,
)  # fmt: skip
