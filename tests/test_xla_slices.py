"""Batches that XLA's own layer computes a few examples at a time."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from qir.dialects import int8, lax, nn, quant  # noqa: E402
from qir.dialects import xla as ops  # noqa: E402
from xla_compare import func_of, grid, p  # noqa: E402

from qir.errors import QirError  # noqa: E402
from qir.evaluate import evaluate  # noqa: E402
from qir.ir import const  # noqa: E402
from qir.rounding import derive, derive_sum  # noqa: E402
from qir.targets.xla import compile as compiling  # noqa: E402
from qir.targets.xla import slices  # noqa: E402
from qir.targets.xla.compile import build  # noqa: E402
from qir.types import DTYPES, Element, Type, tensor  # noqa: E402

I8, ON = DTYPES["i8"], Element(DTYPES["i8"], grid(0.05, -3))


def integers(rng, *shape):
    return const(rng.integers(-127, 128, shape).astype(np.int8), Type(I8, shape, grid(0.01)))


def sums(count):
    return const(np.arange(count, dtype=np.int32), tensor("i32", (count,), grid(0.0005)))


def network(batch):
    """Every op that is known to keep examples apart in a network of images."""
    rng = np.random.default_rng(0)
    affine = {"to": ON, "rescale": derive("f32_half_even", 0.002)}
    x = quant.quantize(p("x", "f32", batch, 9, 8, 3), to=ON)
    x = ops.conv(x, integers(rng, 3, 3, 3, 6), sums(6), strides=(1, 1), padding="same",
                 kernel="same", **affine)  # fmt: skip
    y = ops.depthwise(x, integers(rng, 3, 3, 6, 1), sums(6), padding="same", **affine)
    x = int8.add(x, y, to=ON, rescale=derive_sum("fixed15", 0.05, 0.05, 0.05))
    x = nn.max_pool(x, window=(2, 2), strides=(2, 2), padding="same")
    x = lax.slice(x, start=(0, 1, 0, 0), limit=(-1, -1, -1, -1), strides=(1, 1, 1, 1))
    entries = np.arange(-128, 128, dtype=np.int8)[::-1].copy()
    x = int8.table(x, const(entries, ON[(256,)]), to=ON)
    x = int8.avg_pool(x, to=ON, window=(2, 2))
    gate = int8.mean(x, to=ON, rescale=derive("f32_half_even", 1.0), axes=(1, 2), keepdims=True)
    x = int8.mul(x, gate, to=ON, rescale=derive("f32_half_even", 0.05))
    x = lax.transpose(x, permutation=(0, 3, 1, 2))
    x = lax.reshape(x, shape=(-1, int(np.prod(x.shape[1:]))))
    w = integers(rng, x.shape[-1], 10)
    return quant.dequantize(ops.dot(x, w, sums(10), layout="kn", **affine))


@pytest.mark.parametrize(("batch", "most", "size"), [(8, 1, 1), (8, 2**40, 8), (7, 1, 1)])
def test_a_batch_in_slices_is_the_batch_bit_for_bit(monkeypatch, batch, most, size):
    monkeypatch.setattr(slices, "BYTES", most)
    func = func_of([network(batch)])
    assert slices.slice_of(func).parameters[0].shape[0] == size
    x = np.random.default_rng(1).uniform(-4, 4, (batch, 9, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(build(func, native=False)(x)[0], evaluate(func, [x])[0])


def test_a_slice_is_the_largest_divisor_that_stays_below(monkeypatch):
    monkeypatch.setattr(slices, "_most", lambda: 4 * 900)
    func = func_of([int8.add(*[p(n, "i8", 12, 10, 30, grid=grid(0.05, -3)) for n in "ab"], to=ON,
                             rescale=derive_sum("fixed15", 0.05, 0.05, 0.05))])  # fmt: skip
    assert slices.slice_of(func).parameters[1].shape == (4, 10, 30)


def test_the_kernels_in_c_get_the_whole_batch(monkeypatch):
    seen = []
    monkeypatch.setattr(compiling, "slice_of", lambda func: seen.append(func) or func)
    with compiling.native_calls():
        called = compiling.is_called()
    build(func_of([network(4)]))
    assert bool(seen) is not called


@pytest.mark.parametrize("mixes", [
    lambda x: int8.mean(x, to=ON, rescale=derive("f32_half_even", 1.0), axes=(0,), keepdims=True),
    lambda x: lax.transpose(x, permutation=(1, 0, 2)),
    lambda x: lax.slice(x, start=(0, 0, 0), limit=(8, -1, -1), strides=(1, 1, 1)),
    lambda x: lax.reverse(x, axes=(0,)),
    lambda x: lax.reshape(x, shape=(8, -1)),
    lambda x: lax.reshape(lax.transpose(lax.reshape(x, shape=(8, -1, 4)), permutation=(0, 2, 1)),
                          shape=(-1, 8, 4)),
    lambda x: lax.concatenate(x, x, axis=0),
    lambda x: int8.add(x, const(np.ones((8, 8, 4), np.int8), x.type), to=ON,
                       rescale=derive_sum("fixed15", 0.05, 0.05, 0.05)),
])  # fmt: skip
def test_what_mixes_examples_is_computed_whole(monkeypatch, mixes):
    monkeypatch.setattr(slices, "BYTES", 0)
    func = func_of([mixes(p("x", "i8", 8, 8, 4, grid=grid(0.05, -3)))])
    assert slices.slice_of(func) is func
    x = np.random.default_rng(2).integers(-128, 128, (8, 8, 4)).astype(np.int8)
    np.testing.assert_array_equal(build(func, native=False)(x)[0], evaluate(func, [x])[0])


def test_a_number_beside_the_batch_is_no_batch(monkeypatch):
    monkeypatch.setattr(slices, "BYTES", 0)
    func = func_of([lax.mul(p("x", "f32", 4, 3), lax.broadcast(
        p("s", "f32"), shape=(4, 3), axes=()))])  # fmt: skip
    assert slices.slice_of(func) is func


def test_an_xla_without_our_options_compiles_with_its_own(monkeypatch):
    monkeypatch.setattr(compiling, "OPTIONS", {"xla_cpu_bogus": False})
    func = func_of([nn.relu(p("x", "f32", 2, 3))])
    x = np.array([[-1, 0, 2], [3, -4, 5]], np.float32)
    np.testing.assert_array_equal(build(func)(x)[0], np.maximum(x, 0))


def test_what_else_goes_wrong_while_compiling_is_raised(monkeypatch):
    monkeypatch.setattr(compiling, "OPTIONS", {"xla_cpu_use_fusion_emitters": "perhaps"})
    with pytest.raises((QirError, jax.errors.JaxRuntimeError)):
        build(func_of([nn.relu(p("x", "f32", 2, 3))]))
