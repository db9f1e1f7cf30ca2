"""64-bit integers as two words of 32 bits, so that no program needs XLA's 64-bit types.

All arithmetic is modulo 2**64 in two's complement, as that of C is. What constants take part is
numpy's; the words are traced by JAX, or numpy's too where they are known.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@dataclass(frozen=True)
class Words:
    """A tensor of 64-bit integers: the upper words i32, which hold the sign, and the lower u32."""

    high: jax.Array
    low: jax.Array


def of_i32(x) -> Words:
    """Integers of 32 bits."""
    x = jnp.asarray(x)
    return Words(x >> 31, lax.bitcast_convert_type(x, jnp.uint32))


def of_i64(x) -> Words:
    """Integers of 64 bits that are traced, where XLA's 64-bit types are on."""
    return Words((x >> 32).astype(jnp.int32), _unsigned(x.astype(jnp.int32)))


def of_constant(values: np.ndarray) -> Words:
    """Integers that are known, as numpy has them."""
    values = np.asarray(values, np.int64)
    return Words((values >> 32).astype(np.int32), (values & 0xFFFFFFFF).astype(np.uint32))


def plus(a: Words, b: Words) -> Words:
    """a + b, broadcast to each other."""
    low = a.low + b.low
    return Words(a.high + b.high + (low < b.low).astype(np.int32), low)


def negated(a: Words) -> Words:
    """-a."""
    low = np.uint32(0) - a.low
    return Words(-a.high - (a.low != 0).astype(np.int32), low)


def times(a: Words, factor) -> Words:
    """a times constants in [0, 2**16)."""
    c = np.asarray(factor).astype(np.uint32)
    first, second = (a.low & np.uint32(0xFFFF)) * c, (a.low >> np.uint32(16)) * c
    low = first + (second << np.uint32(16))
    carried = (second >> np.uint32(16)) + (low < first).astype(np.uint32)
    return Words(a.high * c.astype(np.int32) + _signed(carried), low)


def scaled(a: Words, factor: int) -> Words:
    """a times one number in (-2**16, 2**16)."""
    return negated(times(a, -factor)) if factor < 0 else times(a, factor)


def shifted_left(a: Words, bits: int) -> Words:
    """a << bits, 0 <= bits < 32."""
    if not bits:
        return a
    over = _signed(a.low >> np.uint32(32 - bits))
    return Words((a.high << np.int32(bits)) | over, a.low << np.uint32(bits))


def shifted_right(a: Words, bits: np.ndarray):
    """The lower 32 bits of a >> bits, i32; bits: constants in [0, 63]."""
    bits = np.asarray(bits, np.int64)
    near = np.clip(bits, 1, 31).astype(np.uint32)
    low = (a.low >> near) | (_unsigned(a.high) << (np.uint32(32) - near))
    low = jnp.where(bits == 0, a.low, low)
    far = a.high >> np.clip(bits - 32, 0, 31).astype(np.int32)
    return jnp.where(bits < 32, _signed(low), far)


def magnitude(a: Words) -> list:
    """|a| as limbs u32, the lowest first, and whether a is negative."""
    negative = a.high < 0
    minus = negated(a)
    low = jnp.where(negative, minus.low, a.low)
    return [low, _unsigned(jnp.where(negative, minus.high, a.high))], negative


def _signed(x):
    return lax.bitcast_convert_type(jnp.asarray(x), jnp.int32)


def _unsigned(x):
    return lax.bitcast_convert_type(jnp.asarray(x), jnp.uint32)
