"""Windows over sequences, and over images with more axes around them, as windows over images."""

import numpy as np

from qir.errors import require
from qir.ir import Op
from qir.pattern import C, V
from qir.rewrite import rule

from ...dialects import lax, nn
from .build import reshaped


@rule(lax.reduce_window_max(V.x) @ "op")
def window_maximum_of_sequences_is_of_images(op, x):
    """A maximum over windows of sequences is one over windows of images one pixel high."""
    return reshaped(_over_images(op, x)[0], op.shape)


@rule(nn.mul(lax.reduce_window_sum(V.x) @ "total", C.k) @ "op")
def window_sum_over_count_of_sequences_is_of_images(op, total, x, k):
    """A sum over windows of sequences times a constant is one over windows of images."""
    require(op.type == total.type, f"the result is {op.type}")
    y, kept = _over_images(total, x)
    if k.size > 1:
        full = iter((1,) * (op.type.rank - k.ndim) + k.shape)
        extents = dict(zip(range(op.type.rank), full, strict=True))
        k = k.reshape([extents.get(axis, 1) for axis in kept])
    return reshaped(nn.mul(y, k, clamp=op.attributes["clamp"]), op.shape)


@rule(nn.mul(lax.reshape(lax.reduce_window_sum(V.x) @ "total") @ "move", C.k) @ "op")
def number_meets_window_sum_before_reshape(op, move, total, k):
    """A number can scale a sum over windows before a reshape, where a mean is found in it."""
    require(k.size == 1 and op.type == move.type, f"the constant {list(k.shape)} is no number")
    scaled = nn.mul(total, k.reshape(()), clamp=op.attributes["clamp"])
    return reshaped(scaled, op.shape)


@rule(lax.reduce_window_sum(V.x) @ "op")
def window_sum_of_sequences_is_of_images(op, x):
    """A sum over windows of sequences is one over windows of images one pixel high."""
    return reshaped(_over_images(op, x)[0], op.shape)


def _over_images(op: Op, x: Op) -> tuple[Op, list[int | None]]:
    """The windows over x as an image of four axes, and which axis of x each of those is."""
    a, rank = op.attributes, x.type.rank
    require(rank != 4 and op.type.is_float, f"it pools {x.type}, not a sequence of floats")
    ones, pads = (1,) * rank, np.reshape(a["padding"], (2, rank)).T
    dilations = (a["base_dilation"] or ones, a["window_dilation"] or ones)
    axes = list(zip(a["window"], a["strides"], map(tuple, pads), *dilations, strict=True))
    active = [i for i in range(rank) if axes[i] != (1, 1, (0, 0), 1, 1)]
    kept: list[int | None] = [i for i in range(rank) if i in active or x.shape[i] != 1 or not i]
    if len(kept) == 3 and len(active) == 1:
        kept.insert(kept.index(active[0]), None)
    require(len(kept) == 4 and 0 not in active,
            f"windows over axes {active} of {x.type} are not over an image")  # fmt: skip
    image = reshaped(x, [1 if i is None else x.shape[i] for i in kept])
    whole = [axes[i] if i is not None else (1, 1, (0, 0), 1, 1) for i in kept]
    window, strides, pads, base, dilation = zip(*whole, strict=True)
    low, high = zip(*pads, strict=True)
    more = {"base_dilation": base if any(n != 1 for n in base) else None,
            "window_dilation": dilation if any(n != 1 for n in dilation) else None}  # fmt: skip
    build = {"lax.reduce_window_max": lax.reduce_window_max,
             "lax.reduce_window_sum": lax.reduce_window_sum}[op.kind]  # fmt: skip
    return build(image, window=window, strides=strides, padding=(*low, *high), **more), kept


RULES = (
    window_maximum_of_sequences_is_of_images, window_sum_over_count_of_sequences_is_of_images,
    number_meets_window_sum_before_reshape,
)  # fmt: skip
