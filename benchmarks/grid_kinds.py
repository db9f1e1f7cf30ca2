"""What `benchmarks.shape_grid` times: for each kind of op a grid of shapes, the op of a shape."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from qir.dialects import int8

from qir.ir import Func, Op, const, parameter
from qir.rounding import derive
from qir.types import DTYPES, Element, Grid

Shape = tuple[int, ...]
BYTES = Element(DTYPES["i8"], Grid(0.05, 3))


@dataclass(frozen=True)
class Kind:
    """An op and the shapes it is timed at.

    build: the function of one op in the int8 dialect from a value of each axis. axes: by name, the
    values in their order. bases: points of the grid; what differs from one of them along at most
    `at_once` axes is timed. exists: whether there is such an op.
    """

    build: Callable[..., Func]
    axes: dict[str, tuple[int, ...]]
    bases: tuple[Shape, ...]
    at_once: int = 2
    exists: Callable[..., bool] = lambda *shape: True


def shapes_of(kind: Kind) -> list[Shape]:
    """What is timed of a kind, in the order of its grid."""
    return [
        shape for shape in product(*kind.axes.values())
        if kind.exists(*shape)
        and any(_distance(shape, base) <= kind.at_once for base in kind.bases)
    ]  # fmt: skip


def _distance(shape: Shape, other: Shape) -> int:
    """Along how many axes two shapes differ."""
    return sum(a != b for a, b in zip(shape, other, strict=True))


def neighbours(kind: Kind, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """The shapes one step away along one axis, and its name.

    A step goes to the next value of which there is an op: from 4 groups of 64 channels to 16.
    """
    for at, (axis, values) in enumerate(kind.axes.items()):
        line = [(*shape[:at], value, *shape[at + 1 :]) for value in values]
        line = [each for each in line if kind.exists(*each)]
        place = line.index(shape)
        yield from ((axis, line[i]) for i in (place - 1, place + 1) if 0 <= i < len(line))


def _drawn(*shape: int) -> Op:
    """A constant weight of random integers."""
    values = np.random.default_rng(shape).integers(-127, 128, shape).astype(np.int8)
    return const(values, Element(DTYPES["i8"], Grid(0.01, 0))[shape])


def _finish(channels: int) -> dict:
    """A result in 8 bits, with a scale for each channel."""
    scales = np.linspace(1e-3, 2e-3, channels)
    return {"to": BYTES, "rescale": derive("f32_half_even", scales)}


def _bias(channels: int) -> Op:
    return const(np.arange(channels, dtype=np.int32))


def convolution(size, channels, kernel, stride, dilation, groups, batch) -> Func:
    """A SAME convolution of square images to as many channels."""
    x = parameter("x", BYTES[batch, size, size, channels])
    w = _drawn(kernel, kernel, channels // groups, channels)
    y = int8.conv2d(x, w, _bias(channels), strides=(stride,) * 2, dilation=(dilation,) * 2,
                    groups=groups, **_finish(channels))  # fmt: skip
    return Func("main", (x,), (y,))


def depthwise(size, channels, kernel, stride, dilation, multiplier, batch) -> Func:
    """A SAME depthwise convolution of square images; multiplier: filters of a channel."""
    x = parameter("x", BYTES[batch, size, size, channels])
    w, outputs = _drawn(kernel, kernel, channels, multiplier), channels * multiplier
    y = int8.depthwise_conv2d(x, w, _bias(outputs), strides=(stride,) * 2,
                              dilation=(dilation,) * 2, **_finish(outputs))  # fmt: skip
    return Func("main", (x,), (y,))


def dense(rows, depth, outputs) -> Func:
    """A dense layer."""
    x = parameter("x", BYTES[rows, depth])
    y = int8.dense(x, _drawn(depth, outputs), _bias(outputs), **_finish(outputs))
    return Func("main", (x,), (y,))


def matmul(batch, rows, depth, columns, transposed) -> Func:
    """Products of two activations, the right one read transposed or not."""
    a = parameter("a", BYTES[batch, rows, depth])
    b = parameter("b", BYTES[(batch, columns, depth) if transposed else (batch, depth, columns)])
    scale = derive("f32_half_even", np.float64(1e-3))
    y = int8.matmul(a, b, to=BYTES, rescale=scale, adjoint_b=bool(transposed))
    return Func("main", (a, b), (y,))


def _divides(size, channels, kernel, stride, dilation, groups, batch) -> bool:
    return channels % groups == 0


KINDS = {
    "convolution": Kind(
        convolution,
        {
            "size": (7, 14, 27, 56),
            "channels": (3, 8, 16, 33, 64, 128),
            "kernel": (1, 3, 5),
            "stride": (1, 2, 3),
            "dilation": (1, 2),
            "groups": (1, 3, 4, 8, 11, 16, 33, 64, 128),
            "batch": (1, 8, 64),
        },
        ((14, 64, 3, 1, 1, 1, 1), (56, 16, 3, 1, 1, 1, 1), (27, 33, 3, 2, 1, 1, 8)),
        exists=_divides,
    ),
    "depthwise": Kind(
        depthwise,
        {
            "size": (7, 14, 27, 56),
            "channels": (3, 8, 16, 33, 64, 128, 256),
            "kernel": (1, 3, 5),
            "stride": (1, 2, 3),
            "dilation": (1, 2),
            "multiplier": (1, 2, 3),
            "batch": (1, 8, 64),
        },
        ((27, 64, 3, 1, 1, 1, 8), (56, 64, 3, 1, 1, 1, 1)),
    ),
    "dense": Kind(
        dense,
        {
            "rows": (1, 7, 49, 196, 1024),
            "depth": (33, 64, 256, 1000),
            "outputs": (33, 64, 256, 1000),
        },
        ((1, 33, 33),),
        at_once=3,
    ),
    "matmul": Kind(
        matmul,
        {
            "batch": (1, 8, 64),
            "rows": (1, 3, 7, 16, 49, 196),
            "depth": (33, 64, 256),
            "columns": (33, 64, 196),
            "transposed": (0, 1),
        },
        ((8, 49, 64, 64, 0), (64, 49, 33, 33, 1), (1, 196, 256, 196, 0)),
    ),
}
"""By name, each kind."""
