"""Roundings of training: real values moved onto the levels of a range, real values still."""

from typing import Literal

import numpy as np

from qir.errors import require
from qir.rounding import fake
from qir.types import Type

from .dialect import quant, takes_f32


@quant.op
def fake_quant(
    x: Type, *, lo: float, hi: float, bits: int = 8, narrow: bool = False, name: str = ""
) -> Type:
    """x rounded to the 2^bits levels between lo and hi, moved so that zero is one of them.

    As tf.quantization.fake_quant_with_min_max_vars, in f32: `narrow` leaves out the lowest level.
    Training changes a range that has a `name`.
    """
    takes_f32(x)
    _is_width(bits, 16)
    require(lo <= 0 <= hi and lo < hi, f"the range must hold zero, found [{lo}, {hi}]")
    return x


@fake_quant.means
def _(op, x):
    return fake.onto_quotient(x, levels_of(op, *ranges_of(op)))


@quant.op
def fake_quant_per_channel(
    x: Type, lo: Type, hi: Type, *, axis: int, bits: int = 8, narrow: bool = False
) -> Type:
    """x rounded to 2^bits levels between lo[i] and hi[i] at index i of the axis, 0 among them.

    As tf.quantization.fake_quant_with_min_max_vars_per_channel, in f32.
    """
    for each in (x, lo, hi):
        takes_f32(each)
    _is_width(bits, 16)
    _fit(x, lo, hi, axis)
    return x


@fake_quant_per_channel.means
def _(op, x, lo, hi):
    return fake.onto_product(x, levels_of(op, lo, hi))


@quant.op
def quantize_and_dequantize(
    x: Type, lo: Type, hi: Type, *, axis: int | None = None, bits: int = 8, signed: bool = True,
    narrow: bool = False, round: Literal["half_to_even", "half_up"] = "half_to_even",
    clamp: bool = True,
) -> Type:  # fmt: skip
    """x rounded to integers of so many bits times the least step that holds [lo, hi] around 0.

    As tf.quantization.quantize_and_dequantize_v2, in f32. lo and hi are numbers, or with an axis
    one for each of its indices. `narrow` leaves out the lowest signed integer. Without `clamp` what
    lies beyond the integers stays there, as where TensorFlow is given no range.
    """
    for each in (x, lo, hi):
        takes_f32(each)
    _is_width(bits, 32)
    if axis is None:
        require(lo.shape == hi.shape == (), f"the range is two numbers, found {lo} and {hi}")
    else:
        _fit(x, lo, hi, axis)
    return x


@quantize_and_dequantize.means
def _(op, x, lo, hi):
    return onto_integers(op, x, levels_of(op, lo, hi))


def onto_integers(op, x, levels: fake.Levels, xp=np):
    """x as a quantize_and_dequantize rounds it to its levels."""
    onto = fake.onto_even if op.attributes["round"] == "half_to_even" else fake.onto_upper
    return onto(fake.within(x, levels, xp) if op.attributes["clamp"] else x, levels, xp)


def ranges_of(op) -> tuple[np.ndarray, np.ndarray] | None:
    """The ends of the range of a rounding of training, None where an operand computes them."""
    if len(op.operands) == 1:
        return np.float32(op.attributes["lo"]), np.float32(op.attributes["hi"])
    ends = op.operands[1:]
    return tuple(end.value for end in ends) if all(end.is_const for end in ends) else None


def levels_of(op, lo, hi, xp=np, divide=np.divide) -> fake.Levels:
    """The levels of a rounding of training, shaped to broadcast against its operand."""
    a = op.attributes
    if a.get("axis") is not None:
        shape = [1] * op.type.rank
        shape[a["axis"]] = op.shape[a["axis"]]
        lo, hi = lo.reshape(shape), hi.reshape(shape)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if op.kind == quantize_and_dequantize.name:
            return fake.symmetric(lo, hi, a["bits"], a["signed"], a["narrow"], xp, divide)
        return fake.asymmetric(lo, hi, a["bits"], a["narrow"], xp, divide)


def _is_width(bits: int, most: int) -> None:
    require(2 <= bits <= most, f"'bits' must be 2 to {most}, found {bits}")


def _fit(x: Type, lo: Type, hi: Type, axis: int) -> None:
    require(0 <= axis < x.rank, f"an axis {axis} of {x}")
    require(lo.shape == hi.shape == (x.shape[axis],),
            f"{x} takes {x.shape[axis]} ranges along axis {axis}, found {lo} and {hi}")  # fmt: skip
