"""Integer convolutions, dense layers and matrix products: exact i32 sums, then one rescale."""

import numpy as np

from qir import shapes
from qir.attributes import Ints, Padding, Pair
from qir.errors import require
from qir.integer_forms import Wanted, integer_form
from qir.ir import const
from qir.rounding import Rescale, derive
from qir.types import Element, Type
from qir.windows import conv2d as conv2d_sums
from qir.windows import depthwise_conv2d as depthwise_sums
from qir.windows import integer_matmul
from qir.windows import transposed_conv2d as transposed_sums

from .dialect import (
    centred,
    finished,
    int8,
    is_bias,
    is_clamp,
    is_quantized,
    is_rescale,
    is_weight,
    real_scale,
    stored_clamp,
)


def _checked(x: Type, w: Type, b: Type | None, axis: int, channels: int, to, rescale, clamp):
    is_quantized(x, "the input")
    is_weight(w, axis)
    is_bias(b, channels)
    is_rescale(rescale, channels)
    is_clamp(clamp, to)


@int8.op
def conv2d(x: Type, w: Type, b: Type | None = None, *, to: Element, rescale: Rescale,
           clamp: Ints | None = None, strides: Pair = (1, 1), padding: Padding = "same",
           dilation: Pair = (1, 1), groups: int = 1) -> Type:  # fmt: skip
    """2-D convolution: sum((x - zero) * w) + b over `x[N,H,W,C]` by `w[KH,KW,C/groups,O]`."""
    shape = shapes.conv2d(x, w, strides, padding, dilation, groups)
    _checked(x, w, b, 3, shape[-1], to, rescale, clamp)
    return to[shape]


@conv2d.means
def _(op, x, w, b=0):
    a = op.attributes
    pads = shapes.pads_of(op.operands[0].type, w.shape[:2], a["strides"], a["padding"],
                          a["dilation"])  # fmt: skip
    acc = conv2d_sums(centred(op, 0, x), w, a["strides"], pads, a["dilation"], a["groups"])
    return finished(op, acc + b)


@int8.op
def depthwise_conv2d(x: Type, w: Type, b: Type | None = None, *, to: Element, rescale: Rescale,
                     clamp: Ints | None = None, strides: Pair = (1, 1), padding: Padding = "same",
                     dilation: Pair = (1, 1)) -> Type:  # fmt: skip
    """Each channel of `x[N,H,W,C]` by its own filters `w[KH,KW,C,M]`; output channel c*M+m.

    The M filters of a channel share one scale.
    """
    shape = shapes.depthwise_conv2d(x, w, strides, padding, dilation)
    _checked(x, w, b, 2, shape[-1], to, rescale, clamp)
    return to[shape]


@depthwise_conv2d.means
def _(op, x, w, b=0):
    a = op.attributes
    pads = shapes.pads_of(op.operands[0].type, w.shape[:2], a["strides"], a["padding"],
                          a["dilation"])  # fmt: skip
    acc = depthwise_sums(centred(op, 0, x), w, a["strides"], pads, a["dilation"])
    return finished(op, acc + b)


@int8.op
def transposed_conv2d(x: Type, w: Type, b: Type | None = None, *, to: Element, rescale: Rescale,
                      clamp: Ints | None = None, strides: Pair = (1, 1),
                      padding: Padding = "same") -> Type:  # fmt: skip
    """Transposed convolution of `x[N,H,W,C]` by `w[KH,KW,C,O]`; padding crops the full result."""
    shape = shapes.transposed_conv2d(x, w, strides, padding)
    _checked(x, w, b, 3, shape[-1], to, rescale, clamp)
    return to[shape]


@transposed_conv2d.means
def _(op, x, w, b=0):
    a = op.attributes
    crops = shapes.transposed_crops(*(o.type for o in op.operands[:2]), a["strides"], a["padding"])
    acc = transposed_sums(centred(op, 0, x), w, a["strides"], crops)
    return finished(op, acc + b)


@int8.op
def dense(x: Type, w: Type, b: Type | None = None, *, to: Element, rescale: Rescale,
          clamp: Ints | None = None) -> Type:  # fmt: skip
    """`(x[...,K] - zero) @ w[K,N] + b`."""
    shape = shapes.dense(x, w)
    _checked(x, w, b, 1, shape[-1], to, rescale, clamp)
    return to[shape]


@dense.means
def _(op, x, w, b=0):
    return finished(op, integer_matmul(centred(op, 0, x), w) + b)


@int8.op
def matmul(a: Type, b: Type, *, to: Element, rescale: Rescale, clamp: Ints | None = None,
           adjoint_a: bool = False, adjoint_b: bool = False) -> Type:  # fmt: skip
    """`(a[...,M,K] - zero) @ (b[...,K,N] - zero)`, each transposed in its last axes on demand."""
    shape = shapes.matmul(a, b, adjoint_a, adjoint_b)
    is_quantized(a, "the left side")
    is_quantized(b, "the right side")
    is_rescale(rescale, 1)
    is_clamp(clamp, to)
    return to[shape]


@matmul.means
def _(op, a, b):
    a, b = centred(op, 0, a), centred(op, 1, b)
    a = np.swapaxes(a, -1, -2) if op.attributes["adjoint_a"] else a
    b = np.swapaxes(b, -1, -2) if op.attributes["adjoint_b"] else b
    return finished(op, integer_matmul(a, b))


def _affine(definition):
    """The integer form of an op with operands x, w, b and the attributes of its integer twin."""

    def build(op, wanted: Wanted, x, w, b=None):
        if b is not None:
            require(_on_product(b.type, x.type, w.type),
                    "the bias is not on the product of the scales of input and weight")  # fmt: skip
        if b is not None and b.is_const:  # its grid follows from those of x and w
            b = const(b.value, name=b.attributes["name"], location=b.location)
        attributes = {k: v for k, v in op.attributes.items() if k in definition.attributes}
        attributes["clamp"] = stored_clamp(op.attributes["clamp"], wanted.to)
        scale = real_scale(x.type, w.type, to=wanted.to)
        if scale.size > 1:
            scale = np.repeat(scale, op.shape[-1] // scale.size)  # filters that share a scale
        rescale = derive(wanted.rounding, scale if scale.size > 1 else scale.reshape(()))
        return definition(x, w, b, to=wanted.to, rescale=rescale, **attributes)

    return build


def _on_product(b: Type, x: Type, w: Type) -> bool:
    """Whether a bias adds to the sums of products as it is stored."""
    if b.grid is None:
        return True
    product = x.scale.astype(np.float64) * w.scale.astype(np.float64).ravel()
    own = np.atleast_1d(b.scale)
    if max(own.size, product.size) % min(own.size, product.size):
        return False
    product = np.repeat(product, max(1, own.size // product.size))
    return not b.zero.any() and np.allclose(own, product, rtol=1e-5, atol=0)


for _definition in (conv2d, depthwise_conv2d, transposed_conv2d, dense, matmul):
    _name = _definition.name.partition(".")[2]
    integer_form(_definition.name, f"nn.{_name}")(_affine(_definition))
