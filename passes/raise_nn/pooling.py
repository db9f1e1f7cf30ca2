"""Reductions over windows as pooling layers."""

import math

import numpy as np

from qir.errors import require
from qir.ir import Op
from qir.pattern import C, V
from qir.rewrite import rule
from qir.windows import shortest_padding, windows

from ...dialects import lax, nn
from .build import inverse, number, transposed


@rule(lax.reduce_window_max(V.x) @ "op")
def window_maximum_is_max_pool(op, x):
    """A maximum over windows of an image is a max_pool."""
    order, window, strides, pads = _image_windows(op)
    padding = _named(pads, x, order, window, strides)
    y = nn.max_pool(transposed(x, order), window=window, strides=strides, padding=padding)
    return transposed(y, inverse(order))


@rule(nn.mul(lax.reduce_window_sum(V.x) @ "total", C.k) @ "op")
def window_sum_over_count_is_avg_pool(op, total, x, k):
    """A sum over windows times one over the count of their elements is an avg_pool.

    Where padding is counted, the padding becomes an op of its own.
    """
    require(op.attributes["clamp"] is None and op.type == total.type, f"the result is {op.type}")
    order, window, strides, pads = _image_windows(total)
    if k.size > 1:
        counts = _inside(x, order, window, strides, pads)
        k = np.asarray(k).reshape((1,) * (4 - k.ndim) + k.shape).transpose(order)
        fits = np.broadcast_shapes(k.shape, counts.shape) == counts.shape
        require(fits and np.allclose(k * counts, 1, rtol=1e-6),
                "the constant is not one over the elements inside the image")  # fmt: skip
        padding = _named(pads, x, order, window, strides)
        y = nn.avg_pool(transposed(x, order), window=window, strides=strides, padding=padding)
        return transposed(y, inverse(order))
    factor = number(k) * math.prod(window)
    y = _mean_over(x, order, window, strides, pads)
    return transposed(y if abs(factor - 1) < 1e-6 else nn.mul(y, factor), inverse(order))


@rule(lax.reduce_window_sum(V.x) @ "op")
def window_sum_is_scaled_mean(op, x):
    """A sum over windows is their mean times the count of their elements."""
    order, window, strides, pads = _image_windows(op)
    y = nn.mul(_mean_over(x, order, window, strides, pads), float(math.prod(window)))
    return transposed(y, inverse(order))


def _mean_over(x: Op, order, window, strides, pads) -> Op:
    """The mean over windows that count the padding, NHWC."""
    image = transposed(x, order)
    if np.any(pads):
        low, high = zip((0, 0), *pads, (0, 0), strict=True)
        image = lax.pad(image, low=low, high=high)
    return nn.avg_pool(image, window=window, strides=strides, padding="valid")


def _image_windows(op: Op):
    """The order of axes that makes the operand NHWC, and window, strides and pads of H and W."""
    a = op.attributes
    require(op.type.rank == 4 and op.type.is_float, f"it pools {op.type}, not an image of floats")
    dilations = (*(a["base_dilation"] or ()), *(a["window_dilation"] or ()))
    require(all(d == 1 for d in dilations), "the windows are dilated")
    half = op.type.rank
    pads = list(zip(a["padding"][:half], a["padding"][half:], strict=True))
    axes = list(zip(a["window"], a["strides"], pads, strict=True))
    idle = [axis == (1, 1, (0, 0)) for axis in axes]
    require(idle[0] and (idle[3] or idle[1]), f"windows {list(a['window'])} span the batch or all "
                                              "axes of the image")  # fmt: skip
    order = (0, 1, 2, 3) if idle[3] else (0, 2, 3, 1)
    window, strides, pads = (tuple(v) for v in zip(*(axes[i] for i in order[1:3]), strict=True))
    fits = all(0 <= low < k and 0 <= high < k for (low, high), k in zip(pads, window, strict=True))
    require(fits, f"a padding of {pads} for windows {list(window)}")
    x = op.operands[0].type
    require(op.type.size and x.size, f"of {x} it makes {op.type}, one of which is empty")
    return order, window, strides, pads


def _named(pads, x: Op, order, window, strides):
    size = [x.shape[i] for i in order[1:3]]
    return shortest_padding(pads, size, window, strides, (1, 1))


def _inside(x: Op, order, window, strides, pads) -> np.ndarray:
    """How many elements of each window lie inside the image, [1,OH,OW,1]."""
    ones = np.ones((1, x.shape[order[1]], x.shape[order[2]], 1), np.float32)
    return windows(ones, window, strides, pads).sum(axis=(3, 4))


RULES = (window_maximum_is_max_pool, window_sum_over_count_is_avg_pool)
