"""The rounding contracts for XLA: the arithmetic of qir/rounding, bit for bit, traced by JAX.

Nothing here needs 64-bit mode: a 32 x 31 bit product is formed from 16-bit halves, which on a CPU
takes less time than XLA's 64-bit integers for double rounding and half as long again for single.
Accumulators of 64 bits (16x8) are `Words`, two of 32 bits. The numbers of a contract become
constants of the traced function.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from ...errors import QirError
from ...rounding import Rescale, contract
from ...rounding.contracts import refuse
from ...rounding.grids import EXACT_IN_F32, in_f32
from . import words
from .words import Words

_MAGIC = np.float32(1.5 * 2**23)
"""Added to an f32 of at most 2**22 it leaves the integer, rounded half to even, in the low bits."""
_MAGIC_BITS = 0x4B400000


def apply(rescale: Rescale, acc):
    """Accumulators [..., C], i32 or `Words`, rescaled to i32, as `qir.rounding.apply` does."""
    found = contract(rescale.rounding, 1)
    if isinstance(acc, Words) and found.bits == 32:
        refuse(rescale.rounding, f"accumulators are i32, found i64; {found.wide} takes these")
    acc = acc if isinstance(acc, Words) else jnp.asarray(acc)
    return _ONE[rescale.rounding](acc, **rescale.fields())


def requantize(rescale: Rescale, acc, zero: int, lo: int, hi: int):
    """Accumulators rescaled, moved to a zero point and clamped to [lo, hi]; i32."""
    low, high = int(lo) - int(zero), int(hi) - int(zero)
    if rescale.scale is None or max(abs(low), abs(high)) > EXACT_IN_F32:
        return saturate(apply(rescale, acc), zero, lo, hi)
    # The clamp stands between product and sum, so no compiler can contract them to an FMA.
    value = jnp.asarray(acc).astype(jnp.float32) * rescale.scale
    value = jnp.clip(value, np.float32(low), np.float32(high)) + _MAGIC
    return lax.bitcast_convert_type(value, jnp.int32) - np.int32(_MAGIC_BITS - int(zero))


def sum_apply(rescale: Rescale, a, b):
    """The weighted sum of two tensors without their zero points (i32, within the limit); i32."""
    contract(rescale.rounding, 2)
    a, b = (jnp.asarray(x).astype(jnp.int32) for x in (a, b))
    return _TWO[rescale.rounding](a, b, **rescale.fields())


def saturate(values, zero: int, lo: int, hi: int):
    """Values moved to a zero point and clamped to [lo, hi]; i32."""
    low, high = int(lo) - int(zero), int(hi) - int(zero)
    bounds = np.clip([low, high], -(2**31), 2**31 - 1).astype(np.int32)
    return jnp.clip(values, bounds[0], bounds[1]) + np.int32(zero)


def quantize(x, scale, zero, lo: int, hi: int):
    """Reals (f32) as stored integers, i32, as `qir.rounding.quantize_array` for up to 16 bits."""
    zero = np.asarray(zero, np.int32)
    low, high = int(lo) - zero.astype(np.int64), int(hi) - zero.astype(np.int64)
    if not in_f32(low, high):
        raise QirError(f"XLA quantizes to at most 16 bits, found the range [{lo}, {hi}]")
    x = jnp.asarray(x).astype(jnp.float32)
    # XLA turns a division by anything broadcast into a product with the reciprocal, which has
    # other bits. A divisor chosen per element stays a division; for NaN it changes nothing.
    divisor = jnp.where(x != x, x, np.asarray(scale, np.float32))
    value = jnp.clip(x / divisor, low.astype(np.float32), high.astype(np.float32))
    value = lax.round(value, lax.RoundingMethod.AWAY_FROM_ZERO)
    return jnp.where(value != value, np.float32(0), value).astype(jnp.int32) + zero


def dequantize(q, scale, zero):
    """Stored integers as f32 reals, as `qir.rounding.dequantize_array`.

    Only this product is exact: a float addition of the caller's may contract with it to an FMA.
    """
    shifted = jnp.asarray(q).astype(jnp.int32) - jnp.asarray(zero, jnp.int32)
    return shifted.astype(jnp.float32) * jnp.asarray(scale, jnp.float32)


def _srl(x, bits):
    return lax.shift_right_logical(*jnp.broadcast_arrays(x, np.int32(bits)))


def _product_top(x, q):
    # The two upper pieces of x * q for i32 x and constants 0 <= q < 2**32, by halves of 16 bits:
    # (x * q) >> 32 == top + (middle >>> 16), and middle's low half is bits 16 to 31 of x * q.
    q = np.asarray(q, np.int64)
    q_high, q_low = (q >> 16).astype(np.int32), (q & 0xFFFF).astype(np.int32)
    x_high, x_low = x >> 16, x & np.int32(0xFFFF)
    cross = x_high * q_low + _srl(x_low * q_low, 16)
    middle = (cross & np.int32(0xFFFF)) + x_low * q_high
    return x_high * q_high + (cross >> 16), middle


def _doubling_high(x, q):
    # (x * q + 2**30) >> 31, from the product with 2 * q, so that halves of it are whole bits.
    top, middle = _product_top(x, 2 * q)
    return top + _srl(_srl(middle, 15) + np.int32(1), 1)


def _half_away_fixed(x, q, e):
    right = np.maximum(-e, 0)
    mask = ((1 << right) - 1).astype(np.int32)
    y = _doubling_high(x << np.maximum(e, 0).astype(np.int32), q)
    up = (y & mask) > (mask >> 1) - (y >> 31)
    return (y >> right.astype(np.int32)) + up.astype(jnp.int32)


def _half_up_fixed(x, q, e):
    right = np.maximum(-e, 0)
    half = ((1 << right) >> 1).astype(np.int32)
    y = _doubling_high(x << np.maximum(e, 0).astype(np.int32), q)
    return (y >> right.astype(np.int32)) + ((y & half) != 0).astype(jnp.int32)


def _single_fixed(x, q, e):
    if (e < 0).all():
        top, middle = _product_top(x, 2 * q)
        y, right = top + _srl(middle, 16), (-e).astype(np.int32)
        return (y >> right) + ((y >> (right - 1)) & 1)
    # v >> s with the bit below added, v = high : low, s = 31 - e; shifts stay within [0, 31].
    top, middle = _product_top(x, q)
    high, low = top + _srl(middle, 16), x * q.astype(np.int32)
    s = (31 - e).astype(np.int32)
    below = jnp.where(s <= 32, _srl(low, np.clip(s - 1, 0, 31)), high >> np.clip(s - 33, 0, 31))
    joined = (high << np.clip(32 - s, 0, 31)) | _srl(low, np.clip(s, 0, 31))
    return jnp.where(s < 32, joined, high >> np.clip(s - 32, 0, 31)) + (below & 1)


def _fixed(kernel):
    return lambda acc, multiplier, shift: kernel(acc, multiplier.astype(np.int64),
                                                 shift.astype(np.int64))  # fmt: skip


def _16x8(acc, multiplier, shift):
    e = shift.astype(np.int64)
    acc = acc if isinstance(acc, Words) else words.of_i32(acc)
    product = words.times(acc, multiplier)
    return words.shifted_right(words.plus(product, words.of_constant(1 << (14 - e))), 15 - e)


def _f32_half_even(acc, scale):
    value = lax.round(acc.astype(jnp.float32) * scale, lax.RoundingMethod.TO_NEAREST_EVEN)
    return value.astype(jnp.int32)  # XLA's conversion saturates


def _float64_half_away(acc, multiplier, shift):
    # f64 rounds |acc| * multiplier = p to 53 bits, half to even, before the half away from zero.
    # With d = bits(p) - 53 bits to drop that is (p + 2**(d-1) + 2**(s-1)) >> s, s = 53 - shift:
    # a tie of the first rounding that touches one of the second goes up to it, which is even.
    # |acc| itself is exact in f64, since lowerings refuse biases that take it beyond 53 bits.
    m, s = multiplier.astype(np.int64), 53 - shift.astype(np.int64)
    if isinstance(acc, Words):
        size, negative = words.magnitude(acc)
    else:
        size, negative = [lax.bitcast_convert_type(jnp.abs(acc), jnp.uint32)], acc < 0
    limbs = _product_limbs(size, m)
    bits = jnp.zeros_like(negative, jnp.int32)
    for k, limb in enumerate(limbs):
        bits = jnp.where(limb != 0, 32 * (k + 1) - lax.clz(limb).astype(jnp.int32), bits)
    dropped = jnp.maximum(bits - 53, 0)
    limbs = _add_limbs(limbs, [_bit(dropped - 1, k) for k in range(len(limbs))])
    half = [np.where((s - 1) // 32 == k, 1 << ((s - 1) % 32), 0).astype(np.uint32)
            for k in range(len(limbs))]  # fmt: skip
    value, over = _shift_limbs(_add_limbs(limbs, half), s)
    largest = jnp.where(negative, np.uint32(2**31), np.uint32(2**31 - 1))
    value = jnp.where(over, largest, jnp.minimum(value, largest))
    value = lax.bitcast_convert_type(value, jnp.int32)
    return jnp.where(negative, -value, value)


def _bit(at, k: int):
    # 2**at in limb k of a number, nothing for at < 0.
    inside = (at >= 32 * k) & (at < 32 * (k + 1))
    bit = np.uint32(1) << jnp.clip(at - 32 * k, 0, 31).astype(jnp.uint32)
    return jnp.where(inside, bit, np.uint32(0))


def _product_limbs(a, m):
    # Limbs of a number, the lowest first, times constants m < 2**53: two limbs more.
    parts = (m & 0xFFFFFFFF).astype(np.uint32), (m >> 32).astype(np.uint32)
    nothing = jnp.zeros(jnp.broadcast_shapes(a[0].shape, m.shape), jnp.uint32)
    total = [nothing] * (len(a) + 2)
    for i, limb in enumerate(a):
        for j, part in enumerate(parts):
            row = [nothing] * len(total)
            row[i + j], row[i + j + 1] = _wide(limb, part)
            total = _add_limbs(total, row)
    return total


def _wide(a, c):
    half, mask = np.uint32(16), np.uint32(0xFFFF)
    a_high, a_low, c_high, c_low = a >> half, a & mask, c >> half, c & mask
    cross = a_high * c_low + ((a_low * c_low) >> half)
    middle = (cross & mask) + a_low * c_high
    return a * c, a_high * c_high + (cross >> half) + (middle >> half)


def _add_limbs(x, y):
    out, carry = [], jnp.zeros_like(x[0])
    for a, b in zip(x, y, strict=True):
        part = a + carry
        total = part + b
        carry = ((part < carry) | (total < b)).astype(jnp.uint32)
        out.append(total)
    return out


def _shift_limbs(x, s):
    # (limbs >> s) & 0xFFFFFFFF and whether more than 32 bits are left, for constants 0 < s < 96.
    by, bits = s // 32, (s % 32).astype(np.uint32)
    limbs = [*x, jnp.zeros_like(x[0])]
    value, over = jnp.zeros_like(x[0]), jnp.zeros(x[0].shape, bool)
    for first in range(3):
        low, above = limbs[first], limbs[first + 1]
        joined = jnp.where(bits == 0, low, (low >> bits) | (above << ((32 - bits) & 31)))
        rest = above >> bits != 0
        for limb in limbs[first + 2 :]:
            rest = rest | (limb != 0)
        value, over = jnp.where(by == first, joined, value), jnp.where(by == first, rest, over)
    return value, over


def _tflite_sum(kernel, left=20):
    def rescaled(x, q, e):
        return kernel(-x if q < 0 else x, abs(q), e)

    def run(a, b, multiplier, shift):
        (q1, q2, q3), (e1, e2, e3) = multiplier.astype(np.int64), shift.astype(np.int64)
        total = rescaled(a << left, q1, e1) + rescaled(b << left, q2, e2)
        return rescaled(total, q3, e3)

    return run


def _weighted(a, b, multiplier, shift):
    half = np.int32(1 << (int(shift) - 1))
    return (a * multiplier[0] + b * multiplier[1] + half) >> np.int32(shift)


_ONE = {
    "tflite_reference": _fixed(_half_away_fixed),
    "tflite_builtin": _fixed(_half_up_fixed),
    "single": _fixed(_single_fixed),
    "f32_half_even": _f32_half_even,
    "float64_half_away": _float64_half_away,
    "tflite_16x8": _16x8,
}
_TWO = {
    "tflite_add": _tflite_sum(_half_away_fixed),
    "tflite_add_16": _tflite_sum(_half_away_fixed, left=15),
    "single_add": _tflite_sum(_single_fixed),
    "fixed15": _weighted,
    "xnnpack_add": _weighted,
}
