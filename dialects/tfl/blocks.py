"""Ops that move elements between the axes of an image and its channels or its batch."""

from math import prod

from qir.attributes import Ints
from qir.errors import require
from qir.expansions import expands
from qir.shapes import open_batch
from qir.types import Element, Type

from .. import lax
from .dialect import builtin, on, regridded


@builtin("SPACE_TO_DEPTH", "SpaceToDepthOptions")
def space_to_depth(x: Type, *, block_size: int, to: Element | None = None) -> Type:
    """Blocks of x[N,H,W,C] as channels: [N,H/B,W/B,B*B*C]."""
    b = block_size
    require(x.rank == 4 and b > 0 and x.shape[1] % b == 0 and x.shape[2] % b == 0,
            f"{x} is not made of blocks of {b}")  # fmt: skip
    n, height, width, channels = x.shape
    return on(x, (n, height // b, width // b, channels * b * b), to)


@expands(space_to_depth)
def _(op, kernels, x):
    (n, height, width, _), b = op.shape, op.attributes["block_size"]
    blocks = lax.reshape(x, shape=open_batch((n, height, b, width, b, x.shape[3])))
    moved = lax.transpose(blocks, permutation=(0, 1, 3, 2, 4, 5))
    return regridded(lax.reshape(moved, shape=open_batch(op.shape)), op)


@builtin("DEPTH_TO_SPACE", "DepthToSpaceOptions")
def depth_to_space(x: Type, *, block_size: int, to: Element | None = None) -> Type:
    """Channels of x[N,H,W,B*B*C] as blocks: [N,H*B,W*B,C]."""
    b = block_size
    require(x.rank == 4 and b > 0 and x.shape[3] % (b * b) == 0,
            f"the channels of {x} are no blocks of {b}")  # fmt: skip
    n, height, width, channels = x.shape
    return on(x, (n, height * b, width * b, channels // (b * b)), to)


@expands(depth_to_space)
def _(op, kernels, x):
    (n, height, width, _), b = x.shape, op.attributes["block_size"]
    blocks = lax.reshape(x, shape=open_batch((n, height, width, b, b, op.shape[3])))
    moved = lax.transpose(blocks, permutation=(0, 1, 3, 2, 4, 5))
    return regridded(lax.reshape(moved, shape=open_batch(op.shape)), op)


def _blocks(x: Type, block: Ints, pairs: Ints, what: str) -> None:
    require(x.rank > len(block) and len(pairs) == 2 * len(block) and min(block, default=0) > 0
            and min(pairs) >= 0,
            f"blocks of {list(block)} and {what} {list(pairs)} for {x}")  # fmt: skip


@builtin("SPACE_TO_BATCH_ND", "SpaceToBatchNDOptions", slots="x block_shape paddings")
def space_to_batch_nd(x: Type, *, block_shape: Ints, paddings: Ints,
                      to: Element | None = None) -> Type:  # fmt: skip
    """Blocks of x[N,space...,rest...], padded by zeros, as more of the batch."""
    _blocks(x, block_shape, paddings, "paddings")
    space = [n + low + high for n, low, high in
             zip(x.shape[1:], paddings[::2], paddings[1::2], strict=False)]  # fmt: skip
    require(all(n % b == 0 for n, b in zip(space, block_shape, strict=True)),
            f"{space} is not made of blocks of {list(block_shape)}")  # fmt: skip
    parts = (n // b for n, b in zip(space, block_shape, strict=True))
    return on(x, (x.shape[0] * prod(block_shape), *parts, *x.shape[1 + len(space) :]), to)


@expands(space_to_batch_nd)
def _(op, kernels, x):
    block, pairs = op.attributes["block_shape"], op.attributes["paddings"]
    axes, rest = len(block), x.type.rank - 1 - len(block)
    x = lax.pad(x, low=(0, *pairs[::2], *(0,) * rest), high=(0, *pairs[1::2], *(0,) * rest))
    split = [each for n, b in zip(op.shape[1:], block, strict=False) for each in (n, b)]
    x = lax.reshape(x, shape=(x.shape[0], *split, *x.shape[1 + axes :]))
    within, outside = range(2, 2 + 2 * axes, 2), range(1, 1 + 2 * axes, 2)
    order = (*within, 0, *outside, *range(1 + 2 * axes, x.type.rank))
    return regridded(lax.reshape(lax.transpose(x, permutation=order), shape=op.shape), op)


@builtin("BATCH_TO_SPACE_ND", "BatchToSpaceNDOptions", slots="x block_shape crops")
def batch_to_space_nd(x: Type, *, block_shape: Ints, crops: Ints,
                      to: Element | None = None) -> Type:  # fmt: skip
    """Parts of the batch of x[N*B,space...,rest...] as blocks of the space, then cropped."""
    _blocks(x, block_shape, crops, "crops")
    require(x.shape[0] % prod(block_shape) == 0, f"the batch of {x} is no {list(block_shape)}")
    space = [n * b - low - high for n, b, low, high in
             zip(x.shape[1:], block_shape, crops[::2], crops[1::2], strict=False)]  # fmt: skip
    require(min(space) >= 0, f"crops of {list(crops)} leave less than nothing of {x}")
    return on(x, (x.shape[0] // prod(block_shape), *space, *x.shape[1 + len(space) :]), to)


@expands(batch_to_space_nd)
def _(op, kernels, x):
    block, crops = op.attributes["block_shape"], op.attributes["crops"]
    axes, n = len(block), op.shape[0]
    whole = [k * b for k, b in zip(x.shape[1:], block, strict=False)]
    rest = x.shape[1 + axes :]
    x = lax.reshape(x, shape=(*block, n, *x.shape[1:]))
    pairs = [each for i in range(axes) for each in (axes + 1 + i, i)]
    order = (axes, *pairs, *range(2 * axes + 1, x.type.rank))
    x = lax.reshape(lax.transpose(x, permutation=order), shape=(n, *whole, *rest))
    limit = [k - high for k, high in zip(whole, crops[1::2], strict=True)]
    x = lax.slice(x, start=(0, *crops[::2], *(0,) * len(rest)), limit=(n, *limit, *rest))
    return regridded(x, op)
