"""Convolutions and products of matrices."""

import numpy as np

from qir import shapes
from qir.errors import require
from qir.expansions import expands
from qir.ir import Op, const
from qir.rounding import Rescale, derive
from qir.types import Element, Grid, Type

from .. import int8, lax, nn
from ..int8.dialect import real_scale, stored_clamp
from .dialect import Activation, Padding, builtin, clamp_of, is_quantized, on


def _filter(x: Type, w: Type, rank: int = 4) -> None:
    require(x.rank == rank and w.rank == rank, f"takes tensors of rank {rank}, found {x} and {w}")


@builtin("CONV_2D", "Conv2DOptions")
def conv_2d(x: Type, w: Type, b: Type | None = None, *, padding: Padding = "SAME",
            stride_w: int = 1, stride_h: int = 1, dilation_w_factor: int = 1,
            dilation_h_factor: int = 1, fused_activation_function: Activation = "NONE",
            to: Element | None = None) -> Type:  # fmt: skip
    """2-D convolution of x[N,H,W,C] by w[O,KH,KW,C/groups] plus b[O]."""
    _filter(x, w)
    require(w.shape[3] and x.shape[3] % w.shape[3] == 0,
            f"{x.shape[3]} channels by filters of {w.shape[3]}")  # fmt: skip
    clamp_of(fused_activation_function)
    hwio = w.element[(*w.shape[1:], w.shape[0])]
    shape = shapes.conv2d(x, hwio, (stride_h, stride_w), padding.lower(),
                          (dilation_h_factor, dilation_w_factor),
                          x.shape[3] // w.shape[3])  # fmt: skip
    return on(x, shape, to)


@expands(conv_2d)
def _(op, kernels, x, w, b=None):
    a = op.attributes
    geometry = {
        "strides": (a["stride_h"], a["stride_w"]), "padding": a["padding"].lower(),
        "dilation": (a["dilation_h_factor"], a["dilation_w_factor"]),
        "groups": x.shape[3] // w.shape[3],
    }  # fmt: skip
    w = transposed(w, (1, 2, 3, 0))
    clamp = clamp_of(a["fused_activation_function"])
    if not is_quantized(x.type, w.type):
        return nn.conv2d(x, w, b, clamp=clamp, **geometry)
    return int8.conv2d(x, w, plain(b), to=op.type.element,
                       rescale=affine_rescale(kernels, x.type, w.type, op.type),
                       clamp=stored_clamp(clamp, op.type.element), **geometry)  # fmt: skip


def affine_rescale(kernels: str, x: Type, w: Type, to: Type) -> Rescale:
    """How a kernel set brings sums of products to the result's grid, per channel of the weight."""
    rounding = {"tflite_reference": "tflite_reference", "tflite_builtin": "tflite_builtin",
                "xnnpack": "f32_half_even"}[kernels]  # fmt: skip
    if kernels == "xnnpack":  # formed in f32
        return Rescale(rounding, scale=x.scale * w.scale / to.scale)
    scale = real_scale(x, w, to=to)
    return derive(rounding, scale if scale.size > 1 else scale.reshape(()))


def transposed(w: Op, order: tuple[int, ...]) -> Op:
    """A weight with its axes in another order, made here and now where it is a constant."""
    if not w.is_const:
        return lax.transpose(w, axes=order)
    grid = w.type.grid
    if grid is not None and grid.axis is not None:
        grid = Grid(grid.scale, grid.zero, order.index(grid.axis), narrow=grid.narrow)
    value = np.ascontiguousarray(w.value.transpose(order))
    return const(value, Type(w.dtype, value.shape, grid), w.attributes["name"], w.location)


def plain(b: Op | None) -> Op | None:
    """A bias without its grid, which follows from those of input and weight."""
    if b is None or not b.is_const or b.type.grid is None:
        return b
    return const(b.value, Type(b.dtype, b.shape), b.attributes["name"], b.location)
