"""The xla dialect onto its kernels; constant weights are packed for them here, in numpy."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from ... import shapes
from ...errors import QirError
from ...ir import place_of
from ..native import calls as native
from . import rescale, words
from .kernels import packing
from .kernels.convolutions import CONVOLUTIONS
from .kernels.depthwise import conv_depthwise
from .kernels.dot import batch_dot, dense
from .kernels.geometry import Geometry
from .kernels.taps import accumulators
from .kernels.transposed import conv_transposed
from .table import lowers
from .wide_sums import biased_words, over_parts, require_few


def epilogue(op):
    """From accumulators to the stored values of the op's result."""
    low, high = op.attributes["clamp"] or (op.type.lo, op.type.hi)
    zero, to = int(op.type.zero), op.dtype.numpy

    def finished(acc):
        return rescale.requantize(op.attributes["rescale"], acc, zero, low, high).astype(to)

    return finished


def geometry(op) -> Geometry:
    """The windows of a convolution kernel."""
    x, w, a = op.operands[0].type, op.operands[1].type, op.attributes
    window = tuple(w.shape[:2])
    pads = shapes.pads_of(x, window, a["strides"], a["padding"], a["dilation"])
    return Geometry(window, a["strides"], pads, a["dilation"], a.get("groups", 1), int(x.zero))


def _constant(op, index: int):
    """The array of an operand that is packed before the program is compiled."""
    operand = op.operands[index]
    if not operand.is_const:
        raise QirError(f"{op.kind} takes constant weights and biases, found {operand.kind}",
                       at=place_of(op))  # fmt: skip
    return operand.value


def _in_words(op, x, b, taps: np.ndarray, product):
    """The result of a kernel on 16 bits, from what it sums up of 8.

    taps: the weights [...,O] of each output. product: from a part of x and what it is padded with
    to sums i32.
    """
    require_few(op, taps.size // taps.shape[-1])
    total, lacks = over_parts(op, x, product)
    folded = lacks + int(op.operands[0].type.zero)  # the zero point is in the bias
    rest = folded * taps.reshape(-1, taps.shape[-1]).sum(0, np.int64)
    return epilogue(op)(biased_words(op, words.plus(total, words.of_constant(rest)), b))


@lowers("xla.dot")
def _(op, x, w, b):
    if native.serves(op):
        return native.dot(op, x)
    layout = op.attributes["layout"]
    if x.dtype.itemsize == 1:
        return dense(x, w, b, layout=layout, epilogue=epilogue(op))
    taps = _constant(op, 1) if layout == "kn" else _constant(op, 1).T
    none = np.zeros(op.shape[-1], np.int32)
    return _in_words(op, x, b, taps, lambda part, pad: dense(part, w, none, layout=layout))


@lowers("xla.conv")
def _(op, x, w, b):
    if native.serves(op):
        return native.conv(op, x)
    kernel, windows = CONVOLUTIONS[op.attributes["kernel"]], geometry(op)
    packed = kernel.pack(_constant(op, 1), windows)
    if x.dtype.itemsize == 2:
        weights, none = jnp.asarray(packed), jnp.zeros(op.shape[-1], jnp.int32)
        return _in_words(op, x, b, _constant(op, 1), lambda part, pad: kernel.run(
            part, weights, none, replace(windows, zero=pad), accumulators))  # fmt: skip
    if x.dtype != packed.dtype:  # u8 by i8: XLA convolves operands of one type alone
        x, packed = x.astype(jnp.int32), packed.astype(np.int32)
    return kernel.run(x, jnp.asarray(packed), b, windows, epilogue(op))


@lowers("xla.depthwise")
def _(op, x, w, b):
    if native.serves(op):
        return native.depthwise(op, x)
    if x.dtype.itemsize == 1:
        return conv_depthwise(x, w, b, geometry(op), epilogue(op))
    windows, none = geometry(op), jnp.zeros(op.shape[-1], jnp.int32)
    if np.prod(windows.window) < 2**8:  # products of 16 by 8 bits sum up in 32
        acc = words.of_i32(conv_depthwise(x, w, none, windows))
        return epilogue(op)(biased_words(op, acc, b))
    taps = _constant(op, 1).reshape(*windows.window, -1)
    return _in_words(op, x, b, taps, lambda part, pad: conv_depthwise(
        part, w, none, replace(windows, zero=pad)))  # fmt: skip


@lowers("xla.transposed_conv")
def _(op, x, w, b):
    types, strides = [o.type for o in op.operands[:2]], op.attributes["strides"]
    zero = int(types[0].zero)
    weights, bias = packing.pack_transposed(_constant(op, 1), _constant(op, 2), strides, zero)
    crops = shapes.transposed_crops(*types, strides, op.attributes["padding"])
    arrays, window = (jnp.asarray(weights), jnp.asarray(bias)), types[1].shape[:2]
    return conv_transposed(x, *arrays, window=window, strides=strides, crops=crops, zero=zero,
                           epilogue=epilogue(op))  # fmt: skip


@lowers("xla.batch_dot")
def _(op, a, b):
    if native.serves(op):
        return native.batch_dot(op, a, b)
    a_zero, b_zero = (int(o.type.zero) for o in op.operands)
    axes = {name: op.attributes[name] for name in ("a_axes", "b_axes")}
    return batch_dot(a, b, a_zero=a_zero, b_zero=b_zero, epilogue=epilogue(op), **axes)
