"""Grids of constants: weights, biases, and constants that stand where activations may.

Weights of i8 are symmetric; those of u8, of the legacy scheme, have a zero point.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qir.errors import QirError
from qir.ir import Op, const, place_of
from qir.roles import Role
from qir.rounding import activation_grid, quantize_array, symmetric_scale, weight_scale
from qir.trained import grid_of
from qir.types import DTYPES, DType, Element, Grid, per_tensor

LARGEST_BIAS = {"i32": (2**31 - 1) / 2, "i64": 2.0**46}
"""A bias may take half of the accumulator; the sum of products has the rest (TFLite's guard). Its
kernels rescale 64-bit accumulators that are below 2^47."""


@dataclass(frozen=True)
class Storage:
    """What activations, weights and biases are stored in.

    symmetric: activations have zero point 0.
    """

    activation: DType = DTYPES["i8"]
    weight: DType = DTYPES["i8"]
    bias: DType = DTYPES["i32"]
    symmetric: bool = False

    @property
    def weight_is_symmetric(self) -> bool:
        """Whether weights have zero point 0."""
        return self.weight.lo < 0


STORAGES = {
    "int8": Storage(),
    "int16": Storage(activation=DTYPES["i16"], bias=DTYPES["i64"], symmetric=True),
    "uint8": Storage(activation=DTYPES["u8"], weight=DTYPES["u8"]),
}
"""By what activations are asked to be stored in, as TensorFlow's converter names it."""


def activation_element(lo: float, hi: float, storage: Storage) -> Element:
    """The element of an activation between two reals."""
    dtype = storage.activation
    if storage.symmetric:
        return Element(dtype, per_tensor(symmetric_scale(lo, hi, dtype.hi)))
    return Element(dtype, per_tensor(*activation_grid(lo, hi, dtype.lo, dtype.hi)))


def power_of_two_element(span: tuple[float, float], role: Role) -> Element:
    """The element of zero point 0 whose scale is the least power of two that holds a range."""
    dtype = DTYPES[role.storage]
    largest = max(-span[0], span[1], dtype.hi * 2.0**-15)
    scale = min(2.0 ** np.ceil(np.log2(largest / dtype.hi)), role.limit)
    return Element(dtype, per_tensor(scale, 0))


def operand_element(source: Op, storage: Storage) -> Element:
    """The element of a constant where an activation may stand: that of training, or its range's."""
    given = _trained(source, storage.activation)
    if given is not None and not _beyond(source, given):
        return Element(given.dtype, per_tensor(given.grid.scale, given.grid.zero))
    return activation_element(*extent(source.value), storage)


def _trained(source: Op, dtype: DType) -> Element | None:
    """The one grid that training rounded a constant to, in a storage of as many bits."""
    given = grid_of(source)
    if given is None or given.dtype.bits != dtype.bits or not given.grid.per_tensor:
        return None
    zero = int(given.grid.zero) + dtype.lo - given.dtype.lo
    return Element(dtype, per_tensor(given.grid.scale, zero, given.grid.narrow))


def _beyond(source: Op, element: Element) -> int:
    """How many values of a constant lie beyond what the storage of an element holds."""
    stored = np.round(source.value.astype(np.float64) / element.grid.scale) + element.grid.zero
    return int(((stored < element.dtype.lo) | (stored > element.hi)).sum())


def extent(array: np.ndarray) -> tuple[float, float]:
    """The range of a constant, zero included; infinities are left out."""
    finite = array[np.isfinite(array)]
    return float(finite.min(initial=0.0)), float(finite.max(initial=0.0))


def on_grid(source: Op, to: Element) -> Op:
    """A constant's nearest values on a grid, as a constant of stored integers."""
    scale, zero = to.grid.expanded(source.type.rank)
    stored = quantize_array(source.value, scale, zero, to.lo, to.hi)
    name = source.attributes["name"]
    return const(stored.astype(to.dtype.numpy), to[source.shape], name, source.location)


def affine_elements(
    op: Op,
    roles: tuple[Role, ...],
    activation: Callable[[int], Element],
    per_channel: bool,
    storage: Storage,
) -> dict[int, Element]:
    """The elements of an op's weights and biases by operand number.

    Weights of i8 are symmetric and narrow, their largest magnitude on the last stored value, unless
    training rounded them to a grid that can be theirs (`unheld`). A bias stands on the product of
    the scales of its activation and its weight; where that would put it beyond `LARGEST_BIAS`, the
    weight's scale is raised until it does not. Those of u8 have one grid, whose zero point lies
    where their range puts it; the lowest stored value is left out there, too.
    """
    weights = [i for i, role in enumerate(roles) if role.kind == "weight"]
    if storage.weight_is_symmetric:
        scales = {i: _weight_scales(op, i, roles[i].axis if per_channel else None, storage)
                  for i in weights}  # fmt: skip
        grids = dict.fromkeys(weights, (0, True))
    else:
        chosen = {i: _weight_element(op, i, storage).grid for i in weights}
        scales = {i: grid.scale for i, grid in chosen.items()}
        grids = {i: (grid.zero, grid.narrow) for i, grid in chosen.items()}
    found: dict[int, Element] = {}
    for i, role in enumerate(roles):
        if role.kind == "bias":
            x, weight = role.of
            step = np.float64(activation(x).grid.scale)
            bias = np.abs(op.operands[i].value.astype(np.float64))
            channels = op.operands[weight].shape[roles[weight].axis] if per_channel else None
            most = LARGEST_BIAS[storage.bias.name]
            scales[weight] = _guarded(scales[weight], bias / most / step, channels)
            found[i] = _bias_element(step * scales[weight], bias.size, storage)
    for i, scale in scales.items():
        axis = roles[i].axis if scale.ndim else None
        zero, narrow = grids[i]
        found[i] = Element(storage.weight, Grid(scale, zero, axis, narrow=narrow))
    return found


def _weight_element(op: Op, index: int, storage: Storage) -> Element:
    """The element of a weight with a zero point: that of training, or its range's."""
    weight = op.operands[index]
    _check_finite(op, weight.value)
    given = _trained(weight, storage.weight)
    if given is not None and unheld(weight, None, storage) is None:
        return given
    lowest = storage.weight.lo + 1
    grid = activation_grid(*extent(weight.value), lowest, storage.weight.hi)
    return Element(storage.weight, per_tensor(*grid, narrow=True))


def _check_finite(op: Op, array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        raise QirError(f"the weight of {op.kind} holds nan or infinity", at=place_of(op),
                       help="quantization needs finite weights")  # fmt: skip


def _weight_scales(op: Op, index: int, axis: int | None, storage: Storage) -> np.ndarray:
    """One f32 scale a channel along the axis, or one for all."""
    array = op.operands[index].value
    _check_finite(op, array)
    given = grid_of(op.operands[index])
    if given is not None and unheld(op.operands[index], axis, storage) is None:
        return given.grid.scale
    others = tuple(i for i in range(array.ndim) if i != axis)
    largest = np.abs(array).max(axis=others if axis is not None else None, initial=0.0)
    return weight_scale(largest, storage.weight.hi)


def unheld(weight: Op, axis: int | None, storage: Storage) -> str | None:
    """Why the grid that training rounded a weight to is none for it; None where it is one.

    Symmetric weights cannot reach what training stored far from its zero point.
    """
    grid = grid_of(weight).grid
    if grid.axis not in (None, axis):
        takes = "one for all" if axis is None else f"one for each index of axis {axis}"
        return f"it has a scale for each index of axis {grid.axis}, the weight takes {takes}"
    if not storage.weight_is_symmetric:
        beyond = _beyond(weight, _trained(weight, storage.weight))
        return f"{beyond} of its values lie beyond the grid's ends" if beyond else None
    scale, _ = grid.expanded(weight.type.rank)
    steps = np.abs(np.round(weight.value.astype(np.float64) / scale)).max(initial=0.0)
    if steps > storage.weight.hi:
        return (f"it lies up to {int(steps)} steps from 0, and weights are stored within "
                f"{storage.weight.hi} of it")  # fmt: skip
    return None


def _guarded(scale: np.ndarray, least: np.ndarray, channels: int | None):
    """Weight scales, raised where a bias would not fit.

    least: by output, the scale at which its bias just does. channels: how many may have a scale
    each; one that training gave to all is raised where needed.
    """
    if channels is not None and not scale.ndim:
        each = _guarded(np.full(channels, scale), least, channels)
        return each if (each != scale).any() else scale
    if scale.ndim:  # depthwise: several outputs, so several biases, share a channel's weights
        most = least.reshape(scale.size, -1).max(axis=1, initial=0.0)
    else:
        most = least.max(initial=0.0)
    return np.maximum(scale, np.float32(most))


def _bias_element(scale: np.ndarray, size: int, storage: Storage) -> Element:
    if not scale.ndim:
        return Element(storage.bias, per_tensor(scale))
    return Element(storage.bias, Grid(np.repeat(scale, size // scale.size), 0, axis=0))
