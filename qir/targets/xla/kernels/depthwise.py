"""Depthwise convolutions: XLA's own is a scalar loop, a sum over taps is one vectorized one."""

import jax.numpy as jnp

from .geometry import Geometry
from .taps import Array, Epilogue, accumulators, pad, taps


def conv_depthwise(
    x: Array, w: Array, bias: Array, geometry: Geometry, epilogue: Epilogue = accumulators
) -> Array:
    """Each channel by its own `w[KH,KW,C,M]`; output channel c * M + m."""
    padded, sizes = pad(x, geometry.pads, geometry.zero), geometry.outputs(x.shape)
    kh, kw, channels, multiplier = w.shape
    filters = jnp.asarray(w).reshape(kh * kw, channels * multiplier).astype(jnp.int32)
    acc = bias
    for seen, filter in zip(taps(padded, geometry, sizes), filters, strict=True):
        wide = jnp.repeat(seen, multiplier, -1) if multiplier > 1 else seen
        acc = acc + wide.astype(jnp.int32) * filter
    return epilogue(acc)
