"""Sums of int8 in i32; XLA's own reductions over the last axis are scalar, dots are not."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from .taps import Array

LANES = 16


def sum_axes(x: Array, axes: Sequence[int]) -> Array:
    """`x` int8 summed over `axes`, which are dropped, in i32."""
    if not axes:
        return x.astype(jnp.int32)
    axes = sorted(axis % x.ndim for axis in axes)
    first, end = axes[0], axes[-1] + 1
    if axes != list(range(first, end)):
        return jnp.sum(x, tuple(axes), dtype=jnp.int32)
    if end == x.ndim:
        return sum_last(x.reshape(*x.shape[:first], math.prod(x.shape[first:])))
    before, among, after = (
        math.prod(part) for part in (x.shape[:first], x.shape[first:end], x.shape[end:])
    )
    return sum_rows(x.reshape(before, among, after)).reshape(*x.shape[:first], *x.shape[end:])


def sum_rows(x: Array) -> Array:
    """`x[B,P,C]` int8 summed over P, i32[B,C]: a dot with two rows of ones."""
    ones = jnp.ones((x.shape[0], 2, x.shape[1]), x.dtype)
    return lax.dot_general(ones, x, (((2,), (1,)), ((0,), (0,))), preferred_element_type=jnp.int32)[
        :, 0
    ]


def sum_last(x: Array) -> Array:
    """`x[...,K]` int8 summed over K, i32[...]: a dot with 16 rows of ones, as wide as a vector."""
    ones = jnp.ones((LANES, x.shape[-1]), x.dtype)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    sums = lax.dot_general(rows, ones, (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32)
    return sums[:, 0].reshape(x.shape[:-1])


def sum_wide(x: Array) -> Array:
    """`x[...,K]` i32 summed over K, which stays as 1.

    Halves are added elementwise while they divide evenly: that vectorizes.
    """
    while x.shape[-1] > LANES and x.shape[-1] % 2 == 0:
        half = x.shape[-1] // 2
        x = x[..., :half] + x[..., half:]
    return jnp.sum(x, -1, keepdims=True, dtype=jnp.int32)
