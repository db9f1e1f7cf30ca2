"""The hybrid dialect's layers as calls of the C++ kernels: reals by integer weights."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import ffi

from qir.dialects.hybrid import channel_scales, pads_of

from ...ir import Op
from .calls import windows_of
from .library import is_called, library
from .packing import begun, by_groups, crosses, packed, runs_of


def serves(op: Op) -> bool:
    """Whether the C++ kernels compute this layer; the portable ones compute every other."""
    return (is_called() and op.operands[1].is_const
            and op.operands[0].type.size > 0 and op.type.size > 0)  # fmt: skip


def dense(op: Op, x, b):
    """Rows as images of one pixel, so that each has a grid of its own."""
    w = op.operands[1].value
    rows = x.reshape(-1, 1, 1, x.shape[-1])
    numbers = (1, 1, 1, 1, 1, 1, 0, 0, 1, 1, w.shape[1], 1)
    return _conv(op, rows, w[None], b, numbers).reshape(op.shape)


def conv(op: Op, x, b):
    """A `hybrid.conv2d`."""
    weights = by_groups(op.operands[1].value, op.attributes["groups"], library())
    return _conv(op, x, weights, b, windows_of(op, pads_of(op), len(weights)))


def depthwise(op: Op, x, b):
    """A `hybrid.depthwise_conv2d`."""
    w = op.operands[1].value.reshape(-1, op.shape[-1])
    start = np.zeros(op.shape[-1], np.int32)
    taps, windows = w.sum(0, dtype=np.int32), windows_of(op, pads_of(op), x.shape[3])
    return _called("qir_hybrid_depthwise", op, x, w.astype(np.int16), start, taps, b, windows)


def _conv(op: Op, x, weights: np.ndarray, b, windows):
    taps = weights.sum(1, dtype=np.int32).reshape(-1)
    runs = runs_of(windows, x.shape[3], library())
    tiles = packed(weights, library(), runs)
    start = begun(weights, tiles, library(), is_signed=True)
    windows = (*windows, runs, crosses(weights, library()))
    return _called("qir_hybrid_conv", op, x, tiles, start, taps, b, windows)


def _called(name: str, op: Op, x, weights, start, taps, b, windows):
    clamp = op.attributes["clamp"] or (-np.inf, np.inf)
    result = jax.ShapeDtypeStruct((*x.shape[:1], *windows[8:11]), np.float32)
    scale = np.broadcast_to(channel_scales(op), (op.shape[-1],)).astype(np.float32)
    bias = jnp.zeros(op.shape[-1], jnp.float32) if b is None else jnp.asarray(b)
    arrays = (jnp.asarray(each) for each in (weights, start.astype(np.int32), taps, scale))
    return ffi.ffi_call(name, result)(
        jnp.asarray(x), *arrays, bias, windows=np.array(windows, np.int64),
        low=np.float32(clamp[0]), high=np.float32(clamp[1]))  # fmt: skip
