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


def transpose_conv(rng: np.random.Generator) -> Func:
    """A random TRANSPOSE_CONV to a shape that a convolution takes back to its input's."""
    channels, outputs = (int(n) for n in rng.integers(1, 9, 2))
    sizes, filters, strides = (rng.integers(1, high, 2) for high in (10, 5, 4))
    padding = rng.choice(["SAME", "VALID"]).item()
    whole = sizes * strides if padding == "SAME" else (sizes - 1) * strides + filters
    rest = rng.integers(0, strides)
    out = np.maximum(whole - rest, 1) if padding == "SAME" else whole + rest
    x = parameter("x", element(rng)[(2, *(int(n) for n in sizes), channels)])
    w = weight(rng, (outputs, *filters, channels), 0)
    y = tfl.transpose_conv(
        x, w, bias(rng, x, w) if rng.integers(2) else None, padding=padding,
        output_shape=(2, *(int(n) for n in out), outputs), stride_h=int(strides[0]),
        stride_w=int(strides[1]), fused_activation_function=activation(rng), to=element(rng),
    )  # fmt: skip
    return Func("main", (x,), (y,), ("y",))


def batch_matmul(rng: np.random.Generator) -> Func:
    """A random BATCH_MATMUL, its right side symmetric as often as not."""
    batch = tuple(int(n) for n in rng.integers(1, 4, rng.integers(0, 3)))
    m, k, n = (int(n) for n in rng.integers(1, 20, 3))
    turned = [bool(each) for each in rng.integers(0, 2, 2)]
    right = element(rng)
    if rng.integers(2):
        right = Element(DTYPES["i8"], per_tensor(right.grid.scale, 0))
    a = parameter("a", element(rng)[(*batch, *((k, m) if turned[0] else (m, k)))])
    b = parameter("b", right[(*batch, *((n, k) if turned[1] else (k, n)))])
    y = tfl.batch_matmul(a, b, adj_x=turned[0], adj_y=turned[1], to=element(rng, 1e-2, 1.0))
    return Func("main", (a, b), (y,), ("y",))


CASES = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "FULLY_CONNECTED": fully_connected,
    "TRANSPOSE_CONV": transpose_conv,
    "BATCH_MATMUL": batch_matmul,
}

KNOWN: dict[tuple[str, str], str] = {}
"""Pairs of operator and kernel set that do not agree, with the cause."""
