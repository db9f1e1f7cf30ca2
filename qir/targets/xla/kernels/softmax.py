"""Softmax of stored integers in 32 bits, as `int8.softmax` means it."""

import jax.numpy as jnp
from jax import lax

from .table import entries
from .taps import Array

ONE = 2**30


def softmax(x: Array, exps: Array, mask: Array | None = None, *, axis: int = -1,
            to=jnp.int8) -> Array:  # fmt: skip
    """Probabilities along `axis` over the elements of a mask.

    to: i8 or u8 for 256ths above the lowest of it, i16 for 32768ths.

    bits: 8 or 16, of the result. exps: i32, entry d what a value d steps below the largest weighs;
    entry 0 times the length of the axis is at most 2^30. A table beats a polynomial and a product
    of two 16-entry tables, and a reciprocal for each row beats a division for each element by 3 to
    1.
    """
    if mask is None:
        below = jnp.max(x, axis, keepdims=True).astype(jnp.int32) - x.astype(jnp.int32)
        e = entries(exps, below)
    else:
        wide = jnp.where(mask, x.astype(jnp.int32), -2 * len(exps))
        below = jnp.max(wide, axis, keepdims=True) - wide
        last = len(exps) - 1
        e = jnp.where(below > last, 0, entries(exps, jnp.minimum(below, last)))
    total = jnp.sum(e, axis, dtype=jnp.int32, keepdims=True)
    reciprocal = lax.div(ONE + (total >> 1), total)
    if to == jnp.int16:
        return jnp.minimum((e * reciprocal + 2**14) >> 15, 2**15 - 1).astype(to)
    lowest = jnp.iinfo(to).min
    return jnp.minimum(((e * reciprocal + 2**21) >> 22) + lowest, lowest + 255).astype(to)
