"""Products with weights that stay as they are stored: some rows at a time become reals.

XLA:CPU fuses no dequantize into its product: it makes all weights of a program real before the
first product, in memory that it then has to find. Tiles of rows that fit into a cache, one after
the other in a loop, cost a row of BERT-base's layers as much as products in f32
(`benchmarks/weight_only.py`).
"""

from collections.abc import Callable
from math import gcd, prod

import jax.numpy as jnp
import numpy as np
from jax import lax

from ....types import Type
from .. import rescale

TILE = 2**17
"""Elements of a tile, half a megabyte of f32."""


def tile_rows(type: Type) -> int:
    """How many rows of a weight [K,N] become reals at once; a block holds them."""
    depth, width = type.shape
    rows = 2 ** max(0, int(np.log2(max(1, TILE // max(1, width)))))
    rows = min(rows, depth)
    grid = type.grid
    return gcd(rows, grid.block) if grid is not None and _in_blocks(grid, 0) else rows


def _in_blocks(grid, axis: int) -> bool:
    return grid.block is not None and grid.axis == axis


def dense(x, w, type: Type):
    """`x[...,K]` by what w[K,N], stored as `type`, stands for: f32[...,N]."""
    depth, width = type.shape
    rows = x.reshape(prod(x.shape[:-1]), depth)
    size = tile_rows(type)
    at = _reals_at(w, type)

    def product(start, count: int):
        part = lax.dynamic_slice(rows, (0, start), (rows.shape[0], count))
        return jnp.matmul(part, at(start, count))

    whole = depth // size if size else 0
    y = jnp.zeros((rows.shape[0], width), jnp.float32)
    if whole > 1:
        y = lax.fori_loop(0, whole, lambda i, y: y + product(i * size, size), y)
    elif whole:
        y = product(0, size)
    if whole * size < depth:
        y = y + product(whole * size, depth - whole * size)
    return y.reshape(*x.shape[:-1], width)


def _reals_at(w, type: Type) -> Callable:
    """From the first of some rows, and how many, to what they stand for; a block holds them."""
    width, grid = type.shape[1], type.grid
    w = as_bits(w) if type.dtype.name == "bf16" else jnp.asarray(w)

    def stored(start, count: int):
        return lax.dynamic_slice(w, (start, 0), (count, width))

    if grid is None:
        return lambda start, count: widened(stored(start, count))
    scale, zero = (_numbers_at(part, type) for part in (grid.scale, grid.zero))
    return lambda start, count: rescale.dequantize(
        stored(start, count), scale(start, count), zero(start, count)
    )


def as_bits(w):
    """bf16 as its bits, u16; XLA:CPU widens bf16 itself only before it slices, the whole of it."""
    known = isinstance(w, np.ndarray)
    return jnp.asarray(w.view(np.uint16)) if known else lax.bitcast_convert_type(w, jnp.uint16)


def widened(part):
    """Halves as f32, those of bf16 given as their bits."""
    if part.dtype != jnp.uint16:
        return part.astype(jnp.float32)
    return lax.bitcast_convert_type(part.astype(jnp.uint32) << 16, jnp.float32)


def _numbers_at(numbers: np.ndarray, type: Type) -> Callable:
    """From the first of some rows, and how many, to their scales or zero points."""
    grid = type.grid
    if numbers.ndim == 0:
        return lambda start, count: numbers
    if grid.axis == 1 and grid.block is None:
        return lambda start, count: numbers[None]
    table = jnp.asarray(numbers if grid.block else numbers[:, None])
    if _in_blocks(grid, 0):
        return lambda start, count: lax.dynamic_slice_in_dim(table, start // grid.block, 1)
    repeats = grid.block or 1
    return lambda start, count: jnp.repeat(
        lax.dynamic_slice_in_dim(table, start, count), repeats, axis=1
    )
