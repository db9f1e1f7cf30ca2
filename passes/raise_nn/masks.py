"""Masks of a softmax: logits that a trace sets, or pushes, far below all others.

They become an operand of the softmax, and the logits a value of their own, which is observed as it
is: a number like -1e9 among them would take the whole range of their grid. Of a row of which a
bias leaves nothing, a mask makes all elements the same, as f32 does where it loses the logits.
"""

import numpy as np

from qir.errors import require
from qir.ir import OPS, Op, const
from qir.pattern import C, Pattern, V, either
from qir.rewrite import rule

from ...dialects import lax, nn
from .build import constant_of, is_number, like

FAR = -100.0
"""What lies so far below the other logits of its row weighs less than f32 adds to their sum."""


def _softmax(*logits: Pattern) -> list[Pattern]:
    """The softmax of logits, with a mask and without."""
    return [nn.softmax(x, *mask) @ "op" for x in logits for mask in ((), (V.mask,))]


@rule(*_softmax(lax.select(V.where, V.x, C.fill)))
def logits_far_below_elsewhere_are_masked(op, where, x, fill):
    """Logits that are far below all others where a condition fails are masked by it."""
    _is_far(fill)
    return _masked(op, x, where)


@rule(*_softmax(lax.select(V.where, C.fill, V.x)))
def logits_set_far_below_are_masked(op, where, x, fill):
    """Logits that are far below all others where a condition holds are masked by its opposite."""
    _is_far(fill)
    return _masked(op, x, lax.not_(where))


@rule(*_softmax(nn.add(V.x, lax.select(V.where, C.none, C.fill), clamp=None)))
def bias_far_below_elsewhere_is_a_mask(op, where, x, none, fill):
    """A bias on logits of nothing, and far below all where a condition fails, is a mask."""
    is_number(none, 0.0)
    _is_far(fill)
    return _masked(op, x, where)


@rule(*_softmax(
    nn.add(V.x, lax.select(V.where, C.fill, C.none), clamp=None),
    nn.sub(V.x, lax.select(V.where, C.fill, C.none), clamp=None),
))  # fmt: skip
def bias_far_below_is_a_mask(op, where, x, none, fill):
    """A bias on logits of nothing, and far below all where a condition holds, is its opposite."""
    is_number(none, 0.0)
    _is_far(-fill if op.operands[0].kind == "nn.sub" else fill)
    return _masked(op, x, lax.not_(where))


@rule(*_softmax(nn.add(V.x, C.bias, clamp=None)))
def constant_far_below_is_a_mask(op, x, bias):
    """Elements of a constant on logits that are far below all are a mask of the others."""
    constant, near = constant_of(op.operands[0]), bias > FAR
    require(not near.all(), "no element of the constant is far below the logits")
    rows = np.broadcast_to(near, op.shape).any(op.attributes["axis"])
    require(rows.all(), "the constant is far below in all of a row, which changes nothing")
    rest = np.where(near, bias, 0).astype(bias.dtype)
    x = nn.add(x, like(constant, rest)) if rest.any() else x
    return _masked(op, x, const(near, name=constant.attributes["name"]))


_LEFT_OUT = nn.sub(C.one, lax.convert(V.given), clamp=None)
_LEFT_OUT_BEFORE = lax.convert(lax.sub(C.one, V.given))


@rule(*_softmax(*(nn.add(V.x, nn.mul(left_out, C.fill, clamp=None), clamp=None)
                  for left_out in (_LEFT_OUT, _LEFT_OUT_BEFORE))))  # fmt: skip
def integers_left_out_are_a_mask(op, x, given, one, fill):
    """(1 - m) times a number far below all logits is a mask; integers m of tokens are 0 and 1."""
    require(given.dtype.kind == "int", f"{given.dtype} is no integer")
    is_number(one, 1.0)
    _is_far(fill)
    return _masked(op, x, lax.eq(given, const(given.dtype.numpy.type(1))))


_POWERS = lax.exp(V.x) @ "powers"
_SHARES = nn.div(_POWERS, nn.sum(lax.select(V.where, V.powers, C.none), keepdims=True) @ "total",
                 clamp=None)  # fmt: skip


@rule(lax.select(V.where, _SHARES, C.zero) @ "op")
def chosen_powers_over_their_sum_are_softmax(op, x, where, total, none, zero):
    """exp(x) over its sum where a condition holds, and 0 elsewhere, is a softmax with a mask."""
    axes = total.attributes["axes"]
    require(len(axes) == 1 and x.type.size, f"the sum is over {len(axes)} axes of {x.type}")
    require(op.type == x.type, f"the condition {where.type} is larger than {x.type}")
    is_number(none, 0.0)
    is_number(zero, 0.0)
    axis = -1 if axes[0] == x.type.rank - 1 else axes[0]
    return op.with_operands(where, nn.softmax(x, where, axis=axis), op.operands[2])


@rule(lax.select(V.where, nn.softmax(V.x, V.where) @ "softmax", C.zero) @ "op")
def masked_elements_are_zero(op, softmax, where, zero):
    """What a mask leaves out of a softmax is 0 already, if it leaves something in every row."""
    is_number(zero, 0.0)
    require(where.is_const and op.type == softmax.type, "the mask is computed, or larger")
    require(np.broadcast_to(where.value, softmax.shape).any(softmax.attributes["axis"]).all(),
            "nothing is left of some rows, whose elements are the same, not 0")  # fmt: skip
    return softmax


@rule(nn.softmax(V.x, C.mask) @ "op")
def open_mask_vanishes(op, x, mask):
    """A mask that leaves nothing out does nothing."""
    require(mask.all(), "the mask leaves something out")
    return nn.softmax(x, axis=op.attributes["axis"])


def _with_number(x: Pattern) -> list[Pattern]:
    """Arithmetic on a value and a constant."""
    arithmetic = either(nn.add, nn.sub, nn.mul, lax.add, lax.sub, lax.mul)
    reversed_ = either(nn.sub, lax.sub)
    return [arithmetic(x, C.k, clamp=None) @ "op", reversed_(C.k, x, clamp=None) @ "op"]


@rule(*_with_number(lax.convert(V.given)))
def number_of_a_condition_is_chosen(op, given, k):
    """Arithmetic on the 1 or 0 of a condition is a choice between two numbers."""
    require(given.dtype.kind == "bool", f"{given.dtype} has more than two values")
    return _chosen(op, given, np.ones((), k.dtype), np.zeros((), k.dtype))


_CHOICE = lax.select(V.given, C.a, C.b)


@rule(*_with_number(_CHOICE), lax.convert(_CHOICE) @ "op")
def function_of_a_choice_is_a_choice(op, given, a, b):
    """Arithmetic on one of two numbers, or a conversion, is a choice between two others."""
    return _chosen(op, given, a, b)


def _chosen(op: Op, given: Op, *numbers: np.ndarray) -> Op:
    """The choice between what an op gives for each of two numbers."""
    sizes = {n.size for n in numbers} | {o.type.size for o in op.operands if o.is_const}
    require(sizes == {1} and op.shape == given.shape, "a constant holds several numbers")

    def result(number: np.ndarray) -> Op:
        operands = [(o.value if o.is_const else number).reshape(()) for o in op.operands]
        with np.errstate(all="ignore"):
            found = np.asarray(OPS[op.kind].evaluate(op, *operands), op.dtype.numpy)
        return const(found.reshape(()), op.type.with_shape(()))

    return lax.select(given, *map(result, numbers))


def _is_far(fill: np.ndarray) -> None:
    require(fill.size and (fill <= FAR).all(), "what is set is not far below every logit")


def _masked(op: Op, x: Op, mask: Op) -> Op:
    """The softmax of x over what a mask and that of the softmax leave."""
    require(x.type == op.type, f"the logits {x.type} broadcast to {op.type}")
    own = op.operands[1:]
    if own and own[0] is not mask:
        mask = lax.and_(own[0], mask)
    return nn.softmax(x, mask, axis=op.attributes["axis"])


RULES = (
    logits_far_below_elsewhere_are_masked, logits_set_far_below_are_masked,
    bias_far_below_elsewhere_is_a_mask, bias_far_below_is_a_mask, constant_far_below_is_a_mask,
    integers_left_out_are_a_mask, chosen_powers_over_their_sum_are_softmax,
    masked_elements_are_zero, open_mask_vanishes, number_of_a_condition_is_chosen,
    function_of_a_choice_is_a_choice,
)  # fmt: skip
