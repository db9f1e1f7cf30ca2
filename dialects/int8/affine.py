"""Integer convolutions, dense layers and matrix products: exact sums, then one rescale.

Sums have the bits of the bias, 32 or 64. Without a bias they have 64 where a factor has more than
8 bits, since 32 hold no more than 516 products of 16 bits by 8. A weight may have a zero point,
which its type says: the legacy uint8 scheme has such.
"""

import numpy as np

from qir import shapes
from qir.attributes import Ints, Padding, Pair
from qir.errors import require
from qir.integer_forms import Wanted, integer_form
from qir.ir import const
from qir.ranges import (
    Range,
    Register,
    Span,
    conv_taps,
    dense_taps,
    depthwise_taps,
    transposed,
    weighted,
)
from qir.rounding import Rescale, derive, widened
from qir.types import Element, Type
from qir.windows import conv2d as conv2d_sums
from qir.windows import depthwise_conv2d as depthwise_sums
from qir.windows import integer_matmul
from qir.windows import transposed_conv2d as transposed_sums

from .dialect import (
    centred,
    centred_range,
    centred_weight,
    finished,
    finished_span,
    int8,
    is_bias,
    is_clamp,
    is_quantized,
    is_rescale,
    is_weight,
    real_scale,
    stored_clamp,
    sum_bits,
    sum_type,
)


def _checked(x: Type, w: Type, b: Type | None, axis: int, channels: int, to, rescale, clamp):
    is_quantized(x, "the input")
    is_weight(w, axis, symmetric=False)
    is_bias(b, channels)
    is_rescale(rescale, channels, sum_bits(x, w, bias=b))
    is_clamp(clamp, to)


def _affine_span(op, total: Range, b: Range | None) -> Span:
    """What sums of products span once a bias is added."""
    bits = 8 * np.dtype(sum_type(op)).itemsize
    if b is None:
        return finished_span(op, Register("the sum of products", total, bits))
    last = Register("the sum of products and bias", total + b, bits)
    return finished_span(op, last, bias=b if op.operands[2].is_const else None)


def _windowed(op, x: Range) -> Range:
    """The input of a convolution without its zero point; padding is 0."""
    a, (x_type, w_type) = op.attributes, (o.type for o in op.operands[:2])
    pads = shapes.pads_of(x_type, w_type.shape[:2], a["strides"], a["padding"], a["dilation"])
    x = centred_range(op, 0, x)
    return x.reaching(0) if any(map(any, pads)) else x


def _computed(op, x: Range, w: Range, depth: int) -> Range:
    """Sums of so many products with weights that are no constants."""
    return (x.flat() * centred_range(op, 1, w.flat())).times(depth)


def _factors(op, x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Input and weight without their zero points; most weights have none."""
    return centred(op, 0, x), centred(op, 1, w) if op.operands[1].type.zero.any() else w


@int8.op
def conv2d(x: Type, w: Type, b: Type | None = None, *, to: Element, rescale: Rescale,
           clamp: Ints | None = None, strides: Pair = (1, 1), padding: Padding = "same",
           dilation: Pair = (1, 1), groups: int = 1) -> Type:  # fmt: skip
    """2-D convolution: sum((x - zero) * (w - zero)) + b, `x[N,H,W,C]` by `w[KH,KW,C/groups,O]`."""
    shape = shapes.conv2d(x, w, strides, padding, dilation, groups)
    _checked(x, w, b, 3, shape[-1], to, rescale, clamp)
    return to[shape]


@conv2d.means
def _(op, x, w, b=0):
    a = op.attributes
    pads = shapes.pads_of(op.operands[0].type, w.shape[:2], a["strides"], a["padding"],
                          a["dilation"])  # fmt: skip
    acc = conv2d_sums(*_factors(op, x, w), a["strides"], pads, a["dilation"], a["groups"],
                      accumulator=sum_type(op))  # fmt: skip
    return finished(op, acc + b)


@conv2d.spans
def _(op, x, w, b=None):
    x, filter = _windowed(op, x), op.operands[1]
    if not filter.is_const:
        return _affine_span(op, _computed(op, x, w, int(np.prod(filter.shape[:3]))), b)
    taps = conv_taps(centred_weight(filter), op.attributes["groups"])
    return _affine_span(op, weighted(x, taps), b)


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
    acc = depthwise_sums(*_factors(op, x, w), a["strides"], pads, a["dilation"],
                         accumulator=sum_type(op))  # fmt: skip
    return finished(op, acc + b)


@depthwise_conv2d.spans
def _(op, x, w, b=None):
    x, filter = _windowed(op, x), op.operands[1]
    if not filter.is_const:
        return _affine_span(op, _computed(op, x, w, int(np.prod(filter.shape[:2]))), b)
    return _affine_span(op, weighted(x, depthwise_taps(centred_weight(filter))), b)


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
    acc = transposed_sums(*_factors(op, x, w), a["strides"], crops, sum_type(op))
    return finished(op, acc + b)


@transposed_conv2d.spans
def _(op, x, w, b=None):
    x, filter = centred_range(op, 0, x).reaching(0), op.operands[1]
    if not filter.is_const:
        return _affine_span(op, _computed(op, x, w, int(np.prod(filter.shape[:3]))), b)
    return _affine_span(op, transposed(x, centred_weight(filter), op.attributes["strides"]), b)


@int8.op
def dense(x: Type, w: Type, b: Type | None = None, *, to: Element, rescale: Rescale,
          clamp: Ints | None = None) -> Type:  # fmt: skip
    """`(x[...,K] - zero) @ (w[K,N] - zero) + b`."""
    shape = shapes.dense(x, w)
    _checked(x, w, b, 1, shape[-1], to, rescale, clamp)
    return to[shape]


@dense.means
def _(op, x, w, b=0):
    return finished(op, integer_matmul(*_factors(op, x, w), sum_type(op)) + b)


@dense.spans
def _(op, x, w, b=None):
    x, weight = centred_range(op, 0, x), op.operands[1]
    if not weight.is_const:
        return _affine_span(op, _computed(op, x, w, weight.shape[0]), b)
    return _affine_span(op, weighted(x, dense_taps(centred_weight(weight))), b)


@int8.op
def matmul(a: Type, b: Type, *, to: Element, rescale: Rescale, clamp: Ints | None = None,
           adjoint_a: bool = False, adjoint_b: bool = False) -> Type:  # fmt: skip
    """`(a[...,M,K] - zero) @ (b[...,K,N] - zero)`, each transposed in its last axes on demand."""
    shape = shapes.matmul(a, b, adjoint_a, adjoint_b)
    is_quantized(a, "the left side")
    is_quantized(b, "the right side")
    is_rescale(rescale, 1, sum_bits(a, b))
    is_clamp(clamp, to)
    return to[shape]


@matmul.means
def _(op, a, b):
    a, b = centred(op, 0, a), centred(op, 1, b)
    a = np.swapaxes(a, -1, -2) if op.attributes["adjoint_a"] else a
    b = np.swapaxes(b, -1, -2) if op.attributes["adjoint_b"] else b
    return finished(op, integer_matmul(a, b, sum_type(op)))


@matmul.spans
def _(op, a, b):
    a, b = centred_range(op, 0, a).flat(), centred_range(op, 1, b)
    depth = op.operands[0].shape[-2 if op.attributes["adjoint_a"] else -1]
    columns = b.flat() if op.attributes["adjoint_b"] else b
    bits = 8 * np.dtype(sum_type(op)).itemsize
    return finished_span(op, Register("the sum of products", (a * columns).times(depth), bits))


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
        require(scale.size, "there are no output channels")
        if scale.size > 1:
            scale = np.repeat(scale, op.shape[-1] // scale.size)  # filters that share a scale
        bits = sum_bits(x.type, w.type, bias=None if b is None else b.type)
        rounding = wanted.rounding if bits == 32 else widened(wanted.rounding)
        rescale = derive(rounding, scale if scale.size > 1 else scale.reshape(()))
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
