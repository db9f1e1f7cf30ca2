"""Legalization for XLA: affine int8 ops become the kernels that run fastest, chosen by shape.

The input's zero point is folded into the bias: padding holds the zero point, so that every window
sees a full filter and sum((x - zero) * w) + b = sum(x * w) + (b - zero * sum(w)).
"""

from math import prod

import numpy as np

from qir.dialects import int8, lax, xla

from ...errors import require
from ...ir import Op, const
from ...pattern import V
from ...rewrite import Rule, rule
from ...shapes import pads_of
from ...types import DTYPES
from .choice import choose_conv, choose_dot


def rules() -> tuple[Rule, ...]:
    """The rules that `legalize(target=xla)` applies."""
    return (pointwise_convolution, convolution_kernel, depthwise_kernel, transposed_kernel,
            dense_kernel, batched_kernel)  # fmt: skip


_AFFINE = ("to", "rescale", "clamp")


def _taken(op: Op, *names: str) -> dict:
    return {name: op.attributes[name] for name in (*_AFFINE, *names)}


def _weights(op: Op) -> np.ndarray:
    w = op.operands[1]
    require(w.is_const, f"the weight is computed by {w.kind}; kernels take constants")
    return w.value


def _bias(op: Op) -> np.ndarray:
    x, channels = op.operands[0], op.shape[-1]
    storage = "i32" if x.dtype.bits <= 8 else "i64"
    if len(op.operands) < 3:
        return np.zeros(channels, DTYPES[storage].numpy)
    b = op.operands[2]
    require(b.is_const, f"the bias is computed by {b.kind}; kernels take constants")
    require(b.dtype.name == storage, f"the bias is {b.dtype}; kernels of {x.dtype} take {storage}")
    return b.value


def _folded(op: Op, w: np.ndarray) -> Op:
    """The bias with the input's zero point taken off; w is [..., outputs]."""
    taps = w.reshape(-1, w.shape[-1]).sum(0, np.int64)
    bias = _bias(op)
    folded = bias.astype(np.int64) - int(op.operands[0].type.zero) * taps
    return const(folded.astype(bias.dtype), name=_name(op, "bias"))


def _name(op: Op, part: str) -> str | None:
    name = op.operands[1].attributes.get("name")
    return f"{name}.{part}" if name else None


def _pads(op: Op):
    a = op.attributes
    return pads_of(op.operands[0].type, op.operands[1].shape[:2], a["strides"], a["padding"],
                   a.get("dilation", (1, 1)))  # fmt: skip


@rule(int8.conv2d(...) @ "op")
def pointwise_convolution(op):
    """A 1x1 convolution is a dot over its channels, of a slice if it has strides."""
    w, strides = _weights(op), op.attributes["strides"]
    require(w.shape[:2] == (1, 1), f"the filter is {w.shape[0]}x{w.shape[1]}")
    require(op.attributes["groups"] == 1, "the convolution is grouped")
    require(not any(map(any, _pads(op))), "the convolution pads")
    x = op.operands[0]
    if strides != (1, 1):
        steps = (1, *strides, 1)
        x = lax.slice(x, start=(0, 0, 0, 0), limit=(-1, -1, -1, -1), strides=steps)
    return _dot(op, x, w[0, 0])


@rule(int8.dense(...) @ "op")
def dense_kernel(op):
    """A dense layer is one dot; few rows want the weight stored [N,K]."""
    return _dot(op, op.operands[0], _weights(op))


def _dot(op: Op, x: Op, w: np.ndarray) -> Op:
    layout = choose_dot(prod(x.shape[:-1]))
    stored = np.ascontiguousarray(w.T) if layout == "nk" else w
    weight = const(stored, name=op.operands[1].attributes.get("name"))
    return xla.dot(x, weight, _folded(op, w), layout=layout, **_taken(op))


@rule(int8.conv2d(...) @ "op")
def convolution_kernel(op):
    """A convolution takes the kernel measured fastest for its shape, or one for each channel."""
    w, a = _weights(op), op.attributes
    x, pads = op.operands[0], _pads(op)
    kernel = choose_conv(x.shape, w.shape, a["strides"], a["dilation"], a["groups"], pads)
    if kernel == "depthwise":
        return _by_groups(op, w)
    kernel = "slices" if kernel == "pointwise" else kernel
    return xla.conv(x, _plain(op), _folded(op, w), padding=pads, kernel=kernel,
                    **_taken(op, "strides", "dilation", "groups"))  # fmt: skip


def _by_groups(op: Op, w: np.ndarray) -> Op:
    """A convolution with as many groups as channels is depthwise."""
    channels = op.operands[0].shape[3]
    filters = const(w.reshape(*w.shape[:2], channels, -1), name=_name(op, "taps"))
    return xla.depthwise(op.operands[0], filters, _folded(op, w), padding=_pads(op),
                         **_taken(op, "strides", "dilation"))  # fmt: skip


@rule(int8.depthwise_conv2d(...) @ "op")
def depthwise_kernel(op):
    """A depthwise convolution is a sum over taps."""
    w = _weights(op)
    flat = w.reshape(*w.shape[:2], -1)
    return xla.depthwise(op.operands[0], _plain(op), _folded(op, flat), padding=_pads(op),
                         **_taken(op, "strides", "dilation"))  # fmt: skip


@rule(int8.transposed_conv2d(...) @ "op")
def transposed_kernel(op):
    """A transposed convolution runs as one dot of all its phases."""
    _weights(op)
    require(op.operands[0].dtype.bits <= 8, f"the input is {op.operands[0].dtype}; its kernel "
            "takes 8 bits")  # fmt: skip
    bias = const(_bias(op), name=_name(op, "bias"))
    return xla.transposed_conv(op.operands[0], _plain(op), bias,
                               **_taken(op, "strides", "padding"))  # fmt: skip


@rule(int8.matmul(V.a, V.b) @ "op")
def batched_kernel(op, a, b):
    """A product of two activations multiplies stored values, read through their transposes."""
    require(a.dtype.bits <= 8 and b.dtype.bits <= 8, f"{a.dtype} by {b.dtype} is no 8-bit product")
    a, a_axes = _untransposed(a, op.attributes["adjoint_a"])
    b, b_axes = _untransposed(b, op.attributes["adjoint_b"])
    return xla.batch_dot(a, b, a_axes=a_axes, b_axes=b_axes, **_taken(op))


def _untransposed(side: Op, adjoint: bool) -> tuple[Op, tuple[int, ...] | None]:
    """What a side of a product is a transpose of, and in which order its axes are read."""
    axes = tuple(range(side.type.rank))
    if side.kind == "lax.transpose":
        side, axes = side.operands[0], side.attributes["permutation"]
    if adjoint:
        axes = (*axes[:-2], axes[-1], axes[-2])
    return side, None if axes == tuple(range(len(axes))) else axes


def _plain(op: Op) -> Op:
    """The weight without its grid; the rescale holds its scales."""
    return const(_weights(op), name=op.operands[1].attributes.get("name"))
