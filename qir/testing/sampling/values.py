"""Random shapes, elements, constants and inputs: small, the odd ones often enough to matter."""

from collections.abc import Sequence

import numpy as np

from ...types import DTYPES, Element, Grid, Type, per_tensor

Rng = np.random.Generator

EXTENTS = (0, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7)
NUMBERS = (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, 6.0, 1 / 6, 1e-5, -0.75)


def one_of(rng: Rng, choices: Sequence):
    """One of these, each as likely."""
    return choices[int(rng.integers(len(choices)))]


def chance(rng: Rng, part: float) -> bool:
    """True in this part of all draws."""
    return bool(rng.random() < part)


def draw_shape(rng: Rng, rank: int | None = None) -> tuple[int, ...]:
    """A shape of up to four axes, of extents up to 7; 1 is frequent, 0 rare."""
    rank = int(rng.integers(0, 5)) if rank is None else rank
    shape = [one_of(rng, EXTENTS) for _ in range(rank)]
    if 0 in shape and chance(rng, 0.7):
        shape = [n or 2 for n in shape]
    return tuple(shape)


def thinned(rng: Rng, shape: Sequence[int]) -> tuple[int, ...]:
    """A shape that broadcasts to this one: all of it, one number, its last axis, or other parts."""
    shape = tuple(shape)
    style = int(rng.integers(8))
    if style < 3:
        return shape
    if style < 5:
        return (1,) * int(rng.integers(len(shape) + 1)) if chance(rng, 0.3) else ()
    if style == 5:
        return shape[-1:]
    thin = tuple(n if chance(rng, 0.6) else 1 for n in shape)
    return thin[int(rng.integers(len(shape) + 1)) :]


def draw_grid(rng: Rng, dtype: str = "i8") -> Grid:
    """One scale between 2^-9 and 2^-2 and a zero point, often at an end of the storage."""
    low, high = DTYPES[dtype].lo, DTYPES[dtype].hi
    if DTYPES[dtype].bits > 8:
        low, high = -128, 127
    scale = np.float32(2.0 ** rng.uniform(-9, -2))
    zero = one_of(rng, (0, low, high, int(rng.integers(low, high + 1))))
    return per_tensor(scale if chance(rng, 0.8) else np.float32(2.0**-7), zero)


def draw_quantized(rng: Rng) -> Element:
    """An 8-bit element on a grid."""
    dtype = "u8" if chance(rng, 0.15) else "i8"
    return Element(DTYPES[dtype], draw_grid(rng, dtype))


def draw_constant(rng: Rng, type: Type, number: float | None = None) -> np.ndarray:
    """An array for a constant; `number`, if given, is what it most often holds alone."""
    if number is not None and chance(rng, 0.85):
        return _stored(np.full(type.shape, number), type)
    if type.dtype.kind == "bool":
        part = one_of(rng, (0.0, 1.0, 0.5))
        return rng.random(type.shape) < part
    if type.is_float:
        return _stored(_reals(rng, type.shape), type)
    if type.grid is not None or type.dtype.bits == 8:
        style, (low, high) = int(rng.integers(6)), (type.lo, type.hi)
    else:
        style, (low, high) = int(rng.integers(5)), (-3, 8)
    if style == 0:
        return np.full(type.shape, int(np.clip(0, low, high)), type.dtype.numpy)
    if style == 1:
        return np.full(type.shape, 1, type.dtype.numpy)
    return rng.integers(max(low, type.lo), high, type.shape, endpoint=True).astype(type.dtype.numpy)


def _reals(rng: Rng, shape) -> np.ndarray:
    """Reals for a constant: one number, one an index of an axis, or all different."""
    style = int(rng.integers(8))
    if style < 2:
        return np.full(shape, one_of(rng, NUMBERS))
    if style == 2 and np.prod(shape) == 1 and chance(rng, 0.3):
        return np.full(shape, one_of(rng, (np.inf, -np.inf)))
    if style == 2:
        return np.full(shape, rng.normal())
    if style == 3 and shape:
        axis = int(rng.integers(len(shape)))
        line = [n if i == axis else 1 for i, n in enumerate(shape)]
        return np.broadcast_to(rng.normal(size=line), shape)
    if style == 4:
        return rng.choice(NUMBERS, shape)
    return rng.normal(size=shape)


def _stored(values: np.ndarray, type: Type) -> np.ndarray:
    if type.grid is not None and type.dtype.kind == "int":
        scale, zero = type.grid.expanded(type.rank)
        values = np.nan_to_num(values, posinf=1e6, neginf=-1e6)
        values = np.clip(np.rint(values / scale) + zero, type.lo, type.hi)
    elif type.dtype.kind != "bool" and not type.is_float:
        values = np.clip(np.nan_to_num(values), max(type.lo, -1e6), min(type.hi, 1e6))
    return np.asarray(values).astype(type.dtype.numpy)


def draw_inputs(rng: Rng, types: Sequence[Type]) -> list[np.ndarray]:
    """Arrays for parameters: normal reals with some round numbers among them, all integers."""
    return [_input(rng, type) for type in types]


def _input(rng: Rng, type: Type) -> np.ndarray:
    if type.is_float:
        values = rng.normal(size=type.shape) * one_of(rng, (0.3, 1.0, 1.0, 4.0))
        round_ones = rng.choice(NUMBERS, type.shape)
        return np.where(rng.random(type.shape) < 0.15, round_ones, values).astype(type.dtype.numpy)
    if type.dtype.kind == "bool":
        return rng.random(type.shape) < 0.5
    low, high = type.lo, type.hi
    if type.dtype.bits > 8:
        low, high = max(low, one_of(rng, (-3, -300))), one_of(rng, (4, 9, 300))
    return rng.integers(low, high, type.shape, endpoint=True).astype(type.dtype.numpy)
