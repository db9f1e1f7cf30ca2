"""Softmax as TensorFlow Lite's kernels have it: in gemmlowp's fixed point, in f32, of 16 bits."""

import numpy as np

from qir.errors import require
from qir.ranges import Register, Span, between, stored
from qir.rounding import gemmlowp
from qir.types import Element, Type

from .dialect import int8, is_quantized

ACCUMULATED = 12
"""Integer bits of the sum of exponentials."""


def _checked(x: Type, exps: Type, to: Element, storage: str) -> Type:
    is_quantized(x, "the input")
    require(x.rank >= 1 and x.shape[-1], f"{x} has nothing along its last axis")
    entries = 2**x.dtype.bits
    require(exps.dtype.name == storage and exps.shape == (entries,) and exps.grid is None,
            f"expected the exponentials {storage}[{entries}], found {exps}")  # fmt: skip
    require(to.dtype.bits == 8 and to.grid is not None and to.grid.per_tensor
            and float(to.grid.scale) == 1 / 256 and int(to.grid.zero) == to.dtype.lo,
            f"softmax gives 256ths above the lowest stored value, asked for {to}")  # fmt: skip
    return to[x.shape]


@int8.op
def softmax_gemmlowp(x: Type, exps: Type, *, to: Element) -> Type:
    """Softmax along the last axis in gemmlowp's fixed point (TFLite BUILTIN_REF).

    exps: i32[256], entry d is exp(-scale * d) with 31 fractional bits, what a value d steps below
    the largest weighs. Their sum has 19 fractional bits; three steps of Newton's divide by it.
    """
    return _checked(x, exps, to, "i32")


@softmax_gemmlowp.means
def _(op, x, exps):
    x = x.astype(np.int32)
    e = exps[x.max(-1, keepdims=True) - x].astype(np.int64)
    half = 1 << (ACCUMULATED - 1)
    total = ((e + half) >> ACCUMULATED).sum(-1, keepdims=True).astype(np.int32).astype(np.int64)
    inverse, above = gemmlowp.reciprocal(total)
    product = gemmlowp.times(inverse, e)
    shift = ACCUMULATED + above - 8
    q = ((product >> (shift - 1)) + 1) >> 1
    return np.clip(q + op.type.lo, op.type.lo, op.type.hi)


@softmax_gemmlowp.spans
def _(op, x, exps):
    total = Register("the sum of the exponentials", between(0, op.shape[-1] * 2**19))
    return Span(stored(op.type), (total,))


@int8.op
def softmax_f32(x: Type, exps: Type, *, to: Element) -> Type:
    """Softmax along the last axis by a table of f32 exponentials (TFLite's builtin kernels).

    exps: f32[256], entry d is exp(-scale * d). They are summed one after the other, first to last,
    so that the sum has the same bits everywhere; a product with 256 over it is rounded half away.
    It is the one int8 op that works in f32 on the way, because that kernel does.
    """
    return _checked(x, exps, to, "f32")


@softmax_f32.means
def _(op, x, exps):
    x = x.astype(np.int32)
    e = exps[x.max(-1, keepdims=True) - x]
    total = np.add.accumulate(e, -1, dtype=np.float32)[..., -1:]
    inverse = np.float32(1) / (total * np.float32(1 / 256))
    q = np.floor((e * inverse).astype(np.float64) + 0.5).astype(np.int32)
    return np.clip(q + op.type.lo, op.type.lo, op.type.hi)


@softmax_f32.spans
def _(op, x, exps):
    return stored(op.type)


@int8.op
def softmax_interpolated(x: Type, exps: Type, reciprocals: Type, *, to: Element) -> Type:
    """Softmax of 16 bits along the last axis, by two tables (TFLite, both of its kernel sets).

    exps: i32[65536], entry d is exp(-scale * d) with 15 fractional bits, what a value d steps below
    the largest weighs. reciprocals: i32[65536], what 1 / (1 + n / 65535) is with 15 fractional
    bits. Their sum is shifted to one integer bit, of which the rest is looked up to 16 bits.
    """
    is_quantized(x, "the input")
    require(x.dtype.name == "i16" and x.rank >= 1 and x.shape[-1],
            f"takes rows of i16, found {x}")  # fmt: skip
    for values, what in ((exps, "exponentials"), (reciprocals, "reciprocals")):
        require(values.dtype.name == "i32" and values.shape == (2**16,) and values.grid is None,
                f"expected the {what} i32[65536], found {values}")  # fmt: skip
    require(x.shape[-1] <= 2**16 - 2, f"sums of {x.shape[-1]} exponentials are none of 32 bits")
    require(to.dtype.name == "i16" and to.grid is not None and to.grid.per_tensor
            and float(to.grid.scale) == 1 / 32768 and int(to.grid.zero) == 0,
            f"gives 32768ths, asked for {to}")  # fmt: skip
    return to[x.shape]


@softmax_interpolated.means
def _(op, x, exps, reciprocals):
    x = x.astype(np.int32)
    e = exps[x.max(-1, keepdims=True) - x]
    total = e.sum(-1, np.int32, keepdims=True)
    headroom = 31 - np.frexp(total.astype(np.float64))[1]  # the sum is 2**15 - 1 or more
    rest = ((((total << headroom) >> 13) + 1) >> 1) - 2**16
    inverse = reciprocals[np.clip(rest, 0, 2**16 - 1)]
    shift = 30 - headroom
    q = (e * inverse + (np.int32(1) << (shift - 1)).astype(np.int32)) >> shift
    return np.clip(q, 0, op.type.hi)


@softmax_interpolated.spans
def _(op, x, exps, reciprocals):
    return stored(op.type)
