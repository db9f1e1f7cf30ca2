"""Dense layers and batched matrix products, int8 by int8 into i32."""

import jax.numpy as jnp
from jax import lax

from .reduce import sum_last
from .taps import Array, Epilogue, accumulators, dot_rows


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
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    epilogue: Epilogue = accumulators,
) -> Array:
    """`a[...,M,K]` by `b[...,K,N]`, each transposed in its last two axes on demand: [...,M,N].

    sum((a - za) * (b - zb)) = sum(a * b) - zb * sum(a) - za * sum(b) + K * za * zb. The sums over
    b's columns come from one more row under a, of ones. Taking the zero points off first leaves
    the fast path for int8, and is four times slower; for a single row, which has no fast path, it
    is the faster way.
    """
    a = jnp.swapaxes(a, -1, -2) if adjoint_a else a
    rows, depth = a.shape[-2:]
    if rows == 1:
        left, right = a.astype(jnp.int16) - a_zero, b.astype(jnp.int16) - b_zero
        return epilogue(_product(left, right, adjoint_b))
    summed = bool(a_zero) and not adjoint_b
    ones = jnp.ones((*a.shape[:-2], 1, depth), a.dtype)
    full = _product(jnp.concatenate([a, ones], -2) if summed else a, b, adjoint_b)
    acc = full[..., :rows, :]
    if b_zero:
        acc = acc - b_zero * sum_last(a)[..., None]
    if a_zero:
        acc = acc - a_zero * (full[..., rows:, :] if summed else sum_last(b)[..., None, :])
    return epilogue(acc + depth * a_zero * b_zero)


def _product(a: Array, b: Array, adjoint_b: bool) -> Array:
    batch = tuple(range(a.ndim - 2))
    inner = b.ndim - 1 if adjoint_b else b.ndim - 2
    return lax.dot_general(
        a, b, (((a.ndim - 1,), (inner,)), (batch, batch)), preferred_element_type=jnp.int32
    )
