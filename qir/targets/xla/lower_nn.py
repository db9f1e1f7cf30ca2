"""nn ops on XLA: convolutions, matrix products, pooling and norms in float."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from ... import shapes
from ...windows import windows
from ..native import pools
from .kernels import stored
from .kernels.geometry import Geometry
from .kernels.pool import max_pool
from .lower_lax import wide
from .table import lowers

LAYOUT = ("NHWC", "HWIO", "NHWC")


def clamped(op, y):
    """A result within the bounds of the op's clamp."""
    clamp = op.attributes["clamp"]
    return y if clamp is None else jnp.clip(y, *np.asarray(clamp, y.dtype))


@lowers("nn.conv2d")
def _(op, x, w, b=None):
    a = op.attributes
    pads = _pads(op, w.shape[:2], a["dilation"])
    y = lax.conv_general_dilated(
        wide(x),
        wide(w),
        a["strides"],
        pads,
        rhs_dilation=a["dilation"],
        dimension_numbers=LAYOUT,
        feature_group_count=a["groups"],
    )
    return _biased(op, y, b)


@lowers("nn.depthwise_conv2d")
def _(op, x, w, b=None):
    a = op.attributes
    pads = _pads(op, w.shape[:2], a["dilation"])
    taps = jnp.reshape(wide(w), (*w.shape[:2], 1, -1))
    y = lax.conv_general_dilated(
        wide(x),
        taps,
        a["strides"],
        pads,
        rhs_dilation=a["dilation"],
        dimension_numbers=LAYOUT,
        feature_group_count=x.shape[3],
    )
    return _biased(op, y, b)


@lowers("nn.transposed_conv2d")
def _(op, x, w, b=None):
    strides = op.attributes["strides"]
    pads = transposed_pads(op)
    y = lax.conv_general_dilated(wide(x), lax.rev(wide(w), (0, 1)), (1, 1), pads,
                                 lhs_dilation=strides, dimension_numbers=LAYOUT)  # fmt: skip
    return _biased(op, y, b)


def transposed_pads(op) -> tuple[tuple[int, int], ...]:
    """The padding of a convolution over the dilated input that is this transposed convolution."""
    x, w = (o.type for o in op.operands[:2])
    crops = shapes.transposed_crops(x, w, op.attributes["strides"], op.attributes["padding"])
    sides = zip(w.shape[:2], crops, strict=True)
    return tuple((k - 1 - low, k - 1 - high) for k, (low, high) in sides)


@lowers("nn.dense")
def _(op, x, w, b=None):
    if w.dtype in (jnp.float16, jnp.bfloat16):
        return _biased(op, stored.dense(wide(x), w, op.operands[1].type), b)
    numbers = (((x.ndim - 1,), (0,)), ((), ()))
    return _biased(op, lax.dot_general(wide(x), wide(w), numbers), b)


@lowers("nn.matmul")
def _(op, a, b):
    return clamped(op, lax.dot_general(wide(a), wide(b), matmul_numbers(op)))


def matmul_numbers(op):
    """The dimension numbers of a batched matrix product, `adjoint_a` and `adjoint_b` honoured."""
    rank = op.type.rank
    batch = tuple(range(rank - 2))
    left = rank - 2 if op.attributes["adjoint_a"] else rank - 1
    right = rank - 1 if op.attributes["adjoint_b"] else rank - 2
    return (((left,), (right,)), (batch, batch))


def _pads(op, window, dilation=(1, 1)):
    a = op.attributes
    return shapes.pads_of(op.operands[0].type, window, a["strides"], a["padding"], dilation)


def _biased(op, y, b):
    return clamped(op, y if b is None else y + wide(b))


def _arithmetic(function):
    return lambda op, a, b: clamped(op, function(wide(a), wide(b)))


for _name, _function in {"add": jnp.add, "sub": jnp.subtract, "mul": jnp.multiply,
                         "div": jnp.divide}.items():  # fmt: skip
    lowers(f"nn.{_name}")(_arithmetic(_function))


@lowers("nn.maximum")
def _(op, a, b):
    return jnp.maximum(a, b)


@lowers("nn.minimum")
def _(op, a, b):
    return jnp.minimum(a, b)


_POINTWISE = {
    "relu": lambda x: jnp.maximum(x, np.asarray(0, x.dtype)),
    "relu6": lambda x: jnp.clip(x, np.asarray(0, x.dtype), np.asarray(6, x.dtype)),
    "sigmoid": lax.logistic,
    "tanh": lax.tanh,
    "silu": lambda x: x * lax.logistic(x),
    "hard_swish": lambda x: x * jnp.clip(x + 3, 0, 6) / 6,
    "elu": lambda x: jnp.where(x > 0, x, lax.expm1(jnp.minimum(x, 0))),
}


def _pointwise(function):
    return lambda op, x: function(wide(x))


for _name, _function in _POINTWISE.items():
    lowers(f"nn.{_name}")(_pointwise(_function))


@lowers("nn.gelu")
def _(op, x):
    x = wide(x)
    if op.attributes["approximate"]:
        return 0.5 * x * (1 + lax.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * lax.erfc(-x * math.sqrt(0.5))


@lowers("nn.leaky_relu")
def _(op, x):
    x = wide(x)
    return jnp.where(x >= 0, x, np.asarray(op.attributes["slope"], x.dtype) * x)


@lowers("nn.max_pool")
def _(op, x):
    if pools.serves(op):
        return pools.pool(op, x)
    if op.dtype.name == "i8":
        return max_pool(x, pool_geometry(op))
    lowest = -np.inf if op.type.is_float else op.type.lo
    return window_reduced(op, x, np.asarray(lowest).astype(x.dtype), lax.max)


@lowers("nn.avg_pool")
def _(op, x):
    x = wide(x)
    counts = window_counts(op).astype(x.dtype)
    return window_reduced(op, x, np.zeros((), x.dtype), lax.add) / counts


def window_reduced(op, x, start, combine):
    """The elements of each window of `x[N,H,W,C]` combined; padding counts as `start`."""
    a = op.attributes
    window, strides = (1, *a["window"], 1), (1, *a["strides"], 1)
    pads = ((0, 0), *_pads(op, a["window"]), (0, 0))
    return lax.reduce_window(x, start, combine, window, strides, pads)


def pool_geometry(op) -> Geometry:
    """The windows of a pool."""
    a = op.attributes
    return Geometry(a["window"], a["strides"], _pads(op, a["window"]))


def window_counts(op) -> np.ndarray:
    """How many elements of each window lie inside the image, [1,OH,OW,1], or one number for all."""
    a, x = op.attributes, op.operands[0].type
    inside = np.ones((1, *x.shape[1:3], 1), np.int32)
    counts = windows(inside, a["window"], a["strides"], _pads(op, a["window"])).sum((3, 4))
    return counts.min() if counts.min() == counts.max() else counts


_REDUCTIONS = {
    "mean": jnp.mean, "sum": jnp.sum, "reduce_max": jnp.max, "reduce_min": jnp.min,
}  # fmt: skip


def _reduction(function):
    return lambda op, x: function(wide(x), op.attributes["axes"],
                                  keepdims=op.attributes["keepdims"])  # fmt: skip


for _name, _function in _REDUCTIONS.items():
    lowers(f"nn.{_name}")(_reduction(_function))


@lowers("nn.softmax")
def _(op, x, mask=None):
    axis, x = op.attributes["axis"], wide(x)
    if mask is not None:
        mask = jnp.broadcast_to(mask, x.shape)
        closed = jnp.where(jnp.any(mask, axis, keepdims=True), -jnp.inf, 0)
        x = jnp.where(mask, x, closed.astype(x.dtype))
    powers = lax.exp(x - jnp.max(x, axis, keepdims=True))
    return powers / jnp.sum(powers, axis, keepdims=True)


@lowers("nn.layer_norm")
def _(op, x, gamma, beta):
    x = wide(x)
    centred = x - jnp.mean(x, -1, keepdims=True)
    variance = jnp.mean(centred * centred, -1, keepdims=True)
    spread = lax.sqrt(variance + np.asarray(op.attributes["epsilon"], x.dtype))
    return centred / spread * wide(gamma) + wide(beta)


@lowers("nn.rms_norm")
def _(op, x, gamma):
    x = wide(x)
    squares = jnp.mean(x * x, -1, keepdims=True)
    return x / lax.sqrt(squares + np.asarray(op.attributes["epsilon"], x.dtype)) * wide(gamma)
