"""Convolutions of few channels, where neighbouring pixels are read as one wider pixel.

Both kernels take steps of whole strides over blocks of pixels, for which the filter is filled up
with zeros; so they need no dilation, and what lies under those zeros may be anything.
"""

import jax.numpy as jnp
from jax import lax

from .geometry import Geometry
from .taps import Array, Epilogue, accumulators, dot_rows, kept_apart, pad, span


def conv_row_windows(
    x: Array, w: Array, bias: Array, geometry: Geometry, epilogue: Epilogue = accumulators
) -> Array:
    """By `w` of `packing.pack_row_windows`: a row of a window is few wide pixels, then one dot."""
    (kh, _), (sh, sw) = geometry.window, geometry.strides
    height, width = geometry.outputs(x.shape)
    padded = _in_blocks(x, geometry, (1, sw))
    blocks = padded.reshape(*padded.shape[:2], padded.shape[2] // sw, sw * x.shape[3])
    across = blocks.shape[2] - width + 1
    rows = jnp.concatenate([span(blocks, 2, j, width) for j in range(across)], -1)
    columns = jnp.concatenate([span(rows, 1, i, height, sh) for i in range(kh)], -1)
    acc = dot_rows(columns.reshape(-1, columns.shape[-1]), w) + bias
    return epilogue(acc.reshape(*columns.shape[:-1], w.shape[0]))


def conv_space_to_depth(
    x: Array, w: Array, bias: Array, geometry: Geometry, epilogue: Epilogue = accumulators
) -> Array:
    """By `w` of `packing.pack_space_to_depth`: a stride's pixels become channels, then stride 1."""
    sh, sw = geometry.strides
    padded = _in_blocks(x, geometry, geometry.strides)
    batch, height, width, channels = padded.shape
    blocks = padded.reshape(batch, height // sh, sh, width // sw, sw, channels)
    blocks = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // sh, width // sw, -1)
    acc = lax.conv_general_dilated(
        kept_apart(blocks), w, (1, 1), "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"), preferred_element_type=jnp.int32,
    )  # fmt: skip
    return epilogue(acc + bias)


def _in_blocks(x: Array, geometry: Geometry, block: tuple[int, int]) -> Array:
    """The padded input, cut or grown at its ends to the whole blocks that the windows reach."""
    pads = []
    for axis, size in enumerate(geometry.outputs(x.shape)):
        reach = (size - 1) * geometry.strides[axis] + geometry.window[axis]
        reach += -reach % block[axis]
        low = geometry.pads[axis][0]
        pads.append((low, reach - low - x.shape[1 + axis]))
    return pad(x, tuple(pads), geometry.zero)
