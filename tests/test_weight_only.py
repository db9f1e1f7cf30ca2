"""Weights alone as integers or halves: sizes on disk, accuracy, XLA, files for LiteRT."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qir
from qir.api import Quantized, read_model
from qir.errors import QirError, QirWarning
from qir.evaluate import evaluate

RNG = np.random.default_rng(0)
KERNELS = ("tflite_reference", "tflite_builtin", "xnnpack")


def normal(*shape):
    return RNG.normal(0, 0.5 / np.sqrt(np.prod(shape[:-1])), shape).astype(np.float32)


TABLE, FIRST, SECOND = normal(512, 256) * 8, normal(256, 1024), normal(1024, 256)
FILTERS = normal(3, 3, 32, 64), normal(3, 3, 1, 64), normal(1, 1, 64, 32), normal(32 * 16, 64)


def layers(indices):
    """A look-up and two dense layers."""
    x = jnp.take(TABLE, indices, axis=0, mode="clip")
    return jax.nn.relu(x @ FIRST + 0.1) @ SECOND


def images(x):
    """Convolutions of every kind, and a dense layer."""
    first, depthwise, pointwise, dense = FILTERS
    layout = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    y = jax.nn.relu(jax.lax.conv_general_dilated(x, first, (2, 2), "SAME", **layout))
    y = jax.lax.conv_general_dilated(y, depthwise, (1, 1), "SAME", feature_group_count=64, **layout)
    y = jax.nn.relu(jax.lax.conv_general_dilated(y, pointwise, (1, 1), "VALID", **layout))
    return jnp.reshape(y, (y.shape[0], -1)) @ dense


INDICES = np.array([[3, 500, 0, 17]], np.int32)
IMAGE = RNG.normal(size=(1, 8, 8, 32)).astype(np.float32)
MODELS = {"layers": (layers, INDICES), "images": (images, IMAGE)}


def noise(model, pipeline="weight_only", **parameters) -> float:
    """Signal to noise against the float network, in dB."""
    function, x = MODELS[model]
    wanted = np.asarray(function(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QirWarning)
        found = np.asarray(qir.quantize(function, x, pipeline=pipeline, **parameters)(x))
    return 10 * np.log10(np.mean(wanted**2) / np.mean((wanted - found) ** 2))


def quantized(model, pipeline="weight_only", **parameters):
    function, x = MODELS[model]
    return qir.quantize(function, x, pipeline=pipeline, **parameters), x


@pytest.mark.parametrize(("pipeline", "parameters", "times"), [
    ("weight_only", {}, 4), ("weight_only", {"bits": 4}, 8), ("weight_only", {"bits": 2}, 16),
    ("weight_only", {"bits": 8, "block": 256}, 4), ("float16", {}, 2), ("bfloat16", {}, 2),
    ("float16", {"compute": "half"}, 2), ("weight_only", {"fused": True}, 4),
])  # fmt: skip
def test_files_are_so_many_times_smaller(pipeline, parameters, times, tmp_path):
    model, _ = quantized("layers", pipeline, **parameters)
    qir.save(model.float_module, tmp_path / "float.qir")
    model.save(tmp_path / "small.qir")
    sizes = [sum(f.stat().st_size for f in tmp_path.glob(f"{name}.qir*"))
             for name in ("float", "small")]  # fmt: skip
    assert 0.91 * times < sizes[0] / sizes[1] < 1.02 * times
    again = qir.load(tmp_path / "small.qir")(INDICES)
    np.testing.assert_array_equal(again, model(INDICES))


@pytest.mark.parametrize(("pipeline", "parameters", "times"), [
    ("weight_only", {}, 4), ("weight_only", {"bits": 4}, 8), ("weight_only", {"bits": 2}, 16),
    ("weight_only", {"bits": 4, "block": 256}, 8), ("float16", {}, 2),
])  # fmt: skip
def test_tflite_files_are_so_many_times_smaller(pipeline, parameters, times, tmp_path):
    model, _ = quantized("layers", pipeline, target="tflite", **parameters)
    small = tmp_path / "small.tflite"
    model.export_tflite(small)
    floats = qir.run_pipeline(qir.trace(layers, INDICES), "float_front")
    Quantized(floats).export_tflite(tmp_path / "float.tflite")
    ratio = (tmp_path / "float.tflite").stat().st_size / small.stat().st_size
    assert 0.85 * times < ratio < 1.02 * times


def test_each_bit_and_each_finer_grid_is_worth_its_decibels():
    eight, four, two = (noise("layers", bits=bits, clip="mse") for bits in (8, 4, 2))
    assert eight > 36 and 14 < four < 22 and 2 < two < 10
    assert noise("layers", bits=4, block=32) > noise("layers", bits=4) + 1
    per_tensor = noise("images", bits=4, granularity="per_tensor")
    assert noise("images", bits=4) > per_tensor
    assert noise("layers", "float16") > 60 and noise("layers", "bfloat16") > 45
    assert 55 < noise("layers", "float16", compute="half") < noise("layers", "float16")


@pytest.mark.parametrize("bits", [4, 2])
@pytest.mark.parametrize("model", MODELS)
def test_clipping_gains_over_the_largest_magnitude(model, bits):
    minmax, mse, octav = (noise(model, bits=bits, clip=clip)
                          for clip in ("minmax", "mse", "octav"))  # fmt: skip
    assert mse > minmax + 0.5 and octav > minmax + 0.5
    assert abs(mse - octav) < 1.5


WAYS = [
    ("weight_only", {}), ("weight_only", {"bits": 4, "block": 32, "clip": "octav"}),
    ("weight_only", {"bits": 2}), ("weight_only", {"fused": True, "bits": 4}),
    ("weight_only", {"fused": True, "block": 64}), ("weight_only", {"granularity": "per_tensor"}),
    ("float16", {}), ("float16", {"fused": True}), ("bfloat16", {"fused": True}),
]  # fmt: skip


@pytest.mark.parametrize(("pipeline", "parameters"), WAYS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.filterwarnings("ignore::qir.errors.QirWarning")
def test_xla_computes_what_numpy_does(model, pipeline, parameters):
    found, x = quantized(model, pipeline, **parameters)
    (wanted,) = evaluate(found.module.main, [x])
    np.testing.assert_allclose(found(x), wanted, rtol=1e-4, atol=1e-4)


def test_computing_in_halves_is_near_numpy():
    found, x = quantized("layers", "bfloat16", compute="half")
    (wanted,) = evaluate(found.module.main, [x])
    assert found(x).dtype == np.float32
    np.testing.assert_allclose(found(x), wanted, rtol=0.05, atol=0.05)


def test_fused_weights_stay_as_they_are_stored():
    found, _ = quantized("layers", fused=True)
    kinds = [op.kind for op in found.func.ops]
    assert kinds.count("quant.dense") == 2 and kinds.count("quant.take") == 1
    assert "quant.dequantize" not in kinds
    assert found(np.tile(INDICES, (3, 2))[:, :4]).shape == (3, 4, 256)


@pytest.mark.parametrize(("pipeline", "parameters"), [way for way in WAYS if way[0] != "bfloat16"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.filterwarnings("ignore::qir.errors.QirWarning")
def test_exported_files_run_and_compute_the_same(model, pipeline, parameters, tmp_path):
    pytest.importorskip("ai_edge_litert")
    found, x = quantized(model, pipeline, target="tflite", **parameters)
    same_in_litert(found, x, tmp_path / "m.tflite")


def same_in_litert(model, x, path) -> None:
    """Fail where the interpreter, or what is read back of its file, is not what qir computes."""
    from qir.targets.tflite.interpreter import Interpreter

    model.export_tflite(path)
    (wanted,) = evaluate(model.module.main, [x])
    size = np.abs(wanted).max()
    with Interpreter() as interpreter:
        for kernels in KERNELS:
            found = interpreter.run(path.read_bytes(), kernels, [[x], [x]])
            for ((each,),) in zip(found, strict=True):
                np.testing.assert_allclose(each, wanted, rtol=0, atol=2e-5 * size)
    loaded = next(iter(qir.load(path)(x).values()))
    np.testing.assert_allclose(loaded, wanted, rtol=0, atol=2e-5 * size)


def test_a_table_is_looked_up_as_it_is_stored(tmp_path):
    model, _ = quantized("layers", target="tflite", bits=4, fused=True)
    model.export_tflite(tmp_path / "m.tflite")
    kinds = [op.kind for op in read_model(tmp_path / "m.tflite").main.ops]
    assert kinds.count("tfl.embedding_lookup") == 1 and kinds.count("tfl.dequantize") == 2


def lstm(x):
    """An LSTM written as a loop."""
    w, u, b = normal(64, 4 * 32), normal(32, 4 * 32), normal(4 * 32)

    def step(state, row):
        h, c = state
        i, f, g, o = jnp.split(row @ w + h @ u + b, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((x.shape[1], 32))
    return jax.lax.scan(step, (zeros, zeros), x)[1]


@pytest.mark.parametrize(("pipeline", "parameters"), [
    ("weight_only", {}), ("weight_only", {"bits": 4, "block": 32}), ("float16", {}),
])  # fmt: skip
def test_cells_keep_their_weights_stored(pipeline, parameters, tmp_path):
    pytest.importorskip("ai_edge_litert")
    x = RNG.normal(size=(3, 1, 64)).astype(np.float32)
    model = qir.quantize(lstm, x, pipeline=pipeline, target="tflite", **parameters)
    assert "tfl.unidirectional_sequence_lstm" in {op.kind for op in model.func.ops}
    same_in_litert(model, x, tmp_path / "lstm.tflite")
    assert (tmp_path / "lstm.tflite").stat().st_size < 0.75 * 4 * 96 * 128


def test_what_tensorflow_lite_has_not_is_refused(tmp_path):
    with pytest.raises(QirError, match="asks for the scheme 'weight_only_bf16', which the target"):
        quantized("layers", "bfloat16", target="tflite")
    with pytest.raises(QirError, match="computes in f16, and TensorFlow Lite's kernels in f32"):
        quantized("layers", "float16", target="tflite", compute="half")


def test_weights_without_blocks_are_told():
    with pytest.warns(QirWarning, match=r"1 of 1 weights have no blocks and are stored "
                      r"per_channel: blocks of 256 do not fill axis 0 of f32\[100,64\]"):
        qir.quantize(lambda x: x @ normal(100, 64), np.zeros((1, 100), np.float32),
                     pipeline="weight_only", block=256)  # fmt: skip


@pytest.mark.parametrize(("parameters", "message"), [
    ({"bits": 1}, "(?s)'1' is none of the choices.*known: 2, 4, 8"),
    ({"bits": 3}, "'3' is none of the choices"), ({"block": 48}, "'48' is none of the choices"),
    ({"clip": "maxmin"}, "(?s)'maxmin' is none of the choices.*known: minmax, mse, octav"),
    ({"min_elements": 0}, "'min_elements' is at least 1, found 0"),
])  # fmt: skip
def test_wrong_options_are_refused(parameters, message):
    with pytest.raises(QirError, match=message):
        quantized("layers", **parameters)


def test_values_beyond_the_largest_half_are_told():
    big = np.full((64, 64), 1e5, np.float32)
    with pytest.warns(QirWarning, match="4096 elements of 1 constants lie beyond 65504"):
        found = qir.quantize(lambda x: x @ big, np.ones((1, 64), np.float32), pipeline="float16")
    assert float(found(np.ones((1, 64), np.float32))[0, 0]) == 64 * 65504


def test_weights_that_are_not_finite_are_refused():
    wrong = np.full((64, 64), np.nan, np.float32)
    with pytest.raises(QirError, match="the weight of nn.dense holds nan or infinity"):
        qir.quantize(lambda x: x @ wrong, np.ones((1, 64), np.float32), pipeline="weight_only")


def test_what_training_rounded_stays_as_it_is():
    levels = RNG.integers(-7, 8, (64, 64)).astype(np.float32) * np.float32(0.25)
    levels[0, 0] = 1.75
    rounded = qir.text.read_module("""
func @main(%x: f32[1,64]) -> (f32[1,64]) {
  %w = const(value=random) : f32[64,64]
  %q = quant.fake_quant(%w, lo=-1.75, hi=1.75, bits=4, narrow=true)
  %y = nn.dense(%x, %q)
  return %y
}
""")
    x = RNG.normal(size=(1, 64)).astype(np.float32)
    (wanted,) = evaluate(rounded.main, [x])
    for bits in (8, 4):
        found = qir.quantize(rounded, pipeline="weight_only", bits=bits)
        np.testing.assert_allclose(found(x), wanted, rtol=1e-5, atol=1e-6)


def test_weights_in_halves_come_back_as_halves():
    def model(x):
        return x @ jnp.asarray(FIRST, jnp.bfloat16)

    x = jnp.ones((1, 256), jnp.bfloat16)
    found = qir.quantize(model, x, pipeline="weight_only")
    assert "lax.convert" in {op.kind for op in found.func.ops}
    np.testing.assert_allclose(np.asarray(found(x), np.float32),
                               np.asarray(model(x), np.float32), atol=0.3)  # fmt: skip
