"""Dense layers and batched matrix products, int8 by int8 into i32."""

import jax.numpy as jnp
from jax import lax

from .reduce import sum_last
from .taps import Array, Epilogue, accumulators, dot_rows

Axes = tuple[int, ...]


def dense(
    x: Array, w: Array, bias: Array, *, layout: str = "nk", epilogue: Epilogue = accumulators
) -> Array:
    """`x[...,K]` by `w[N,K]` (layout `nk`) or `w[K,N]` (`kn`), [...,N].

    `bias` i32[N] holds the zero point of x (`packing.fold_zero_point`).
    """
    rows = x.reshape(-1, x.shape[-1])
    if layout == "kn":
        acc = lax.dot_general(rows, w, (((1,), (0,)), ((), ())), preferred_element_type=jnp.int32)
    else:
        acc = dot_rows(rows, w)
    return epilogue((acc + bias).reshape(*x.shape[:-1], acc.shape[-1]))


def batch_dot(
    a: Array,
    b: Array,
    *,
    a_zero: int = 0,
    b_zero: int = 0,
    a_axes: Axes | None = None,
    b_axes: Axes | None = None,
    epilogue: Epilogue = accumulators,
) -> Array:
    """`a[...,M,K]` by `b[...,K,N]`: [...,M,N]; the axes say where in an operand these lie.

    Reading the axes where they are spares a transpose, which costs four times what the product
    does. sum((a - za) * (b - zb)) = sum(a * b) - zb * sum(a) - za * sum(b) + K * za * zb. The sums
    over b come from one more row under a, of ones: sums broadcast along rows kept the product from
    its fast path (8x12 of 128x32x128: 2.7 against 1.9 ms). A single row has none either and gets
    the row of ones, too. Taking the zero points off first leaves the fast path for int8, and is
    four times slower.
    """
    a_axes, b_axes = a_axes or tuple(range(a.ndim)), b_axes or tuple(range(b.ndim))
    rows, depth = (a.shape[axis] for axis in a_axes[-2:])
    has_ones = a_zero or rows == 1
    full = _product(_with_ones(a, a_axes[-2]) if has_ones else a, b, a_axes, b_axes)
    acc = full[..., :rows, :]
    if b_zero:
        acc = acc - b_zero * _inner_sums(a, a_axes[-1], (*a_axes[:-2], a_axes[-2]))[..., None]
    if a_zero:
        acc = acc - a_zero * full[..., rows:, :]
    return epilogue(acc + depth * a_zero * b_zero)


def _product(a: Array, b: Array, a_axes: Axes, b_axes: Axes) -> Array:
    numbers = (((a_axes[-1],), (b_axes[-2],)), (a_axes[:-2], b_axes[:-2]))
    return lax.dot_general(a, b, numbers, preferred_element_type=jnp.int32)


def _with_ones(a: Array, axis: int) -> Array:
    shape = (*a.shape[:axis], 1, *a.shape[axis + 1 :])
    return jnp.concatenate([a, jnp.ones(shape, a.dtype)], axis)


def _inner_sums(x: Array, inner: int, kept: Axes) -> Array:
    """Sums over the inner axis, the other axes in the order of `kept`."""
    last = inner == x.ndim - 1
    sums = sum_last(x) if last else jnp.sum(x, inner, dtype=jnp.int32)
    return jnp.transpose(sums, [axis - (axis > inner) for axis in kept])
