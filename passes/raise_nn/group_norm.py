"""Norms over any axes, or groups of them, told by what their statistics are taken of.

A value is followed down to x through what moves elements: for each element of a value the element
of x that it stands on, for each statistic the smallest element of the group it is taken of. So
a spelling is recognised however it reshapes, keeps axes or repeats statistics: the groups alone
count. Group norm (Wu and He, 2018) and instance norm are layer norms of rows made of groups.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from qir.errors import require
from qir.ir import OPS, Op
from qir.pattern import C, V
from qir.rewrite import rule

from ...dialects import lax, nn
from ...dialects.int8.normalize import LONGEST_ROW
from .build import constant_of, inverse, like, reshaped, transposed

DEPTH = 24
"""How far from x its statistics are looked for."""
_MOVES = ("lax.reshape", "lax.transpose")
_OF_ELEMENTS = {"x": "squares", "centred": "squared deviations"}
_MEANS = {"x": "mean", "squares": "power", "squared deviations": "variance"}


@dataclass(frozen=True)
class Known:
    """What a value is of x. at: the element of x each of its own stands on, or the smallest of the
    group. groups: of each element of x the smallest of its group. reduction: a mean over them.
    """

    what: str
    at: np.ndarray
    groups: np.ndarray | None = None
    reduction: Op | None = None
    epsilon: float = 0.0


Seen = dict[Op, Known | None]
Tell = Callable[[Op], Known | None]


def told(op: Op, x: Op, seen: Seen, depth: int = DEPTH) -> Known | None:
    """What a value is of x; None if it is nothing that norms are made of, or x is too far away."""
    if op not in seen:
        seen[op] = _told(op, x, seen, depth - 1) if depth else None
    return seen[op]


def _told(op: Op, x: Op, seen: Seen, depth: int) -> Known | None:
    if op is x:
        return Known("x", np.arange(x.type.size, dtype=np.int32).reshape(x.shape))
    if op.kind in _MOVES or op.kind == "lax.broadcast":
        known = told(op.operands[0], x, seen, depth)
        statistic = known is not None and known.groups is not None and known.what != "centred"
        if known is None or op.kind == "lax.broadcast" and not statistic:
            return None
        return replace(known, at=OPS[op.kind].evaluate(op, known.at))
    find = _TOLD.get(op.kind)
    if find is None or op.attributes.get("clamp") is not None:
        return None
    return find(op, x, lambda operand: told(operand, x, seen, depth))


def _square(op: Op, x: Op, tell: Tell) -> Known | None:
    twice = op.kind == "nn.mul" and op.operands[0] is op.operands[1]
    if not (twice or op.kind == "lax.square" or op.attributes.get("y") == 2):
        return None
    known = tell(op.operands[0])
    names = {**_OF_ELEMENTS, "mean": "square of mean"}
    return known and known.what in names and replace(known, what=names[known.what]) or None


def _mean(op: Op, x: Op, tell: Tell) -> Known | None:
    known = tell(op.operands[0])
    if known is None or known.what not in _MEANS:
        return None
    first = known.at.min(axis=op.attributes["axes"], keepdims=True)
    groups = np.empty(x.type.size, np.int32)
    groups[known.at.ravel()] = np.broadcast_to(first, known.at.shape).ravel()
    if known.groups is not None and (known.groups != groups).any():
        return None
    return Known(_MEANS[known.what], first.reshape(op.shape), groups, op)


def _difference(op: Op, x: Op, tell: Tell) -> Known | None:
    a, b = map(tell, op.operands)
    if a is None or b is None:
        return None
    if a.what == "x" and b.what == "mean" and op.shape == a.at.shape:
        meets = (np.broadcast_to(b.at, a.at.shape) == b.groups[a.at]).all()
        return replace(b, what="centred", at=a.at) if meets else None
    alike = a.what == "power" and b.what == "square of mean" and a.at.shape == b.at.shape
    same = alike and (a.at == b.at).all() and (a.groups == b.groups).all()
    return replace(a, what="variance") if same else None


def _not_negative(op: Op, x: Op, tell: Tell) -> Known | None:
    known = tell(op.operands[0])
    return known if known is not None and known.what == "variance" else None


def _with_epsilon(op: Op, x: Op, tell: Tell) -> Known | None:
    value, constant = op.operands if op.operands[1].is_const else op.operands[::-1]
    known = tell(value) if constant.is_const and constant.type.size == 1 else None
    if known is None or known.what not in ("variance", "power") or op.shape != value.shape:
        return None
    epsilon = float(str(constant.value.reshape(())))
    return replace(known, what=f"{known.what} and epsilon", epsilon=epsilon)


def _root(op: Op, x: Op, tell: Tell) -> Known | None:
    known = tell(op.operands[0])
    if known is None or not known.what.endswith(" and epsilon"):
        return None
    kind = known.what.removesuffix(" and epsilon")
    return replace(known, what=f"{'one over ' if op.kind == 'lax.rsqrt' else ''}root of {kind}")


_TOLD = {
    "lax.square": _square, "lax.integer_pow": _square, "nn.mul": _square, "nn.mean": _mean,
    "nn.sub": _difference, "nn.relu": _not_negative, "nn.add": _with_epsilon, "lax.sqrt": _root,
    "lax.rsqrt": _root,
}  # fmt: skip


def _statistic(op: Op, x: Op, what: str) -> Known:
    """What a value is of x, which must be this statistic of the group of each element."""
    known = told(op, x, {})
    meets = known is not None and known.what == what and (
        np.broadcast_shapes(known.at.shape, x.shape) == x.shape) and (
        np.broadcast_to(known.at, x.shape) == known.groups.reshape(x.shape)).all()  # fmt: skip
    require(meets, f"{op.kind} is not {what} of groups of the value")
    return known


def _rows(known: Known, x: Op, norm) -> Op:
    """The norm of rows, each a group of x, its elements back in their places."""
    source, axes = known.reduction.operands[0], known.reduction.attributes["axes"]
    path = []
    while source is not x:
        path += [source] if source.kind in _MOVES else []
        source = source.operands[0]
    view = x
    for move in reversed(path):
        view = move.with_operands(view)
    gone = [a % view.type.rank for a in axes]
    order = [*(i for i in range(view.type.rank) if i not in gone), *gone]
    turned = transposed(view, order)
    length = int(np.prod([view.shape[i] for i in gone]))
    require(length <= LONGEST_ROW, f"a group of {length} elements, integer norms take "
                                   f"{LONGEST_ROW}")  # fmt: skip
    flat = reshaped(turned, (*turned.shape[: len(order) - len(gone)], length))
    y = transposed(reshaped(norm(flat), turned.shape), inverse(order))
    for move in path:
        before = move.operands[0]
        y = (transposed(y, inverse(move.attributes["permutation"])) if move.kind == "lax.transpose"
             else reshaped(y, before.shape))  # fmt: skip
    return y


def _layer_norm(x: Op, mean: Op, known: Known) -> Op:
    centre = _statistic(mean, x, "mean")
    require((centre.groups == known.groups).all(), "mean and variance are of other groups")

    def norm(flat: Op) -> Op:
        ones = np.ones(flat.shape[-1], x.dtype.numpy)
        return nn.layer_norm(flat, ones, np.zeros_like(ones), epsilon=known.epsilon)

    return _rows(known, x, norm)


def _rms_norm(x: Op, known: Known) -> Op:
    return _rows(known, x, lambda flat: nn.rms_norm(
        flat, np.ones(flat.shape[-1], x.dtype.numpy), epsilon=known.epsilon))  # fmt: skip


_CENTRED = nn.sub(V.x, V.mean, clamp=None)


@rule(nn.mul(_CENTRED, V.scale, clamp=None))
def normalized_groups_are_rows_of_layer_norm(x, mean, scale):
    """(x - mean) / sqrt(variance + epsilon) over groups is a layer_norm whose rows they are."""
    return _affine(x, mean, scale)


@rule(nn.mul(nn.mul(_CENTRED, C.gamma, clamp=None), V.scale, clamp=None))
def scaled_groups_are_rows_of_layer_norm(x, mean, scale, gamma):
    """The scale of a norm over groups may meet the deviation first."""
    return nn.mul(_layer_norm(x, mean, _statistic(scale, x, "one over root of variance")), gamma)


@rule(nn.div(_CENTRED, V.root, clamp=None))
def groups_over_deviation_are_rows_of_layer_norm(x, mean, root):
    """The root of the variance may divide."""
    return _layer_norm(x, mean, _statistic(root, x, "root of variance"))


@rule(nn.div(nn.mul(_CENTRED, C.gamma, clamp=None), V.root, clamp=None))
def scaled_groups_over_deviation_are_rows_of_layer_norm(x, mean, root, gamma):
    """The root of the variance may divide what is scaled."""
    return nn.mul(_layer_norm(x, mean, _statistic(root, x, "root of variance")), gamma)


_SCALED = nn.mul(V.x, V.scale, clamp=None)


@rule(
    nn.add(_SCALED, nn.mul(lax.neg(V.mean), V.scale, clamp=None), clamp=None),
    nn.sub(_SCALED, nn.mul(V.mean, V.scale, clamp=None), clamp=None),
)
def scaled_less_scaled_mean_are_rows_of_layer_norm(x, mean, scale):
    """x * scale - mean * scale is a layer_norm where the scale is one over the deviation."""
    return _affine(x, mean, scale)


@rule(
    nn.add(_SCALED, nn.sub(C.beta, nn.mul(V.mean, V.scale, clamp=None), clamp=None), clamp=None),
    nn.add(_SCALED, nn.add(nn.mul(lax.neg(V.mean), V.scale, clamp=None), C.beta, clamp=None),
           clamp=None),
)  # fmt: skip
def scaled_and_shifted_groups_are_rows_of_layer_norm(x, mean, scale, beta):
    """x * scale + (beta - mean * scale), as batch norms write it, is a layer_norm too."""
    return nn.add(_affine(x, mean, scale), beta)


@rule(_SCALED)
def groups_over_power_are_rows_of_rms_norm(x, scale):
    """x / sqrt(mean(x * x) + epsilon) over groups is an rms_norm whose rows they are."""
    if _made_by(scale) != "lax.rsqrt":
        x, scale = scale, x
    scale, gamma = _without_factor(scale)
    y = _rms_norm(x, _statistic(scale, x, "one over root of power"))
    return y if gamma is None else nn.mul(y, gamma)


@rule(nn.div(V.x, V.root, clamp=None))
def groups_over_root_of_power_are_rows_of_rms_norm(x, root):
    """The root of the power may divide."""
    return _rms_norm(x, _statistic(root, x, "root of power"))


def _without_factor(scale: Op) -> tuple[Op, np.ndarray | None]:
    """What a constant multiplies and the constant, if a scale is that."""
    constants = [o for o in scale.operands if o.is_const]
    if scale.kind != "nn.mul" or len(constants) != 1 or scale.attributes["clamp"] is not None:
        return scale, None
    return next(o for o in scale.operands if not o.is_const), constants[0].value


def _made_by(scale: Op) -> str:
    """The kind of what a scale comes from, through factors and what moves elements."""
    while scale.kind in _MOVES or _without_factor(scale)[0] is not scale:
        scale = scale.operands[0] if scale.kind in _MOVES else _without_factor(scale)[0]
    return scale.kind


def _affine(x: Op, mean: Op, scale: Op) -> Op:
    scale, gamma = _without_factor(scale)
    y = _layer_norm(x, mean, _statistic(scale, x, "one over root of variance"))
    return y if gamma is None else nn.mul(y, gamma)


_ROWS = lax.reshape(nn.layer_norm(V.x, C.gamma, C.beta).once() @ "norm").once() @ "split"


@rule(nn.mul(_ROWS, C.k, clamp=None) @ "op")
def scale_after_rows_belongs_to_layer_norm(op, split, norm, x, gamma, beta, k):
    """A scale that varies inside a row alone belongs in gamma and beta."""
    k = _along_row(op, split, norm, k)
    scaled = (like(constant_of(op), gamma * k), like(norm.operands[2], beta * k))
    return split.with_operands(norm.with_operands(x, *scaled))


@rule(nn.add(_ROWS, C.k, clamp=None) @ "op")
def shift_after_rows_belongs_to_layer_norm(op, split, norm, x, beta, k):
    """A shift that varies inside a row alone belongs in beta."""
    shifted = like(constant_of(op), beta + _along_row(op, split, norm, k))
    return split.with_operands(norm.with_operands(x, norm.operands[1], shifted))


def _along_row(op: Op, split: Op, norm: Op, k: np.ndarray) -> np.ndarray:
    """A constant as one number for each element of a row; Declined if it varies between rows."""
    at = split.type.rank
    while at and int(np.prod(split.shape[at:])) < norm.shape[-1]:
        at -= 1
    tail = split.shape[at:]
    full = (1,) * (op.type.rank - k.ndim) + k.shape
    inside = int(np.prod(tail)) == norm.shape[-1] and all(n == 1 for n in full[:at])
    require(inside and op.type == split.type,
            f"the constant {list(k.shape)} varies along more than a row")  # fmt: skip
    return np.broadcast_to(k.reshape(full[at:]), tail).reshape(-1)


RULES = (
    normalized_groups_are_rows_of_layer_norm, scaled_groups_are_rows_of_layer_norm,
    groups_over_deviation_are_rows_of_layer_norm,
    scaled_groups_over_deviation_are_rows_of_layer_norm,
    scaled_less_scaled_mean_are_rows_of_layer_norm,
    scaled_and_shifted_groups_are_rows_of_layer_norm, groups_over_power_are_rows_of_rms_norm,
    groups_over_root_of_power_are_rows_of_rms_norm, scale_after_rows_belongs_to_layer_norm,
    shift_after_rows_belongs_to_layer_norm,
)  # fmt: skip
