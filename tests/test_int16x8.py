"""Activations of 16 bits by weights of 8: one meaning on numpy, XLA and LiteRT's interpreter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qir.dialects import int8, lax, nn, xla
from xla_compare import compare, func_of, p

import qir
from qir.api import run_pipeline
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.floats import float_ops
from qir.integer_forms import INTEGER_FORMS, Wanted
from qir.ir import Func, const, parameter
from qir.rounding import derive, symmetric_scale
from qir.targets.xla.compile import compile_func
from qir.targets.xla.lower_quant import wide_program
from qir.types import DTYPES, Element, Grid, Type, per_tensor, tensor

KERNELS = ("tflite_reference", "tflite_builtin", "xnnpack")
RNG = np.random.default_rng(0)
SHAPES = (3, 3, 3, 8), (3, 3, 1, 8), (1, 1, 8, 8), (2, 2, 8, 8), (8, 10)
FILTERS = [RNG.normal(0, 0.3, shape).astype(np.float32) for shape in SHAPES]
LAYOUT = ("NHWC", "HWIO", "NHWC")


def network(x):
    """Convolutions of all kinds, a residual, pools, functions, a norm, a softmax."""
    first, depthwise, pointwise, turned, dense = FILTERS

    def conv(x, w, **more):
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=LAYOUT, **more)

    y = jax.nn.relu(conv(x, first))
    z = conv(conv(y, depthwise, feature_group_count=8), pointwise)
    y = jnp.clip(y + z, 0, 6)
    y = jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    y = jax.lax.conv_transpose(y, turned, (2, 2), "SAME", dimension_numbers=LAYOUT)
    y = jnp.concatenate([jax.nn.sigmoid(y), jnp.tanh(y) * y], axis=1)
    y = jax.nn.gelu(y.mean((1, 2)))
    y = (y - y.mean(-1, keepdims=True)) / jnp.sqrt(y.var(-1, keepdims=True) + 1e-3)
    return jax.nn.softmax(y @ dense)


def attention(x):
    """Products of activations, a mask, a maximum; its places."""
    q, k = x @ FILTERS[4][:, :8], x @ FILTERS[4][:, 2:]
    scores = q @ jnp.swapaxes(k, -1, -2)
    weights = jax.nn.softmax(jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -1e9))
    y = jax.nn.leaky_relu(weights @ k + x, 0.1)
    return y.max(-1), y.argmax(-1)


SAMPLES = {model: [RNG.normal(0, 1, shape).astype(np.float32) for _ in range(8)]
           for model, shape in ((network, (1, 8, 8, 3)), (attention, (2, 6, 8)))}  # fmt: skip
MODELS = list(SAMPLES)


def noise(reference, found) -> float:
    reference, found = np.asarray(reference, np.float64), np.asarray(found, np.float64)
    return 10 * np.log10(np.square(reference).sum() / np.square(reference - found).sum())


@pytest.mark.parametrize("model", MODELS, ids=lambda f: f.__name__)
def test_numpy_and_xla_agree_and_8_bits_lose_more(model):
    samples = SAMPLES[model]
    sixteen, eight = (qir.quantize(model, samples[0], samples, each)
                      for each in ("ptq_int16x8", "ptq_int8"))  # fmt: skip
    for x in samples[:3]:
        ours = jax.tree.leaves(sixteen(x))
        for a, b in zip(evaluate(sixteen.func, [x]), ours, strict=True):
            np.testing.assert_array_equal(a, np.asarray(b))
        real = jax.tree.leaves(model(x))[0]
        better = noise(real, ours[0]) - noise(real, jax.tree.leaves(eight(x))[0])
        assert better > 3, "16 bits lose less than 8 on the same weights"


def test_a_network_is_integers_alone_and_takes_no_64_bit_types():
    samples = SAMPLES[network]
    model = qir.quantize(network, samples[0], samples, "ptq_int16x8")
    assert float_ops(model.func) == []
    assert any(op.dtype.bits == 64 for op in model.func.ops if op.is_const)
    assert not wide_program(run_pipeline(model.module, "legalize(target=xla)").main)
    stored = [op.type for op in model.func.ops if op.dtype.name == "i16" and op.type.grid]
    assert stored and all(int(type.zero) == 0 for type in stored)


@pytest.mark.parametrize("model", MODELS, ids=lambda f: f.__name__)
def test_a_file_is_computed_bit_for_bit(model, tmp_path):
    pytest.importorskip("ai_edge_litert")
    from qir.targets.tflite.interpreter import Interpreter

    samples = SAMPLES[model]
    path = tmp_path / "net.tflite"
    qir.quantize(model, samples[0], samples, "ptq_int16x8", "tflite").export_tflite(path)
    with Interpreter() as interpreter:
        for kernels in KERNELS:
            loaded = qir.load(path, kernels=kernels)
            theirs = interpreter.run(path.read_bytes(), kernels, [[x] for x in samples[:3]])
            for x, wanted in zip(samples, theirs, strict=False):
                found = loaded(x)
                for a, b in zip(wanted, found.values(), strict=True):
                    np.testing.assert_array_equal(a, np.asarray(b))


def test_files_of_the_converter_give_the_bits_of_the_runtime(tmp_path):
    pytest.importorskip("ai_edge_litert")
    tf = pytest.importorskip("tensorflow")
    from qir.targets.tflite.interpreter import Interpreter

    layers = tf.keras.layers
    x = tf.keras.Input((10, 10, 3))
    y = layers.ReLU(6.0)(layers.SeparableConv2D(8, 3, padding="same")(x))
    y = layers.Add()([y, layers.Conv2D(8, 1, activation="relu")(x)])
    y = layers.Multiply()([y, layers.Conv2DTranspose(8, 1, activation="sigmoid")(y)])
    y = layers.LeakyReLU(0.1)(layers.AveragePooling2D(2)(layers.ZeroPadding2D(1)(y)))
    y = layers.Dense(6, activation="gelu")(layers.GlobalAveragePooling2D()(y))
    model = tf.keras.Model(x, layers.Softmax()(layers.Dense(4, activation="tanh")(y)))
    convert = tf.lite.TFLiteConverter.from_keras_model(model)
    convert.optimizations = [tf.lite.Optimize.DEFAULT]
    samples = [RNG.normal(0, 1, (1, 10, 10, 3)).astype(np.float32) for _ in range(4)]
    convert.representative_dataset = lambda: ([each] for each in samples)
    convert.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
    path = tmp_path / "theirs.tflite"
    path.write_bytes(convert.convert())
    with Interpreter() as interpreter:
        for kernels in KERNELS:
            loaded = qir.load(path, kernels=kernels)
            theirs = interpreter.run(path.read_bytes(), kernels, [[each] for each in samples])
            for each, (wanted,) in zip(samples, theirs, strict=True):
                np.testing.assert_array_equal(wanted, np.asarray(next(iter(loaded(each).values()))))


def test_integers_come_in_and_go_out():
    samples = SAMPLES[network]
    model = qir.quantize(network, samples[0], samples, "ptq_int16x8", inputs="int16",
                         outputs="int16")  # fmt: skip
    (taken,) = model.inputs.values()
    stored = np.clip(np.rint(samples[0] / taken.scale), taken.lo, taken.hi).astype(np.int16)
    found = np.asarray(jax.tree.leaves(model(stored))[0])
    assert found.dtype == np.int16
    assert abs(found.astype(np.float64).sum() / 2**15 - 1) < 1e-3


@pytest.mark.parametrize("pipeline", ["ptq_int16x8", "legacy_uint8"])
def test_cells_are_taken_apart_into_steps(pipeline):
    w, u = (RNG.normal(0, 0.3, shape).astype(np.float32) for shape in ((4, 5, 8), (4, 8, 8)))
    x, zeros = parameter("x", tensor("f32", (1, 6, 5))), const(np.zeros((1, 8), np.float32))
    sequence = lax.transpose(x, permutation=(1, 0, 2))
    cell = nn.lstm(sequence, const(w), const(u), const(np.zeros(32, np.float32)), zeros, zeros)
    func = Func("main", (x,), (lax.transpose(cell, permutation=(1, 0, 2)),), ("y",))
    samples = [RNG.normal(0, 1, x.shape).astype(np.float32) for _ in range(4)]
    io = {} if pipeline == "ptq_int16x8" else {"inputs": "float32", "outputs": "float32"}
    lowered = run_pipeline(func, pipeline, samples, io).main
    assert not float_ops(lowered)
    wanted = np.concatenate([evaluate(func, [each])[0] for each in samples])
    found = np.asarray(qir.compile(lowered.with_batch(4))(np.concatenate(samples))[0])
    noise = np.mean((found - wanted) ** 2) / np.mean(np.square(wanted))
    assert -10 * np.log10(noise) > {"ptq_int16x8": 40, "legacy_uint8": 20}[pipeline]


# Grids.


def test_activations_are_symmetric_as_the_converter_has_them():
    assert symmetric_scale(-5.0, 6.0) == np.float32(6 / 32767)
    assert symmetric_scale(-7.0, 6.0) == np.float32(7 / 32767)
    assert symmetric_scale(0.0, 0.0) == np.float32(1e-6 / 32767)
    with pytest.raises(QirError, match="no range"):
        symmetric_scale(1.0, -1.0)


def test_a_bias_of_64_bits_is_as_fine_as_sums_are():
    bias = np.array([3e6, -1e-3, 0, 7], np.float32)

    def layer(x):
        return x @ FILTERS[4][:, :4] * 1e-3 + bias

    samples = [RNG.normal(0, 1e-3, (1, 8)).astype(np.float32) for _ in range(2)]
    model = qir.quantize(layer, samples[0], samples, "ptq_int16x8")
    (stored,) = (op for op in model.func.ops if op.is_const and op.dtype.name == "i64")
    assert np.abs(stored.value).max() > 2**40
    assert noise(layer(samples[0])[:, 1:], model(samples[0])[:, 1:]) > -40
    assert np.abs(np.asarray(model(samples[0]))[0, 0] - 3e6) < 100


# Sums of 64 bits.


def dense(depth: int, rows: int = 2, outputs: int = 3, bias=None):
    """A layer whose weights are all at an end, so that its sums are as large as they can be."""
    x = p("x", "i16", rows, depth, grid=per_tensor(1e-4))
    w = const(np.full((depth, outputs), -127, np.int8),
              Type(DTYPES["i8"], (depth, outputs), Grid(np.full(outputs, 0.01), 0, 1)))  # fmt: skip
    to = Element(DTYPES["i16"], per_tensor(0.1))
    rescale = derive("tflite_16x8", np.linspace(0.3, 1, outputs) / (127 * depth))
    return int8.dense(x, w, bias, to=to, rescale=rescale)


@pytest.mark.parametrize("depth", [1, 517, 70_000, 2**17 - 1])
def test_sums_at_their_ends(depth):
    op = dense(depth)
    for value in (-(2**15), 2**15 - 1, 255, -256, 127):
        compare([op], {"x": np.full(op.operands[0].shape, value, np.int16)}, 0, 0)


@pytest.mark.parametrize("kernel", ["valid", "same", "slices", "grouped", "row_windows",
                                    "space_to_depth", "depthwise"])  # fmt: skip
def test_kernels_of_xla_take_16_bits(kernel):
    rng, groups = np.random.default_rng(0), 2 if kernel == "grouped" else 1
    strides = (1, 1) if kernel == "same" else (2, 2)
    x = p("x", "i16", 2, 9, 11, 3 * groups, grid=per_tensor(1e-3, -300))
    weights = rng.integers(-127, 128, (5, 5, 3, 2 if kernel == "depthwise" else 4))
    w = const(weights.astype(np.int8))
    outputs = 6 if kernel == "depthwise" else 4
    rest = {"to": Element(DTYPES["i16"], per_tensor(0.1, 7)), "strides": strides,
            "padding": ((2, 1), (0, 3)), "clamp": (-9000, 30000),
            "rescale": derive("tflite_16x8", rng.uniform(0.2, 1, outputs) / 2**9)}  # fmt: skip
    b = const(rng.integers(-(2**24), 2**24, outputs))
    if kernel == "depthwise":
        op = xla.depthwise(x, w, b, **rest)
    else:
        op = xla.conv(x, w, b, groups=groups, kernel=kernel, **rest)
    for low in (-(2**15), 2**15 - 2):  # of all values, and of those at an end
        array = rng.integers(low, 2**15, x.shape).astype(np.int16)
        compare([op], {"x": array}, 0, 0)


def test_too_many_products_are_refused_by_xla():
    with pytest.raises(QirError, match="sums up 131072 products, on XLA .* at most 131071"):
        compile_func(func_of([dense(2**17, rows=1, outputs=1)]))


def test_biases_beyond_what_f64_holds_are_refused_by_xla():
    op = dense(4, bias=const(np.array([1, 2**52 + 1, 0])))
    with pytest.raises(QirError, match="within 2\\*\\*52 on XLA, found 4503599627370497"):
        compile_func(func_of([op]))


def test_wide_weights_and_inputs_are_refused_by_xla():
    x, y = (p(kind, kind, 2, 2, grid=per_tensor(0.1)) for kind in ("i16", "i32"))
    to, rescale = Element(DTYPES["i16"], per_tensor(1.0)), derive("tflite_16x8", 0.01)
    w = const(np.ones((2, 2), np.int16), Type(DTYPES["i16"], (2, 2), per_tensor(0.1)))
    with pytest.raises(QirError, match="takes weights of 8 bits with a sign"):
        compile_func(func_of([int8.dense(x, w, to=to, rescale=rescale)]))
    with pytest.raises(QirError, match="takes up to 16 bits into sums of 64"):
        compile_func(func_of([int8.matmul(y, x, to=to, rescale=rescale)]))


def test_a_computed_bias_of_64_bits_is_added():
    x, b = p("x", "i16", 5, 4, grid=per_tensor(0.1)), p("b", "i64", 3)
    w = const(RNG.integers(-127, 128, (4, 3)).astype(np.int8),
              Type(DTYPES["i8"], (4, 3), per_tensor(0.1)))  # fmt: skip
    op = int8.dense(x, w, b, to=Element(DTYPES["i16"], per_tensor(1.0)),
                    rescale=derive("tflite_16x8", 1e-3))  # fmt: skip
    arrays = {"x": RNG.integers(-(2**15), 2**15, (5, 4)).astype(np.int16),
              "b": RNG.integers(-(2**30), 2**30, 3)}  # fmt: skip
    compare([op], arrays, 0, 0)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.sampled_from(["i16", "i8"]), st.integers(1, 40))
def test_softmax_is_within_a_step_and_a_half(seed, storage, length):
    rng = np.random.default_rng(seed)
    kind = DTYPES[storage]
    x = parameter("x", Type(kind, (6, length), per_tensor(rng.uniform(1e-4, 1e-3))))
    to = Element(DTYPES["i16"], per_tensor(2.0**-15))
    real = parameter("r", tensor("f32", x.shape))
    op = INTEGER_FORMS["nn.softmax"].build(nn.softmax(real), Wanted(to, "single"), x)
    stored = rng.integers(kind.lo, kind.hi, x.shape, endpoint=True).astype(kind.numpy)
    found = evaluate(Func("f", (x,), (op,)), [stored])[0].astype(np.float64)
    logits = stored * np.float64(x.type.scale)
    e = np.exp(logits - logits.max(-1, keepdims=True))
    exact = np.minimum(e / e.sum(-1, keepdims=True) * 2**15, 2**15 - 1)
    assert np.abs(found - exact).max() <= 1.5
    compare([op], {"x": stored}, 0, 0)
