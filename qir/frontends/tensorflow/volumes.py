"""Imports of convolutions and pools over three axes, channels last."""

import numpy as np

from qir.dialects import lax

from ...errors import require
from ...ir import const
from .table import attribute, imports

NDHWC, DHWIO = (0, 4, 1, 2, 3), (4, 3, 0, 1, 2)


def _triple(node, name: str) -> tuple[int, ...]:
    require(attribute(node, "data_format") == "NDHWC", "its channels are not last")
    return tuple(int(n) for n in attribute(node, name)[1:4])


def _pads(node, x, window, strides, dilation=(1, 1, 1)) -> tuple[list[int], list[int]]:
    """How much lies before and after each axis."""
    if attribute(node, "padding") == "VALID":
        return [0] * 3, [0] * 3
    totals = [max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
              for n, k, s, d in zip(x.shape[1:4], window, strides, dilation,
                                    strict=True)]  # fmt: skip
    return [t // 2 for t in totals], [t - t // 2 for t in totals]


@imports("Conv3D")
def conv_3d(node, x, w):
    strides, dilation = _triple(node, "strides"), _triple(node, "dilations")
    low, high = _pads(node, x, w.shape[:3], strides, dilation)
    return lax.conv_general_dilated(
        x, w, strides=strides, padding=(*low, *high), groups=x.shape[4] // w.shape[3],
        rhs_dilation=None if set(dilation) == {1} else dilation, lhs_spec=NDHWC, rhs_spec=DHWIO,
        out_spec=NDHWC,
    )  # fmt: skip


def _window(node, x) -> dict:
    window, strides = _triple(node, "ksize"), _triple(node, "strides")
    low, high = _pads(node, x, window, strides)
    return {"window": (1, *window, 1), "strides": (1, *strides, 1),
            "padding": (0, *low, 0, 0, *high, 0)}  # fmt: skip


@imports("MaxPool3D")
def max_pool_3d(node, x):
    return lax.reduce_window_max(x, **_window(node, x))


@imports("AvgPool3D")
def average_pool_3d(node, x):
    window = _window(node, x)
    counts = np.ones(1, x.dtype.numpy)
    for n, k, s, low, high in zip(x.shape[1:4], window["window"][1:4], window["strides"][1:4],
                                  window["padding"][1:4], window["padding"][6:9], strict=True):
        starts = np.arange(0, n + low + high - k + 1, s) - low
        inside = np.minimum(starts + k, n) - np.maximum(starts, 0)
        counts = counts[..., None] * inside.astype(x.dtype.numpy)
    shape = (1, *counts.shape[1:], 1)
    return lax.div(lax.reduce_window_sum(x, **window), const(counts.reshape(shape)))
