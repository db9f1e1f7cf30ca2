"""What lax ops mean where JAX is no judge: on quantized storage, and at the edges of types."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qir.dialects import lax

from qir import windows
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.ir import Func, const, parameter
from qir.types import DTYPES, per_tensor, tensor

GRID = per_tensor(0.1, -9)


def run(op, *arrays, grid=None, **attributes):
    """The op on arrays, floats or stored integers of one grid."""
    inputs = [parameter(f"x{i}", _type(a, grid if a.dtype == np.int8 else None))
              for i, a in enumerate(arrays)]  # fmt: skip
    return evaluate(Func("main", tuple(inputs), (op(*inputs, **attributes),)), arrays)[0]


def _type(array, grid):
    names = {d.numpy: name for name, d in DTYPES.items() if name not in ("i2", "i4")}
    return tensor(names[array.dtype], array.shape, grid)


def stored(shape, seed=0):
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def real(x):
    return (x.astype(np.float32) + 9) * np.float32(0.1)


@pytest.mark.parametrize("op, shapes, attributes", [
    (lax.pad, [(2, 5, 4)], {"low": (0, 1, -1), "high": (0, -2, 3), "interior": (0, 2, 0)}),
    (lax.pad, [(2, 3)], {"low": (1, 0), "high": (0, 1), "value": 1.3}),
    (lax.slice, [(4, 6)], {"start": (1, 0), "limit": (-1, 5), "strides": (2, 3)}),
    (lax.concatenate, [(2, 3), (2, 1)], {"axis": -1}),
    (lax.transpose, [(2, 3, 4)], {"permutation": (2, 0, 1)}),
    (lax.broadcast, [(2, 1)], {"shape": (3, -1, 5), "axes": (1, 2)}),
    (lax.reverse, [(2, 3, 4)], {"axes": (0, 2)}),
    (lax.max, [(2, 3), (3,)], {}),
    (lax.min, [(2, 3), (2, 1)], {}),
    (lax.reduce_max, [(2, 3, 4)], {"axes": (0, 2)}),
    (lax.reduce_min, [(2, 3, 4)], {"axes": (1,)}),
    (lax.reduce_window_max, [(7, 6)],
     {"window": (3, 2), "strides": (2, 1), "padding": (1, 0, 2, 1), "window_dilation": (1, 2)}),
    (lax.reduce_window_min, [(7, 6)],
     {"window": (2, 2), "strides": (2, 2), "padding": (0, 0, 1, 0)}),
])  # fmt: skip
def test_what_moves_or_compares_means_the_same_on_stored_integers(op, shapes, attributes):
    xs = [stored(shape, i) for i, shape in enumerate(shapes)]
    on_storage = run(op, *xs, grid=GRID, **attributes)
    on_reals = run(op, *map(real, xs), **attributes)
    assert on_storage.dtype == np.int8
    np.testing.assert_allclose(real(on_storage), on_reals, atol=1e-5)


def test_argmax_of_stored_integers_is_that_of_the_reals():
    x = stored((5, 7))
    assert (run(lax.argmax, x, grid=GRID, axis=1) == np.argmax(real(x), 1)).all()


def test_padding_beyond_the_grid_saturates():
    padded = run(lax.pad, stored((1,)), grid=GRID, low=(1,), high=(1,), value=-1e9)
    assert padded[0] == padded[-1] == -128


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=9), st.data())
@settings(max_examples=50, deadline=None)
def test_integers_divide_toward_zero(numbers, data):
    a = np.array(numbers, np.int32)
    b = np.array([data.draw(st.integers(-9, 9)) for _ in numbers], np.int32)
    quotient, remainder = run(lax.div, a, b), run(lax.rem, a, b)
    for n, d, q, r in zip(a.tolist(), b.tolist(), quotient.tolist(), remainder.tolist(),
                          strict=True):  # fmt: skip
        if d == 0:
            assert (q, r) == (-1, n)
        else:
            exact = abs(n) // abs(d) * (1 if (n < 0) == (d < 0) else -1)
            wrapped = (exact + 2**31) % 2**32 - 2**31
            assert (q, r) == (wrapped, n - exact * d)


def test_floats_become_integers_toward_zero_and_clamped():
    x = np.array([1.9, -1.9, 300.0, -300.0, np.inf, -np.inf, np.nan], np.float32)
    assert run(lax.convert, x, to="i8").tolist() == [1, -1, 127, -128, 127, -128, 0]
    assert run(lax.convert, x, to="u8").tolist() == [1, 0, 255, 0, 255, 0, 0]
    assert run(lax.convert, x, to="i32").tolist()[4:] == [2**31 - 1, -(2**31), 0]
    assert run(lax.convert, x, to="bool").all()


def test_halves_round_as_asked():
    x = np.array([0.5, 1.5, -0.5, -2.5, 0.49999997], np.float32)
    assert run(lax.round, x).tolist() == [0, 2, 0, -2, 0]
    assert run(lax.round, x, method="half_away").tolist() == [1, 2, -1, -3, 0]


def test_bf16_is_computed_wide_and_rounded_once():
    x = np.linspace(-3, 3, 50).astype(ml_dtypes.bfloat16)
    y = run(lax.tanh, x)
    assert y.dtype == ml_dtypes.bfloat16
    assert (y == np.tanh(x.astype(np.float32)).astype(ml_dtypes.bfloat16)).all()


def test_a_gather_outside_is_moved_inside_or_filled():
    x, at = np.arange(6, dtype=np.float32), np.array([[-1], [4], [9]], np.int32)
    common = {
        "offset_dims": (1,),
        "collapsed_slice_dims": (),
        "start_index_map": (0,),
        "slice_sizes": (2,),
    }
    assert run(lax.gather, x, at, **common).tolist() == [[0, 1], [4, 5], [4, 5]]
    filled = run(lax.gather, x, at, **common, mode="fill")
    assert np.isnan(filled[[0, 2]]).all() and filled[1].tolist() == [4, 5]
    assert run(lax.take, x, at, axis=0).ravel().tolist() == [0, 4, 5]


def test_a_leading_extent_of_minus_one_serves_any_batch():
    x = parameter("x", tensor("f32", (2, 3, 4)))
    y = lax.broadcast(lax.reshape(x, shape=(-1, 12)), shape=(-1, 5, 12), axes=(0, 2))
    y = lax.slice(y, start=(0, 1, 0), limit=(-1, 5, 12))
    func = Func("main", (x,), (y,)).with_batch(7)
    assert func.results[0].shape == (7, 4, 12)


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2),
    st.sampled_from(["same", "valid", ((1, 2), (0, 1)), ((-1, 2), (1, 0))]), st.booleans(),
    st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_integer_convolutions_are_exact(kernel, stride, per_group, dilation, groups, pads, wide, s):
    rng, top = np.random.default_rng(s), 2**30 if wide else 127
    x = rng.integers(-top, top, (2, 9, 8, per_group * groups)).astype(np.int32)
    w = rng.integers(-top, top, (kernel, 2, per_group, 2 * groups)).astype(np.int32)
    pads = windows.explicit_padding(pads, (9, 8), (kernel, 2), (stride, 1), (dilation, 1))
    y = windows.conv2d(x, w, (stride, 1), pads, (dilation, 1), groups, accumulator=np.int64)
    cut = windows.windows(x, (kernel, 2), (stride, 1), pads, 0, (dilation, 1)).astype(object)
    for g in range(groups):
        part = cut[..., g * per_group : (g + 1) * per_group]
        exact = np.tensordot(part, w[..., 2 * g : 2 * g + 2].astype(object), 3)
        wrapped = np.vectorize(lambda v: (v + 2**63) % 2**64 - 2**63, otypes=[np.int64])(exact)
        assert (y[..., 2 * g : 2 * g + 2] == wrapped).all()


def test_constants_reach_the_meaning_of_windows():
    x = const(np.ones((1, 4, 4, 1), np.float32))
    y = lax.reduce_window_sum(x, window=(1, 2, 2, 1), strides=(1, 2, 2, 1), padding=(0,) * 8,
                              base_dilation=(1, 2, 1, 1))  # fmt: skip
    assert evaluate(Func("main", (), (y,)), [])[0].ravel().tolist() == [2.0] * 6


def test_typing_says_what_is_wrong():
    x = parameter("x", tensor("f32", (2, 3)), ("model.py:3",))
    with pytest.raises(QirError, match=r"model.py:3: error: lax.transpose: \[0, 0\] is no perm"):
        lax.transpose(x, permutation=(0, 0))
    with pytest.raises(QirError, match="at most one extent may be -1"):
        lax.reshape(x, shape=(-1, -1))
    with pytest.raises(QirError, match="'low' needs 2 integers, one an axis"):
        lax.pad(x, low=(1,), high=(0, 0))
    with pytest.raises(QirError, match="a block of .* does not fit"):
        lax.dynamic_slice(x, np.int32(0), np.int32(0), sizes=(3, 3))
