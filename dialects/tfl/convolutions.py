"""Convolutions."""

from functools import partial

import numpy as np

from qir import shapes
from qir.attributes import Ints
from qir.errors import require
from qir.expansions import expands
from qir.ir import Op, const
from qir.rounding import Rescale, derive
from qir.types import Element, Grid, Type

from .. import hybrid, int8, lax, nn
from ..int8.dialect import real_scale, stored_clamp
from .dialect import (
    Activation,
    Bias,
    Padding,
    builtin,
    clamp_of,
    is_hybrid,
    of_16_bits,
    on,
    on_grids,
)


def _filter(x: Type, w: Type, rank: int = 4) -> None:
    require(x.rank == rank and w.rank == rank, f"takes tensors of rank {rank}, found {x} and {w}")


@builtin("CONV_2D", "Conv2DOptions")
def conv_2d(x: Type, w: Type, b: Type | None = None, *, padding: Padding = "SAME",
            stride_w: int = 1, stride_h: int = 1, dilation_w_factor: int = 1,
            dilation_h_factor: int = 1, fused_activation_function: Activation = "NONE",
            quantized_bias_type: Bias = "FLOAT32", to: Element | None = None) -> Type:  # fmt: skip
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
    if is_hybrid(x, w):
        return hybrid.conv2d(x, w, b, clamp=clamp, **geometry)
    if not on_grids(op, x, weight=w):
        return nn.conv2d(x, w, b, clamp=clamp, **geometry)
    require(b is not None or x.dtype.bits == 8, "the runtime takes 16 bits with a bias alone")
    return int8.conv2d(x, w, plain(b, x), to=op.type.element,
                       rescale=affine_rescale(kernels, x.type, w.type, op.type),
                       clamp=stored_clamp(clamp, op.type.element), **geometry)  # fmt: skip


def affine_rescale(kernels: str, x: Type, w: Type, to: Type) -> Rescale:
    """How a kernel set brings sums of products to the result's grid, per channel of the weight.

    Layers of 16 bits have one kernel for all sets.
    """
    scale = real_scale(x, w, to=to)
    if of_16_bits(x, to):
        return derive("tflite_16x8", scale if scale.size > 1 else scale.reshape(()))
    rounding = {"tflite_reference": "tflite_reference", "tflite_builtin": "tflite_builtin",
                "xnnpack": "f32_half_even"}[kernels]  # fmt: skip
    if kernels == "xnnpack":  # formed in f32
        return Rescale(rounding, scale=x.scale * w.scale / to.scale)
    if x.dtype.name == "u8":
        return derive(rounding, scale_of_one(x, w, to))
    return derive(rounding, scale if scale.size > 1 else scale.reshape(()))


def scale_of_one(x: Type, w: Type, to: Type) -> np.float64:
    """What a product is worth in steps of the result, where a weight has one scale.

    The product of the scales is formed in f32 first (`GetQuantizedConvolutionMultipler`).
    """
    return np.float64(np.float32(x.scale * w.scale.ravel()[0])) / np.float64(to.scale)


def transposed(w: Op, order: tuple[int, ...]) -> Op:
    """A weight with its axes in another order, made here and now where it is a constant."""
    if not w.is_const:
        return lax.transpose(w, permutation=order)
    grid = w.type.grid
    if grid is not None and grid.axis is not None:
        grid = Grid(grid.scale, grid.zero, order.index(grid.axis), narrow=grid.narrow)
    value = np.ascontiguousarray(w.value.transpose(order))
    return const(value, Type(w.dtype, value.shape, grid), w.attributes["name"], w.location)


def plain(b: Op | None, x: Op) -> Op | None:
    """A bias without its grid, which follows from those of input and weight.

    Beside an input of 16 bits it has 64, and so have the sums; with 32, which a file may ask for by
    `quantized_bias_type`, they could overflow.
    """
    wide = x.dtype.bits == 16
    require(b is None or (b.dtype.bits == 64) == wide,
            f"takes a bias of {64 if wide else 32} bits beside {x.type}, found {b and b.type}")
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
    if not is_hybrid(x, w) and not on_grids(op, x, weight=w):
        w = lax.reshape(w, shape=(*w.shape[1:3], channels, w.shape[3] // channels))
        return nn.depthwise_conv2d(x, w, b, clamp=clamp, **geometry)
    grouped = w.shape[3] != channels
    # filters with a scale each are a convolution in C groups
    w = transposed(w, (1, 2, 0, 3) if grouped else (1, 2, 3, 0))
    if not grouped and w.type.grid.axis is not None:
        w = _regridded(w, 2)
    if is_hybrid(x, w):
        layer = partial(hybrid.conv2d, groups=channels) if grouped else hybrid.depthwise_conv2d
        return layer(x, w, b, clamp=clamp, **geometry)
    clamp, to = stored_clamp(clamp, op.type.element), op.type.element
    build = partial(int8.conv2d, groups=channels) if grouped else int8.depthwise_conv2d

    def by(contract: str) -> Op:
        rescale = affine_rescale(contract, x.type, w.type, op.type)
        return build(x, w, plain(b, x), to=to, rescale=rescale, clamp=clamp, **geometry)

    if x.dtype.name == "u8" and kernels == "tflite_builtin":
        return by("tflite_reference")
    wide = x.dtype.bits == 16
    return by("xnnpack") if kernels == "xnnpack" or wide else _in_eights(kernels, by)


def _in_eights(kernels: str, by) -> Op:
    """What the builtin kernels round 8 channels at once, those left over as the reference does.

    by: from a contract to the result (`Quantize` in `optimized_ops.h`).
    """
    reference = by("tflite_reference")
    channels = reference.shape[-1]
    end = channels // 8 * 8
    if kernels == "tflite_reference" or not end:
        return reference
    blocks = by("tflite_builtin")
    if end == channels:
        return blocks
    start, shape = (0,) * (blocks.type.rank - 1), blocks.shape[:-1]
    return lax.concatenate(lax.slice(blocks, start=(*start, 0), limit=(*shape, end)),
                           lax.slice(reference, start=(*start, end), limit=blocks.shape),
                           axis=-1)  # fmt: skip


def _in_sixteens(kernels: str, by) -> Op:
    """What the builtin kernel for u8 rounds 16 values at once, those left over as the reference.

    by: from a contract to the result (`TransposeConvV2` in `optimized_ops.h`).
    """
    reference = by("tflite_reference")
    size = reference.type.size
    end = size // 16 * 16
    if kernels == "tflite_reference" or not end:
        return reference
    blocks = by("tflite_builtin")
    if end == size:
        return blocks
    first, rest = (lax.reshape(each, shape=(-1,)) for each in (blocks, reference))
    joined = lax.concatenate(lax.slice(first, start=(0,), limit=(end,)),
                             lax.slice(rest, start=(end,), limit=(size,)), axis=0)  # fmt: skip
    return lax.reshape(joined, shape=reference.shape)


def _regridded(w: Op, axis: int) -> Op:
    grid = w.type.grid
    require(w.is_const, "a computed filter with a scale for each channel")
    type = Type(w.dtype, w.shape, Grid(grid.scale, grid.zero, axis, narrow=grid.narrow))
    return const(w.value, type, w.attributes["name"], w.location)


@builtin("TRANSPOSE_CONV", "TransposeConvOptions", slots="output_shape w x b")
def transpose_conv(x: Type, w: Type, b: Type | None = None, *, output_shape: Ints,
                   padding: Padding = "SAME", stride_w: int = 1, stride_h: int = 1,
                   fused_activation_function: Activation = "NONE",
                   quantized_bias_type: Bias = "FLOAT32",
                   to: Element | None = None) -> Type:  # fmt: skip
    """What a convolution by w[O,KH,KW,C] makes x[N,H,W,C] of, turned round, plus b[O]."""
    _filter(x, w)
    require(w.shape[3] == x.shape[3], f"{x.shape[3]} channels by filters of {w.shape[3]}")
    clamp_of(fused_activation_function)
    require(len(output_shape) == 4 and output_shape[::3] == (x.shape[0], w.shape[0])
            and min(output_shape) > 0 and min(stride_h, stride_w) > 0,
            f"{list(output_shape)} is no result of {x} by {w}")  # fmt: skip
    return on(x, output_shape, to)


@expands(transpose_conv)
def _(op, kernels, x, w, b=None):
    a = op.attributes
    geometry = {"strides": (a["stride_h"], a["stride_w"]), "padding": cropped(op)}
    w, clamp = transposed(w, (1, 2, 3, 0)), clamp_of(a["fused_activation_function"])
    if not on_grids(op, x, weight=w):
        return nn.transposed_conv2d(x, w, b, clamp=clamp, **geometry)
    clamp = stored_clamp(clamp, op.type.element)

    def by(contract: str) -> Op:
        rescale = affine_rescale(contract, x.type, w.type, op.type)
        return int8.transposed_conv2d(x, w, plain(b, x), to=op.type.element, rescale=rescale,
                                      clamp=clamp, **geometry)  # fmt: skip

    if x.dtype.bits == 16 or kernels == "xnnpack" and _delegated(op):
        return by("xnnpack")
    return _in_sixteens(kernels, by) if x.dtype.name == "u8" else _in_eights(kernels, by)


def cropped(op: Op) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of the full result that lie before and after those of this one."""
    a, (x, w) = op.attributes, (o.type for o in op.operands[:2])
    strides = (a["stride_h"], a["stride_w"])
    found = []
    for size, k, n, stride in zip(op.shape[1:3], w.shape[1:3], x.shape[1:3], strides, strict=True):
        forward = -(-(size if a["padding"] == "SAME" else size - k + 1) // stride)
        low = max(0, (forward - 1) * stride + k - size) // 2
        found.append((low, (n - 1) * stride + k - size - low))
    return tuple(found)


def _delegated(op: Op) -> bool:
    """Whether XNNPACK's delegate takes a transposed convolution."""
    a, (x, w) = op.attributes, (o.type for o in op.operands[:2])
    strides = (a["stride_h"], a["stride_w"])
    axes = zip(op.shape[1:3], w.shape[1:3], x.shape[1:3], strides, strict=True)
    if a["padding"] == "SAME":
        return all(-(-size // stride) == n and k >= stride for size, k, n, stride in axes)
    return all(k <= size for size, k, _, _ in axes)
