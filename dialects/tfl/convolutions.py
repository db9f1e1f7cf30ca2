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
        return lax.transpose(w, permutation=order)
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


@builtin("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions")
def depthwise_conv_2d(x: Type, w: Type, b: Type | None = None, *, padding: Padding = "SAME",
                      stride_w: int = 1, stride_h: int = 1, depth_multiplier: int = 1,
                      dilation_w_factor: int = 1, dilation_h_factor: int = 1,
                      fused_activation_function: Activation = "NONE",
                      to: Element | None = None) -> Type:  # fmt: skip
    """Each channel of x[N,H,W,C] by its own filters w[1,KH,KW,C*M]; output channel c * M + m.

    depth_multiplier: what a file says of M; the kernels take it from the shapes, as is done here.
    """
    _filter(x, w)
    require(w.shape[0] == 1 and x.shape[3] and w.shape[3] % x.shape[3] == 0,
            f"{x.shape[3]} channels by filters {w}")  # fmt: skip
    clamp_of(fused_activation_function)
    hwio = w.element[(*w.shape[1:3], 1, w.shape[3])]
    shape = shapes.conv2d(x, hwio, (stride_h, stride_w), padding.lower(),
                          (dilation_h_factor, dilation_w_factor), x.shape[3])  # fmt: skip
    return on(x, shape, to)


@expands(depthwise_conv_2d)
def _(op, kernels, x, w, b=None):
    a, channels = op.attributes, x.shape[3]
    geometry = {
        "strides": (a["stride_h"], a["stride_w"]), "padding": a["padding"].lower(),
        "dilation": (a["dilation_h_factor"], a["dilation_w_factor"]),
    }  # fmt: skip
    clamp = clamp_of(a["fused_activation_function"])
    if not is_quantized(x.type, w.type):
        w = lax.reshape(w, shape=(*w.shape[1:3], channels, w.shape[3] // channels))
        return nn.depthwise_conv2d(x, w, b, clamp=clamp, **geometry)
    ours = "tflite_reference" if kernels == "tflite_builtin" else kernels
    rescale = affine_rescale(ours, x.type, w.type, op.type)
    clamp, to = stored_clamp(clamp, op.type.element), op.type.element
    if w.shape[3] == channels:  # [1,KH,KW,C] to [KH,KW,C,1]
        w = transposed(w, (1, 2, 3, 0))
        if w.type.grid.axis is not None:
            w = _regridded(w, 2)
        return int8.depthwise_conv2d(x, w, plain(b), to=to, rescale=rescale, clamp=clamp,
                                     **geometry)  # fmt: skip
    w = transposed(w, (1, 2, 0, 3))  # filters with a scale each: a convolution in C groups
    return int8.conv2d(x, w, plain(b), to=to, rescale=rescale, clamp=clamp, groups=channels,
                       **geometry)  # fmt: skip


def _regridded(w: Op, axis: int) -> Op:
    grid = w.type.grid
    require(w.is_const, "a computed filter with a scale for each channel")
    type = Type(w.dtype, w.shape, Grid(grid.scale, grid.zero, axis, narrow=grid.narrow))
    return const(w.value, type, w.attributes["name"], w.location)


@builtin("FULLY_CONNECTED", "FullyConnectedOptions")
def fully_connected(x: Type, w: Type, b: Type | None = None, *,
                    fused_activation_function: Activation = "NONE", keep_num_dims: bool = False,
                    asymmetric_quantize_inputs: bool = False,
                    to: Element | None = None) -> Type:  # fmt: skip
    """Rows of x[...,K] by w[N,K] plus b[N]: [rows,N], or [...,N] with `keep_num_dims`."""
    require(w.rank == 2 and x.rank >= 1 and w.shape[1], f"takes w[N,K], found {x} by {w}")
    clamp_of(fused_activation_function)
    outputs, depth = w.shape
    if keep_num_dims:
        require(x.shape[-1] == depth, f"rows of {x.shape[-1]} by {w}")
        return on(x, (*x.shape[:-1], outputs), to)
    require(x.size % depth == 0, f"{x} makes no rows of {depth}")
    return on(x, (x.size // depth, outputs), to)


@expands(fully_connected)
def _(op, kernels, x, w, b=None):
    a = op.attributes
    if not a["keep_num_dims"] and x.shape != (*op.shape[:-1], w.shape[1]):
        x = lax.reshape(x, shape=(-1, w.shape[1]))
    w = transposed(w, (1, 0))
    clamp = clamp_of(a["fused_activation_function"])
    if not is_quantized(x.type, w.type):
        return nn.dense(x, w, b, clamp=clamp)
    return int8.dense(x, w, plain(b), to=op.type.element,
                      rescale=_dense_rescale(kernels, x.type, w.type, op.type),
                      clamp=stored_clamp(clamp, op.type.element))  # fmt: skip


def _dense_rescale(kernels: str, x: Type, w: Type, to: Type) -> Rescale:
    """As for convolutions, but that the reference kernel multiplies in f64.

    With one scale for the whole weight, the product of the scales is formed in f32 first.
    """
    if kernels == "xnnpack":
        return affine_rescale(kernels, x, w, to)
    rounding = "float64_half_away" if kernels == "tflite_reference" else "tflite_builtin"
    if w.scale.ndim == 0 or w.scale.size == 1:
        scale = np.float64(np.float32(x.scale * w.scale.ravel()[0])) / np.float64(to.scale)
        return derive(rounding, scale)
    return derive(rounding, real_scale(x, w, to=to))
