"""Observers, ranges, and the casts between reals and the integers on a grid.

`observe` and `stats` change nothing; they mark where a range is needed, and the range found. The
casts follow TFLite: QUANTIZE rounds x / scale half away from zero, DEQUANTIZE gives
f32(f64(scale) * (stored - zero)).
"""

from typing import Literal

import numpy as np

from qir.errors import require
from qir.ranges import of_element
from qir.rounding import quantize_array
from qir.rounding.grids import half_away
from qir.types import DTYPES, Element, Type

from .dialect import quant, takes_f32


def _quantized(x: Type) -> None:
    require(x.grid is not None and not x.grid.dynamic,
            f"takes integers on a grid, such as i8<0.05:0>[4], found {x}")  # fmt: skip


def _on(x: Type, to: Element) -> Type:
    """The type of x on the grid of `to`, if the one fits the other."""
    require(to.dtype.kind == "int" and to.grid is not None and not to.grid.dynamic,
            f"'to' must be integers on a grid, such as i8<0.05:0>, found {to}")  # fmt: skip
    grid = to.grid
    if grid.axis is not None:
        require(grid.axis < x.rank, f"a grid along axis {grid.axis} of {x}")
        expected = list(x.shape) if grid.block else [x.shape[grid.axis]]
        if grid.block:
            expected[grid.axis] //= grid.block
            require(x.shape[grid.axis] % grid.block == 0,
                    f"blocks of {grid.block} do not fill axis {grid.axis} of {x}")  # fmt: skip
        require(list(grid.scale.shape) == expected,
                f"{x} takes scales {expected}, found {list(grid.scale.shape)}")  # fmt: skip
    return to[x.shape]


@quant.op
def observe(
    x: Type,
    *,
    name: str,
    method: Literal["minmax", "ema", "percentile", "entropy", "mse"] | None = None,
) -> Type:
    """x itself; calibration finds its range, and keeps its statistics under this name.

    `method` is how the range is to be found; an option of `calibrate` overrules it.
    """
    takes_f32(x)
    return x


@quant.op
def stats(x: Type, *, name: str, lo: float, hi: float, exact: bool = False) -> Type:
    """x itself, known to lie between lo and hi; `name` is that of its statistics.

    exact: the range is no estimate but says on which grid x is, which no other range may widen.
    """
    takes_f32(x)
    require(lo <= hi, f"'lo' must not be above 'hi', found {lo} and {hi}")
    require(np.isfinite(lo) and np.isfinite(hi), f"a range is finite, found [{lo}, {hi}]")
    return x


@observe.means
@stats.means
def _(op, x):
    return x


@quant.op
def quantize(x: Type, *, to: Element) -> Type:
    """Reals as integers on the grid of `to`: x / scale rounded half away from zero, + zero."""
    require(x.is_float, f"takes reals, found {x}")
    return _on(x, to)


@quantize.means
def _(op, x):
    to = op.attributes["to"]
    scale, zero = to.grid.expanded(op.type.rank)
    return quantize_array(x, scale, zero, to.lo, to.hi)


@quant.op
def dequantize(x: Type) -> Type:
    """The f32 reals that integers on a grid stand for: f32(f64(scale) * (stored - zero))."""
    _quantized(x)
    return Type(DTYPES["f32"], x.shape)


@dequantize.means
def _(op, x):
    return reals(op.operands[0].type, x).astype(np.float32)


@quant.op
def requantize(x: Type, *, to: Element) -> Type:
    """Integers on one grid as integers on the grid of `to`: dequantized and quantized in f64."""
    _quantized(x)
    return _on(x, to)


@requantize.means
def _(op, x):
    to = op.attributes["to"]
    scale, zero = to.grid.expanded(op.type.rank)
    steps = half_away(reals(op.operands[0].type, x) / scale.astype(np.float64))
    return np.clip(steps + zero, to.lo, to.hi)


@quantize.spans
@requantize.spans
def _(op, x):
    return of_element(op.attributes["to"])


def reals(type: Type, stored: np.ndarray) -> np.ndarray:
    """What stored integers stand for, in f64."""
    scale, zero = type.grid.expanded(type.rank)
    return scale.astype(np.float64) * (stored.astype(np.int64) - zero)
