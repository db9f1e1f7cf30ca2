"""Softmax and norms on XLA against their meanings in dialects/int8, bit for bit."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qir.dialects.int8 import layer_norm, rms_norm, softmax

from qir.evaluate import evaluate_op
from qir.ir import const, parameter
from qir.rounding import derive
from qir.targets.xla import rescale as on_xla
from qir.targets.xla.kernels import norm
from qir.targets.xla.kernels import softmax as softmax_kernel
from qir.types import Element, dtype, per_tensor, tensor

SOFT = Element(dtype("i8"), per_tensor(1 / 256, -128))
WIDE = Element(dtype("i16"), per_tensor(1.0))
seeds = st.integers(0, 2**32 - 1)
lengths = st.one_of(st.integers(1, 70), st.sampled_from([197, 768, 1000, 8192]))
few = settings(max_examples=24, deadline=None)


def rows(seed, count, length):
    """Rows of a random width and place, some constant, some of nothing but the extremes."""
    draw = np.random.default_rng(seed)
    spread = draw.choice([0, 1, 3, 40, 128], (count, 1))
    x = draw.integers(-128, 128, (count, 1)) + draw.integers(-spread, spread + 1, (count, length))
    extreme = draw.choice([-128, 127], (count, length))
    return np.where(draw.random((count, 1)) < 0.2, extreme, np.clip(x, -128, 127)).astype(np.int8)


def stored(x, zero=0):
    return parameter("x", tensor("i8", x.shape, per_tensor(0.05, zero)))


def weights(scale, length):
    bits = min(15, 30 - int(np.ceil(np.log2(length))))
    return np.floor(np.exp(-scale * np.arange(256)) * 2.0**bits + 0.5).astype(np.int32)


@few
@given(seeds, lengths, st.sampled_from([1e-4, 0.02, 0.2, 3.0]), st.sampled_from([-1, 0, 1]))
def test_softmax(seed, length, scale, axis):
    exps = weights(scale, length)
    x = np.moveaxis(rows(seed, 4, length).reshape(2, 2, length), -1, axis)
    op = softmax(stored(x), const(exps), to=SOFT, axis=axis)
    result = jax.jit(lambda x: softmax_kernel.softmax(x, exps, axis=axis))(x)
    np.testing.assert_array_equal(result, evaluate_op(op, [x, exps]))


@few
@given(seeds, st.integers(1, 70), st.sampled_from([1e-4, 0.02, 3.0]), st.sampled_from([-1, 0, 1]))
def test_masked_softmax(seed, length, scale, axis):
    exps, draw = weights(scale, length), np.random.default_rng(seed)
    x = np.moveaxis(rows(seed, 4, length).reshape(2, 2, length), -1, axis)
    mask = draw.random(tuple(n if draw.random() < 0.7 else 1 for n in x.shape)) < 0.6
    op = softmax(stored(x), const(exps), const(mask), to=SOFT, axis=axis)
    result = jax.jit(lambda x: softmax_kernel.softmax(x, exps, mask, axis=axis))(x)
    np.testing.assert_array_equal(result, evaluate_op(op, [x, exps, mask]))


def test_softmax_of_the_longest_equal_rows():
    length = 2**16
    exps, x = weights(0.1, length), np.full((1, length), 9, np.int8)
    op = softmax(stored(x), const(exps), to=SOFT)
    np.testing.assert_array_equal(softmax_kernel.softmax(x, exps), evaluate_op(op, [x, exps]))


def wide(scale):
    """An epilogue that keeps 16 bits, and the rescale it stands for."""
    contract = derive("single", scale)
    return contract, lambda acc: on_xla.requantize(contract, acc, 0, WIDE.lo, WIDE.hi)


@few
@given(
    seeds,
    lengths,
    st.integers(-128, 127),
    st.sampled_from([0, 1, 3 << 14, 500 << 16, 2**45 - 1]),
    st.booleans(),
)
def test_norms(seed, length, zero, epsilon, centres):
    draw = np.random.default_rng(seed)
    gamma = draw.integers(-(2**14), 2**14 + 1, length).astype(np.int32)
    beta = draw.integers(-(2**30), 2**30 + 1, length).astype(np.int32)
    x = rows(seed, 6, length)
    rescale, epilogue = wide(draw.choice([2.0**-14, 2.0**-8]))
    attributes = {"zero": zero, "epsilon": epsilon, "epilogue": epilogue}
    if centres:
        parts = [gamma, beta]
        op = layer_norm(
            stored(x, zero), *map(const, parts), to=WIDE, rescale=rescale, epsilon=epsilon
        )
        run = jax.jit(lambda x: norm.layer_norm(x, gamma, beta, **attributes))
    else:
        parts = [gamma]
        op = rms_norm(stored(x, zero), const(gamma), to=WIDE, rescale=rescale, epsilon=epsilon)
        run = jax.jit(lambda x: norm.rms_norm(x, gamma, **attributes))
    np.testing.assert_array_equal(run(x), evaluate_op(op, [x, *parts]))


def test_root_is_exact_around_every_square():
    roots = np.arange(1, 2**15, dtype=np.int64)
    near = np.concatenate([roots**2 - 1, roots**2, roots**2 + 1])
    squares = np.unique(near[near > 0]).astype(np.int32)
    expected = np.floor(np.sqrt(squares.astype(np.float64))).astype(np.int32)
    np.testing.assert_array_equal(jax.jit(norm._root)(squares), expected)


@pytest.mark.parametrize("length", [768, 8192])
def test_layer_norm_is_near_the_real_one(length):
    """The integer constants an artless lowering makes give the float result within 0.6 steps."""
    draw = np.random.default_rng(0)
    x = np.clip(np.round(draw.normal(5, 30, (8, length))), -128, 127).astype(np.int8)
    gamma, beta, step = draw.uniform(0.5, 2, length), draw.normal(0, 1, length), 0.06
    unit = 2.0 ** -(14 + 10) * 2
    real = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True)) * gamma + beta
    acc = norm.layer_norm(
        x,
        np.round(gamma / unit / 2**10).astype(np.int32),
        np.round(beta / unit).astype(np.int32),
        zero=0,
        epsilon=0,
    )
    assert np.abs(np.asarray(acc) * unit - real).max() / step < 0.1
