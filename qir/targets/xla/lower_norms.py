"""int8 norms on XLA, operation by operation as dialects/int8/normalize.py has them."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from ...dialects.int8.normalize import FRACTION, root_factor
from .lower_int8 import centred, finished
from .table import lowers


@lowers("int8.layer_norm")
def _(op, x, gamma, beta):
    q = centred(op, 0, x)
    length = np.int32(q.shape[-1])
    total = jnp.sum(q, -1, dtype=jnp.int32, keepdims=True)
    whole = (2 * total + length) // (2 * length)
    rest = total - whole * length
    q = q - whole
    square, e = _square(q, op.attributes["epsilon"])
    spread = square - _shifted_quotient(rest * rest, length, 2 * e)
    deviation = (q << e) - ((rest << (e + 1)) + length) // (2 * length)
    return finished(op, _normalized(deviation, spread) * gamma + beta)


@lowers("int8.rms_norm")
def _(op, x, gamma):
    q = centred(op, 0, x)
    square, e = _square(q, op.attributes["epsilon"])
    return finished(op, _normalized(q << e, square) * gamma)


def _square(q, epsilon: int):
    square = jnp.sum(q * q, -1, dtype=jnp.int32, keepdims=True) + np.int32(epsilon >> 16)
    e = (lax.clz(jnp.maximum(square, 1)) - 2) >> 1
    return (square << (2 * e)) + _shifted_fraction(np.int32(epsilon & 0xFFFF), 2 * e), e


def _shifted_fraction(fraction, shift):
    return (fraction << jnp.maximum(shift - 16, 0)) >> jnp.maximum(16 - shift, 0)


def _shifted_quotient(dividend, divisor, shift):
    whole = dividend // divisor
    fraction = ((dividend - whole * divisor) << 16) // divisor
    return (whole << shift) + _shifted_fraction(fraction, shift)


def _normalized(deviation, spread):
    mantissa, exponent = root_factor(deviation.shape[-1])
    root = _root(jnp.maximum(spread, 1))
    inverse = (np.int32(2**29) + (root >> 1)) // root
    inverse = (inverse * np.int32(mantissa) + np.int32(2**14)) >> 15
    shift = 29 - FRACTION - exponent
    scaled = (deviation * inverse + np.int32(1 << (shift - 1))) >> shift
    return jnp.clip(scaled, -(2**15), 2**15 - 1)


def _root(value):
    # The integer root of 0 < value < 2**31: the f32 root is at most one off.
    root = lax.sqrt(value.astype(jnp.float32)).astype(jnp.uint32)
    value = value.astype(jnp.uint32)
    root = root - (root * root > value).astype(jnp.uint32)
    next_one = root + np.uint32(1)
    return (root + (next_one * next_one <= value).astype(jnp.uint32)).astype(jnp.int32)
