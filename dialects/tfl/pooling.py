"""Averages and maxima over windows."""

import numpy as np

from qir import shapes
from qir.errors import require
from qir.expansions import expands
from qir.ir import Op, const
from qir.types import Element, Type

from .. import int8, lax, nn
from ..int8.dialect import stored_clamp
from .dialect import Activation, Padding, builtin, clamp_of, is_quantized, on, on_grids
from .unary import stored_values, table_of


def _pooled(x: Type, to, activation, padding, strides, window) -> Type:
    require(x.rank == 4, f"takes x[N,H,W,C], found {x}")
    clamp_of(activation)
    shape = (x.shape[0], *shapes.windowed(x, window, strides, padding.lower()), x.shape[3])
    return on(x, shape, to)


@builtin("AVERAGE_POOL_2D", "Pool2DOptions")
def average_pool_2d(x: Type, *, padding: Padding = "SAME", stride_w: int = 1, stride_h: int = 1,
                    filter_width: int, filter_height: int,
                    fused_activation_function: Activation = "NONE",
                    to: Element | None = None) -> Type:  # fmt: skip
    """The mean of each window of x[N,H,W,C], padding not counted."""
    return _pooled(x, to, fused_activation_function, padding, (stride_h, stride_w),
                   (filter_height, filter_width))  # fmt: skip


@builtin("MAX_POOL_2D", "Pool2DOptions")
def max_pool_2d(x: Type, *, padding: Padding = "SAME", stride_w: int = 1, stride_h: int = 1,
                filter_width: int, filter_height: int,
                fused_activation_function: Activation = "NONE",
                to: Element | None = None) -> Type:  # fmt: skip
    """The maximum of each window of x[N,H,W,C]."""
    return _pooled(x, to, fused_activation_function, padding, (stride_h, stride_w),
                   (filter_height, filter_width))  # fmt: skip


def _geometry(op) -> dict:
    a = op.attributes
    return {"window": (a["filter_height"], a["filter_width"]),
            "strides": (a["stride_h"], a["stride_w"]), "padding": a["padding"].lower()}  # fmt: skip


@expands(average_pool_2d)
def _(op, kernels, x):
    clamp = clamp_of(op.attributes["fused_activation_function"])
    if not on_grids(op, x):
        return clamped(nn.avg_pool(x, **_geometry(op)), clamp)
    clamp = stored_clamp(clamp, op.type.element)
    return int8.avg_pool(x, to=op.type.element, clamp=clamp, **_geometry(op))


@expands(max_pool_2d)
def _(op, kernels, x):
    clamp = clamp_of(op.attributes["fused_activation_function"])
    require(not is_quantized(x.type) or op.type == x.type.with_shape(op.shape),
            f"the result {op.type} is not on the grid of {x.type}")  # fmt: skip
    return clamped(nn.max_pool(x, **_geometry(op)), clamp)


def clamped(y: Op, clamp: tuple[float, float] | None) -> Op:
    """A value within real bounds, on whatever storage it stands."""
    if clamp is None:
        return y
    if y.type.grid is None:
        low, high = (const(np.array(bound, y.dtype.numpy)) for bound in clamp)
        return lax.clamp(low, y, high)
    bounds = stored_clamp(clamp, y.type.element)
    if bounds is None:
        return y
    return table_of(y, np.clip(stored_values(y.type), *bounds), y.type.element)
