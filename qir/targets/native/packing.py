"""How weights lie as the C++ kernels read them."""

import jax.numpy as jnp
import numpy as np

from .library import Library


def packed(weights: np.ndarray, kernels: Library, runs: int = 1) -> np.ndarray:
    """Weights [groups, K, N] as the kernels read them: [groups, N / columns, K / depth, columns,
    depth], padded with zeros; K is so many runs, each of them padded by itself."""
    groups, inner, outputs = weights.shape
    depth = up(inner // runs, kernels.inner)
    whole = np.zeros((groups, runs, depth, up(outputs, kernels.columns)), np.int8)
    whole[:, :, : inner // runs, :outputs] = weights.reshape(groups, runs, -1, outputs)
    tiles = whole.reshape(groups, -1, kernels.depth, whole.shape[-1] // kernels.columns,
                          kernels.columns)  # fmt: skip
    return np.ascontiguousarray(tiles.transpose(0, 3, 1, 4, 2))


CROSSED = 320
"""How long the rows of a product are that is crossed: short ones take longer to prepare."""


def crosses(weights: np.ndarray, kernels: Library) -> bool:
    """Whether the products of weights [groups, K, N] are crossed, see src/avx2.cc."""
    return bool(kernels.crosses) and weights.shape[1] >= CROSSED


def begun(weights: np.ndarray, tiles: np.ndarray, kernels: Library, is_signed: bool) -> np.ndarray:
    """What every output's sum of products begins with, less its bias: weights [groups, K, N] as
    packed into tiles. Modulo 2**32, as the sums are.

    A signed input is moved up, and where products are crossed, w0 w2 + w1 w3 of every four weights
    is in the sum.
    """
    start = np.zeros((weights.shape[0], weights.shape[2]), np.int64)
    if is_signed:
        start -= kernels.offset * weights.sum(1, dtype=np.int64)
    if crosses(weights, kernels):
        steps = tiles.astype(np.int32)
        both = (steps[:, :, ::2] * steps[:, :, 1::2]).sum((2, 4), dtype=np.int64)
        start -= both.reshape(len(weights), -1)[:, : weights.shape[2]]
    return start.reshape(-1)


def up(number: int, step: int) -> int:
    """The next multiple of a step."""
    return -(-number // step) * step


FEWEST_SQUARES = 32
"""How often each transformed filter is to be read: they are 32 bytes where filters are 9."""

TRANSFORM = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
"""Twice what a line of a filter becomes for two neighbouring results of four products."""


def are_transformed(windows: tuple[int, ...], images: int, inner: int, kernels: Library) -> bool:
    """Whether a convolution takes src/winograd.h: sums have to stay exact in 32 bits, and only the
    sets that multiply 16 bits have room for what pixels become."""
    window, (height, width, _, groups) = windows[:6], windows[8:]
    squares = images * -(-height // 2) * -(-width // 2)
    return (window == (3, 3, 1, 1, 1, 1) and groups == 1
            and kernels.depth == 2 and inner % 16 == 0 and inner <= 1792
            and squares >= FEWEST_SQUARES)  # fmt: skip


def transformed(weights: np.ndarray, kernels: Library) -> np.ndarray:
    """Filters [1, 9 * C, N] as src/winograd.h reads them: [N / columns, 16, C / 2, columns, 2]."""
    outputs = weights.shape[-1]
    filters = weights.reshape(3, 3, -1, outputs).astype(np.int32)
    products = np.einsum("ia,jb,abcn->ijcn", TRANSFORM, TRANSFORM, filters).astype(np.int16)
    whole = np.zeros((*products.shape[:3], up(outputs, kernels.columns)), np.int16)
    whole[..., :outputs] = products
    tiles = whole.reshape(16, -1, 2, whole.shape[-1] // kernels.columns, kernels.columns)
    return np.ascontiguousarray(tiles.transpose(3, 0, 1, 4, 2))


PIECE = 4096
"""How many products of 8 bits take as long as it takes to gather one row of a window, about; and
16 for each byte of it."""


def runs_of(windows: tuple[int, ...], inner: int, kernels: Library) -> int:
    """How many runs a filter is packed as: a row of it each, where they are read from a padded copy
    of the image, see src/padded.h; else one, and windows are gathered.

    Padding each row of a filter makes products longer, and a product is of some rows at least:
    gathering has to take longer than both.
    """
    rows, columns, down, right, _, dilation, _, before, _, width, outputs, groups = windows
    length = columns * inner
    if rows * columns == 1 or groups > 1 or dilation > 1 or before < 0:
        return 1
    if (down, right) == (1, 1) and inner % kernels.inner == 0:
        return 1  # read from a copy, whatever they are packed as
    depth, outputs = rows * up(length, kernels.inner), up(outputs, kernels.columns)
    longer = depth - up(rows * length, kernels.inner)
    wasted = 0 if (down, right) == (1, 1) else (up(width, kernels.rows) - width) * depth / width
    is_copied = (longer + wasted) * outputs < rows * (PIECE + 16 * length)
    return rows if is_copied else 1


def places_of(channels: int, taps: int) -> np.ndarray:
    """The channel of each place of src/depthwise_fours.h, [blocks, q, i, j], or of
    src/depthwise_pairs.h, [blocks, channel]; -1 for none."""
    if taps == 2:
        order = np.arange(up(channels, 16))
        return np.where(order < channels, order, -1)
    blocks = -(-channels // 64)
    left = channels - 64 * (blocks - 1)
    held = next(size for size in (16, 32, 64) if left <= size)
    last = np.resize(np.where(np.arange(held) < left, channels - left + np.arange(held), -1), 64)
    order = np.concatenate([np.arange(64 * (blocks - 1)), last])
    return order.reshape(blocks, 4, 4, 4).transpose(0, 2, 1, 3).reshape(-1)


def in_order(numbers, order: np.ndarray):
    """Numbers by channel at their places, 0 where there is none."""
    module = np if isinstance(numbers, np.ndarray) else jnp
    return module.where(order < 0, 0, numbers[np.maximum(order, 0)]).astype(numbers.dtype)


def in_places(numbers, order: np.ndarray):
    """Numbers by channel, one or a pair each, or none at all."""
    if not numbers.size:
        return numbers
    pairs = numbers.reshape(order.max() + 1, -1)
    return jnp.stack([in_order(column, order) for column in pairs.T], 1).reshape(-1)


def by_taps(filters: np.ndarray, order: np.ndarray, taps: int) -> np.ndarray:
    """Depthwise filters [KH, KW, channels] at their places, so many taps of a column together, or
    of a row where that makes fewer: [KW, KH / taps, places, taps], padded with zeros.
    `taps_lie_across` in src/kernels.h is the same rule."""
    rows, columns, _ = filters.shape
    if up(rows, taps) * columns > up(columns, taps) * rows:
        rows, columns, filters = columns, rows, filters.transpose(1, 0, 2)
    whole = np.zeros((columns, up(rows, taps) // taps, taps, len(order)), filters.dtype)
    placed = np.where(order < 0, 0, filters[..., np.maximum(order, 0)])
    whole.reshape(columns, -1, len(order))[:, :rows] = placed.transpose(1, 0, 2)
    return np.ascontiguousarray(whole.transpose(0, 1, 3, 2))


GATHERED = 16384
"""How many products of 8 bits take as long as it takes to gather a tap of one group, about: where
groups become one, windows are mostly read from a copy instead."""


def by_groups(w: np.ndarray, groups: int, kernels: Library) -> np.ndarray:
    """The weights w[KH,KW,C/groups,O] of a convolution as [groups, K, O / groups].

    So many groups become one, with zeros between them, as makes tiles that are less empty, and
    fewer windows to gather: padding alone would waste more than the zeros do.
    """
    taps, inner, outputs = w.shape[0] * w.shape[1], w.shape[2], w.shape[3] // groups

    def cost(merge: int) -> int:
        depth = up(taps * inner * merge, kernels.inner)
        columns = up(outputs * merge, kernels.columns)
        return groups // merge * (depth * columns + taps * GATHERED)

    merge = min((m for m in range(1, groups + 1) if groups % m == 0), key=cost)
    parts = w.reshape(taps, inner, groups // merge, merge, outputs)
    whole = np.zeros((groups // merge, taps, merge, inner, merge, outputs), w.dtype)
    for i in range(merge):
        whole[:, :, i, :, i] = parts[:, :, :, i].transpose(2, 0, 1, 3)
    return whole.reshape(groups // merge, taps * merge * inner, merge * outputs)
