"""The C++ kernels of softmax, norms, tables and pools: every integer that numpy gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qir.dialects import int8, nn

from qir.evaluate import evaluate
from qir.ir import Func, const, parameter
from qir.rounding import derive
from qir.types import DTYPES, Element, Grid, tensor

pytest.importorskip("jax")
calls = pytest.importorskip("qir.targets.native.calls")
from qir.targets.native import pools, rows  # noqa: E402
from qir.targets.native.library import library, native_calls  # noqa: E402
from qir.targets.xla.compile import compile_func  # noqa: E402

pytestmark = pytest.mark.skipif(library() is None, reason="the extension was not built")
SEEDS, FEW, LENGTHS = st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 300)
BYTES = st.sampled_from([DTYPES[name] for name in calls.BYTES])


def element(draw, rng) -> Element:
    """8 bits on a grid of their own."""
    kind = draw(BYTES)
    return Element(kind, Grid(0.05, int(rng.integers(kind.lo, kind.hi + 1))))


def values_of(x, rng) -> np.ndarray:
    """Stored values of all sizes, rows of equal ones, and rows at both ends of the range."""
    values = rng.integers(x.type.lo, x.type.hi + 1, x.shape)
    middle = rng.integers(x.type.lo, x.type.hi + 1, (*x.shape[:-1], 1))
    spread = rng.choice([0, 3, 300], (*x.shape[:-1], 1))
    values = middle + (values - middle) * np.minimum(spread, 100) // 100
    values = np.where(spread == 300, np.where(values > middle, x.type.hi, x.type.lo), values)
    return np.clip(values, x.type.lo, x.type.hi).astype(x.dtype.numpy)


def agrees(op, xs, values, of=rows) -> None:
    """Fail where the kernel is not called or differs from numpy in one value."""
    func = Func("main", xs, (op,))
    with native_calls():
        assert of.serves(op)
    (found,) = compile_func(func)(*values)
    np.testing.assert_array_equal(np.asarray(found), evaluate(func, values)[0])


@settings(max_examples=30, deadline=None)
@given(st.data(), SEEDS, st.booleans())
def test_softmax(data, seed, is_masked):
    rng, draw = np.random.default_rng(seed), data.draw
    x = parameter("x", element(draw, rng)[draw(FEW), draw(FEW), draw(LENGTHS)])
    bits = min(15, 30 - int(np.ceil(np.log2(max(1, x.shape[-1])))))
    scale = rng.choice([0.001, 0.05, 1.0])
    exps = const(np.floor(np.exp(-scale * np.arange(256)) * 2.0**bits + 0.5).astype(np.int32))
    kind = draw(BYTES)
    to = Element(kind, Grid(1 / 256, kind.lo))
    xs, values = (x,), [values_of(x, rng)]
    if is_masked:
        shape = draw(st.sampled_from([x.shape, x.shape[1:], (x.shape[0], 1, x.shape[2])]))
        xs = (x, parameter("mask", tensor("bool", shape)))
        values.append(rng.random(shape) < rng.choice([0.02, 0.5, 0.9]))
    agrees(int8.softmax(x, exps, *xs[1:], to=to), xs, values)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_softmax_of_what_weighs_nothing():
    x = parameter("x", Element(DTYPES["i8"], Grid(0.05, 0))[2, 20])
    to = Element(DTYPES["i8"], Grid(1 / 256, -128))
    op = int8.softmax(x, const(np.zeros(256, np.int32)), to=to)
    agrees(op, (x,), [np.zeros(x.shape, np.int8)])


@settings(max_examples=40, deadline=None)
@given(st.data(), SEEDS, st.booleans())
def test_norms(data, seed, has_mean):
    rng, draw = np.random.default_rng(seed), data.draw
    x = parameter("x", element(draw, rng)[draw(FEW), draw(FEW), draw(LENGTHS)])
    length = x.shape[-1]
    gamma = const(rng.integers(-(2**14), 2**14, length).astype(np.int32))
    beta = const(rng.integers(-(2**24), 2**24, length).astype(np.int32))
    to, contract = element(draw, rng), draw(st.sampled_from(calls.CONTRACTS))
    finish = {"to": to, "rescale": derive(contract, np.float64(rng.uniform(1, 20) / 2**20)),
              "epsilon": int(rng.choice([0, 1, 70000, 2**30])),
              "clamp": draw(st.sampled_from([None, (int(to.grid.zero), to.dtype.hi)]))}  # fmt: skip
    op = int8.layer_norm(x, gamma, beta, **finish) if has_mean else int8.rms_norm(
        x, gamma, **finish)  # fmt: skip
    agrees(op, (x,), [values_of(x, rng)])


def test_the_longest_row_of_a_norm():
    x = parameter("x", Element(DTYPES["i8"], Grid(0.05, 127))[2, 8192])
    ones = const(np.full(8192, 2**14, np.int32))
    op = int8.rms_norm(x, ones, to=Element(DTYPES["i8"], Grid(0.05, 0)), epsilon=2**45 - 1,
                       rescale=derive("single", np.float64(2.0**-18)))  # fmt: skip
    values = np.full(x.shape, -128, np.int8)
    values[1, ::2] = 127
    agrees(op, (x,), [values])


@settings(max_examples=20, deadline=None)
@given(st.data(), SEEDS)
def test_tables(data, seed):
    rng, draw = np.random.default_rng(seed), data.draw
    shape = draw(st.lists(st.integers(1, 40), max_size=3))
    x, to = parameter("x", element(draw, rng)[tuple(shape)]), element(draw, rng)
    entries = rng.integers(to.lo, to.hi + 1, 256).astype(to.dtype.numpy)
    values = rng.integers(x.type.lo, x.type.hi + 1, x.shape).astype(x.dtype.numpy)
    agrees(int8.table(x, const(entries, to[256,]), to=to), (x,), [values])


@settings(max_examples=40, deadline=None)
@given(st.data(), SEEDS, st.booleans())
def test_pools(data, seed, is_max):
    rng, draw = np.random.default_rng(seed), data.draw
    window, strides = (draw(st.tuples(FEW, FEW)) for _ in range(2))
    pads = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in window)
    size = [draw(st.integers(k, 12)) for k in window]
    x = parameter("x", element(draw, rng)[draw(FEW), *size, draw(st.integers(1, 150))])
    values = rng.integers(x.type.lo, x.type.hi + 1, x.shape).astype(x.dtype.numpy)
    where = {"window": window, "strides": strides, "padding": pads}
    if is_max:
        op = nn.max_pool(x, **where)
    else:
        clamp = draw(st.sampled_from([None, (int(x.type.zero), x.type.hi)]))
        op = int8.avg_pool(x, to=x.type.element, clamp=clamp, **where)
    agrees(op, (x,), [values], pools)
