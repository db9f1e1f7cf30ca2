"""General dot products as dense layers and matrix products."""

import math

from qir.errors import require
from qir.ir import Op
from qir.pattern import V
from qir.rewrite import rule
from qir.variables import is_fixed

from ...dialects import lax, nn
from .build import computes_floats, inverse, reshaped, transposed


@rule(lax.dot_general(V.a, V.b) @ "op")
def dot_with_constant_is_dense(op, a, b):
    """A product with a constant, summed over any axes, is a dense layer between reshapes."""
    computes_floats(op)
    at = op.attributes
    require(not at["batch_a"], f"it has batch axes {list(at['batch_a'])}")
    first = is_fixed(a)
    require(first != is_fixed(b), "not one operand is constant, but both or none")
    x, w, inner_x, inner_w = a, b, at["contract_a"], at["contract_b"]
    if first:
        x, w, inner_x, inner_w = b, a, inner_w, inner_x
    pairs = sorted(zip(inner_x, inner_w, strict=True))
    inner_x, inner_w = [i for i, _ in pairs], [j for _, j in pairs]
    rows, columns = _rest(x, inner_x), _rest(w, inner_w)
    depth = math.prod(x.shape[i] for i in inner_x)
    lead, tail = [x.shape[i] for i in rows], [w.shape[i] for i in columns]
    flat = reshaped(transposed(x, (*rows, *inner_x)), (*lead, depth))
    weight = reshaped(transposed(w, (*inner_w, *columns)), (depth, math.prod(tail)))
    y = reshaped(nn.dense(flat, weight), (*lead, *tail))
    if first:
        y = transposed(y, (*range(len(rows), y.type.rank), *range(len(rows))))
    return y


@rule(lax.dot_general(V.a, V.b) @ "op")
def dot_is_matmul(op, a, b):
    """A product of two values, summed over any axes, is a matmul between transposes and reshapes.

    The operand that is summed over its last axis comes first, as in `rows @ columns`.
    """
    computes_floats(op)
    at = op.attributes
    left = (a, at["batch_a"], at["contract_a"])
    right = (b, at["batch_b"], at["contract_b"])
    swapped = _sums_last(right) and not _sums_last(left)
    if swapped:
        left, right = right, left
    batch = [left[0].shape[i] for i in left[1]]
    # the summed axes must come in one order in both operands
    pairs = sorted(zip(left[2], right[2], strict=True))
    left, right = (*left[:2], [i for i, _ in pairs]), (*right[:2], [j for _, j in pairs])
    first, adjoint_a = _matrices(*left, columns_last=True)
    second, adjoint_b = _matrices(*right, columns_last=False)
    y = nn.matmul(first, second, adjoint_a=adjoint_a, adjoint_b=adjoint_b)
    rows = [left[0].shape[i] for i in _rest(left[0], (*left[1], *left[2]))]
    columns = [right[0].shape[i] for i in _rest(right[0], (*right[1], *right[2]))]
    y = reshaped(y, (*batch, *rows, *columns))
    if swapped:
        middle, end = len(batch) + len(rows), y.type.rank
        y = transposed(y, (*range(len(batch)), *range(middle, end), *range(len(batch), middle)))
    return y


def _rest(x: Op, taken) -> list[int]:
    return [i for i in range(x.type.rank) if i not in taken]


def _sums_last(side) -> bool:
    x, _, inner = side
    return x.type.rank - 1 in inner


def _matrices(x: Op, batch, inner, columns_last: bool) -> tuple[Op, bool]:
    """x as [*batch, M, N] with its summed axes last or first, or the other way round if that
    keeps its axes in their order; and whether it is the other way round."""
    rest = _rest(x, (*batch, *inner))
    extents = [math.prod(x.shape[i] for i in axes) for axes in (rest, inner)]
    inner_last = bool(inner) and (not rest or rest[0] < inner[0])
    if inner_last:
        order = (*batch, *rest, *inner)
    else:
        order, extents = (*batch, *inner, *rest), extents[::-1]
    lead = [x.shape[i] for i in batch]
    return reshaped(transposed(x, order), (*lead, *extents)), inner_last != columns_last


@rule(lax.transpose(nn.matmul(V.a, V.b).once() @ "product") @ "op")
def transpose_of_matmul_swaps_operands(op, product, a, b):
    """The transpose of a @ b is the transpose of b by that of a."""
    order, last = list(op.attributes["permutation"]), op.type.rank - 1
    require(order.index(last) < order.index(last - 1), "the rows stay before the columns")
    flags = product.attributes
    y = product.with_operands(
        b, a, adjoint_a=not flags["adjoint_b"], adjoint_b=not flags["adjoint_a"]
    )
    return transposed(y, [{last: last - 1, last - 1: last}.get(i, i) for i in order])


_SWAPPED = lax.transpose(V.inner) @ "turn"


@rule(
    nn.matmul(_SWAPPED, V.b) @ "op",
    nn.matmul(V.a, _SWAPPED) @ "op",
)
def transpose_before_matmul_is_adjoint(op, turn, inner):
    """A matmul reads an operand whose rows and columns changed places as its adjoint."""
    order, last = turn.attributes["permutation"], turn.type.rank - 1
    require(order == (*range(last - 1), last, last - 1),
            f"the order {list(order)} moves more than rows and columns")  # fmt: skip
    side = "adjoint_a" if op.operands[0] is turn else "adjoint_b"
    operands = [inner if each is turn else each for each in op.operands]
    both = op.operands[0] is op.operands[1]
    flags = {side: not op.attributes[side]}
    if both:
        flags["adjoint_b"] = not op.attributes["adjoint_b"]
    return op.with_operands(*operands, **flags)


@rule(
    nn.dense(lax.reshape(V.x).once() @ "flat", V.w) @ "op",
    nn.dense(lax.reshape(V.x).once() @ "flat", V.w, V.b) @ "op",
)
def rows_need_not_be_merged_for_dense(op, flat, x):
    """A dense layer takes its rows along any axes before the last."""
    require(x.type.rank and x.shape[-1] == flat.shape[-1], f"{x.type} has other rows")
    require(x.type.rank > flat.type.rank, f"{x.type} has no more axes than {flat.type}")
    return reshaped(op.with_operands(x, *op.operands[1:]), op.shape)


@rule(nn.dense(lax.reshape(lax.transpose(V.x) @ "turn").once() @ "flat", V.w) @ "op")
def order_before_flattening_belongs_to_weight(op, flat, turn, x, w):
    """A transpose of an image that is flattened can be done to the weight instead."""
    order = turn.attributes["permutation"]
    require(w.is_const, "the weight is no constant")
    require(order and order[0] == 0 and flat.shape == (x.shape[0], math.prod(x.shape[1:])),
            f"{turn.type} is not flattened to one row each, but to {flat.type}")  # fmt: skip
    back = [i - 1 for i in inverse(order)[1:]]
    turned = reshaped(w, (*turn.shape[1:], w.shape[1]))
    weight = reshaped(transposed(turned, (*back, len(back))), w.shape)
    return op.with_operands(reshaped(x, flat.shape), weight, *op.operands[2:])


RULES = (
    dot_with_constant_is_dense, dot_is_matmul, transpose_of_matmul_swaps_operands,
    transpose_before_matmul_is_adjoint, rows_need_not_be_merged_for_dense,
    order_before_flattening_belongs_to_weight,
)  # fmt: skip
