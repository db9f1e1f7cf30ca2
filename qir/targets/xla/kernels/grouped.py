"""Grouped convolutions as one dot with the groups as its batch.

XLA's own convolution of more than a few small groups is a scalar loop.
"""

import jax.numpy as jnp
from jax import lax

from .geometry import Geometry
from .taps import Array, Epilogue, accumulators, pad, taps


def conv_grouped(
    x: Array, w: Array, bias: Array, geometry: Geometry, epilogue: Epilogue = accumulators
) -> Array:
    """By `w[G,O/G,K]` of `packing.pack_grouped`, G the groups left after merging."""
    count, outputs, _ = w.shape
    height, width = geometry.outputs(x.shape)
    padded = pad(x, geometry.pads, geometry.zero)
    apart = padded.reshape(*padded.shape[:3], count, -1).transpose(3, 0, 1, 2, 4)
    columns = jnp.concatenate(list(taps(apart, geometry, (height, width))), -1)
    columns = columns.reshape(count, -1, columns.shape[-1])
    acc = lax.dot_general(
        columns, w, (((2,), (2,)), ((0,), (0,))), preferred_element_type=jnp.int32
    )
    acc = acc.transpose(1, 0, 2).reshape(x.shape[0], height, width, count * outputs)
    return epilogue(acc + bias)
