"""Max and average pools of int8, by slices: XLA's reduce_window is a scalar loop, 15 times
slower."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from .geometry import Geometry
from .taps import Array, pad, span

MULTIPLIED = {"int8": 255, "uint8": 181}
"""Up to so many elements a window's mean is a multiplication by a constant (see `_divided`)."""


def max_pool(x: Array, geometry: Geometry) -> Array:
    """The largest of each window of `x[N,H,W,C]`, padding never."""
    padded = pad(x, geometry.pads, jnp.iinfo(x.dtype).min)
    return _along_both(padded, geometry, geometry.outputs(x.shape), jnp.maximum)


def average_pool(x: Array, geometry: Geometry) -> Array:
    """The mean of each window of `x[N,H,W,C]` int8 or uint8, rounded half away from zero.

    Padding is not counted; a window of padding alone gives 0.
    """
    sizes = geometry.outputs(x.shape)
    total = _along_both(pad(x, geometry.pads, 0).astype(jnp.int32), geometry, sizes, jnp.add)
    inside = [_counts(x.shape[1 + axis], geometry, axis, sizes[axis]) for axis in (0, 1)]
    count = np.maximum(np.multiply.outer(*inside), 1)[:, :, None]
    mean = _divided(jnp.abs(total) + count // 2, count, x.dtype.name)
    return jnp.where(total < 0, -mean, mean).astype(x.dtype)


def _along_both(padded: Array, geometry: Geometry, sizes, combine) -> Array:
    """Columns of a window combined first, then rows: KH + KW steps and not KH * KW."""
    for axis in (1, 0):
        start, step = geometry.dilation[axis], geometry.strides[axis]
        parts = [
            span(padded, 1 + axis, k * start, sizes[axis], step)
            for k in range(geometry.window[axis])
        ]
        padded = parts[0]
        for part in parts[1:]:
            padded = combine(padded, part)
    return padded


def _counts(extent: int, geometry: Geometry, axis: int, size: int) -> np.ndarray:
    """How many elements of a window lie inside the image, for each position along `axis`."""
    first = np.arange(size) * geometry.strides[axis] - geometry.pads[axis][0]
    at = first[:, None] + np.arange(geometry.window[axis]) * geometry.dilation[axis]
    return ((at >= 0) & (at < extent)).sum(1).astype(np.int32)


def _divided(total: Array, count: np.ndarray, of: str) -> Array:
    """`total // count` for 0 <= total <= 128.5 * count of int8, 255.5 * count of uint8.

    With m = ceil(2^23 / count), total * m exceeds total * 2^23 / count by less than total, and
    total * count stays below 2^23 up to 255 elements, 181 of uint8: the quotient is exact;
    total * m stays below 2^31, or 2^32.
    """
    if count.max() > MULTIPLIED[of]:
        return lax.div(total, jnp.broadcast_to(count, total.shape))
    wide = total.astype(jnp.uint32 if of == "uint8" else jnp.int32)
    return ((wide * (-(-(1 << 23) // count)).astype(wide.dtype)) >> 23).astype(jnp.int32)
