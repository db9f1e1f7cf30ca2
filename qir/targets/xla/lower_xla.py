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
def _zero_of_weight(op) -> int:
    return int(op.operands[1].type.zero)


def _with_ones(w, axis: int = -1):
    """A weight with one more output, whose weights are 1: it sums up what the others see."""
    xp = np if isinstance(w, np.ndarray) else jnp
    return xp.concatenate([w, xp.ones_like(xp.take(w, xp.array([0]), axis))], axis)


def _and_no_bias(b):
    return jnp.concatenate([b, jnp.zeros(1, b.dtype)])


def _without_zero(op, finished):
    """An epilogue that takes the weight's zero point off: the last output is the sum of all x.

    sum(x * (w - z)) = sum(x * w) - z * sum(x).
    """
    zero = np.int32(_zero_of_weight(op))
    return lambda acc: finished(acc[..., :-1] - zero * acc[..., -1:])


@lowers("xla.dot")
def _(op, x, w, b):
    if native.serves(op):
        return native.dot(op, x)
    finished, layout = epilogue(op), op.attributes["layout"]
    if x.dtype.itemsize == 2:
        taps = _constant(op, 1) if layout == "kn" else _constant(op, 1).T
        none = np.zeros(op.shape[-1], np.int32)
        return _in_words(op, x, b, taps, lambda part, pad: dense(part, w, none, layout=layout))
    if _zero_of_weight(op):
        w = _with_ones(w, 0 if layout == "nk" else 1)
        b, finished = _and_no_bias(b), _without_zero(op, finished)
    return dense(x, w, b, layout=layout, epilogue=finished)


@lowers("xla.conv")
def _(op, x, w, b):
    if native.serves(op):
        return native.conv(op, x)
    kernel, windows = CONVOLUTIONS[op.attributes["kernel"]], geometry(op)
    w, finished = _constant(op, 1), epilogue(op)
    if x.dtype.itemsize == 2:
        weights, none = jnp.asarray(kernel.pack(w, windows)), jnp.zeros(op.shape[-1], jnp.int32)
        return _in_words(op, x, b, w, lambda part, pad: kernel.run(
            part, weights, none, replace(windows, zero=pad), accumulators))  # fmt: skip
    if _zero_of_weight(op) and windows.groups > 1:
        w = w.astype(np.int32) - _zero_of_weight(op)
    elif _zero_of_weight(op):
        w, b, finished = _with_ones(w), _and_no_bias(b), _without_zero(op, finished)
    packed = kernel.pack(w, windows)
    if x.dtype != packed.dtype:  # u8 by i8: XLA convolves operands of one type alone
        x, packed = x.astype(jnp.int32), packed.astype(np.int32)
    return kernel.run(x, jnp.asarray(packed), b, windows, finished)


@lowers("xla.depthwise")
def _(op, x, w, b):
    if native.serves(op):
        return native.depthwise(op, x)
    windows, zero = geometry(op), _zero_of_weight(op)
    if x.dtype.itemsize == 1:
        w = jnp.asarray(w).astype(jnp.int32) - np.int32(zero) if zero else w
        return conv_depthwise(x, w, b, windows, epilogue(op))
    none = jnp.zeros(op.shape[-1], jnp.int32)
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
    w, b, finished = _constant(op, 1), _constant(op, 2), epilogue(op)
    if _zero_of_weight(op):
        w, b = _with_ones(w), np.append(b, np.zeros(1, b.dtype))
        finished = _without_zero(op, finished)
    weights, bias = packing.pack_transposed(w, b, strides, zero)
    crops = shapes.transposed_crops(*types, strides, op.attributes["padding"])
    arrays, window = (jnp.asarray(weights), jnp.asarray(bias)), types[1].shape[:2]
    return conv_transposed(x, *arrays, window=window, strides=strides, crops=crops, zero=zero,
                           epilogue=finished)  # fmt: skip


@lowers("xla.batch_dot")
def _(op, a, b):
    if native.serves(op):
        return native.batch_dot(op, a, b)
    a_zero, b_zero = (int(o.type.zero) for o in op.operands)
    axes = {name: op.attributes[name] for name in ("a_axes", "b_axes")}
    return batch_dot(a, b, a_zero=a_zero, b_zero=b_zero, epilogue=epilogue(op), **axes)
