"""Random convolutions and products of matrices."""

import numpy as np
from qir.dialects import tfl

from qir.ir import Func, const, parameter
from qir.types import DTYPES, Element, Grid, Type, per_tensor


def element(rng, low=1e-3, high=0.1) -> Element:
    """An i8 element of a random scale and zero point."""
    return Element(DTYPES["i8"], per_tensor(rng.uniform(low, high), rng.integers(-128, 128)))


def weight(rng, shape, axis: int):
    """A random i8 weight with one scale for each index of an axis."""
    grid = Grid(rng.uniform(1e-3, 1e-2, shape[axis]), 0, axis)
    return const(rng.integers(-127, 128, shape).astype(np.int8), Type(DTYPES["i8"], shape, grid))


def one_scale(rng, shape):
    """A random i8 weight with one scale."""
    grid = per_tensor(rng.uniform(1e-3, 1e-2), 0)
    return const(rng.integers(-127, 128, shape).astype(np.int8), Type(DTYPES["i8"], shape, grid))


def activation(rng) -> str:
    """A random fused activation."""
    return rng.choice(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]).item()


def bias(rng, x, w, channels: int | None = None):
    """A random bias on the product of the scales of input and weight."""
    channels = channels or w.type.scale.size
    scale = x.type.scale * w.type.scale
    grid = Grid(scale, 0, 0) if scale.ndim else per_tensor(scale)
    return const(rng.integers(-20000, 20000, channels).astype(np.int32),
                 Type(DTYPES["i32"], (channels,), grid))  # fmt: skip


def conv_2d(rng: np.random.Generator) -> Func:
    """A random CONV_2D."""
    channels, outputs = rng.integers(1, 9, 2)
    height, width = rng.integers(5, 20, 2)
    x = parameter("x", element(rng)[(2, height, width, channels)])
    w = weight(rng, (outputs, *rng.integers(1, 4, 2), channels), 0)
    y = tfl.conv_2d(
        x, w, bias(rng, x, w), padding=rng.choice(["SAME", "VALID"]).item(),
        stride_w=int(rng.integers(1, 3)), stride_h=int(rng.integers(1, 3)),
        fused_activation_function=activation(rng), to=element(rng),
    )  # fmt: skip
    return Func("main", (x,), (y,), ("y",))


def depthwise_conv_2d(rng: np.random.Generator) -> Func:
    """A random DEPTHWISE_CONV_2D."""
    channels, multiplier = int(rng.integers(1, 9)), int(rng.choice([1, 1, 2, 3]))
    height, width = rng.integers(5, 20, 2)
    x = parameter("x", element(rng)[(2, height, width, channels)])
    w = weight(rng, (1, *rng.integers(1, 4, 2), channels * multiplier), 3)
    y = tfl.depthwise_conv_2d(
        x, w, bias(rng, x, w), padding=rng.choice(["SAME", "VALID"]).item(),
        stride_w=(stride := int(rng.integers(1, 3))), stride_h=stride, depth_multiplier=multiplier,
        fused_activation_function=activation(rng), to=element(rng),
    )  # fmt: skip
    return Func("main", (x,), (y,), ("y",))


def fully_connected(rng: np.random.Generator) -> Func:
    """A random FULLY_CONNECTED, of rows or of a tensor of rank 3."""
    depth, outputs, rows = (int(n) for n in rng.integers(1, 40, 3))
    keep = bool(rng.integers(2))
    x = parameter("x", element(rng)[(2, rows, depth) if keep else (rows, depth)])
    w = weight(rng, (outputs, depth), 0) if rng.integers(2) else one_scale(rng, (outputs, depth))
    y = tfl.fully_connected(x, w, bias(rng, x, w, outputs), keep_num_dims=keep,
                            fused_activation_function=activation(rng), to=element(rng))  # fmt: skip
    return Func("main", (x,), (y,), ("y",))


CASES = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "FULLY_CONNECTED": fully_connected,
}

VECTORS = ("likely, by its source: blocks of channels at once round halves up, what is left over "
           "as in the reference; where blocks end depends on the shape; not reproduced yet")
KNOWN = {("DEPTHWISE_CONV_2D", "tflite_builtin"): VECTORS}
"""Pairs of operator and kernel set that do not agree, with the cause."""
