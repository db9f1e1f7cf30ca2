"""int8 ops on XLA, exact on every shape; those the xla dialect has kernels for in a general form.

Products of 8-bit operands are summed as they are stored, int8 by int8 into int32, and the zero
points taken off the sums: sum((x - zero) * w) = sum(x * w) - zero * sum(w). A zero point of a
weight is taken off first. All of it is arithmetic modulo 2**32, as the numpy meanings are.
"""

import math
from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import lax

from qir.dialects.int8.dialect import sum_type

from ... import shapes
from ...errors import QirError
from ...ir import place_of
from ...rounding import contract
from ..native import pools
from ..native import rows as native
from . import rescale, words
from .kernels.norm import layer_norm, rms_norm
from .kernels.pool import average_pool
from .kernels.reduce import sum_axes
from .kernels.softmax import softmax
from .kernels.table import lookup, lookup_pair
from .kernels.taps import kept_apart
from .lower_nn import (
    LAYOUT,
    matmul_numbers,
    pool_geometry,
    transposed_pads,
    window_counts,
    window_reduced,
)
from .table import lowers
from .wide_sums import biased_words, require_few, wide_matmul, wide_sums


def bounds(op) -> tuple[int, int]:
    """The stored range of an op's result."""
    clamp = op.attributes.get("clamp")
    return clamp if clamp is not None else (op.type.lo, op.type.hi)


def finished(op, acc):
    """Accumulators to stored values, as the op's attributes and result type say; i32."""
    return rescale.requantize(op.attributes["rescale"], acc, int(op.type.zero), *bounds(op))


def centred(op, index: int, array):
    """An operand's stored integers minus its zero point, i32."""
    return array.astype(jnp.int32) - op.operands[index].type.zero.astype(np.int32)


def factor(op, index: int, array):
    """An operand as a factor of sums of products: integers and the zero point they still hold.

    int8 where the storage has 8 bits, as XLA multiplies fastest; else i32 without a zero point.
    """
    type = op.operands[index].type
    zero = int(type.zero)
    if type.dtype.numpy == np.uint8 and 0 <= zero <= 255:
        signed = lax.bitcast_convert_type(array ^ np.uint8(128), jnp.int8)
        return signed, np.int32(zero - 128)
    if type.dtype.numpy == np.int8 and -128 <= zero <= 127:
        return jnp.asarray(array), np.int32(zero)
    return centred(op, index, array), np.int32(0)


def weight(op, w):
    """A weight as a factor: as it is stored, or in i32 without its zero point where it has one."""
    return centred(op, 1, w) if op.operands[1].type.zero.any() else w


def alike(a, b):
    """Two factors in one dtype, the wider one."""
    return (a, b) if a.dtype == b.dtype else (a.astype(jnp.int32), b.astype(jnp.int32))


def summed(array, axes):
    """Sums in i32; made here and now for a constant."""
    module = np if isinstance(array, np.ndarray) else jnp
    return module.sum(array, axes, dtype=np.int32)


def biased(acc, b, correction=None):
    """Accumulators plus a bias, minus a correction."""
    if correction is not None:
        b = -correction if b is None else b - correction
    return acc if b is None else acc + b


def sums_of_products(op, x, w, b, product, taps: tuple[int, ...]):
    """What an op sums up, with its bias: i32, or `Words` where its sums have 64 bits.

    product: from integers x, a weight of their storage and what x is padded with to sums i32. taps:
    the axes of the weight that a sum goes over.
    """
    if sum_type(op) is np.int64:
        return wide_sums(op, x, w, b, product, taps)
    (x, zero), w = factor(op, 0, x), weight(op, w)
    correction = zero * summed(w, taps).reshape(-1) if zero else None
    return biased(product(*alike(x, w), zero), b, correction)


def _padded(x, zero, pads):
    sides = ((0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0))
    return lax.pad(x, np.asarray(zero).astype(x.dtype), sides)


def _pads(op, window):
    a = op.attributes
    x = op.operands[0].type
    return shapes.pads_of(x, window, a["strides"], a["padding"], a["dilation"])


@lowers("int8.conv2d")
def _(op, x, w, b=None):
    a, pads = op.attributes, _pads(op, w.shape[:2])

    def product(x, w, zero):
        return lax.conv_general_dilated(
            kept_apart(_padded(x, zero, pads)), w, a["strides"], "VALID",
            rhs_dilation=a["dilation"], dimension_numbers=LAYOUT, feature_group_count=a["groups"],
            preferred_element_type=jnp.int32,
        )  # fmt: skip

    return finished(op, sums_of_products(op, x, w, b, product, (0, 1, 2)))


@lowers("int8.depthwise_conv2d")
def _(op, x, w, b=None):
    # XLA's grouped int8 convolution does 1 GOP/s; products of slices fuse into one loop.
    pads = _pads(op, w.shape[:2])

    def product(x, w, zero):
        x = _padded(x.astype(jnp.int32), zero, pads)
        acc = jnp.zeros((*op.shape[:3], x.shape[3], w.shape[3]), jnp.int32)
        for tap in np.ndindex(*w.shape[:2]):
            part = _window_elements(x, tap, op.attributes, op.shape[1:3])
            acc = acc + part[..., None] * w[tap].astype(jnp.int32)
        return acc.reshape(op.shape)

    return finished(op, sums_of_products(op, x, w, b, product, (0, 1)))


def _window_elements(x, tap, attributes, out):
    # Element `tap` of every window, [N,OH,OW,C].
    strides = attributes["strides"]
    start = tuple(k * d for k, d in zip(tap, attributes["dilation"], strict=True))
    limit = tuple(at + (n - 1) * s + 1 for at, n, s in zip(start, out, strides, strict=True))
    return lax.slice(x, (0, *start, 0), (x.shape[0], *limit, x.shape[3]), (1, *strides, 1))


@lowers("int8.transposed_conv2d")
def _(op, x, w, b=None):
    # The zeros that dilation puts between elements are no zero points: those come off first.
    w = lax.rev(jnp.asarray(weight(op, w)), (0, 1)).astype(jnp.int32)

    def product(x):
        return lax.conv_general_dilated(
            x, w, (1, 1), transposed_pads(op), lhs_dilation=op.attributes["strides"],
            dimension_numbers=LAYOUT, preferred_element_type=jnp.int32,
        )  # fmt: skip

    x = centred(op, 0, x)
    if sum_type(op) is np.int32:
        return finished(op, biased(product(x), b))
    require_few(op, 4 * math.prod(w.shape[:3]))  # parts of 9 bits and of 8 without a sign
    high, low = (words.of_i32(product(part)) for part in (x >> 8, x & 255))
    return finished(op, biased_words(op, words.plus(words.shifted_left(high, 8), low), b))


@lowers("int8.dense")
def _(op, x, w, b=None):
    def product(x, w, zero):
        rows = jnp.reshape(x, (-1, x.shape[-1]))
        acc = lax.dot_general(rows, w, (((1,), (0,)), ((), ())), preferred_element_type=jnp.int32)
        return acc.reshape(op.shape)

    return finished(op, sums_of_products(op, x, w, b, product, (0,)))


@lowers("int8.matmul")
def _(op, a, b):
    if sum_type(op) is np.int64:
        return finished(op, wide_matmul(op, a, b))
    a, a_zero = factor(op, 0, a)
    b, b_zero = factor(op, 1, b)
    a, b = alike(a, b)
    numbers = matmul_numbers(op)
    ((left,), (right,)), _ = numbers
    acc = lax.dot_general(a, b, numbers, preferred_element_type=jnp.int32)
    if a_zero:
        acc = acc - a_zero * summed(b, right)[..., None, :]
    if b_zero:
        acc = acc - b_zero * summed(a, left)[..., :, None]
    if a_zero and b_zero:
        acc = acc + np.int32(int(a_zero) * int(b_zero) * a.shape[left])
    return finished(op, acc)


@lowers("int8.add", "int8.sub")
def _(op, a, b):
    limit = contract(op.attributes["rescale"].rounding).limit
    for operand in op.operands:
        zero = int(operand.type.zero)
        if max(operand.dtype.hi - zero, zero - operand.dtype.lo) > limit:
            raise QirError(f"{op.kind}: {op.attributes['rescale'].rounding} takes what is at most "
                           f"{limit} from its zero point, found {operand.type}",
                           at=place_of(op))  # fmt: skip
    total = rescale.sum_apply(op.attributes["rescale"], centred(op, 0, a), centred(op, 1, b))
    total = rescale.saturate(total, int(op.type.zero), *bounds(op))
    return _settled(total.astype(op.dtype.numpy), a, b)


def _settled(y, *operands):
    """y itself, in a form that XLA computes once.

    It would fuse a chain of residual adds into every reader of each: 56 adds where ResNet-50 has
    16, and 70 MB more to read (`optimization_barrier` does not help). max(y, min(y, v)) is y, and
    ends that where v is the shortcut; which operand is the shortcut shows nowhere, so both do it.
    Once more with v reversed, so that the sum is not written over v: XLA's loops are vectorized
    only between buffers that do not overlap. LLVM sees through both.
    """
    for v in operands:
        if v.ndim and v.shape == y.shape and v.dtype == y.dtype:
            y = jnp.maximum(y, jnp.minimum(y, v))
            y = jnp.maximum(y, jnp.minimum(y, lax.rev(v, (v.ndim - 1,))))
    return y


@lowers("int8.mul")
def _(op, a, b):
    return finished(op, centred(op, 0, a) * centred(op, 1, b))


@lowers("int8.div")
def _(op, a, b):
    a, b = centred(op, 0, a), centred(op, 1, b)
    divisor = jnp.where(b == 0, 1, 2 * b)
    dividend = (2 * a) << op.attributes["bits"]
    size = jnp.abs(divisor)
    quotient = jnp.floor_divide(jnp.abs(dividend) + (size >> 1), size)
    return finished(op, jnp.sign(dividend) * jnp.sign(divisor) * quotient)


@lowers("int8.table")
def _(op, x, values):
    if native.serves(op):
        return native.table(op, x, values)
    return lookup(x, values, lowest=op.operands[0].type.dtype.lo)


@lowers("int8.pair_table")
def _(op, a, b, values):
    lowest = tuple(operand.dtype.lo for operand in op.operands[:2])
    return lookup_pair(a, b, values, lowest=lowest)


@lowers("int8.reinterpret")
def _(op, x):
    return x


@lowers("int8.flip_sign")
def _(op, x):
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    flipped = lax.bitcast_convert_type(x, unsigned) ^ unsigned.type(1 << (op.dtype.bits - 1))
    return lax.bitcast_convert_type(flipped, op.dtype.numpy)


@lowers("int8.requantize")
def _(op, x):
    return finished(op, centred(op, 0, x))


@lowers("int8.mean", "int8.sum")
def _(op, x):
    axes, type = op.attributes["axes"], op.operands[0].type
    x, zero = factor(op, 0, x)
    if x.dtype == jnp.int8:
        count = math.prod(type.shape[axis] for axis in axes)
        total = sum_axes(x, axes) - np.int32(count) * zero
    else:
        total = jnp.sum(x, axes, dtype=jnp.int32)
    return finished(op, total).reshape(op.shape)


@lowers("int8.threshold_sum")
def _(op, x, thresholds):
    axes, type = op.attributes["axes"], op.operands[0].type
    signed, zero = factor(op, 0, x)
    if signed.dtype == jnp.int8:  # what flipping the sign took off each is put back
        lift = math.prod(type.shape[axis] for axis in axes) * (int(type.zero) - int(zero))
        total = sum_axes(signed, axes) + np.int32(lift)
    else:
        total = jnp.sum(x, axes, dtype=jnp.int32)
    reached = jnp.sum(total[..., None] >= thresholds, -1, dtype=jnp.int32)
    return (op.type.lo + reached).reshape(op.shape).astype(op.dtype.numpy)


@lowers("int8.avg_pool")
def _(op, x):
    if pools.serves(op):
        return pools.pool(op, x)
    if op.operands[0].dtype.name in ("i8", "u8"):
        return jnp.clip(average_pool(x, pool_geometry(op)), *bounds(op))
    total = window_reduced(op, x.astype(jnp.int32), np.int32(0), lax.add)
    count = np.maximum(window_counts(op), 1).astype(np.int32)
    mean = lax.div(*jnp.broadcast_arrays(jnp.abs(total) + count // 2, count))
    return jnp.clip(jnp.sign(total) * mean, *bounds(op))


@lowers("int8.softmax")
def _(op, x, exps, mask=None):
    if native.serves(op):
        return native.softmax(op, x, exps, mask)
    return softmax(x, exps, mask, axis=op.attributes["axis"], to=op.dtype.numpy)


@lowers("int8.layer_norm")
def _(op, x, gamma, beta):
    if native.serves(op):
        return native.norm(op, x, gamma, beta)
    epsilon, zero = op.attributes["epsilon"], int(op.operands[0].type.zero)
    y = layer_norm(x, gamma, beta, zero=zero, epsilon=epsilon, epilogue=partial(finished, op))
    return _settled(y.astype(op.dtype.numpy), x)


@lowers("int8.rms_norm")
def _(op, x, gamma):
    if native.serves(op):
        return native.norm(op, x, gamma)
    epsilon, zero = op.attributes["epsilon"], int(op.operands[0].type.zero)
    y = rms_norm(x, gamma, zero=zero, epsilon=epsilon, epilogue=partial(finished, op))
    return _settled(y.astype(op.dtype.numpy), x)
