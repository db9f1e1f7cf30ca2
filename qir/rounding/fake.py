"""Roundings of training, in f32 as TensorFlow has them: the levels of a range, and onto them.

Every function works on numpy's arrays and on those of a library with numpy's interface: `xp` is
the library, `divide` a division in f32 that it computes as one.
"""

from dataclasses import dataclass

import numpy as np

LARGEST = np.finfo(np.float32).max
NARROWEST = np.float32(1e-6)


@dataclass(frozen=True, eq=False)
class Levels:
    """The levels of a range: the reals `step * n` between `least` and `most`.

    per_step: how many steps there are to 1. zero: the level of 0.0, counted from the lowest as 0,
    or as 1 where that is left out. empty: where the range is a single zero, and so all results.
    """

    step: object
    per_step: object
    zero: object
    least: object
    most: object
    empty: object


def asymmetric(lo, hi, bits: int, narrow: bool, xp=np, divide=np.divide) -> Levels:
    """The 2^bits levels of a range moved so that 0.0 is one of them (FakeQuantWithMinMaxVars)."""
    low, high = np.float32(1 if narrow else 0), np.float32(2**bits - 1)
    empty = (lo == 0) & (hi == 0)
    span = xp.where(empty, np.float32(1), hi - lo)
    step, per_step = divide(span, high - low), divide(high - low, span)
    place = low - divide(lo, step)
    zero = xp.clip(xp.floor(xp.clip(place, low, high) + np.float32(0.5)), low, high)
    return Levels(step, per_step, zero, (low - zero) * step, (high - zero) * step, empty)


def around_zero(lo, hi, xp=np):
    """The ends of a range that training moves, as a range: zero lies in it, and it has a width."""
    return xp.minimum(lo, np.float32(0)), xp.maximum(hi, NARROWEST)


def onto_quotient(x, of: Levels, xp=np, divide=np.divide):
    """x on the nearest level, found by dividing by the step (FakeQuantWithMinMaxVars)."""
    zero = xp.floor(_apart(-of.least * of.per_step, xp) + np.float32(0.5))
    places = divide(xp.clip(x, of.least, of.most) - of.least, of.step)
    return _reals(xp.floor(places - zero + np.float32(0.5)), of, xp)


def onto_product(x, of: Levels, xp=np):
    """x on the nearest level, found by multiplying by steps to 1 (...PerChannel and ...Args)."""
    zero = xp.floor(_apart(-of.least * of.per_step, xp) + np.float32(0.5))
    places = _apart((xp.clip(x, of.least, of.most) - of.least) * of.per_step, xp)
    return _reals(xp.floor(places - zero + np.float32(0.5)), of, xp)


def symmetric(lo, hi, bits: int, signed: bool, narrow: bool, xp=np, divide=np.divide) -> Levels:
    """The levels of integers around 0 that hold a range (QuantizeAndDequantizeV2).

    The end that needs the larger step keeps its place, the other one is moved.
    """
    low, high = bounds(bits, signed, narrow)
    by_low = xp.where(low * lo > 0, divide(low, lo), LARGEST)
    by_high = xp.where(high * hi > 0, divide(high, hi), LARGEST)
    below = by_low < by_high
    step = xp.where(below, divide(lo, low), divide(hi, high))
    least, most = xp.where(below, lo, low * step), xp.where(below, high * step, hi)
    return Levels(step, xp.where(below, by_low, by_high), -low, least, most, xp.zeros_like(below))


def bounds(bits: int, signed: bool, narrow: bool) -> tuple[np.float32, np.float32]:
    """The least and the greatest integer of so many bits."""
    if not signed:
        return np.float32(0), np.float32(2**bits - 1)
    return np.float32(-(2 ** (bits - 1)) + narrow), np.float32(2 ** (bits - 1) - 1)


def onto_even(x, of: Levels, xp=np):
    """x on the nearest level however far, of two that are as near the even one."""
    return xp.round(x * of.per_step) * of.step


def onto_upper(x, of: Levels, xp=np):
    """x on the nearest level however far, of two that are as near the upper one."""
    places = x * of.per_step
    places = xp.maximum(xp.minimum(places, LARGEST), -LARGEST)  # no multiplication with addition
    return xp.floor(places + np.float32(0.5)) * of.step


def within(x, of: Levels, xp=np):
    """x between the ends; of a range beyond zero on the wrong side the least end counts."""
    return xp.maximum(xp.minimum(x, of.most), of.least)


def _apart(product, xp):
    """A product that is not negative, in a way that no sum after it is computed along with it."""
    return xp.clip(product, np.float32(0), LARGEST)


def _reals(levels, of: Levels, xp):
    return xp.where(of.empty, np.float32(0), levels * of.step)
