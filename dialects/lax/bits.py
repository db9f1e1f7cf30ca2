"""Functions of the bits that integers and floats are stored in."""

import numpy as np

from qir.errors import require
from qir.roles import free
from qir.shapes import broadcast
from qir.types import Element, Type

from .dialect import alike, lax, plain

FLOATS = {"f16": (5, 10), "bf16": (8, 7), "f32": (8, 23), "f64": (11, 52)}
"""Exponent and mantissa bits of each float."""


def _whole_bytes(x: Type) -> None:
    require(x.dtype.kind == "int" and x.dtype.bits >= 8, f"takes integers of whole bytes, not {x}")


def _shift(name: str, compute, doc: str):
    """An op `name(a, b)` on integers; compute: `(a, b, which b reach beyond the bits of a)`."""

    def typing(a: Type, b: Type) -> Type:
        plain(a, b)
        alike(a, b)
        _whole_bytes(a)
        return a.with_shape(broadcast(a.shape, b.shape))

    def meaning(op, a, b):
        beyond = (b < 0) | (b >= 8 * a.itemsize)
        return compute(a, np.where(beyond, 0, b).astype(b.dtype), beyond)

    typing.__doc__ = doc
    op = lax.op(typing, name=name, grid=free(), pointwise=True)
    op.means(meaning)
    return op


def _down(a, b, beyond):
    a = a.view(f"i{a.itemsize}")
    return np.where(beyond, np.where(a < 0, -1, 0), a >> b.view(a.dtype))


shift_left = _shift("shift_left", lambda a, b, beyond: np.where(beyond, 0, a << b),
                    "a moved b bits up; a shift by all its bits, or by less than none, gives 0.")
shift_right_arithmetic = _shift("shift_right_arithmetic", _down,
                                "a moved b bits down, its sign coming in from above.")
shift_right_logical = _shift(
    "shift_right_logical",
    lambda a, b, beyond: np.where(beyond, 0, _unsigned(a) >> b.astype(_unsigned(a).dtype)),
    "a moved b bits down, zeros coming in from above.",
)


def _unsigned(x: np.ndarray) -> np.ndarray:
    """The bits of x as unsigned integers."""
    return x.view(f"u{x.itemsize}")


def _count(name: str, compute, doc: str):
    def typing(x: Type) -> Type:
        plain(x)
        _whole_bytes(x)
        return x

    typing.__doc__ = doc
    op = lax.op(typing, name=name, grid=free(), pointwise=True)
    op.means(lambda op, x: compute(_unsigned(x)))
    return op


def _leading_zeros(x: np.ndarray) -> np.ndarray:
    for step in (1, 2, 4, 8, 16, 32):  # every bit below the highest one becomes one
        if step < 8 * x.itemsize:
            x = x | x >> x.dtype.type(step)
    return 8 * x.itemsize - np.bitwise_count(x)


population_count = _count("population_count", np.bitwise_count, "How many bits of each are 1.")
clz = _count("clz", _leading_zeros, "How many bits of each are 0 above its highest 1.")


@lax.op
def bitcast(x: Type, *, to: Element) -> Type:
    """The bits of x read as another type.

    A wider element takes the parts along the last axis, the lowest first; of narrower ones a last
    axis holds the parts of each.
    """
    plain(x)
    require(to.grid is None, f"reads plain numbers, found {to}")
    old, new = x.dtype.bits, to.dtype.bits
    require(min(old, new) >= 8, f"reads whole bytes, not {x} as {to}")
    if new <= old:
        return to[(*x.shape, old // new) if new < old else x.shape]
    require(x.shape[-1:] == (new // old,), f"{new // old} elements along the last axis make a {to},"
                                           f" found {x}")  # fmt: skip
    return to[x.shape[:-1]]


@bitcast.means
def _(op, x):
    x = np.ascontiguousarray(x).astype(x.dtype.newbyteorder("<"), copy=False)
    return np.frombuffer(x.tobytes(), op.type.dtype.numpy).reshape(op.type.shape)


@lax.op(grid=free(), pointwise=True)
def reduce_precision(x: Type, *, exponent_bits: int, mantissa_bits: int) -> Type:
    """x rounded to what a float of so many bits holds, halves to even, in the storage it has.

    What is too large becomes infinite, what is no normal number in fewer exponent bits zero.
    """
    plain(x)
    require(x.is_float, f"takes float elements, found {x}")
    require(exponent_bits >= 1 and mantissa_bits >= 0,
            f"no float has {exponent_bits} exponent and {mantissa_bits} mantissa bits")  # fmt: skip
    return x


@reduce_precision.means
def _(op, x):
    exponent, mantissa = FLOATS[op.type.dtype.name]
    kept = min(op.attributes["mantissa_bits"], mantissa)
    bits, number = _unsigned(x), _unsigned(x).dtype.type
    unit = number(1 << mantissa - kept)
    odd = bits >> number(mantissa - kept) & number(1)
    if kept < mantissa:
        bits = bits + odd + number((int(unit) >> 1) - 1) & ~number(int(unit) - 1)
    if op.attributes["exponent_bits"] < exponent:
        bits = _within(bits, exponent, mantissa, op.attributes["exponent_bits"])
    return np.where(np.isnan(x), x, bits.view(x.dtype))


def _within(bits: np.ndarray, exponent: int, mantissa: int, kept: int) -> np.ndarray:
    """Floats as bits with exponents that fewer bits hold; others are zero or infinite."""
    number = bits.dtype.type
    bias, reduced = (1 << exponent - 1) - 1, (1 << kept - 1) - 1
    sign = bits & number(1 << exponent + mantissa)
    found = bits >> number(mantissa) & number((1 << exponent) - 1)
    infinite = sign | number((1 << exponent) - 1 << mantissa)
    bits = np.where(found > bias + reduced, infinite, bits)
    return np.where(found <= bias - reduced, sign, bits).astype(bits.dtype)
