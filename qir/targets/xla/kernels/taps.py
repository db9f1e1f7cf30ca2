"""What the windowed kernels share: padding, what each tap of a window sees, windows as a matrix."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax import lax

from .geometry import Geometry, Pads, Pair

Array = jax.Array
Epilogue = Callable[[Array], Array]


def accumulators(acc: Array) -> Array:
    """The epilogue that leaves the i32 accumulators as they are."""
    return acc


def pad(x: Array, pads: Pads, value: int) -> Array:
    """`x[N,H,W,C]` with `value` around each image; negative amounts crop."""
    if not any(map(any, pads)):
        return x
    amounts = ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0))
    return lax.pad(x, jnp.asarray(value, x.dtype), amounts)


def kept_apart(x: Array) -> Array:
    """x as the input of a convolution of 8-bit integers, into which XLA folds no padding.

    XLA:CPU (jax 0.10.2) chooses its 8-bit kernel for convolutions that are VALID or SAME, and then
    folds a padding by zeros in front of them into them; what is neither any more is summed up in 8
    bits.
    """
    return lax.optimization_barrier(x)


def span(x: Array, axis: int, start: int, count: int, step: int = 1) -> Array:
    """`count` elements of `x` along `axis` from `start`, each `step` on."""
    return lax.slice_in_dim(x, start, start + (count - 1) * step + 1, step, axis)


def taps(x: Array, geometry: Geometry, sizes: Pair) -> Iterator[Array]:
    """What each tap of the window sees, row by row: slices of the padded `x[...,H,W,C]`."""
    (kh, kw), (dh, dw), (sh, sw) = geometry.window, geometry.dilation, geometry.strides
    for i in range(kh):
        row = span(x, x.ndim - 3, i * dh, sizes[0], sh)
        for j in range(kw):
            yield span(row, x.ndim - 2, j * dw, sizes[1], sw)


def dot_rows(rows: Array, w: Array) -> Array:
    """`rows[M,K]` by `w[N,K]` in i32, [M,N].

    A single row goes through twice: XLA:CPU has no fast path for a vector by a matrix.
    """
    if rows.shape[0] == 1:
        return dot_rows(jnp.concatenate([rows, rows]), w)[:1]
    return lax.dot_general(rows, w, (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32)
