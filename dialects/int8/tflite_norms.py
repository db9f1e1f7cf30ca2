"""Norms and logarithms of softmax along rows, as TensorFlow Lite's kernels compute them."""

import numpy as np

from qir.errors import require
from qir.ranges import stored
from qir.rounding import gemmlowp
from qir.types import Element, Type

from .dialect import centred, int8, is_quantized

ACCUMULATED, RESULT = 12, 5
"""Integer bits of a sum of exponentials, and of its logarithm."""


def _rows(x: Type, to: Element, scale: float, zero: int) -> Type:
    is_quantized(x, "the input")
    require(x.dtype.bits == 8 and x.rank >= 1 and x.shape[-1],
            f"takes rows of 8 bits, found {x}")  # fmt: skip
    require(to.dtype == x.dtype and to.grid is not None and to.grid.per_tensor
            and float(to.grid.scale) == scale and int(to.grid.zero) == zero + x.dtype.lo + 128,
            f"gives {x.dtype} on steps of {scale}, asked for {to}")  # fmt: skip
    return to[x.shape]


def _entries(values: Type, storage: str, what: str) -> None:
    require(values.dtype.name == storage and values.shape == (256,) and values.grid is None,
            f"expected {what} {storage}[256], found {values}")  # fmt: skip


@int8.op
def l2_norm(x: Type, *, to: Element) -> Type:
    """x over the root of the sum of its squares along the last axis, in steps of 1/128.

    The inverse root is `GetInvSqrtQuantizedMultiplierExp`; a row of zeros stays zero. The
    kernel for u8 multiplies by 128 before the root, that for i8 with it, which rounds otherwise.
    """
    return _rows(x, to, 1 / 128, 0)


@l2_norm.means
def _(op, x):
    x = centred(op, 0, x).astype(np.int64)
    return np.clip(normalized(op, x) + int(op.type.zero), op.type.lo, op.type.hi)


def normalized(op, x):
    """128 times x over the root of the sum of its squares; x: i64 of any library like numpy."""
    root, shift = gemmlowp.inverse_root((x * x).sum(-1, keepdims=True))
    if op.dtype.name == "u8":
        return gemmlowp.rescaled(x * 128, root, shift)
    return gemmlowp.rescaled(x, root, shift + 7)


@int8.op
def log_softmax_gemmlowp(x: Type, exps: Type, steps: Type, *, to: Element) -> Type:
    """The logarithm of softmax along the last axis in fixed point (TFLite BUILTIN_REF).

    exps: i32[256], entry d is exp(-scale * d) with 31 fractional bits, what a value d steps below
    the largest weighs. steps: i32[256], entry d is -scale * d with 26 fractional bits.
    """
    _entries(exps, "i32", "the exponentials")
    _entries(steps, "i32", "the differences")
    return _rows(x, to, 1 / 16, 127)


@log_softmax_gemmlowp.means
def _(op, x, exps, steps):
    distance = x.max(-1, keepdims=True).astype(np.int32) - x
    return log_softmax(distance, exps, steps.astype(np.int64), op.type.lo, op.type.hi)


def log_softmax(distance, exps, steps, lo: int, hi: int):
    """What `log_softmax_gemmlowp` means, on the distances to the largest values."""
    weights = gemmlowp.divided(exps.astype(np.int64), ACCUMULATED)[distance]
    total = gemmlowp.logarithm(weights.sum(-1, keepdims=True), ACCUMULATED, RESULT)
    return (gemmlowp.divided(steps[distance] - total, 22) + hi).clip(lo, hi)


@int8.op
def log_softmax_f32(x: Type, exps: Type, reals: Type, *, to: Element) -> Type:
    """The logarithm of softmax along the last axis in f32 (TFLite's builtin kernels).

    exps: f32[256], entry d is exp(-scale * d); they are summed one after the other, first to last.
    reals: f32[256], scale * q for each stored value q, lowest first.
    """
    _entries(exps, "f32", "the exponentials")
    _entries(reals, "f32", "the values")
    return _rows(x, to, 1 / 16, 127)


@log_softmax_f32.means
def _(op, x, exps, reals):
    x = x.astype(np.int32)
    largest = x.max(-1, keepdims=True)
    total = np.add.accumulate(exps[largest - x], -1, dtype=np.float32)[..., -1:]
    log = np.log(total.astype(np.float64)).astype(np.float32)
    lowest = op.operands[0].dtype.lo
    steps = reals[x - lowest] - (reals[largest - lowest] + log)
    return np.clip(np.rint(steps * np.float32(16)).astype(np.int32) + op.type.hi,
                   op.type.lo, op.type.hi)  # fmt: skip


for _op in (l2_norm, log_softmax_gemmlowp, log_softmax_f32):
    _op.spans(lambda op, *ranges: stored(op.type))
