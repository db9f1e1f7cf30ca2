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


def bias(rng, x, w):
    """A random bias on the product of the scales of input and weight."""
    channels = w.type.scale.size
    grid = Grid(x.type.scale * w.type.scale, 0, 0)
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
        fused_activation_function=rng.choice(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]).item(),
        to=element(rng),
    )  # fmt: skip
    return Func("main", (x,), (y,), ("y",))


CASES = {"CONV_2D": conv_2d}
