"""Layer norm and RMS norm in 32-bit integers, as `int8.layer_norm` and `int8.rms_norm` mean them.

Only two sums see every element twice; mean, variance and root are numbers of a row.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from qir.dialects.int8.normalize import FRACTION, root_factor

from .reduce import sum_last, sum_wide
from .taps import Array, Epilogue, accumulators


def layer_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    zero: int,
    epsilon: int,
    epilogue: Epilogue = accumulators,
) -> Array:
    """gamma * z + beta over the last axis of `x[...,K]`, z normalized in 10 fractional bits.

    gamma, beta: i32[K]. zero: of x. epsilon: in units of scale^2 / K / 2^16.
    """
    length = x.shape[-1]
    stored, squares = _sums(x)
    total = stored - length * zero
    whole = _quotient(2 * total + length, 2 * length)
    rest = total - whole * length
    square, e = _raised(_moved(stored, squares, length, zero + whole), epsilon)
    spread = square - _shifted_quotient(rest * rest, length, 2 * e)
    offset = _quotient((rest << (e + 1)) + length, 2 * length)
    deviation = ((x.astype(jnp.int32) - (zero + whole)) << e) - offset
    return epilogue(_normalized(deviation, spread) * gamma + beta)


def rms_norm(
    x: Array, gamma: Array, *, zero: int, epsilon: int, epilogue: Epilogue = accumulators
) -> Array:
    """gamma * z over the last axis of `x[...,K]`; as `layer_norm`, without the mean."""
    stored, squares = _sums(x)
    square, e = _raised(_moved(stored, squares, x.shape[-1], zero), epsilon)
    deviation = (x.astype(jnp.int32) - zero) << e
    return epilogue(_normalized(deviation, square) * gamma)


def _sums(x: Array) -> tuple[Array, Array]:
    """The sum of each row of stored values and that of their squares, i32[...,1]."""
    wide = x.astype(jnp.int32)
    return sum_last(x)[..., None], sum_wide(wide * wide)


def _moved(total: Array, squares: Array, length: int, by) -> Array:
    """The sum of (x - by)^2 from the sums of x and x^2; exact modulo 2^32, where it fits."""
    return squares - 2 * by * total + length * by * by


def _quotient(dividend: Array, divisor: int) -> Array:
    """Floor division by a positive constant."""
    return dividend // jnp.int32(divisor)


def _raised(square: Array, epsilon: int) -> tuple[Array, Array]:
    """The sum of squares plus epsilon times 4^e, and the e for which it lies in [2^28, 2^30)."""
    square = square + np.int32(epsilon >> 16)
    e = (lax.clz(jnp.maximum(square, 1)) - 2) >> 1
    return (square << (2 * e)) + _shifted_fraction(np.int32(epsilon & 0xFFFF), 2 * e), e


def _shifted_fraction(fraction, shift: Array) -> Array:
    """16 fractional bits shifted left."""
    return (fraction << jnp.maximum(shift - 16, 0)) >> jnp.maximum(16 - shift, 0)


def _shifted_quotient(dividend: Array, divisor: int, shift: Array) -> Array:
    """`(dividend / divisor) << shift` to 16 fractional bits of the quotient."""
    whole = _quotient(dividend, divisor)
    fraction = _quotient((dividend - whole * divisor) << 16, divisor)
    return (whole << shift) + _shifted_fraction(fraction, shift)


def _normalized(deviation: Array, spread: Array) -> Array:
    """deviation / sqrt(spread / K) in 10 fractional bits, saturating at 16 bits."""
    mantissa, exponent = root_factor(deviation.shape[-1])
    root = _root(jnp.maximum(spread, 1))
    inverse = lax.div(2**29 + (root >> 1), root)
    inverse = (inverse * np.int32(mantissa) + 2**14) >> 15
    shift = 29 - FRACTION - exponent
    scaled = (deviation * inverse + np.int32(1 << (shift - 1))) >> shift
    return jnp.clip(scaled, -(2**15), 2**15 - 1)


def _root(square: Array) -> Array:
    """The root of an integer below 2^30, rounded down.

    A float root is at most 1 off after rounding down, however it is rounded itself; multiplying
    back tells which.
    """
    root = jnp.sqrt(square.astype(jnp.float32)).astype(jnp.int32)
    root = root - (root * root > square).astype(jnp.int32)
    return root + ((root + 1) * (root + 1) <= square).astype(jnp.int32)
