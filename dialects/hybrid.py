"""The hybrid dialect: reals by integer weights, the reals on a grid of their own at each call.

Each row of a batch (the last axis of a dense layer, an image of a convolution, a step of a cell)
gets the 8-bit grid that spans it and zero: scale = (max - min) / 255, zero point
round(-128 - min / scale), halves to even. Products are summed as integers, what a sum stands for is
scale * scale of the weight * (sum - zero point * sum of weights), in f32. What TensorFlow Lite
calls dynamic range quantization, its asymmetric form.
"""

import numpy as np

from qir import shapes
from qir.attributes import Floats, Padding, Pair
from qir.dialect import Dialect
from qir.errors import require
from qir.roles import keeps_float
from qir.types import Type
from qir.windows import conv2d as conv2d_sums
from qir.windows import depthwise_conv2d as depthwise_sums
from qir.windows import integer_matmul

from .nn.activations import logistic
from .nn.dialect import clamped, is_bias, is_clamp

hybrid = Dialect("hybrid", "reals by integer weights, the reals on a grid found at each call")


def _checked(x: Type, w: Type, b: Type | None, axis: int, channels: int, clamp) -> None:
    require(x.dtype.name == "f32", f"the input must hold f32, found {x}")
    _is_weight(w, axis)
    require(b is None or b.dtype.name == "f32", f"the bias must hold f32, found {b}")
    is_bias(b, channels)
    is_clamp(clamp)


def _is_weight(w: Type, axis: int) -> None:
    grid = w.grid
    require(w.dtype.name == "i8" and grid is not None and grid.axis in (None, axis)
            and not grid.zero.any() and grid.block is None,
            f"the weight must be i8 with scales along axis {axis} alone, found {w}")  # fmt: skip


@hybrid.op(grid=keeps_float)
def dense(x: Type, w: Type, b: Type | None = None, *, clamp: Floats | None = None) -> Type:
    """Matrix product of x[...,K], a grid for each row, and w[K,N] plus b[N], as [...,N]."""
    shape = shapes.dense(x, w)
    _checked(x, w, b, 1, shape[-1], clamp)
    return x.with_shape(shape)


@dense.means
def _(op, x, w, b=0):
    q, scale = on_the_fly(x, (-1,))
    return clamped(op, _reals(op, integer_matmul(q, w), scale) + b)


@hybrid.op(grid=keeps_float)
def conv2d(x: Type, w: Type, b: Type | None = None, *, strides: Pair = (1, 1),
           padding: Padding = "same", dilation: Pair = (1, 1), groups: int = 1,
           clamp: Floats | None = None) -> Type:  # fmt: skip
    """Convolution of x[N,H,W,C], a grid for each image, by w[KH,KW,C/groups,O] plus b[O]."""
    shape = shapes.conv2d(x, w, strides, padding, dilation, groups)
    _checked(x, w, b, 3, shape[-1], clamp)
    return x.with_shape(shape)


@conv2d.means
def _(op, x, w, b=0):
    a = op.attributes
    q, scale = on_the_fly(x, (1, 2, 3))
    sums = conv2d_sums(q, w, a["strides"], pads_of(op), a["dilation"], a["groups"])
    return clamped(op, _reals(op, sums, scale) + b)


@hybrid.op(grid=keeps_float)
def depthwise_conv2d(x: Type, w: Type, b: Type | None = None, *, strides: Pair = (1, 1),
                     padding: Padding = "same", dilation: Pair = (1, 1),
                     clamp: Floats | None = None) -> Type:  # fmt: skip
    """Each channel of x[N,H,W,C], a grid for each image, by its own w[KH,KW,C,M] plus b[C*M]."""
    shape = shapes.depthwise_conv2d(x, w, strides, padding, dilation)
    _checked(x, w, b, 2, shape[-1], clamp)
    return x.with_shape(shape)


@depthwise_conv2d.means
def _(op, x, w, b=0):
    a = op.attributes
    q, scale = on_the_fly(x, (1, 2, 3))
    sums = depthwise_sums(q, w, a["strides"], pads_of(op), a["dilation"])
    return clamped(op, _reals(op, sums, scale) + b)


@hybrid.op(grid=keeps_float)
def lstm(x: Type, w: Type, u: Type, b: Type, h: Type, c: Type) -> Type:
    """`nn.lstm` of x[T,B,I] with integer weights w[4,I,C] and u[4,C,C], a grid for each row.

    At each step the row of the sequence and that of the state have a grid of their own.
    """
    _cell(x, w, u, 4, b=b, h=h, c=c)
    return x.with_shape((*x.shape[:2], w.shape[2]))


@lstm.means
def _(op, x, w, u, b, h, c):
    found = np.zeros(op.shape, np.float32)
    scales = gate_scales(op)
    h, c = (np.broadcast_to(each, op.shape[1:]) for each in (h, c))
    for t, row in enumerate(x):
        taken, forget, cell, output = (
            _gates(row, w, scales[0]) + _gates(h, u, scales[1]) + b.reshape(4, 1, -1))
        c = logistic(forget) * c + logistic(taken) * np.tanh(cell)
        found[t] = h = logistic(output) * np.tanh(c)
    return found


@hybrid.op(grid=keeps_float)
def gru(x: Type, w: Type, u: Type, b: Type, r: Type, h: Type) -> Type:
    """`nn.gru` of x[T,B,I] with integer weights w[3,I,C] and u[3,C,C], a grid for each row."""
    _cell(x, w, u, 3, b=b, r=r, h=h)
    return x.with_shape((*x.shape[:2], w.shape[2]))


@gru.means
def _(op, x, w, u, b, r, h):
    found = np.zeros(op.shape, np.float32)
    scales = gate_scales(op)
    h = np.broadcast_to(h, op.shape[1:])
    for t, row in enumerate(x):
        given = _gates(row, w, scales[0]) + b.reshape(3, 1, -1)
        state = _gates(h, u, scales[1])
        update, reset = (logistic(given[i] + state[i]) for i in (0, 1))
        reached = np.tanh(given[2] + reset * (state[2] + r))
        found[t] = h = update * h + (1 - update) * reached
    return found


def _cell(x: Type, w: Type, u: Type, gates: int, **parts: Type) -> None:
    require(x.rank == 3 and x.dtype.name == "f32", f"a sequence is f32[T,B,I], found {x}")
    require(w.rank == 3 and w.shape[:2] == (gates, x.shape[2]),
            f"w must be [{gates}, {x.shape[2]}, C], found {w}")  # fmt: skip
    width = w.shape[2]
    require(u.shape == (gates, width, width), f"u must be {[gates, width, width]}, found {u}")
    _is_weight(w, 0)
    _is_weight(u, 0)
    wanted = {"b": [(gates * width,)], "r": [(width,)]}
    for name, type in parts.items():
        fits = wanted.get(name, [(1, width), (x.shape[1], width)])
        require(type.dtype.name == "f32" and type.shape in fits,
                f"{name} must be f32{list(fits[-1])}, found {type}")  # fmt: skip


def pads_of(op):
    """The padding of a convolution on each side."""
    a, (x, w) = op.attributes, (o.type for o in op.operands[:2])
    return shapes.pads_of(x, w.shape[:2], a["strides"], a["padding"], a["dilation"])


def channel_scales(op) -> np.ndarray:
    """The scales of a layer's weight, one for all or one for each channel of its result."""
    w = op.operands[1].type
    scale = w.grid.scale
    each = op.shape[-1] // w.shape[w.grid.axis] if scale.ndim else 1
    return np.repeat(scale, each) if scale.ndim else scale


def gate_scales(op) -> tuple[np.ndarray, np.ndarray]:
    """The scales of both weights of a cell, [G,1,1] each."""
    return tuple(np.broadcast_to(op.operands[i].type.grid.scale, op.operands[i].shape[0])
                 .reshape(-1, 1, 1) for i in (1, 2))  # fmt: skip


def on_the_fly(x: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Integers minus their zero point, and scales, of x with a grid for what lies along axes."""
    low = np.minimum(x.min(axes, keepdims=True, initial=0), np.float32(0))
    high = np.maximum(x.max(axes, keepdims=True, initial=0), np.float32(0))
    scale = (high - low) / np.float32(255)
    scale = np.where(scale > 0, scale, np.float32(1))
    zero = np.rint(np.float32(-128) - low / scale)
    q = np.clip(np.rint(x / scale) + zero, -128, 127)
    return (q - zero).astype(np.int32), scale


def _reals(op, sums: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return sums.astype(np.float32) * (scale * channel_scales(op))


def _gates(row: np.ndarray, w: np.ndarray, scales: np.ndarray) -> np.ndarray:
    q, scale = on_the_fly(row, (-1,))
    return integer_matmul(q[None], w).astype(np.float32) * (scale * scales)
