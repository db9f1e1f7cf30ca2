"""The rounding contracts for XLA: the arithmetic of qir/rounding, bit for bit, traced by JAX.

Nothing here needs 64-bit mode: a 32 x 31 bit product is formed from 16-bit halves, which on a CPU
takes less time than XLA's 64-bit integers for double rounding and half as long again for single.
Only accumulators that are i64 themselves (16x8) are computed in i64, where that mode is on.
The numbers of a contract become constants of the traced function.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from ...errors import QirError
from ...rounding import Rescale, contract
from ...rounding.grids import EXACT_IN_F32, in_f32

_MAGIC = np.float32(1.5 * 2**23)
"""Added to an f32 of at most 2**22 it leaves the integer, rounded half to even, in the low bits."""
_MAGIC_BITS = 0x4B400000


def apply(rescale: Rescale, acc):
    """Accumulators [..., C] rescaled to i32, as `qir.rounding.apply` does."""
    contract(rescale.rounding, 1)
    return _ONE[rescale.rounding](jnp.asarray(acc), **rescale.fields())


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
    """The weighted sum of two 8-bit tensors without their zero points (i32 in [-255, 255]); i32."""
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
    def run(acc, multiplier, shift):
        q, e = multiplier.astype(np.int64), shift.astype(np.int64)
        if acc.dtype == jnp.int32:
            return kernel(acc, q, e)
        if (e > 14).any():
            raise QirError(f"64-bit accumulators take factors below 2**14, found shift {e.max()}")
        q = np.where(q < 0x7FFF0000, (q + 2**15) >> 16, 0x7FFF)
        return ((acc * q + (np.int64(1) << (14 - e))) >> (15 - e)).astype(jnp.int32)

    return run


def _f32_half_even(acc, scale):
    value = lax.round(acc.astype(jnp.float32) * scale, lax.RoundingMethod.TO_NEAREST_EVEN)
    return value.astype(jnp.int32)  # XLA's conversion saturates


def _float64_half_away(acc, multiplier, shift):
    # f64 rounds |acc| * multiplier = p to 53 bits, half to even, before the half away from zero.
    # With d = bits(p) - 53 bits to drop that is (p + 2**(d-1) + 2**(s-1)) >> s, s = 53 - shift:
    # a tie of the first rounding that touches one of the second goes up to it, which is even.
    if acc.dtype != jnp.int32:
        raise QirError(f"rounding float64_half_away: accumulators are i32, found {acc.dtype}")
    m, s = multiplier.astype(np.int64), 53 - shift.astype(np.int64)
    size = lax.bitcast_convert_type(jnp.abs(acc), jnp.uint32)
    limbs = _product_limbs(size, m)
    bits = jnp.where(limbs[2] != 0, 96 - lax.clz(limbs[2]).astype(jnp.int32),
                     64 - lax.clz(limbs[1]).astype(jnp.int32))  # fmt: skip
    dropped = jnp.maximum(bits - 53, 0).astype(jnp.uint32)
    nothing = np.uint32(0)
    limbs = _add_limbs(limbs, [(np.uint32(1) << dropped) >> np.uint32(1), nothing, nothing])
    half = [np.where((s - 1) // 32 == k, 1 << ((s - 1) % 32), 0).astype(np.uint32)
            for k in range(3)]  # fmt: skip
    value, over = _shift_limbs(_add_limbs(limbs, half), s)
    largest = jnp.where(acc < 0, np.uint32(2**31), np.uint32(2**31 - 1))
    value = jnp.where(over, largest, jnp.minimum(value, largest))
    value = lax.bitcast_convert_type(value, jnp.int32)
    return jnp.where(acc < 0, -value, value)


def _product_limbs(a, m):
    # u32 a times constants m < 2**53: three u32 limbs, lowest first.
    m_low, m_high = (m & 0xFFFFFFFF).astype(np.uint32), (m >> 32).astype(np.uint32)
    (low0, high0), (low1, high1) = _wide(a, m_low), _wide(a, m_high)
    middle = high0 + low1
    return [low0, middle, high1 + (middle < high0).astype(jnp.uint32)]


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
    words, bits = s // 32, (s % 32).astype(np.uint32)
    zero = jnp.zeros_like(x[0])
    limbs = [*x, zero]

    def picked(first):
        low, above = limbs[first], limbs[first + 1]
        joined = jnp.where(bits == 0, low, (low >> bits) | (above << ((32 - bits) & 31)))
        rest = sum(((limb != 0) for limb in limbs[first + 2 :]), above >> bits != 0)
        return joined, rest

    values = [picked(k) for k in range(3)]
    value = jnp.where(words == 0, values[0][0], jnp.where(words == 1, values[1][0], values[2][0]))
    over = jnp.where(words == 0, values[0][1], jnp.where(words == 1, values[1][1], values[2][1]))
    return value, over


def _tflite_sum(kernel):
    def rescaled(x, q, e):
        return kernel(-x if q < 0 else x, abs(q), e)

    def run(a, b, multiplier, shift):
        (q1, q2, q3), (e1, e2, e3) = multiplier.astype(np.int64), shift.astype(np.int64)
        total = rescaled(a << 20, q1, e1) + rescaled(b << 20, q2, e2)
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
}
_TWO = {
    "tflite_add": _tflite_sum(_half_away_fixed),
    "single_add": _tflite_sum(_single_fixed),
    "fixed15": _weighted,
    "xnnpack_add": _weighted,
}
