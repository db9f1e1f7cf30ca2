"""Convolutions and products of matrices."""

import numpy as np

from qir.dialects import hybrid, int8, nn, tfl
from qir.dialects.tfl.convolutions import cropped
from qir.dialects.tfl.dialect import is_weight_of

from ....errors import Declined, require
from ....ir import Op, const
from ....pattern import V, either
from ....rewrite import rule
from ....shapes import transposed_crops
from ....types import DTYPES, Element, Grid, Type, per_tensor
from .fitting import finish, padded, product_of_scales, same_rescale, stated
from .stored import flattened, reordered


@rule(either(int8.conv2d, nn.conv2d, hybrid.conv2d)(...) @ "op")
def convolution(op):
    """HWIO filters become OHWI."""
    same_rescale(op, product_of_scales(op))
    _, w, *b = op.operands
    x, padding = padded(op, w.shape[:2], op.attributes["dilation"])
    return tfl.conv_2d(x, _weight(w, (3, 0, 1, 2), x), *_bias(op, b), padding=padding,
                       **_window(op), **finish(op))  # fmt: skip


@rule(either(int8.depthwise_conv2d, nn.depthwise_conv2d, hybrid.depthwise_conv2d)(...) @ "op")
def depthwise_convolution(op):
    """Filters [KH,KW,C,M] become [1,KH,KW,C*M], with a scale for each of C*M."""
    _, w, *b = op.operands
    grid, multiplier = w.type.grid, w.shape[3]
    require(w.is_const or grid is None, "the filter is computed")
    _is_taken(w, op.operands[0])
    per_channel = grid is not None and grid.axis is not None
    same_rescale(op, product_of_scales(op, multiplier if per_channel else 1))
    flat = flattened(w)
    x, padding = padded(op, w.shape[:2], op.attributes["dilation"])
    return tfl.depthwise_conv_2d(x, flat, *_bias(op, b, flat), depth_multiplier=multiplier,
                                 padding=padding, **_window(op), **finish(op))  # fmt: skip


@rule(either(int8.dense, nn.dense, hybrid.dense)(...) @ "op")
def dense_layer(op):
    """Weights [K,N] become [N,K]."""
    same_rescale(op, product_of_scales(op))
    x, w, *b = op.operands
    return tfl.fully_connected(x, _weight(w, (1, 0), x), *_bias(op, b),
                               keep_num_dims=x.type.rank != 2,
                               asymmetric_quantize_inputs=op.kind == hybrid.dense.name,
                               **finish(op))  # fmt: skip


@rule(either(int8.matmul, nn.matmul)(V.a, V.b) @ "op")
def products_of_matrices(op, a, b):
    """Sides are transposed on demand; u8, for which there is no kernel, is multiplied as i8."""
    same_rescale(op, product_of_scales(op))
    require(op.attributes["clamp"] is None, "the operator has no fused activation")
    adjoint = {"adj_x": op.attributes["adjoint_a"], "adj_y": op.attributes["adjoint_b"]}
    if "u8" not in (a.dtype.name, b.dtype.name, op.dtype.name):
        return tfl.batch_matmul(a, b, to=stated(op), **adjoint)
    product = tfl.batch_matmul(*map(_signed, (a, b)), to=_signed_element(op.type), **adjoint)
    return tfl.quantize(product, to=op.type.element) if op.dtype.name == "u8" else product


@rule(either(int8.transposed_conv2d, nn.transposed_conv2d)(...) @ "op")
def transposed_convolution(op):
    """HWIO filters become OHWI; the padding must be the one that follows from the result's size."""
    same_rescale(op, product_of_scales(op))
    x, w, *b = op.operands
    strides = op.attributes["strides"]
    wanted = transposed_crops(x.type, w.type, strides, op.attributes["padding"])
    for padding in ("SAME", "VALID"):
        new = tfl.transpose_conv(x, _weight(w, (3, 0, 1, 2), x), *_bias(op, b), padding=padding,
                                 output_shape=op.shape, stride_h=strides[0], stride_w=strides[1],
                                 **finish(op))  # fmt: skip
        if cropped(new) == wanted:
            return new
    raise Declined(f"cropping {wanted} is neither SAME nor VALID")


def _signed(x: Op) -> Op:
    """A value as i8 of the same reals, which QUANTIZE makes of u8 by flipping the highest bit."""
    return tfl.quantize(x, to=_signed_element(x.type)) if x.dtype.name == "u8" else x


def _signed_element(type: Type) -> Element:
    if type.dtype.name != "u8":
        return type.element
    return Element(DTYPES["i8"], per_tensor(type.grid.scale, int(type.zero) - 128))


def _weight(w: Op, order: tuple[int, ...], x: Op) -> Op:
    _is_taken(w, x)
    require(w.is_const or w.type.grid is None, "the weight is computed")
    return reordered(w, order)


def _is_taken(w: Op, x: Op) -> None:
    """Require a weight that the kernels for x take."""
    if x.type.grid is not None and w.type.grid is not None:
        is_weight_of(x.type, w.type)


def _bias(op: Op, b: list[Op], w: Op | None = None) -> list[Op]:
    """The bias on the grid of the sums of products, or of reals; zeros where there is none.

    The kernels with integer weights demand one, and those of convolutions of reals.
    """
    x, channels = op.operands[0].type, op.shape[-1]
    if x.grid is None:
        demanded = op.kind in DEMANDING or op.kind.startswith("hybrid.")
        return b or [const(np.zeros(channels, np.float32), name="bias")] * demanded
    b = b or [const(np.zeros(channels, np.int64 if x.dtype.bits == 16 else np.int32), name="bias")]
    require(b[0].is_const, "the bias is computed")
    scale = x.scale * (w or op.operands[1]).type.scale.ravel()
    grid = Grid(scale, 0, 0) if scale.size > 1 else Grid(scale.ravel()[0], 0)
    return [const(b[0].value, Type(b[0].dtype, b[0].shape, grid), b[0].attributes["name"],
                  b[0].location)]  # fmt: skip


DEMANDING = (nn.conv2d.name, nn.depthwise_conv2d.name)
"""Without a bias the runtime refuses the one, and the other ends its process."""


def _window(op: Op) -> dict:
    strides, dilation = op.attributes["strides"], op.attributes["dilation"]
    return {"stride_h": strides[0], "stride_w": strides[1], "dilation_h_factor": dilation[0],
            "dilation_w_factor": dilation[1]}  # fmt: skip


RULES = (convolution, depthwise_convolution, dense_layer, products_of_matrices,
         transposed_convolution)  # fmt: skip
