"""The rounding contracts: the arithmetic of each kernel set, by name, in numpy.

Functions here take i64 arrays (wide enough for every product) and the numbers of a contract by
name; `Rescale` in rescale.py is their public face. What other kernels do was measured on the
LiteRT 2.3.0 interpreter, x86-64, ties and 32-bit overflow included.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..errors import QirError, suggestion
from . import fixed
from .grids import half_away

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
OPERAND_LIMIT = 255
"""The largest |stored - zero point| of an 8-bit operand, which most sums are made for."""
OPERAND_LIMIT_16 = 2**15
"""That of a 16-bit operand whose zero point is 0."""


@dataclass(frozen=True)
class Number:
    """What one number of a contract may be: its dtype, its range, its length where it is fixed."""

    dtype: type
    lo: float
    hi: float
    size: int | None = None

    def read(self, value, rounding: str, name: str) -> np.ndarray:
        """A read-only array of the number; QirError where it is not what the contract takes."""
        integer = np.issubdtype(self.dtype, np.integer)
        try:
            found = np.asarray(value)
        except ValueError:  # lists of unequal lengths, or too deep
            found = np.asarray("")
        if found.dtype.kind not in ("iu" if integer else "fiu"):
            what = "an integer or a list of them" if integer else "a number or a list of them"
            refuse(rounding, f"{name} is {what}, found {value!r}")
        if self.size is not None and found.shape != (self.size,):
            refuse(rounding, f"{name} has {self.size} numbers, found {found.size}")
        if found.ndim > 1:
            refuse(rounding, f"{name} is one number or a list of them, found shape {found.shape}")
        outside = found[~((found >= self.lo) & (found <= self.hi))]
        if outside.size:
            refuse(rounding, f"{name} {outside[0]} is outside [{self.lo}, {self.hi}]")
        array = np.array(found, dtype=self.dtype)
        array.flags.writeable = False
        return array


@dataclass(frozen=True)
class Contract:
    """One way to rescale: what it is (`doc`, with its source), its numbers, its functions.

    operands: 1, or 2 for a weighted sum. derive: real factor, or two scales and the output's,
    -> numbers. apply: (operands, **numbers) -> i64, to be cut to 32 bits. factors: numbers -> the
    real factor, or that of both operands. held: (operands, **numbers) -> the integers on the way,
    see fixed.py. sum: the contract that sums go by where this one is used. wide: the one that takes
    its place where accumulators have 64 bits, or the operands of a sum 16. bits: of the widest
    accumulators it takes. limit: the largest operand of a sum.
    """

    doc: str
    operands: int
    numbers: Mapping[str, Number]
    derive: Callable[..., dict]
    apply: Callable[..., np.ndarray]
    factors: Callable[..., np.ndarray]
    held: Callable[..., fixed.Held]
    sum: str
    wide: str = "tflite_16x8"
    bits: int = 32
    limit: int = OPERAND_LIMIT


def contract(name: str, operands: int | None = None) -> Contract:
    """The contract of that name; QirError with a suggestion where there is none."""
    fitting = [n for n, c in CONTRACTS.items() if operands in (None, c.operands)]
    if name not in fitting:
        what = {None: "a rounding", 1: "a rounding of one operand", 2: "a rounding of a sum"}
        raise QirError(f"'{name}' is not {what[operands]}", help=suggestion(name, fitting))
    return CONTRACTS[name]


def refuse(name: str, reason: str):
    """Raise the QirError that a rounding does not work out."""
    raise QirError(f"rounding {name}: {reason}")


def _quantize_multiplier(real: np.ndarray, name: str, saturating: bool = False) -> dict:
    # TFLite's QuantizeMultiplier: real = multiplier * 2**(shift - 31).
    fraction, shift = np.frexp(real)
    multiplier = np.floor(fraction * 2.0**31 + 0.5).astype(np.int64)
    carried = multiplier == 2**31
    multiplier, shift = np.where(carried, 2**30, multiplier), np.where(carried, shift + 1, shift)
    tiny, huge = shift < -31, shift > 30
    if huge.any() and not saturating:
        refuse(name, f"a rescale factor is below 2**30, found {np.max(real)}")
    multiplier = np.where(tiny, 0, np.where(huge, INT32_MAX, multiplier))
    return {"multiplier": multiplier, "shift": np.where(tiny, 0, np.minimum(shift, 30))}


def _derive_f32(real):
    return {"scale": real.astype(np.float32)}


def _apply_f32(acc, scale):
    with np.errstate(over="ignore"):
        value = np.rint(acc.astype(np.float32) * scale)
    return np.clip(value.astype(np.float64), INT32_MIN, INT32_MAX).astype(np.int64)


def _f32_factors(scale):
    return scale.astype(np.float64)


def _held_nothing(acc, **numbers):
    return []  # floats saturate


def _derive_f64(real):
    fraction, shift = np.frexp(real)
    if (shift > 31).any():
        refuse("float64_half_away", f"a rescale factor is below 2**31, found {np.max(real)}")
    tiny = shift < -31  # then no 32-bit accumulator reaches a half
    multiplier = np.ldexp(fraction, 53).astype(np.int64)
    return {"multiplier": np.where(tiny, 0, multiplier), "shift": np.where(tiny, 0, shift)}


def _apply_f64(acc, multiplier, shift):
    value = half_away(acc.astype(np.float64) * np.ldexp(multiplier.astype(np.float64), shift - 53))
    return np.clip(value, INT32_MIN, INT32_MAX).astype(np.int64)


def _f64_factors(multiplier, shift):
    return np.ldexp(multiplier.astype(np.float64), shift - 53)


def _derive_16x8(real):
    numbers = _quantize_multiplier(real, "tflite_16x8")
    if (numbers["shift"] > 14).any():
        refuse("tflite_16x8", f"a rescale factor is below 2**14, found {np.max(real)}")
    return numbers | {"multiplier": fixed.sixteen_bits(numbers["multiplier"])}


def _derive_tflite_sum(name, left, s1, s2, s_out):
    s1, s2, s_out = float(s1), float(s2), float(s_out)
    largest = 2 * max(s1, abs(s2))
    real = np.array([s1 / largest, abs(s2) / largest, largest / (2**left * s_out)])
    if real[2] >= 1:
        refuse(name, f"scales {s1} and {s2} are too large for an output scale of {s_out}")
    numbers = _quantize_multiplier(real, name)
    numbers["multiplier"][1] *= np.sign(s2).astype(np.int64)
    return numbers


def _derive_fixed15(s1, s2, s_out):
    # Multipliers up to 2**22 keep 255 * (m1 + m2) + 2**14 below 2**31; 15 bits of fraction, an
    # error under 0.01 of a step, do unless a ratio is above 128.
    ratios = np.array([float(s1), float(s2)]) / float(s_out)
    _, exponent = np.frexp(np.abs(ratios).max())
    shift = min(15, 22 - int(exponent))
    if shift < 8:
        refuse("fixed15", f"a ratio of scales is below 2**14, found {np.abs(ratios).max():g}")
    return {"multiplier": half_away(ratios * 2.0**shift).astype(np.int64), "shift": shift}


def _derive_xnnpack_add(s1, s2, s_out):
    ratios = np.array([s1 / s_out, s2 / s_out], np.float32)
    sizes = np.abs(ratios)
    if sizes.min() < 2.0**-10 or sizes.max() >= 2.0**8:
        refuse("xnnpack_add", f"ratios of scales are in [2**-10, 2**8), found {ratios.tolist()}; "
                              "tflite_add and fixed15 take these")  # fmt: skip
    shift = 21 - int(np.frexp(sizes.max())[1])
    return {"multiplier": np.rint(ratios * np.float32(2.0**shift)).astype(np.int64), "shift": shift}


def _fixed(name, doc, kernel, sum, saturating=False):
    numbers = {"multiplier": Number(np.int32, 0, INT32_MAX), "shift": Number(np.int32, -31, 30)}
    derive = partial(_quantize_multiplier, name=name, saturating=saturating)
    apply, held = partial(fixed.apply_fixed, kernel), partial(fixed.held_fixed, kernel)
    return Contract(doc, 1, numbers, derive, apply, fixed.fixed_factors, held, sum)


def _tflite_sum(doc, kernel, name, left=fixed.LEFT, limit=OPERAND_LIMIT):
    numbers = {"multiplier": Number(np.int32, -INT32_MAX, INT32_MAX, 3),
               "shift": Number(np.int32, -31, 30, 3)}  # fmt: skip
    derive, apply = partial(_derive_tflite_sum, name, left), partial(fixed.apply_sum, kernel,
                                                                     left=left)  # fmt: skip
    held = partial(fixed.held_sum, kernel, left=left)
    return Contract(doc, 2, numbers, derive, apply, partial(fixed.sum_factors, left=left), held,
                    name, "tflite_add_16", limit=limit)  # fmt: skip


def _weighted(doc, derive, name, largest, low, high):
    numbers = {"multiplier": Number(np.int32, -largest, largest, 2),
               "shift": Number(np.int32, low, high)}  # fmt: skip
    return Contract(doc, 2, numbers, derive, fixed.apply_weighted, fixed.weighted_factors,
                    fixed.held_weighted, name, "tflite_add_16")  # fmt: skip


CONTRACTS: dict[str, Contract] = {
    "tflite_reference": _fixed(
        "tflite_reference",
        "gemmlowp's double rounding: doubling high product, then shift right half away from "
        "zero (TFLite BUILTIN_REF).",
        fixed.half_away, "tflite_add"),
    "tflite_builtin": _fixed(
        "tflite_builtin",
        "ruy's double rounding: doubling high product, then shift right half up (TFLite's "
        "optimized CONV_2D and FULLY_CONNECTED on x86).",
        fixed.half_up, "tflite_add"),
    "single": _fixed(
        "single",
        "One rounding half up of the 62-bit product (TFLite built with TFLITE_SINGLE_ROUNDING).",
        fixed.single, "single_add", saturating=True),
    "f32_half_even": Contract(
        "f32(accumulator) times an f32 scale, rounded half to even (XNNPACK on x86, up to the "
        "f32 rounding with which it forms the scale).",
        1, {"scale": Number(np.float32, 0, float(np.finfo(np.float32).max))},
        _derive_f32, _apply_f32, _f32_factors, _held_nothing, "xnnpack_add"),
    "float64_half_away": Contract(
        "f64(accumulator) times an f64 scale, multiplier * 2**(shift - 53), rounded half away "
        "from zero (FULLY_CONNECTED of TFLite BUILTIN_REF).",
        1, {"multiplier": Number(np.int64, 0, 2**53 - 1), "shift": Number(np.int32, -31, 31)},
        _derive_f64, _apply_f64, _f64_factors, _held_nothing, "tflite_add",
        "float64_half_away", 64),
    "tflite_16x8": Contract(
        "The accumulator, of 64 bits or 32, times a multiplier with 15 bits of fraction, shifted "
        "right by 15 - shift and rounded half up (TFLite's kernels of 16-bit activations and "
        "8-bit weights, both of its kernel sets).",
        1, {"multiplier": Number(np.int32, 0, 0x7FFF), "shift": Number(np.int32, -31, 14)},
        _derive_16x8, fixed.apply_16x8, fixed.factors_16x8, fixed.held_16x8, "tflite_add_16",
        "tflite_16x8", 64),
    "tflite_add": _tflite_sum(
        "TFLite's ADD and SUB: operands shifted left by 20 and brought to twice the larger "
        "scale, their sum to the output's, each by tflite_reference (both of its kernel sets).",
        fixed.half_away, "tflite_add"),
    "tflite_add_16": _tflite_sum(
        "TFLite's ADD and SUB of 16 bits without zero points: as tflite_add, but shifted left by "
        "15.",
        fixed.half_away, "tflite_add_16", fixed.LEFT_16, OPERAND_LIMIT_16),
    "single_add": _tflite_sum(
        "TFLite's ADD and SUB with each step by single.",
        fixed.single, "single_add"),
    "fixed15": _weighted(
        "(a * m1 + b * m2 + half) >> shift in 32 bits, shift 15 unless a ratio of scales is "
        "above 128 (our own: as fast as float on XLA, and exact).",
        _derive_fixed15, "fixed15", 2**22, 8, 15),
    "xnnpack_add": _weighted(
        "(a * m1 + b * m2 + half) >> shift in 32 bits, the larger multiplier of 21 bits "
        "(XNNPACK's qs8-vadd).",
        _derive_xnnpack_add, "xnnpack_add", 2**21, 12, 30),
}  # fmt: skip
