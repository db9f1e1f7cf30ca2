"""Softmax as TensorFlow Lite's kernels compute it (`dialects/int8/tflite_softmax.py`)."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from .table import entries
from .taps import Array

ACCUMULATED = 12
ONE = np.int32(2**31 - 1)
FORTY_EIGHT_17THS, MINUS_THIRTY_TWO_17THS = np.int32(1515870810), np.int32(-1010580540)
UNROLLED = 64
"""Sums of so many terms are written out; longer ones are a loop."""


def softmax_gemmlowp(x: Array, exps: Array, *, lo: int, hi: int) -> Array:
    """exps: i32[256] with 31 fractional bits; integers [lo, hi], i32."""
    x = x.astype(jnp.int32)
    e = entries(exps, jnp.max(x, -1, keepdims=True) - x)
    half = np.int32(1 << (ACCUMULATED - 1))
    # What rounds up is added after the shift: 2**31 - 1 has no room for it.
    rounded = (e >> ACCUMULATED) + (((e & (2 * half - 1)) + half) >> ACCUMULATED)
    total = jnp.sum(rounded, -1, dtype=jnp.int32, keepdims=True)
    leading = lax.clz(total)
    inverse = _reciprocal((total << leading) ^ np.int32(-(2**31)))
    product = doubling_high(*jnp.broadcast_arrays(inverse, e))
    shift = ACCUMULATED - leading + 31 - 8
    q = ((product >> (shift - 1)) + 1) >> 1
    return jnp.clip(q + np.int32(lo), lo, hi)


def _reciprocal(a):
    half = (a >> 1) + np.int32(2**30)
    x = FORTY_EIGHT_17THS + doubling_high(half, jnp.full_like(half, MINUS_THIRTY_TWO_17THS))
    for _ in range(3):
        step = doubling_high(x, np.int32(2**29) - doubling_high(half, x))
        step = jnp.clip(step, np.int32(-(2**29)), np.int32(2**29 - 1)) << 2
        x = x + step
    return jnp.where(x >= np.int32(2**30), ONE, x << 1)


def doubling_high(a: Array, b: Array) -> Array:
    """`(a * b + 2**30) >> 31` of two i32 in i32, by halves of 16 bits."""
    a_high, a_low = a >> 16, a & np.int32(0xFFFF)
    b_high, b_low = b >> 16, b & np.int32(0xFFFF)
    low = lax.shift_right_logical(a_low * b_low, jnp.full_like(a, 16))
    cross = a_high * b_low + low
    middle = (cross & np.int32(0xFFFF)) + a_low * b_high
    high = a_high * b_high + (cross >> 16) + (middle >> 16)
    below = (middle >> 14) & np.int32(3)
    return 2 * high + ((below + 1) >> 1)


def softmax_f32(x: Array, exps: Array, *, lo: int, hi: int) -> Array:
    """exps: f32[256]; integers [lo, hi], i32."""
    x = x.astype(jnp.int32)
    e = jnp.take(exps, jnp.max(x, -1, keepdims=True) - x, axis=0)
    total = in_order(jnp.moveaxis(e, -1, 0))[..., None]
    inverse = np.float32(1) / (total * np.float32(1 / 256))
    value = jnp.clip(e * inverse, np.float32(0), np.float32(512))
    q = lax.round(value, lax.RoundingMethod.AWAY_FROM_ZERO).astype(jnp.int32)
    return jnp.clip(q + np.int32(lo), lo, hi)


def in_order(terms):
    """The sum over the first axis, one term after the other."""
    if len(terms) > UNROLLED:
        add = lambda total, term: (total + term, None)  # noqa: E731
        return lax.scan(add, jnp.zeros_like(terms[0]), terms)[0]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def softmax_interpolated(x: Array, exps: Array, reciprocals: Array) -> Array:
    """exps, reciprocals: i32[65536] with 15 fractional bits; integers [0, 2**15 - 1], i32."""
    x = x.astype(jnp.int32)
    e = entries(exps, jnp.max(x, -1, keepdims=True) - x)
    total = jnp.sum(e, -1, dtype=jnp.int32, keepdims=True)
    headroom = lax.clz(total) - 1
    rest = ((((total << headroom) >> 13) + 1) >> 1) - np.int32(2**16)
    inverse = entries(reciprocals, jnp.clip(rest, 0, 2**16 - 1))
    shift = 30 - headroom
    return jnp.clip((e * inverse + (np.int32(1) << (shift - 1))) >> shift, 0, 2**15 - 1)
