"""hybrid ops on XLA: a pass over the input for its grid, then the kernels of 8-bit integers."""

import jax.numpy as jnp
import numpy as np
from jax import lax, nn

from qir.dialects.hybrid import channel_scales, gate_scales, pads_of

from ..native import hybrid as native
from .choice import choose_conv, choose_dot
from .kernels.convolutions import CONVOLUTIONS
from .kernels.depthwise import conv_depthwise
from .kernels.dot import dense
from .kernels.geometry import Geometry
from .kernels.taps import pad
from .lower_recurrent import of_batch
from .table import lowers


def _on_the_fly(x, axes):
    """Integers i8, their zero points and scales, for what lies along the axes."""
    low = jnp.minimum(jnp.min(x, axes, keepdims=True), 0)
    high = jnp.maximum(jnp.max(x, axes, keepdims=True), 0)
    scale = (high - low) / np.float32(255)
    scale = jnp.where(scale > 0, scale, np.float32(1))
    zero = jnp.rint(np.float32(-128) - low / scale)
    q = jnp.clip(jnp.rint(x / scale) + zero, -128, 127)
    return q.astype(jnp.int8), zero.astype(jnp.int32), scale


def _finished(op, sums, taps, zero, scale, b):
    """Sums of products of stored integers as reals: the zero points taken off, scaled, clamped."""
    y = (sums - zero * taps).astype(jnp.float32) * (scale * channel_scales(op))
    y = y if b is None else y + b
    clamp = op.attributes["clamp"]
    return y if clamp is None else jnp.clip(y, *map(np.float32, clamp))


@lowers("hybrid.dense")
def _(op, x, w, b=None):
    if native.serves(op):
        return native.dense(op, x, b)
    q, zero, scale = _on_the_fly(jnp.asarray(x), (-1,))
    w = np.asarray(w)
    layout = choose_dot(op.type.size // max(1, op.shape[-1]))
    stored = w if layout == "kn" else np.ascontiguousarray(w.T)
    sums = dense(q, stored, np.zeros(w.shape[1], np.int32), layout=layout)
    return _finished(op, sums, w.sum(0, dtype=np.int32), zero, scale, b)


@lowers("hybrid.conv2d")
def _(op, x, w, b=None):
    if native.serves(op):
        return native.conv(op, x, b)
    a, w = op.attributes, np.asarray(w)
    x = pad(jnp.asarray(x), pads_of(op), 0)  # as reals: each image has another zero point
    q, zero, scale = _on_the_fly(x, (1, 2, 3))
    none = ((0, 0), (0, 0))
    chosen = choose_conv(x.shape, w.shape, a["strides"], a["dilation"], a["groups"], none)
    kernel = CONVOLUTIONS[chosen]
    windows = Geometry(w.shape[:2], a["strides"], none, a["dilation"], a["groups"], 0)
    packed = jnp.asarray(kernel.pack(w, windows))
    sums = kernel.run(q, packed, np.zeros(op.shape[-1], np.int32), windows)
    return _finished(op, sums, w.sum((0, 1, 2), dtype=np.int32), zero, scale, b)


@lowers("hybrid.depthwise_conv2d")
def _(op, x, w, b=None):
    if native.serves(op):
        return native.depthwise(op, x, b)
    a, w = op.attributes, np.asarray(w)
    q, zero, scale = _on_the_fly(pad(jnp.asarray(x), pads_of(op), 0), (1, 2, 3))
    windows = Geometry(w.shape[:2], a["strides"], ((0, 0), (0, 0)), a["dilation"], 1, 0)
    sums = conv_depthwise(q, w, np.zeros(op.shape[-1], np.int32), windows)
    return _finished(op, sums, w.sum((0, 1), dtype=np.int32).reshape(-1), zero, scale, b)


def _gates(row, w, scales):
    """Rows [B,I] by weights [G,I,C], as reals [G,B,C]."""
    q, zero, scale = _on_the_fly(row, (-1,))
    sums = jnp.einsum("bi,gic->gbc", q, w, preferred_element_type=jnp.int32)
    taps = np.asarray(w).sum(1, dtype=np.int32)[:, None]
    return (sums - zero * taps).astype(jnp.float32) * (scale * scales)


@lowers("hybrid.lstm")
def _(op, x, w, u, b, h, c):
    scales, bias = gate_scales(op), np.asarray(b).reshape(4, 1, -1)

    def step(carried, row):
        h, c = carried
        taken, forget, cell, output = _gates(row, w, scales[0]) + _gates(h, u, scales[1]) + bias
        c = nn.sigmoid(forget) * c + nn.sigmoid(taken) * jnp.tanh(cell)
        h = nn.sigmoid(output) * jnp.tanh(c)
        return (h, c), h

    return lax.scan(step, tuple(of_batch(x, each) for each in (h, c)), x)[1]


@lowers("hybrid.gru")
def _(op, x, w, u, b, r, h):
    scales, bias = gate_scales(op), np.asarray(b).reshape(3, 1, -1)

    def step(h, row):
        given, state = _gates(row, w, scales[0]) + bias, _gates(h, u, scales[1])
        update, reset = (nn.sigmoid(given[i] + state[i]) for i in (0, 1))
        h = update * h + (1 - update) * jnp.tanh(given[2] + reset * (state[2] + r))
        return h, h

    return lax.scan(step, of_batch(x, h), x)[1]
