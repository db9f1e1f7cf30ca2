"""Products with weights that stay as they are stored, on XLA, against numpy."""

import numpy as np
import pytest

pytest.importorskip("jax")

from qir.dialects import quant  # noqa: E402
from xla_compare import compare, p  # noqa: E402

from qir.targets.xla.kernels import stored  # noqa: E402
from qir.types import DTYPES, Grid, Type  # noqa: E402

RNG = np.random.default_rng(0)


def scales(*shape):
    return RNG.uniform(0.01, 0.1, shape).astype(np.float32)


def zeros(*shape):
    return RNG.integers(-5, 6, shape).astype(np.int32)


def grids(rows: int, columns: int):
    """Every kind of grid that a matrix may stand on."""
    yield Grid(0.1, 3)
    yield Grid(scales(columns), 0, 1)
    yield Grid(scales(columns), zeros(columns), 1)
    yield Grid(scales(rows), zeros(rows), 0)
    yield Grid(scales(rows // 4, columns), 0, 0, block=4)
    yield Grid(scales(rows // 4, columns), zeros(rows // 4, columns), 0, block=4)
    yield Grid(scales(rows, columns // 2), 0, 1, block=2)


def weights(rows: int, columns: int):
    """Parameters of weights with their arrays, on every grid and in halves."""
    for grid in grids(rows, columns):
        for name in ("i8", "i4"):
            type = Type(DTYPES[name], (rows, columns), grid)
            array = RNG.integers(type.lo, type.hi + 1, type.shape).astype(np.int8)
            yield p("w", name, rows, columns, grid=grid), array
    for name in ("f16", "bf16"):
        array = RNG.normal(size=(rows, columns)).astype(DTYPES[name].numpy)
        yield p("w", name, rows, columns), array


@pytest.mark.parametrize("tile", [2**17, 48, 6])
def test_products_are_the_same_in_tiles(monkeypatch, tile):
    monkeypatch.setattr(stored, "TILE", tile)
    rows, columns = 20, 6
    x, b = p("x", "f32", 2, 3, rows), p("b", "f32", columns)
    given = {"x": RNG.normal(size=x.shape).astype(np.float32),
             "b": RNG.normal(size=b.shape).astype(np.float32)}  # fmt: skip
    for w, array in weights(rows, columns):
        result = quant.dense(x, w, b, clamp=(-2.0, 2.0))
        compare([result], {**given, "w": array}, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_taken_are_exact(axis):
    i = p("i", "i32", 2, 3)
    indices = np.array([[0, 3, 11], [-2, 40, 5]], np.int32)
    for w, array in weights(12, 8):
        compare([quant.take(w, i, axis=axis)], {"w": array, "i": indices}, rtol=0, atol=0)


def test_tiles_lie_within_blocks():
    blocks = Grid(scales(3, 3072), 0, 0, block=256)
    assert stored.tile_rows(Type(DTYPES["i8"], (768, 3072), blocks)) == 32
    assert stored.tile_rows(Type(DTYPES["i8"], (768, 3072), Grid(0.1, 0))) == 32
    assert stored.tile_rows(Type(DTYPES["i8"], (768, 10), Grid(0.1, 0))) == 768
    assert stored.tile_rows(Type(DTYPES["i8"], (5, 2**20), Grid(0.1, 0))) == 1


def test_nothing_is_summed_to_nothing():
    w, x = p("w", "f16", 0, 3), p("x", "f32", 2, 0)
    arrays = {"w": np.zeros((0, 3), np.float16), "x": np.zeros((2, 0), np.float32)}
    compare([quant.dense(x, w)], arrays)
