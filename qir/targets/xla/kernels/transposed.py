"""Transposed convolutions, without a multiplication by the zeros between the input's elements."""

import jax.numpy as jnp

from .geometry import Geometry, Pads, Pair
from .taps import Array, Epilogue, accumulators, dot_rows, pad, span, taps


def conv_transposed(
    x: Array,
    w: Array,
    bias: Array,
    *,
    window: Pair,
    strides: Pair,
    crops: Pads,
    zero: int,
    epilogue: Epilogue = accumulators,
) -> Array:
    """Each phase of the result as a convolution of stride 1, all phases as one dot.

    w, bias: of `packing.pack_transposed`. crops: taken off the full result of (H - 1) * stride + KH
    rows; negative ones append rows of the bias alone.
    """
    (sh, sw), outputs = strides, w.shape[0] // (strides[0] * strides[1])
    pads, steps, blocks, sizes, offsets = [], [], [], [], []
    for axis, (low, high) in enumerate(crops):
        extent, stride = x.shape[1 + axis], strides[axis]
        sizes.append((extent - 1) * stride + window[axis] - low - high)
        blocks.append(-(-window[axis] // stride))
        first, end = low // stride, -(-(low + sizes[-1]) // stride)
        steps.append(end - first)
        offsets.append(low - first * stride)
        pads.append((blocks[-1] - 1 - first, end - extent))
    columns = jnp.concatenate(
        list(taps(pad(x, tuple(pads), zero), Geometry(tuple(blocks)), tuple(steps))), -1
    )
    acc = dot_rows(columns.reshape(-1, columns.shape[-1]), w) + bias
    acc = acc.reshape(x.shape[0], *steps, sh, sw, outputs).transpose(0, 1, 3, 2, 4, 5)
    acc = acc.reshape(x.shape[0], steps[0] * sh, steps[1] * sw, outputs)
    for axis in (0, 1):
        acc = span(acc, 1 + axis, offsets[axis], sizes[axis])
    return epilogue(acc)
