"""The xla dialect's convolutions, dots and depthwise convolutions as calls of the C++ kernels."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import ffi

from ... import shapes
from ...ir import Op
from ...rounding import Rescale
from .library import is_called, library
from .packing import (
    are_transformed,
    begun,
    by_groups,
    by_taps,
    crosses,
    in_order,
    in_places,
    packed,
    places_of,
    runs_of,
    transformed,
)

CONTRACTS = ("f32_half_even", "tflite_reference", "tflite_builtin", "single",
             "float64_half_away")  # fmt: skip
"""In the order of the enumeration in src/kernels.h."""
BYTES = ("i8", "u8")


def serves(op: Op) -> bool:
    """Whether the C++ kernels compute this op; the portable ones compute every other."""
    activations, constants = op.operands[:1], op.operands[1:]
    if op.kind == "xla.batch_dot":
        activations, constants = op.operands, ()
    return (
        is_called()
        and all(each.is_const for each in constants)
        and all(each.dtype.name == "i8" and not each.type.zero.any() for each in constants[:1])
        and all(each.dtype.name in BYTES and each.type.size for each in (*activations, op))
        and op.attributes["rescale"].rounding in CONTRACTS
    )  # fmt: skip


@dataclass(frozen=True)
class Sum:
    """What is added to a layer's result as it is written.

    other: a tensor of its shape. numbers: as `conv_sum` in src/handlers.cc lists them. dtype: of
    the result.
    """

    other: jax.Array
    numbers: np.ndarray
    dtype: np.dtype


def dot(op: Op, x, sum: Sum | None = None):
    """`x[...,K]` by the constant weight of an `xla.dot`: a convolution of 1x1 over its rows."""
    w = op.operands[1].value
    w = w if op.attributes["layout"] == "kn" else w.T
    rows = x.reshape(1, 1, -1, x.shape[-1])
    numbers = (1, 1, 1, 1, 1, 1, 0, 0, 1, rows.shape[2], w.shape[1], 1)
    return _conv(op, rows, w[None], numbers, sum).reshape(op.shape)


def conv(op: Op, x, sum: Sum | None = None):
    """An `xla.conv`, whatever kernel it names."""
    weights = by_groups(op.operands[1].value, op.attributes["groups"], library())
    return _conv(op, x, weights, _windows(op, len(weights)), sum)


def depthwise(op: Op, x):
    """An `xla.depthwise`."""
    filters, bias, taps = op.operands[1].value, op.operands[2].value, library().taps
    filters, windows = filters.reshape(*filters.shape[:2], -1), _windows(op, x.shape[3])
    if taps == 1:
        return _called("qir_depthwise", op, x, filters.astype(np.int16), bias, windows)
    order = places_of(op.shape[-1], taps)
    if taps == 2:
        filters = by_taps(filters.astype(np.int16), order, taps)
        return _called("qir_depthwise", op, x, filters, bias, windows)
    if x.dtype == jnp.int8:
        bias = (bias - 128 * filters.sum((0, 1), dtype=np.int64)).astype(np.int32)
    filters, bias = by_taps(filters, order, taps), in_order(bias, order)
    return _called("qir_depthwise", op, x, filters, bias, windows, order=order)


def batch_dot(op: Op, a, b):
    """An `xla.batch_dot`: both sides are read where they lie."""
    orders = [op.attributes[f"{side}_axes"] or tuple(range(op.type.rank)) for side in "ab"]
    strides = [_strides(each.shape, order) for each, order in zip((a, b), orders, strict=True)]
    shape = (*op.shape[:-1], a.shape[orders[0][-1]], op.shape[-1])
    call = ffi.ffi_call("qir_batch_dot", jax.ShapeDtypeStruct(op.shape, op.dtype.numpy))
    return call(a, b, *numbers_of(op.attributes["rescale"], op.shape[-1]), finish=finish_of(op),
                shape=np.array(shape, np.int64), strides=np.array(strides, np.int64).reshape(-1),
                zeros=np.array([int(o.type.zero) for o in op.operands], np.int64))  # fmt: skip


def _strides(shape, order) -> list[int]:
    """How many elements lie between neighbours along each axis, in the order they are read."""
    steps = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    return [steps[axis] for axis in order]


def _conv(op: Op, x, weights: np.ndarray, windows, sum: Sum | None):
    """weights: [groups, K, outputs / groups]."""
    kernels, bias = library(), op.operands[2].value
    name = "qir_conv" if sum is None else "qir_conv_sum"
    if are_transformed(windows, x.shape[0], x.shape[3], kernels):
        return _called(name, op, x, transformed(weights, kernels), bias, (*windows, 1, 0), sum)
    runs = runs_of(windows, x.shape[3], kernels)
    tiles = packed(weights, kernels, runs)
    bias = (bias + begun(weights, tiles, kernels, x.dtype == jnp.int8)).astype(np.int32)
    windows = (*windows, runs, crosses(weights, kernels))
    return _called(name, op, x, tiles, bias, windows, sum)


def _windows(op: Op, groups: int) -> tuple[int, ...]:
    x, w, a = op.operands[0].type, op.operands[1].type, op.attributes
    pads = shapes.pads_of(x, w.shape[:2], a["strides"], a["padding"], a["dilation"])
    return windows_of(op, pads, groups)


def windows_of(op: Op, pads, groups: int) -> tuple[int, ...]:
    """The windows of a convolution as src/kernels.h lists them, without the batch."""
    w, a = op.operands[1].type, op.attributes
    return (*w.shape[:2], *a["strides"], *a["dilation"], pads[0][0], pads[1][0], *op.shape[1:],
            groups)  # fmt: skip


def _called(name: str, op: Op, x, weights: np.ndarray, bias: np.ndarray, windows,
            sum: Sum | None = None, order: np.ndarray | None = None):  # fmt: skip
    """order: in which the kernel reads numbers by channel."""
    shape = (*x.shape[:1], *windows[8:11])
    numbers = numbers_of(op.attributes["rescale"], op.shape[-1])
    if order is not None:
        numbers = [in_places(each, order) for each in numbers]
    more = () if sum is None else (sum.other.reshape(shape),)
    attributes = {} if sum is None else {"sum": sum.numbers}
    dtype = op.dtype.numpy if sum is None else sum.dtype
    call = ffi.ffi_call(name, jax.ShapeDtypeStruct(shape, dtype))
    return call(x, jnp.asarray(weights), jnp.asarray(bias), *numbers, *more, finish=finish_of(op),
                windows=np.array(windows, np.int64),
                fill=np.int64(int(op.operands[0].type.zero) & 0xFF), **attributes)  # fmt: skip


def finish_of(op: Op) -> np.ndarray:
    """The contract, the zero point and the bounds of the result."""
    low, high = op.attributes["clamp"] or (op.type.lo, op.type.hi)
    contract = CONTRACTS.index(op.attributes["rescale"].rounding)
    return np.array([contract, int(op.type.zero), low, high], np.int64)


def numbers_of(rescale: Rescale, channels: int):
    """The scale or multiplier, and the shift, of every channel; of f64 the factor in halves."""
    spread = [np.broadcast_to(each, (channels,)) for each in rescale.fields().values()]
    if rescale.rounding == "float64_half_away":
        factor = np.ldexp(spread[0].astype(np.float64), spread[1] - 53)
        spread = [factor.view(np.int32)]  # programs need not know f64
    spread = [jnp.asarray(each) for each in spread]
    return spread if len(spread) > 1 else (*spread, jnp.zeros(0, jnp.int32))
