"""Convolutions of one group: handed to XLA directly, or as one dot over the slices of a window."""

import jax.numpy as jnp
from jax import lax

from .dot import dense
from .geometry import Geometry
from .taps import Array, Epilogue, accumulators, dot_rows, kept_apart, pad, span, taps

FEW = 16
"""Up to so many channels the zeros of `_filled_up` would be most of the work."""


def conv_valid(
    x: Array, w: Array, bias: Array, geometry: Geometry, epilogue: Epilogue = accumulators
) -> Array:
    """Any convolution by `w[KH,KW,C,O]`, directly, on the padded input."""
    padded = pad(x, geometry.pads, geometry.zero)
    return epilogue(_convolution(padded, w, geometry, ((0, 0), (0, 0))) + bias)


def conv_same(
    x: Array, w: Array, bias: Array, geometry: Geometry, epilogue: Epilogue = accumulators
) -> Array:
    """A convolution of stride 1 by `w[KH,KW,C,O]`: SAME on the padded input, then a crop.

    XLA hands SAME to a faster path than VALID where there is AMX; the zeros it pads with reach only
    what is cropped.
    """
    padded = pad(x, geometry.pads, geometry.zero)
    low = [(geometry.extent(axis) - 1) // 2 for axis in (0, 1)]
    high = [geometry.extent(axis) - 1 - low[axis] for axis in (0, 1)]
    acc = _convolution(padded, w, geometry, tuple(zip(low, high, strict=True)))
    for axis, size in enumerate(geometry.outputs(x.shape)):
        acc = span(acc, 1 + axis, low[axis], size)
    return epilogue(acc + bias)


def conv_slices(
    x: Array, w: Array, bias: Array, geometry: Geometry, epilogue: Epilogue = accumulators
) -> Array:
    """Any convolution by `w[O,KH*KW*C]`: what each tap sees side by side, then one dot."""
    sizes = geometry.outputs(x.shape)
    columns = jnp.concatenate(list(taps(pad(x, geometry.pads, geometry.zero), geometry, sizes)), -1)
    acc = dot_rows(columns.reshape(-1, columns.shape[-1]), w) + bias
    return epilogue(acc.reshape(*columns.shape[:-1], w.shape[0]))


def conv_pointwise(
    x: Array, w: Array, bias: Array, geometry: Geometry, epilogue: Epilogue = accumulators
) -> Array:
    """A convolution with a window of one pixel by `w[O,C]`: the pixels it reads, then one dot."""
    (pixels,) = taps(pad(x, geometry.pads, geometry.zero), geometry, geometry.outputs(x.shape))
    return dense(pixels, w, bias, epilogue=epilogue)


def _convolution(x: Array, w: Array, geometry: Geometry, pads) -> Array:
    x, w = _filled_up(x, w)
    return lax.conv_general_dilated(
        kept_apart(x), w, geometry.strides, pads, rhs_dilation=geometry.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"), preferred_element_type=jnp.int32,
    )  # fmt: skip


def _filled_up(x: Array, w: Array) -> tuple[Array, Array]:
    """An odd number of channels filled up with zeros to a multiple of 16.

    33 channels of 56x56 took 1.48 ms without and 0.40 with them (jax 0.10.2, AMX).
    """
    channels = x.shape[3]
    if channels <= FEW or channels % 4 == 0 or x.dtype != jnp.int8:
        return x, w
    none = ((0, 0, 0), (0, 0, 0))
    more = (0, -channels % 16, 0)
    zero = jnp.zeros((), jnp.int8)
    return lax.pad(x, zero, (*none, (0, 0, 0), more)), lax.pad(w, zero, (*none, more, (0, 0, 0)))
