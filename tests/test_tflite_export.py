"""Quantized models as `.tflite` files: the interpreter gives what qir computes, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qir
from qir.errors import QirError

pytest.importorskip("ai_edge_litert")

from qir.targets.tflite.interpreter import Interpreter  # noqa: E402

KERNELS = ("tflite_reference", "tflite_builtin", "xnnpack")
RNG = np.random.default_rng(0)
FILTERS = [RNG.normal(0, 0.3, shape).astype(np.float32)
           for shape in ((3, 3, 3, 8), (3, 3, 1, 8), (1, 1, 8, 8), (8 * 16, 10))]  # fmt: skip


def network(x):
    """A small residual network with a depthwise layer."""
    first, depthwise, pointwise, dense = FILTERS
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.nn.relu(jax.lax.conv_general_dilated(x, first, (2, 2), "SAME",
                                                 dimension_numbers=layout))  # fmt: skip
    z = jax.lax.conv_general_dilated(y, depthwise, (1, 1), "SAME", dimension_numbers=layout,
                                     feature_group_count=8)  # fmt: skip
    z = jax.lax.conv_general_dilated(z, pointwise, (1, 1), "VALID", dimension_numbers=layout)
    y = jax.nn.relu(y + z)
    y = jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return jax.nn.softmax(y.reshape(y.shape[0], -1) @ dense)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    samples = [RNG.normal(0, 1, (1, 16, 16, 3)).astype(np.float32) for _ in range(8)]
    model = qir.quantize(network, samples[0], samples)
    path = tmp_path_factory.mktemp("export") / "net.tflite"
    model.export_tflite(path)
    return model, path, samples


@pytest.mark.parametrize("kernels", KERNELS)
def test_an_exported_network_is_computed_bit_for_bit(exported, kernels):
    model, path, samples = exported
    loaded = qir.load(path, kernels=kernels)
    with Interpreter() as interpreter:
        theirs = interpreter.run(path.read_bytes(), kernels, [[x] for x in samples])
    ours = [np.asarray(next(iter(loaded(x).values()))) for x in samples]
    levels = [np.abs(a[0] - b).max() * 256 for a, b in zip(theirs, ours, strict=True)]
    assert max(levels) == 0
    quantized = [np.asarray(model(x)) for x in samples]
    assert max(np.abs(a - b).max() for a, b in zip(ours, quantized, strict=True)) < 6 / 256


def test_it_is_integers_between_the_casts(exported):
    _, path, _ = exported
    kinds = [op.kind for op in qir.api.read_model(path).main.ops if op.kind.startswith("tfl.")]
    assert kinds[0] == "tfl.quantize"
    assert kinds[-1] == "tfl.dequantize"
    assert {"tfl.conv_2d", "tfl.depthwise_conv_2d", "tfl.add", "tfl.max_pool_2d",
            "tfl.fully_connected", "tfl.softmax", "tfl.reshape"} <= set(kinds)  # fmt: skip
    assert kinds.count("tfl.quantize") == kinds.count("tfl.dequantize") == 1


def test_a_file_is_quantized_anew_from_its_path(exported, tmp_path):
    model, path, samples = exported
    again = qir.quantize(path, calibration=samples)
    for x in samples[:3]:
        np.testing.assert_allclose(next(iter(again(x).values())), model(x), atol=0.06)


def test_a_float_network_is_exported_too(tmp_path):
    module = qir.trace(lambda x: jax.nn.softmax(x @ FILTERS[3]), np.zeros((1, 128), np.float32))
    lowered = qir.run_pipeline(module, "float_front")
    qir.api.Quantized(lowered).export_tflite(tmp_path / "net.tflite")
    x = RNG.normal(0, 1, (1, 128)).astype(np.float32)
    (expected,) = qir.compile(module)(x)
    with Interpreter() as interpreter:
        for kernels in KERNELS:
            ((found,),) = interpreter.run((tmp_path / "net.tflite").read_bytes(), kernels, [[x]])
            np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("layer", [0, 1])
def test_float_convolutions_without_a_bias_run(layer, tmp_path):
    def model(x):
        return jax.lax.conv_general_dilated(
            x, FILTERS[layer], (1, 1), "SAME", feature_group_count=x.shape[3] if layer else 1,
            dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip

    x = RNG.normal(0, 1, (1, 4, 4, 8 if layer else 3)).astype(np.float32)
    lowered = qir.run_pipeline(qir.trace(model, x), "float_front")
    qir.api.Quantized(lowered).export_tflite(tmp_path / "net.tflite")
    with Interpreter() as interpreter:
        for kernels in KERNELS:
            ((found,),) = interpreter.run((tmp_path / "net.tflite").read_bytes(), kernels, [[x]])
            np.testing.assert_allclose(found, model(x), atol=1e-5)


def test_padding_below_all_values_is_exported(tmp_path):
    def model(x):
        pads = ((0, 0), (1, 1), (1, 1), (0, 0))
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), pads)

    x = RNG.normal(-5, 1, (1, 8, 8, 2)).astype(np.float32)
    lowered = qir.run_pipeline(qir.trace(model, x), "float_front")
    qir.api.Quantized(lowered).export_tflite(tmp_path / "float.tflite")
    integers = qir.quantize(model, x, [x, x + 9])
    integers.export_tflite(tmp_path / "int8.tflite")
    with Interpreter() as interpreter:
        for kernels in KERNELS:
            for name, wanted in (("float", model(x)), ("int8", integers(x))):
                file = (tmp_path / f"{name}.tflite").read_bytes()
                ((found,),) = interpreter.run(file, kernels, [[x]])
                np.testing.assert_array_equal(found, wanted)


def same_as_the_interpreter(path, samples) -> None:
    """Fail where a file, read again, is not what the interpreter makes of it."""
    with Interpreter() as interpreter:
        for kernels in KERNELS:
            loaded = qir.load(path, kernels=kernels)
            theirs = interpreter.run(path.read_bytes(), kernels, [[x] for x in samples])
            for (found,), x in zip(theirs, samples, strict=True):
                np.testing.assert_array_equal(next(iter(loaded(x).values())), found)


def block(x):
    """A block of an encoder: attention, a norm, GELU; and functions of other kinds."""
    w = [np.random.default_rng(i).normal(0, 0.2, (16, 16)).astype(np.float32) for i in range(5)]
    q, k, v = ((x @ each).reshape(1, 8, 2, 8).transpose(0, 2, 1, 3) for each in w[:3])
    scores = jax.nn.softmax(q @ k.transpose(0, 1, 3, 2) / 8**0.5)
    y = x + (scores @ v).transpose(0, 2, 1, 3).reshape(1, 8, 16) @ w[3]
    centred = y - y.mean(-1, keepdims=True)
    y = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5)
    y = jax.nn.gelu(y @ w[4]) + jnp.sin(y)
    return jnp.max(y, 1) / (1 + jnp.exp(-y[:, 0]))


def test_an_encoder_block_is_exported_bit_for_bit(tmp_path):
    samples = [RNG.normal(0, 1, (1, 8, 16)).astype(np.float32) for _ in range(8)]
    path = tmp_path / "block.tflite"
    qir.quantize(block, samples[0], samples, target="tflite").export_tflite(path)
    kinds = {op.kind for op in qir.api.read_model(path).main.ops}
    assert {"tfl.batch_matmul", "tfl.gelu", "tfl.rsqrt", "tfl.gather"} <= kinds
    same_as_the_interpreter(path, samples)


def test_causal_attention_is_exported_bit_for_bit(tmp_path):
    def attention(x):
        return jax.nn.dot_product_attention(x, x * 2, x - 1, is_causal=True)

    samples = [RNG.normal(0, 1, (1, 8, 2, 8)).astype(np.float32) for _ in range(8)]
    path = tmp_path / "causal.tflite"
    qir.quantize(attention, samples[0], samples, target="tflite").export_tflite(path)
    loaded, expected = qir.load(path), np.stack([attention(x) for x in samples])
    found = np.stack([next(iter(loaded(x).values())) for x in samples])
    assert np.square(expected).mean() / np.square(expected - found).mean() > 10**2.5
    same_as_the_interpreter(path, samples)


def test_islands_of_floats_are_exported_too(tmp_path):
    first, last = FILTERS[3][:16].T.copy(), FILTERS[3][:10, :4].copy()

    def network(x):
        h = jax.nn.relu(x @ first.T)
        return jnp.where(h > h[:, ::-1], h, jnp.sqrt(h)) @ last

    samples = [RNG.normal(0, 1, (1, 16)).astype(np.float32) for _ in range(8)]
    path = tmp_path / "mixed.tflite"
    qir.quantize(network, samples[0], samples, target="tflite").export_tflite(path)
    kinds = [op.kind for op in qir.api.read_model(path).main.ops]
    assert {"tfl.greater", "tfl.select_v2", "tfl.reverse_v2"} <= set(kinds)
    assert kinds.count("tfl.quantize") == 2
    same_as_the_interpreter(path, samples)


def test_what_has_no_operator_is_said(tmp_path):
    samples = [RNG.normal(0, 1, (1, 8)).astype(np.float32) for _ in range(4)]
    model = qir.quantize(lambda x: jnp.cumsum(x, 1), samples[0], samples)
    with pytest.raises(QirError, match="ops are not for the target 'tflite'"):
        model.export_tflite(tmp_path / "none.tflite")
    assert not list(tmp_path.iterdir())


def test_norms_by_parts_keep_what_integer_norms_keep():
    weights = [RNG.normal(0, 0.2, (32, 32)).astype(np.float32) for _ in range(3)]

    def norm(x):
        centred = x - x.mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5)

    def blocks(x):
        for w in weights:
            x = norm(x + jax.nn.relu(x @ w))
        return x @ weights[0]

    samples = [RNG.normal(0, 1, (1, 8, 32)).astype(np.float32) for _ in range(16)]
    reals = np.stack([blocks(x) for x in samples])
    noise = {}
    for target in ("xla", "tflite"):
        steps = (f"float_front, decompose(target={target}), insert_observers, calibrate, "
                 "propagate_types, requantize, lower_int8, canonicalize, cse")  # fmt: skip
        quantized = qir.quantize(blocks, samples[0], samples, pipeline=steps)
        kinds = {op.kind for op in quantized.module.main.ops}
        assert ("int8.layer_norm" in kinds) == (target == "xla")
        error = np.stack([quantized(x) for x in samples]) - reals
        noise[target] = 10 * np.log10(np.square(reals).mean() / np.square(error).mean())
    assert min(noise.values()) > 25
    assert noise["tflite"] > noise["xla"] - 3
