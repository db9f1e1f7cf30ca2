"""The XLA lowerings of int8 ops equal their numpy meanings bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("jax")

from qir.dialects import int8, nn  # noqa: E402
from xla_compare import compare, grid, p, random  # noqa: E402

from qir.integer_forms import INTEGER_FORMS, Wanted  # noqa: E402
from qir.ir import const  # noqa: E402
from qir.rounding import CONTRACTS, derive, derive_sum  # noqa: E402
from qir.types import Element, Grid, Type, dtype  # noqa: E402

FEW = settings(max_examples=5, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32)
STORAGES = st.sampled_from(["i8", "i8", "u8", "i16"])
ROUNDINGS = st.sampled_from(sorted(n for n, c in CONTRACTS.items() if c.operands == 1))
PADDINGS = st.one_of(st.sampled_from(["same", "valid"]),
                     st.tuples(*[st.tuples(*[st.integers(0, 2)] * 2)] * 2))  # fmt: skip


def quantized(rng, name, storage, *shape):
    """A parameter on a random grid, its zero point anywhere in the storage."""
    kind = dtype(storage)
    zero = int(rng.integers(kind.lo, kind.hi, endpoint=True))
    return p(name, storage, *shape, grid=grid(rng.uniform(0.01, 0.2), zero))


def result(rng, storage="i8") -> Element:
    kind = dtype(storage)
    return Element(kind, grid(rng.uniform(0.01, 0.5), int(rng.integers(kind.lo, kind.hi))))


def clamp(rng, to: Element):
    low, high = sorted(rng.integers(to.lo, to.hi, 2, endpoint=True))
    return (int(low), int(high)) if rng.random() < 0.5 else None


def weight(rng, axis, *shape):
    return const(rng.integers(-127, 128, shape).astype(np.int8),
                 Type(dtype("i8"), shape, Grid(np.full(shape[axis], 0.01), 0, axis)))  # fmt: skip


def bias(rng, channels):
    choices = (None, np.int32, np.int32, np.int64)
    kind = choices[rng.integers(4)]
    return None if kind is None else const(rng.integers(-(2**16), 2**16, channels).astype(kind))


def affine(rng, definition, rounding, x, w, channels, **attributes):
    """One affine op with random numbers that bring its sums into range."""
    depth = max(1, x.type.size // x.shape[0])
    factor = rng.uniform(0.2, 1, channels) / (40 * np.sqrt(depth))
    if x.dtype.bits > 8:
        factor = factor / 256
    to = result(rng, rng.choice(["i8", "u8", "i16"]))
    b = bias(rng, channels)
    wide = x.dtype.bits > 8 if b is None else b.dtype.bits == 64
    if wide:
        rounding = CONTRACTS[rounding].wide
    return definition(x, w, b, to=to, rescale=derive(rounding, factor), clamp=clamp(rng, to),
                      **attributes)  # fmt: skip


def check(rng, *results):
    func_parameters = {q for r in results for q in r.operands if q.kind == "parameter"}
    compare(results, {q.attributes["name"]: random(q, rng) for q in func_parameters}, 0, 0)


WINDOWS = st.fixed_dictionaries({
    "strides": st.tuples(*[st.integers(1, 3)] * 2), "padding": PADDINGS,
    "dilation": st.tuples(*[st.integers(1, 2)] * 2),
})  # fmt: skip


@FEW
@given(SEEDS, STORAGES, ROUNDINGS, WINDOWS, st.sampled_from([1, 1, 2]))
def test_convolutions(seed, storage, rounding, attributes, groups):
    rng = np.random.default_rng(seed)
    x = quantized(rng, "x", storage, rng.integers(1, 3), 7, rng.integers(5, 9), 4)
    w, taps = weight(rng, 3, 3, 2, 4 // groups, 6), weight(rng, 2, 2, 3, 4, 2)
    plain = {k: v for k, v in attributes.items() if k != "dilation"}
    check(rng, affine(rng, int8.conv2d, rounding, x, w, 6, groups=groups, **attributes),
          affine(rng, int8.depthwise_conv2d, rounding, x, taps, 8, **attributes),
          affine(rng, int8.transposed_conv2d, rounding, x, weight(rng, 3, 3, 2, 4, 5), 5,
                 **plain))  # fmt: skip


@FEW
@given(SEEDS, STORAGES, STORAGES, ROUNDINGS)
def test_products(seed, left, right, rounding):
    rng = np.random.default_rng(seed)
    x = quantized(rng, "x", left, 2, 5, 12)
    y = quantized(rng, "y", right, 2, 12, 3)
    to = result(rng)

    def product(a, b, **sides):
        wide = "i16" in (a.dtype.name, b.dtype.name)
        factor = rng.uniform(1e-4, 1e-2) / np.prod([256 ** (s.dtype.bits > 8) for s in (a, b)])
        rescale = derive(CONTRACTS[rounding].wide if wide else rounding, factor)
        return int8.matmul(a, b, to=to, rescale=rescale, **sides)

    flipped = quantized(rng, "z", left, 2, 12, 5)
    check(rng, affine(rng, int8.dense, rounding, x, weight(rng, 1, 12, 9), 9),
          product(x, y, clamp=clamp(rng, to)), product(flipped, y, adjoint_a=True),
          product(y, x, adjoint_a=True, adjoint_b=True),
          product(x, x, adjoint_b=True))  # fmt: skip


@FEW
@given(SEEDS)
def test_sums_of_16_bits(seed):
    rng = np.random.default_rng(seed)
    a, b = (p(name, "i16", *shape, grid=grid(rng.uniform(1e-5, 1e-3)))
            for name, shape in (("a", (3, 1, 40)), ("b", (5, 40))))  # fmt: skip
    to = result(rng, "i16")
    rescales = [derive_sum(name, a.type.scale, sign * b.type.scale, to.grid.scale, wide=True)
                for name in ("fixed15", "tflite_reference") for sign in (1, -1)]  # fmt: skip
    check(rng, *(int8.add(a, b, to=to, rescale=r, clamp=clamp(rng, to)) for r in rescales))


@FEW
@given(SEEDS, st.sampled_from(["i8", "u8"]), ROUNDINGS)
def test_arithmetic(seed, storage, rounding):
    rng = np.random.default_rng(seed)
    a, b = quantized(rng, "a", storage, 3, 1, 40), quantized(rng, "b", "i8", 5, 40)
    to = result(rng, storage)
    sums = [derive_sum(name, a.type.scale, sign * b.type.scale, to.grid.scale)
            for name in ("fixed15", "tflite_add", "single_add") for sign in (1, -1)
            if (max(a.type.scale, b.type.scale) / to.grid.scale) < 100]  # fmt: skip
    results = [(int8.add, int8.sub)[i % 2](a, b, to=to, rescale=r, clamp=clamp(rng, to))
               for i, r in enumerate(sums)]  # fmt: skip
    results += [
        int8.mul(a, b, to=to, rescale=derive(rounding, rng.uniform(0.001, 0.1))),
        int8.div(a, b, to=to, rescale=derive(rounding, 2.0**-14)),
        int8.requantize(b, to=to, rescale=derive(rounding, rng.uniform(0.1, 3))),
        int8.table(a, const(rng.integers(to.lo, to.hi, 256).astype(to.dtype.numpy),
                            to[(256,)]), to=to),
    ]  # fmt: skip
    check(rng, *results)


@FEW
@given(SEEDS, STORAGES, ROUNDINGS, st.booleans())
def test_averages(seed, storage, rounding, keepdims):
    rng = np.random.default_rng(seed)
    x = quantized(rng, "x", storage, 2, 7, 6, 5)
    to, rescale = result(rng), derive(rounding, rng.uniform(0.01, 0.1))
    window = {"window": (3, 2), "strides": (int(rng.integers(1, 3)), 1)}
    results = [
        definition(x, to=to, rescale=rescale, axes=axes, keepdims=keepdims)
        for definition, axes in ((int8.mean, (1, 2)), (int8.sum_, (-1,)), (int8.mean, (0, 3)))
    ]
    results += [int8.avg_pool(x, to=x.type.element, padding=padding, **window,
                              clamp=clamp(rng, x.type.element))
                for padding in ("same", "valid", ((2, 1), (0, 1)))]  # fmt: skip
    check(rng, *results, nn.max_pool(x, padding="same", **window))


@FEW
@given(SEEDS, st.integers(1, 100), st.sampled_from(["f32_half_even", "single"]))
def test_softmax_and_norms(seed, length, rounding):
    rng = np.random.default_rng(seed)
    x = quantized(rng, "x", "i8", 3, length)
    real = p("r", "f32", 3, length)
    gamma, beta = (const(rng.standard_normal(length).astype(np.float32)) for _ in range(2))
    softmax = Element(dtype("i8"), grid(1 / 256, -128))
    forms = [(nn.softmax(real), softmax, ()), (nn.softmax(real, axis=0), softmax, ()),
             (nn.layer_norm(real, gamma, beta, epsilon=1e-5), result(rng), (gamma, beta)),
             (nn.rms_norm(real, gamma, epsilon=1e-5), result(rng), (gamma,))]  # fmt: skip
    check(rng, *(INTEGER_FORMS[op.kind].build(op, Wanted(to, rounding), x, *parts)
                 for op, to, parts in forms))  # fmt: skip


@given(SEEDS, st.booleans(), st.sampled_from([(1,), (1, 2), (0, 3), (0, 1, 2, 3)]))
@FEW
def test_sums_by_thresholds(seed, keepdims, axes):
    rng = np.random.default_rng(seed)
    x = quantized(rng, "x", rng.choice(["i8", "u8"]), *rng.integers(1, 6, 4))
    thresholds = const(rng.integers(-2000, 4000, 255).astype(np.int32))
    y = int8.threshold_sum(x, thresholds, to=result(rng, "u8"), axes=axes, keepdims=keepdims)
    check(rng, y)
