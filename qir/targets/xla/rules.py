"""Legalization for XLA: affine int8 ops become the kernels that run fastest, chosen by shape.

The input's zero point is folded into the bias: padding holds the zero point, so that every window
sees a full filter and sum((x - zero) * w) + b = sum(x * w) + (b - zero * sum(w)). XLA multiplies
i8 fastest, so u8 is read with its highest bit flipped, and a weight with a zero point becomes one
without where 8 bits hold it; else its grid says the zero point to the kernel.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from qir.dialects import int8, lax, xla

from ...errors import require
from ...ir import Op, const
from ...pattern import V
from ...rewrite import Rule, rule
from ...shapes import pads_of
from ...types import DTYPES, Type, dtype_of, per_tensor
from .profile import USUAL, Profile


def rules(profile: Profile = USUAL) -> tuple[Rule, ...]:
    """The rules that `legalize(target=xla)` applies; what they choose between, a profile says."""
    return (_pointwise_convolution(profile), _convolution_kernel(profile), depthwise_kernel,
            transposed_kernel, _dense_kernel(profile), batched_kernel)  # fmt: skip


_AFFINE = ("to", "rescale", "clamp")


def _taken(op: Op, *names: str) -> dict:
    return {name: op.attributes[name] for name in (*_AFFINE, *names)}


@dataclass(frozen=True, eq=False)
class _Weight:
    """A constant weight as integers that kernels multiply, and the zero point that is in them."""

    value: np.ndarray
    zero: int
    of: Op

    @property
    def centred(self) -> np.ndarray:
        """The integers without the zero point, in as few bits as hold them."""
        return self.value.astype(np.int16) - np.int16(self.zero) if self.zero else self.value

    def const(self, value: np.ndarray) -> Op:
        """The weight with its axes arranged otherwise, on a grid if there is a zero point."""
        name, grid = self.of.attributes.get("name"), None
        if self.zero:
            grid = per_tensor(self.of.type.grid.scale, self.zero)
        return const(value, Type(dtype_of(value), value.shape, grid), name=name)


def _weights(op: Op) -> _Weight:
    w = op.operands[1]
    require(w.is_const, f"the weight is computed by {w.kind}; kernels take constants")
    zero, value = int(w.type.zero.ravel()[0]), w.value
    if not zero and w.dtype.name != "u8":
        return _Weight(value, 0, w)
    require(w.dtype.bits <= 8, f"a weight with a zero point has 8 bits in kernels, found {w.type}")
    centred = value.astype(np.int32) - zero
    if centred.min(initial=0) >= -128 and centred.max(initial=0) <= 127:
        return _Weight(centred.astype(np.int8), 0, w)
    lift = w.dtype.lo + 128
    return _Weight((value.astype(np.int32) - lift).astype(np.int8), zero - lift, w)


def _signed(x: Op) -> Op:
    """An operand of a kernel: u8 as i8 of the same reals."""
    return int8.flip_sign(x) if x.dtype.name == "u8" else x


def _bias(op: Op) -> np.ndarray:
    x, channels = op.operands[0], op.shape[-1]
    storage = "i32" if x.dtype.bits <= 8 else "i64"
    if len(op.operands) < 3:
        return np.zeros(channels, DTYPES[storage].numpy)
    b = op.operands[2]
    require(b.is_const, f"the bias is computed by {b.kind}; kernels take constants")
    require(b.dtype.name == storage, f"the bias is {b.dtype}; kernels of {x.dtype} take {storage}")
    return b.value


def _folded(op: Op, x: Op, w: np.ndarray) -> Op:
    """The bias with the input's zero point taken off; w is [..., outputs], without its own."""
    taps = w.reshape(-1, w.shape[-1]).sum(0, np.int64)
    bias = _bias(op)
    folded = bias.astype(np.int64) - int(x.type.zero) * taps
    return const(folded.astype(bias.dtype), name=_name(op, "bias"))


def _name(op: Op, part: str) -> str | None:
    name = op.operands[1].attributes.get("name")
    return f"{name}.{part}" if name else None


def _pads(op: Op):
    a = op.attributes
    return pads_of(op.operands[0].type, op.operands[1].shape[:2], a["strides"], a["padding"],
                   a.get("dilation", (1, 1)))  # fmt: skip


def _pointwise_convolution(profile: Profile) -> Rule:
    @rule(int8.conv2d(...) @ "op")
    def pointwise_convolution(op):
        """A 1x1 convolution is a dot over its channels, of a slice if it has strides."""
        w, strides = _weights(op), op.attributes["strides"]
        window = w.value.shape[:2]
        require(window == (1, 1), f"the filter is {window[0]}x{window[1]}")
        require(op.attributes["groups"] == 1, "the convolution is grouped")
        require(not any(map(any, _pads(op))), "the convolution pads")
        x = op.operands[0]
        if strides != (1, 1):
            steps = (1, *strides, 1)
            x = lax.slice(x, start=(0, 0, 0, 0), limit=(-1, -1, -1, -1), strides=steps)
        return _dot(op, x, w, w.value[0, 0], profile)

    return pointwise_convolution


def _dense_kernel(profile: Profile) -> Rule:
    @rule(int8.dense(...) @ "op")
    def dense_kernel(op):
        """A dense layer is one dot; few rows want the weight stored [N,K]."""
        w = _weights(op)
        return _dot(op, op.operands[0], w, w.value, profile)

    return dense_kernel


def _dot(op: Op, x: Op, w: _Weight, matrix: np.ndarray, profile: Profile) -> Op:
    x, layout = _signed(x), profile.dot(prod(x.shape[:-1]), *matrix.shape)
    stored = np.ascontiguousarray(matrix.T) if layout == "nk" else matrix
    return xla.dot(x, w.const(stored), _folded(op, x, w.centred), layout=layout, **_taken(op))


def _convolution_kernel(profile: Profile) -> Rule:
    @rule(int8.conv2d(...) @ "op")
    def convolution_kernel(op):
        """A convolution takes the kernel measured fastest for it, or one for each channel."""
        w, a = _weights(op), op.attributes
        x, pads = _signed(op.operands[0]), _pads(op)
        kernel = profile.conv(x.shape, w.value.shape, a["strides"], a["dilation"], a["groups"],
                              pads)  # fmt: skip
        if kernel == "depthwise":
            return _by_groups(op, w.centred)
        kernel = "slices" if kernel == "pointwise" else kernel
        # the sums that take a zero point off would be one for each group: 16 bits are as fast
        weight = w.const(w.value)
        if a["groups"] > 1:
            weight = const(w.centred, name=_name(op, "centred"))
        return xla.conv(x, weight, _folded(op, x, w.centred), padding=pads, kernel=kernel,
                        **_taken(op, "strides", "dilation", "groups"))  # fmt: skip

    return convolution_kernel


def _by_groups(op: Op, w: np.ndarray) -> Op:
    """A convolution with as many groups as channels is depthwise."""
    x = op.operands[0]
    filters = const(w.reshape(*w.shape[:2], x.shape[3], -1), name=_name(op, "taps"))
    return xla.depthwise(x, filters, _folded(op, x, w), padding=_pads(op),
                         **_taken(op, "strides", "dilation"))  # fmt: skip


@rule(int8.depthwise_conv2d(...) @ "op")
def depthwise_kernel(op):
    """A depthwise convolution is a sum over taps."""
    x, w = op.operands[0], _weights(op).centred
    flat = w.reshape(*w.shape[:2], -1)
    filters = const(w, name=op.operands[1].attributes.get("name"))
    return xla.depthwise(x, filters, _folded(op, x, flat), padding=_pads(op),
                         **_taken(op, "strides", "dilation"))  # fmt: skip


@rule(int8.transposed_conv2d(...) @ "op")
def transposed_kernel(op):
    """A transposed convolution runs as one dot of all its phases."""
    w = _weights(op)
    require(op.operands[0].dtype.bits <= 8, f"the input is {op.operands[0].dtype}; its kernel "
            "takes 8 bits")  # fmt: skip
    bias = const(_bias(op), name=_name(op, "bias"))
    return xla.transposed_conv(_signed(op.operands[0]), w.const(w.value), bias,
                               **_taken(op, "strides", "padding"))  # fmt: skip


@rule(int8.matmul(V.a, V.b) @ "op")
def batched_kernel(op, a, b):
    """A product of two activations multiplies stored values, read through their transposes."""
    require(a.dtype.bits <= 8 and b.dtype.bits <= 8, f"{a.dtype} by {b.dtype} is no 8-bit product")
    a, a_axes = _untransposed(a, op.attributes["adjoint_a"])
    b, b_axes = _untransposed(b, op.attributes["adjoint_b"])
    return xla.batch_dot(_signed(a), _signed(b), a_axes=a_axes, b_axes=b_axes, **_taken(op))


def _untransposed(side: Op, adjoint: bool) -> tuple[Op, tuple[int, ...] | None]:
    """What a side of a product is a transpose of, and in which order its axes are read."""
    axes = tuple(range(side.type.rank))
    if side.kind == "lax.transpose":
        side, axes = side.operands[0], side.attributes["permutation"]
    if adjoint:
        axes = (*axes[:-2], axes[-1], axes[-2])
    return side, None if axes == tuple(range(len(axes))) else axes
