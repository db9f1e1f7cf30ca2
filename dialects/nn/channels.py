"""Channels of layers: where they lie in a filter, and which layers read them further on.

A positive factor on a channel passes every op that is positively homogeneous, f(s * x) = s * f(x)
for s > 0, and keeps channels apart. So a layer may divide its channels by any factors if all the
layers that read them multiply: the function stays the same, its ranges change.
"""

from dataclasses import dataclass

import numpy as np

from qir import trained
from qir.errors import require
from qir.ir import Func, Op, const, derived
from qir.types import TupleType

from .linear import conv2d, dense, depthwise_conv2d, transposed_conv2d

LAYERS = (conv2d, depthwise_conv2d, transposed_conv2d, dense)
LAYER_KINDS = frozenset(layer.name for layer in LAYERS)
_POINTWISE = ("nn.relu", "nn.leaky_relu")
_POOLS = ("nn.max_pool", "nn.avg_pool")
_REDUCTIONS = ("nn.mean", "nn.sum", "nn.reduce_max", "nn.reduce_min")
_UNBOUNDED = (-np.inf, 0.0, np.inf)


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that reads the channels of a source.

    channels: for each of its input channels that of the source, counted from 1; 0 where the
    layer reads zeros that a padding has put there.
    """

    layer: Op
    channels: np.ndarray


@dataclass(frozen=True, eq=False)
class Spread:
    """Where the channels of a source go: into these layers alone.

    bounded: on the way, the ops that bound them by 6, which a factor does not pass.
    """

    readers: tuple[Reader, ...]
    bounded: tuple[Op, ...]


def along_results(layer: Op, numbers: np.ndarray) -> np.ndarray:
    """Numbers, one a channel of a layer's result, shaped to multiply its filter."""
    filter = layer.operands[1]
    return numbers.reshape(filter.shape[-2:]) if _is_depthwise(layer) else numbers


def along_inputs(layer: Op, numbers: np.ndarray) -> np.ndarray:
    """Numbers, one a channel that a layer reads, shaped to multiply its filter."""
    groups, outputs = layer.attributes.get("groups", 1), layer.operands[1].shape[-1]
    if groups == 1:
        return numbers[:, None]
    # output channels of a group read the input channels of that group alone
    return np.repeat(numbers.reshape(groups, -1), outputs // groups, axis=0).T


def magnitudes(layer: Op) -> np.ndarray:
    """The largest magnitudes of a filter over its window, shaped as the filter of a 1x1 window."""
    filter = np.abs(layer.operands[1].value.astype(np.float64))
    window = tuple(range(filter.ndim - 2))
    return filter.max(axis=window, keepdims=True, initial=0.0)


def largest_by_result(layer: Op, found: np.ndarray) -> np.ndarray:
    """The largest of `magnitudes` for each channel of the layer's result."""
    kept = 2 if _is_depthwise(layer) else 1
    return found.max(axis=tuple(range(found.ndim - kept)), initial=0.0).reshape(-1)


def largest_by_input(layer: Op, found: np.ndarray) -> np.ndarray:
    """The largest of `magnitudes` for each channel that the layer reads."""
    groups = layer.attributes.get("groups", 1)
    *_, inputs, outputs = found.shape
    each = found.reshape(inputs, groups, outputs // groups).max(axis=2, initial=0.0)
    return each.T.reshape(-1)


def rescaled(layer: Op, x: Op, by_input: np.ndarray, by_result: np.ndarray) -> Op:
    """A layer on x whose filter takes factors for what it reads, and for what it gives."""
    old = layer.operands[1]
    filter = old.value * along_inputs(layer, by_input) * along_results(layer, by_result)
    parameters = [_like(old, filter)]
    parameters += [_like(b, b.value * by_result) for b in layer.operands[2:]]
    return layer.with_operands(x, *parameters)


def _like(old: Op, value: np.ndarray) -> Op:
    name, location = old.attributes["name"], old.location
    return derived(const(value.astype(old.type.dtype.numpy), old.type, name, location), old)


def can_be_rescaled(layer: Op) -> None:
    """Declined if a layer's weights may not take factors."""
    require(all(o.is_const for o in layer.operands[1:]), f"a weight of {layer.kind} is computed")
    weights = [o for o in layer.operands[1:] if trained.grid_of(o) is not None]
    require(not weights, f"a weight of {layer.kind} keeps the grid that training rounded it to")
    require(all(np.isfinite(o.value).all() for o in layer.operands[1:]),
            f"a weight of {layer.kind} holds nan or infinity")  # fmt: skip


def spread(func: Func, source: Op, relu6_passes: bool = False) -> Spread:
    """The layers that read the channels of an op's result, its last axis; Declined if others do.

    relu6_passes: take what bounds them by 6 for what bounds them by 0 alone.
    """
    readers, bounded = [], []
    clamp = source.attributes.get("clamp")
    if relu6_passes and clamp == (0.0, 6.0):
        bounded.append(source)
    elif clamp is not None:
        require(set(clamp) <= set(_UNBOUNDED), f"its result is clamped to {list(clamp)}")
    numbers = np.arange(1, source.shape[-1] + 1)
    stack = [(source, np.broadcast_to(numbers, source.shape))]
    while stack:
        value, channels = stack.pop()
        require(value not in func.results, f"{value.kind} is a result of the function")
        for user in func.users[value]:
            if user.kind in LAYER_KINDS and user.operands.index(value) == 0:
                can_be_rescaled(user)
                readers.append(Reader(user, _by_last_axis(channels, user)))
                continue
            if relu6_passes and user.kind == "nn.relu6":
                bounded.append(user)
                stack.append((user, channels))
            else:
                stack.append((user, _passed(user, channels)))
    return Spread(tuple(readers), tuple(bounded))


def _passed(op: Op, channels: np.ndarray) -> np.ndarray:
    """The channel of each element of an op's result, given that of each element it reads."""
    if op.kind in _POINTWISE:
        return channels
    if op.kind in _POOLS:
        return np.broadcast_to(_by_last_axis(channels, op), op.shape)
    if op.kind in _REDUCTIONS:
        largest = channels.max(axis=op.attributes["axes"], keepdims=True, initial=0)
        _is_one(channels, largest, op)
        return largest.reshape(op.shape)
    moves = op.definition.moves and len(op.operands) == 1 and not isinstance(op.type, TupleType)
    require(op.kind != "item" and moves, f"{op.kind} reads it")
    if op.kind == "lax.pad":
        filled = op.attributes["value"]
        require(filled == 0, f"{op.kind} puts {filled:g} beside it")
    return op.definition.evaluate(op, channels)


def _by_last_axis(channels: np.ndarray, op: Op) -> np.ndarray:
    """The channel at each index of the last axis, if the other axes do not tell them apart."""
    largest = channels.max(axis=tuple(range(channels.ndim - 1)), initial=0)
    _is_one(channels, largest, op)
    return largest


def _is_one(channels: np.ndarray, largest: np.ndarray, op: Op) -> None:
    one = ((channels == largest) | (channels == 0)).all()
    require(one, f"{op.kind} mixes its channels")


def _is_depthwise(layer: Op) -> bool:
    return layer.kind == "nn.depthwise_conv2d"
