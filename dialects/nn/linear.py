"""Sums of products: convolutions, dense layers, matrix products."""

import numpy as np

from qir import shapes
from qir.attributes import Floats, Padding, Pair
from qir.roles import affine, free
from qir.types import Type
from qir.windows import conv2d as conv2d_sums
from qir.windows import depthwise_conv2d as depthwise_sums
from qir.windows import transposed_conv2d as transposed_sums

from .dialect import are_floats, clamped, is_bias, is_clamp, nn


@nn.op(grid=affine(axis=3))
def conv2d(x: Type, w: Type, b: Type | None = None, *, strides: Pair = (1, 1),
           padding: Padding = "same", dilation: Pair = (1, 1), groups: int = 1,
           clamp: Floats | None = None) -> Type:  # fmt: skip
    """2-D convolution of x[N,H,W,C] by w[KH,KW,C/groups,O] plus b[O], as [N,OH,OW,O]."""
    are_floats(x=x, w=w, b=b)
    is_clamp(clamp)
    shape = shapes.conv2d(x, w, strides, padding, dilation, groups)
    is_bias(b, shape[-1])
    return x.with_shape(shape)


@conv2d.means
def _(op, x, w, b=0):
    a = op.attributes
    pads = shapes.pads_of(op.operands[0].type, w.shape[:2], a["strides"], a["padding"],
                          a["dilation"])  # fmt: skip
    return clamped(op, conv2d_sums(x, w, a["strides"], pads, a["dilation"], a["groups"]) + b)


@nn.op(grid=affine(axis=2))
def depthwise_conv2d(x: Type, w: Type, b: Type | None = None, *, strides: Pair = (1, 1),
                     padding: Padding = "same", dilation: Pair = (1, 1),
                     clamp: Floats | None = None) -> Type:  # fmt: skip
    """Each channel of x[N,H,W,C] by its own w[KH,KW,C,M] plus b[C*M], as [N,OH,OW,C*M].

    Channel c * M + m of the result is channel c of x filtered by w[:,:,c,m].
    """
    are_floats(x=x, w=w, b=b)
    is_clamp(clamp)
    shape = shapes.depthwise_conv2d(x, w, strides, padding, dilation)
    is_bias(b, shape[-1])
    return x.with_shape(shape)


@depthwise_conv2d.means
def _(op, x, w, b=0):
    a = op.attributes
    pads = shapes.pads_of(op.operands[0].type, w.shape[:2], a["strides"], a["padding"],
                          a["dilation"])  # fmt: skip
    return clamped(op, depthwise_sums(x, w, a["strides"], pads, a["dilation"]) + b)


@nn.op(grid=affine(axis=3))
def transposed_conv2d(x: Type, w: Type, b: Type | None = None, *, strides: Pair = (1, 1),
                      padding: Padding = "same", clamp: Floats | None = None) -> Type:  # fmt: skip
    """The gradient of a convolution: x[N,H,W,C] by w[KH,KW,C,O] plus b[O], as [N,OH,OW,O].

    Input row i and filter row k meet in row i * stride + k of the full result; `same` keeps
    H * stride rows of it, explicit padding is cropped off it.
    """
    are_floats(x=x, w=w, b=b)
    is_clamp(clamp)
    shape = shapes.transposed_conv2d(x, w, strides, padding)
    is_bias(b, shape[-1])
    return x.with_shape(shape)


@transposed_conv2d.means
def _(op, x, w, b=0):
    a = op.attributes
    crops = shapes.transposed_crops(*(o.type for o in op.operands[:2]), a["strides"], a["padding"])
    return clamped(op, transposed_sums(x, w, a["strides"], crops) + b)


@nn.op(grid=affine(axis=1))
def dense(x: Type, w: Type, b: Type | None = None, *, clamp: Floats | None = None) -> Type:
    """Matrix product of x[...,K] and w[K,N] plus b[N], as [...,N]."""
    are_floats(x=x, w=w, b=b)
    is_clamp(clamp)
    shape = shapes.dense(x, w)
    is_bias(b, shape[-1])
    return x.with_shape(shape)


@dense.means
def _(op, x, w, b=0):
    return clamped(op, np.matmul(x, w) + b)


@nn.op(grid=free())
def matmul(a: Type, b: Type, *, adjoint_a: bool = False, adjoint_b: bool = False,
           clamp: Floats | None = None) -> Type:  # fmt: skip
    """Matrix products of a[...,M,K] and b[...,K,N], as [...,M,N].

    `adjoint_a` takes a[...,K,M] and `adjoint_b` takes b[...,N,K]: transposed in the last two axes.
    """
    are_floats(a=a, b=b)
    is_clamp(clamp)
    return a.with_shape(shapes.matmul(a, b, adjoint_a, adjoint_b))


@matmul.means
def _(op, a, b):
    a = np.swapaxes(a, -1, -2) if op.attributes["adjoint_a"] else a
    b = np.swapaxes(b, -1, -2) if op.attributes["adjoint_b"] else b
    return clamped(op, np.matmul(a, b))
