"""The XLA lowerings of nn ops are close to their numpy meanings; those of quant ops equal them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("jax")

from qir.dialects import nn, quant  # noqa: E402
from xla_compare import compare, grid, p, random  # noqa: E402

from qir.types import DTYPES, Element, Grid  # noqa: E402

FEW = settings(max_examples=5, deadline=None, derandomize=True)
PADDINGS = st.one_of(st.sampled_from(["same", "valid"]),
                     st.tuples(*[st.tuples(*[st.integers(0, 2)] * 2)] * 2))  # fmt: skip
WINDOWS = st.fixed_dictionaries({
    "strides": st.tuples(*[st.integers(1, 3)] * 2), "padding": PADDINGS,
    "dilation": st.tuples(*[st.integers(1, 2)] * 2),
})  # fmt: skip


def close(results, seed=0, **special):
    rng = np.random.default_rng(seed)
    func_parameters = {q for r in results for q in r.operands if q.kind == "parameter"}
    arrays = {q.attributes["name"]: random(q, rng) for q in func_parameters}
    half = any(q.dtype.bits == 16 for q in func_parameters)
    compare(results, {**arrays, **special}, *((1e-2, 1e-2) if half else (1e-4, 1e-4)))


@FEW
@given(WINDOWS, st.sampled_from([1, 2]), st.sampled_from(["f32", "f32", "bf16"]))
def test_convolutions(attributes, groups, dtype):
    x, w, b = p("x", dtype, 2, 7, 8, 4), p("w", dtype, 3, 2, 4 // groups, 6), p("b", dtype, 6)
    taps, c, up = p("t", dtype, 2, 3, 4, 2), p("c", dtype, 8), p("u", dtype, 3, 2, 4, 6)
    plain = {k: v for k, v in attributes.items() if k != "dilation"}
    clamp = {"clamp": (0.0, float("inf"))}
    close(
        [
            nn.conv2d(x, w, b, groups=groups, **attributes, **clamp),
            nn.conv2d(x, w, groups=groups, **attributes),
            nn.depthwise_conv2d(x, taps, c, **attributes),
            nn.depthwise_conv2d(x, taps, **attributes),
            nn.transposed_conv2d(x, up, b, **plain),
            nn.transposed_conv2d(x, up, **plain, **clamp),
        ]
    )


@pytest.mark.parametrize("padding", ["same", "valid", ((-1, 3), (0, 1))])
def test_transposed_convolutions_with_gaps(padding):
    x, w = p("x", "f32", 1, 4, 5, 3), p("w", "f32", 2, 1, 3, 4)
    close([nn.transposed_conv2d(x, w, strides=(3, 2), padding=padding)])


@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_products(dtype):
    a, b = p("a", dtype, 2, 3, 4, 5), p("b", dtype, 2, 3, 5, 6)
    left, right = p("l", dtype, 2, 3, 5, 4), p("r", dtype, 2, 3, 6, 5)
    w, bias = p("w", dtype, 5, 7), p("bias", dtype, 7)
    close([nn.dense(a, w, bias), nn.dense(a, w, clamp=(-1.0, 1.0)), nn.matmul(a, b),
           nn.matmul(left, b, adjoint_a=True), nn.matmul(a, right, adjoint_b=True),
           nn.matmul(left, right, adjoint_a=True, adjoint_b=True, clamp=(0.0, 6.0))])  # fmt: skip


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_arithmetic_and_activations(dtype):
    a, b = p("a", dtype, 3, 1, 9), p("b", dtype, 4, 9)
    results = [f(a, b) for f in (nn.add, nn.sub, nn.mul, nn.div, nn.maximum, nn.minimum)]
    results += [nn.add(a, b, clamp=(0.0, 6.0))]
    pointwise = (nn.relu, nn.relu6, nn.sigmoid, nn.tanh, nn.silu, nn.hard_swish, nn.elu)
    results += [f(a) for f in pointwise] + [nn.leaky_relu(a, slope=0.1)]
    close([*results, *(nn.gelu(a, approximate=flag) for flag in (True, False))])


@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_pools_reductions_and_norms(dtype):
    x, gamma, beta = p("x", dtype, 2, 6, 5, 4), p("gamma", dtype, 4), p("beta", dtype, 4)
    window = {"window": (3, 2), "strides": (2, 1)}
    results = [f(x, padding=padding, **window) for f in (nn.max_pool, nn.avg_pool)
               for padding in ("same", "valid", ((2, 0), (1, 1)))]  # fmt: skip
    results += [f(x, axes=axes, keepdims=keep) for f in (nn.mean, nn.sum, nn.reduce_max)
                for axes, keep in (((1, 2), False), ((-1,), True))]  # fmt: skip
    close([*results, nn.softmax(x), nn.softmax(x, axis=1), nn.rms_norm(x, gamma, epsilon=1e-5),
           nn.layer_norm(x, gamma, beta, epsilon=1e-5)])  # fmt: skip


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 1e-40], np.float32)


def steps(rng, scale, *shape):
    """Reals around the steps and the halves between them, where rounding decides."""
    halves = rng.integers(-600, 600, shape) / 2 * np.float64(scale)
    return np.nextafter(
        halves.astype(np.float32), rng.choice([-9e9, 0, 9e9], shape), dtype=np.float32
    )


def elements(rng, channels):
    """Grids of every storage, of one scale and of one scale a channel."""
    for name in ("i8", "u8", "i16", "i4"):
        kind = DTYPES[name]
        zero = int(rng.integers(kind.lo, kind.hi, endpoint=True))
        yield Element(kind, grid(rng.uniform(0.01, 0.3), zero))
    yield Element(DTYPES["i8"], grid(rng.uniform(0.01, 0.3), 3, narrow=True))
    yield Element(DTYPES["i8"], Grid(rng.uniform(0.01, 0.3, channels), 0, 1))


@FEW
@given(st.integers(0, 2**32))
def test_casts_are_exact(seed):
    rng = np.random.default_rng(seed)
    x, results, arrays = p("x", "f32", 40, 6), [], {}
    for index, to in enumerate(elements(rng, 6)):
        q = p(f"q{index}", to.dtype.name, 40, 6, grid=to.grid)
        arrays[f"q{index}"] = random(q, rng)
        results += [quant.quantize(x, to=to), quant.dequantize(q)]
        results += [quant.requantize(q, to=other) for other in list(elements(rng, 6))[:5]
                    if to.grid.per_tensor]  # fmt: skip
    arrays["x"] = steps(rng, results[0].type.scale, 40, 6)
    arrays["x"].ravel()[:8] = SPECIAL
    compare(results, arrays, 0, 0)


@FEW
@given(st.integers(0, 2**32))
def test_wide_casts_are_exact(seed):
    rng = np.random.default_rng(seed)
    wide = Element(DTYPES["i32"], grid(rng.uniform(1e-5, 1e-3)))
    x, q = p("x", "f32", 300), p("q", "i32", 300, grid=wide.grid)
    c = p("c", "i8", 50, 6, grid=Grid(rng.uniform(0.01, 0.3, 6), 0, 1))
    d = Element(DTYPES["i8"], Grid(rng.uniform(0.01, 0.3, 6), 0, 1))
    results = [
        quant.quantize(x, to=wide),
        quant.dequantize(q),
        quant.requantize(c, to=d),
        quant.requantize(q, to=Element(DTYPES["i16"], grid(rng.uniform(0.1, 9), 5))),
    ]
    arrays = {"x": rng.uniform(-2e4, 2e4, 300).astype(np.float32), "c": random(c, rng),
              "q": rng.integers(-(2**31), 2**31, 300).astype(np.int32)}  # fmt: skip
    arrays["x"][:8] = SPECIAL
    compare(results, arrays, 0, 0)


@FEW
@given(st.integers(0, 2**32), st.booleans())
def test_fake_quant_is_exact(seed, narrow):
    rng = np.random.default_rng(seed)
    lo, hi = -rng.uniform(0, 4), rng.uniform(0.1, 4)
    x, arrays, results = p("x", "f32", 3, 100), {"x": rng.uniform(-5, 5, (3, 100))}, []
    for bits in (2, 4, 8, 16):
        each = p(f"x{bits}", "f32", 2000)
        arrays[f"x{bits}"] = steps(rng, (hi - lo) / (2**bits - 1 - narrow), 2000)
        options = {"lo": lo, "hi": hi, "bits": bits, "narrow": narrow}
        results += [quant.fake_quant(x, **options), quant.fake_quant(each, **options)]
    results += [quant.observe(x, name="a"), quant.stats(x, name="a", lo=-1.0, hi=1.0)]
    arrays["x"] = arrays["x"].astype(np.float32)
    arrays["x"].ravel()[:8] = SPECIAL
    compare(results, arrays, 0, 0)
