"""Softmax and norms in 32-bit integer arithmetic; exponentials and roots of constants are tables.

Error bounds against the real function, in steps of the result: softmax 0.5 + 2**-7; norms 0.5 plus
|gamma| / (scale of the result) * (2**-11 + sqrt(length) * 2**-14 + z * 2**-13) for a normalized
value z.
"""

import numpy as np

from qir.attributes import Ints
from qir.errors import require
from qir.integer_forms import Wanted, integer_form
from qir.ir import const
from qir.ranges import Range, Register, Span, as_range, between, of_array, stored
from qir.rounding import Rescale, derive
from qir.shapes import is_mask
from qir.types import DType, Element, Type

from .dialect import (
    centred,
    centred_range,
    finished,
    finished_span,
    int8,
    is_clamp,
    is_quantized,
    is_rescale,
)

FRACTION = 10
"""Fractional bits of a normalized value; its integer has 16 bits, so it saturates at 32 sigma."""
GAMMA_BITS = 14
LONGEST_ROW = 8192
PROBABILITIES = {"i8": (1 / 256, -128), "u8": (1 / 256, 0), "i16": (1 / 32768, 0)}
"""Scale and zero point of what softmax gives, by storage."""
ROOT_INVERSE = 46342
"""The largest inverse root, 2**29 over the root of a spread of 2**27."""


@int8.op
def softmax(x: Type, exps: Type, mask: Type | None = None, *, to: Element,
            axis: int = -1) -> Type:  # fmt: skip
    """Softmax along `axis` on the grid of 256ths or, i16, 1/32768:0, where a mask holds.

    exps: i32[256], entry d is 2**bits * exp(-scale * d), what a value d steps below the largest
    weighs, i32[65536] for 16 bits; the sum of a row stays within 2**30. With r = 2**30 / sum
    rounded, the result is (e * r + 2**21) >> 22 above the lowest stored value: within 2**-8 of a
    step of e / sum rounded; of 16 bits it is (e * r + 2**14) >> 15, within a step. mask: as
    nn.softmax has it.
    """
    is_quantized(x, "the input")
    require(x.rank >= 1 and -x.rank <= axis < x.rank, f"axis {axis} of a rank {x.rank} tensor")
    require(x.shape[axis], f"{x} has nothing along axis {axis}")
    entries = 2**x.dtype.bits
    require(exps.dtype.name == "i32" and exps.shape == (entries,),
            f"expected the exponentials i32[{entries}], found {exps}")  # fmt: skip
    require(to.grid is not None and to.grid.per_tensor and to.dtype.name in PROBABILITIES
            and (float(to.grid.scale), int(to.grid.zero)) == PROBABILITIES[to.dtype.name],
            "softmax gives i8<0.00390625:-128>, u8<0.00390625:0> or i16<3.0517578e-05:0>, "
            f"asked for {to}")  # fmt: skip
    if mask is not None:
        is_mask(mask, x)
    return to[x.shape]


def _shift(dtype: DType) -> int:
    """By how much a product of 30 bits is shifted to be a probability: in 256ths, in 32768ths."""
    return 22 if dtype.bits == 8 else 15


@softmax.means
def _(op, x, exps, mask=None):
    axis = op.attributes["axis"]
    x = x.astype(np.int32)
    if mask is not None:  # as far below every other value as weighs nothing
        exps = np.append(exps, np.int32(0))
        x = np.where(mask, x, op.operands[0].type.lo - len(exps))
    e = exps[np.minimum(x.max(axis, keepdims=True) - x, len(exps) - 1)]
    total = e.sum(axis, np.int32, keepdims=True)
    reciprocal = (np.int32(2**30) + total // 2) // total
    shift = _shift(op.dtype)
    rounded = (e * reciprocal + np.int32(2 ** (shift - 1))) >> shift
    return np.minimum(rounded + int(op.type.zero), op.type.hi)


@softmax.spans
def _(op, x, exps, mask=None):
    count, (lo, hi) = op.operands[0].shape[op.attributes["axis"]], x.ends
    largest = seen = exps  # of a computed table nothing is known
    if op.operands[1].is_const:
        largest, seen = (of_array(op.operands[1].value[: n + 1]).flat() for n in (0, hi - lo))
    if mask is not None:
        seen = between(min(0, seen.ends[0]), seen.ends[1])
    total = largest + seen.times(count - 1)
    (least, most), (seldom, often) = total.ends, seen.ends
    sums = (Register("the sum of the exponentials", total),)
    if least <= 0 or seldom < 0:
        return Span(stored(op.type), sums, refusal="the exponentials may sum up to 0 or less")
    dividend = 2**30 + most // 2
    reciprocals = dividend // most, (2**30 + least // 2) // least
    # A row's sum holds each of its exponentials, so no product is beyond 2**30 + sum / 2.
    products = between(seldom * reciprocals[0], min(often * reciprocals[1], dividend))
    shift, zero, highest = _shift(op.dtype), int(op.type.zero), op.type.hi
    product = Register("the exponential times the reciprocal", products + 2 ** (shift - 1))
    rows = Register("the dividend of the reciprocal", between(0, dividend))
    if not (sums[0].fits and product.fits and rows.fits):
        return Span(stored(op.type), sums, (rows, product))
    ends = [min((end >> shift) + zero, highest) for end in product.range.ends]
    mean = 2 ** (30 - shift) / count  # probabilities sum up to 1; spread as an exponential is
    moments = (np.clip(mean + zero, *ends), np.float64(mean**2 * (1 - 1 / count)))
    return Span(Range(*map(np.int64, ends), *moments), sums, (rows, product))


@int8.op
def layer_norm(x: Type, gamma: Type, beta: Type, *, to: Element, rescale: Rescale,
               epsilon: int, clamp: Ints | None = None) -> Type:  # fmt: skip
    """Layer norm over the last axis: gamma * z + beta rescaled, z in 10 fractional bits.

    gamma, beta: i32, one an element of the axis. epsilon: in units of scale**2 / length / 2**16.
    """
    _norm(x, (gamma, beta), to, rescale, epsilon, clamp)
    return to[x.shape]


@layer_norm.means
def _(op, x, gamma, beta):
    q = centred(op, 0, x)
    length = np.int32(q.shape[-1])
    total = q.sum(-1, np.int32, keepdims=True)
    whole = (2 * total + length) // (2 * length)
    rest = total - whole * length  # the mean is whole + rest / length, rest at most length / 2
    q = q - whole
    square, e = _square(q, op.attributes["epsilon"])
    spread = square - _shifted_quotient(rest * rest, length, 2 * e)
    deviation = (q << e) - ((rest << (e + 1)) + length) // (2 * length)
    return finished(op, _normalized(deviation, spread) * gamma + beta)


@layer_norm.spans
def _(op, x, gamma, beta):
    x, length = centred_range(op, 0, x).flat(), op.shape[-1]
    total, steps = x.times(length), x.ends[1] - x.ends[0]
    # The squared deviations of numbers `steps` apart average steps**2 / 4 at most (Popoviciu),
    # and the mean's own rounding, half a step at most, adds a quarter to each.
    squares = length * (steps * steps + 1) // 4
    sums = Register("the sum of the row", total), _squares(squares, op.attributes["epsilon"])
    twice = Register("twice the sum and the length", total * 2 + length)
    return _norm_span(op, sums, length - 1, gamma, beta, (twice,))


@int8.op
def rms_norm(x: Type, gamma: Type, *, to: Element, rescale: Rescale, epsilon: int,
             clamp: Ints | None = None) -> Type:  # fmt: skip
    """RMS norm over the last axis: gamma * z rescaled, z in 10 fractional bits."""
    _norm(x, (gamma,), to, rescale, epsilon, clamp)
    return to[x.shape]


@rms_norm.means
def _(op, x, gamma):
    q = centred(op, 0, x)
    square, e = _square(q, op.attributes["epsilon"])
    return finished(op, _normalized(q << e, square) * gamma)


@rms_norm.spans
def _(op, x, gamma):
    largest = max(map(abs, centred_range(op, 0, x).ends))
    squares = _squares(op.shape[-1] * largest**2, op.attributes["epsilon"])
    return _norm_span(op, (squares,), op.shape[-1], gamma, as_range(0))


def _squares(most: int, epsilon: int) -> Register:
    """The sum of squares and epsilon; what follows is made for less than 2**30, 31 bits."""
    return Register("the sum of squares", between(0, most + (epsilon >> 16)), bits=31)


def _norm_span(op, sums, square: int, gamma: Range, beta: Range, intermediates=()) -> Span:
    """What a norm spans from its sums on, as `_normalized` bounds it for sums that fit.

    square: of the largest normalized value; a percent more is for all roundings.
    """
    length = op.shape[-1]
    mantissa, exponent = root_factor(length)
    inverse = ROOT_INVERSE * mantissa + 2**14
    scaled = (2**15 + 1) * (inverse >> 15) + 2 ** (28 - FRACTION - exponent)
    most = int(1.01 * np.sqrt(square) * 2**FRACTION) + 2
    most = min(most, 2**15) if all(each.fits for each in sums) else 2**15
    ends = between(-most, min(most, 2**15 - 1))
    variance = np.float64(4**FRACTION if square else 0)
    normalized = Range(ends.lo, ends.hi, np.float64(0), variance)
    last = Register("gamma times the normalized value, and beta", normalized * gamma + beta)
    return finished_span(op, *sums, last, intermediates=(
        *intermediates,
        Register("the inverse root", between(0, inverse)),
        Register("the deviation times the inverse root", between(-scaled, scaled)),
    ))  # fmt: skip


def _norm(x: Type, parts, to: Element, rescale: Rescale, epsilon: int, clamp) -> None:
    is_quantized(x, "the input")
    require(1 <= x.shape[-1] <= LONGEST_ROW,
            f"rows of 1 to {LONGEST_ROW} keep within 32 bits, found {x}")  # fmt: skip
    for part in parts:
        require(part.dtype.name == "i32" and part.shape == x.shape[-1:],
                f"expected i32[{x.shape[-1]}], found {part}")  # fmt: skip
    require(0 <= epsilon < 2**45, f"epsilon {epsilon} is outside [0, 2**45)")
    is_rescale(rescale, 1)
    is_clamp(clamp, to)


def root_factor(length: int) -> tuple[int, int]:
    """The root of a row's length as mantissa * 2**(exponent - 15), mantissa in [2**14, 2**15]."""
    exponent = int(np.ceil(np.log2(length) / 2))
    return int(np.floor(np.sqrt(length) * 2.0 ** (15 - exponent) + 0.5)), exponent


def _square(q: np.ndarray, epsilon: int):
    """The sum of squares plus epsilon, times 4**e, and e, for which it lies in [2**28, 2**30)."""
    square = (q * q).sum(-1, np.int32, keepdims=True) + (epsilon >> 16)
    e = (30 - np.frexp(np.maximum(square, 1).astype(np.float64))[1]) // 2
    return (square << (2 * e)) + _shifted_fraction(epsilon & 0xFFFF, 2 * e), e


def _shifted_fraction(fraction, shift: np.ndarray) -> np.ndarray:
    """16 fractional bits shifted left."""
    return (fraction << np.maximum(shift - 16, 0)) >> np.maximum(16 - shift, 0)


def _shifted_quotient(dividend: np.ndarray, divisor: np.int32, shift: np.ndarray) -> np.ndarray:
    """`(dividend / divisor) << shift` to 16 fractional bits of the quotient, without overflow."""
    whole = dividend // divisor
    fraction = ((dividend - whole * divisor) << 16) // divisor
    return (whole << shift) + _shifted_fraction(fraction, shift)


def _normalized(deviation: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """deviation / sqrt(spread / length) in 10 fractional bits, saturating at 16 bits.

    Both carry the headroom e, the deviation once and the spread twice, so that e cancels; the
    squares of a row's deviations sum up to its spread, so |deviation| stays within 2**15. The
    spread lies in [2**27, 2**30): taking the mean off halves the sum of squares at most, because
    the integer part of the mean is off already. A row of equal values has no spread; its inverse
    root is cut to 32 bits and times a deviation of 0.
    """
    mantissa, exponent = root_factor(deviation.shape[-1])
    root = np.sqrt(np.maximum(spread, 1).astype(np.float64)).astype(np.int32)
    inverse = (np.int32(2**29) + root // 2) // root
    inverse = (inverse * np.int32(mantissa) + 2**14) >> 15  # at most 2**15.5
    shift = 29 - FRACTION - exponent
    scaled = (deviation * inverse + np.int32(1 << (shift - 1))) >> shift
    return np.clip(scaled, -(2**15), 2**15 - 1)


@integer_form("int8.softmax", "nn.softmax")
def _(op, wanted: Wanted, x, mask=None):
    axis = op.attributes["axis"]
    bits = min(15, 30 - int(np.ceil(np.log2(max(1, x.shape[axis])))))
    require(bits >= 8, f"a softmax over {x.shape[axis]} values leaves {bits} bits for each")
    steps = np.arange(2**x.dtype.bits, dtype=np.float64)
    exps = np.floor(np.exp(-np.float64(x.type.scale) * steps) * 2.0**bits + 0.5)
    exps = const(exps.astype(np.int32), name="exps")
    return softmax(x, exps, mask, to=wanted.to, axis=axis)


@integer_form("int8.layer_norm", "nn.layer_norm")
def _(op, wanted: Wanted, x, gamma, beta):
    _has_8_bits(x)
    gammas, betas = _constants(gamma, beta)
    unit = _unit(gammas, betas)
    return layer_norm(x, _fixed(gammas, unit * 2**FRACTION), _fixed(betas, unit), to=wanted.to,
                      rescale=derive(wanted.rounding, unit / np.float64(wanted.to.grid.scale)),
                      epsilon=_epsilon(op, x))  # fmt: skip


@integer_form("int8.rms_norm", "nn.rms_norm")
def _(op, wanted: Wanted, x, gamma):
    _has_8_bits(x)
    (gammas,) = _constants(gamma)
    unit = _unit(gammas, np.zeros(1))
    return rms_norm(x, _fixed(gammas, unit * 2**FRACTION), to=wanted.to,
                    rescale=derive(wanted.rounding, unit / np.float64(wanted.to.grid.scale)),
                    epsilon=_epsilon(op, x))  # fmt: skip


def _has_8_bits(x) -> None:
    require(x.dtype.bits <= 8, f"squares of {x.dtype} sum up beyond 32 bits",
            "8 bits for what it reads, or its parts as ops, decompose(target=tflite)")  # fmt: skip


def _constants(*operands):
    for operand in operands:
        require(operand.is_const, f"gamma and beta must be constants, found {operand.kind}")
    return [np.asarray(o.value, np.float64) for o in operands]


def _unit(gammas: np.ndarray, betas: np.ndarray) -> float:
    """What 1 stands for in gamma * z + beta: gamma takes 14 bits, beta at most 30."""
    largest = max(np.abs(gammas).max(), np.abs(betas).max() / 2**6, 1e-30)
    return float(largest) * 2.0 ** -(GAMMA_BITS + FRACTION)


def _fixed(values: np.ndarray, unit: float):
    return const(np.floor(values / unit + 0.5).astype(np.int32))


def _epsilon(op, x) -> int:
    length, scale = x.shape[-1], np.float64(x.type.scale)
    steps = op.attributes["epsilon"] * length / scale**2 * 2.0**16
    return int(min(np.floor(steps + 0.5), 2**45 - 1))
