"""Models of TensorFlow as graphs: the same numbers as TensorFlow's own."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import qir
from qir.cli.models import quantize
from qir.errors import QirError
from qir.ir import Module

tf = pytest.importorskip("tensorflow")
keras = tf.keras
keras_layers = pytest.importorskip("keras_layers")
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def same(module, arrays, expected, tolerance=2e-5) -> None:
    """Fail where a graph on XLA is not what TensorFlow gives."""
    found = qir.compile(module)(*arrays)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        b = np.asarray(b)
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, np.abs(b).max()))


def alive(model):
    """A Keras model with statistics and biases that are not the ones it starts with."""
    for v in model.variables:
        if v.path.endswith(("moving_variance", "gamma")):
            v.assign(RNG.uniform(0.5, 1.5, v.shape))
        elif v.path.endswith(("moving_mean", "beta", "bias")):
            v.assign(RNG.normal(0, 0.1, v.shape))
    return model


def network():
    layers = keras.layers
    x = keras.Input((17, 16, 3), name="image")
    y = layers.Conv2D(8, 3, strides=2, padding="same")(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    z = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(y)
    z = layers.Activation("silu")(layers.Conv2D(8, 1, groups=2)(z))
    y = layers.LeakyReLU()(layers.Add()([y, z]))
    y = layers.ZeroPadding2D((1, 2))(y)
    y = layers.Concatenate()([layers.MaxPooling2D(3, 1, "same")(y), layers.AveragePooling2D(
        3, 1, "same")(y)])  # fmt: skip
    y = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(y)
    y = layers.LayerNormalization()(layers.UpSampling2D(2)(y))
    y = layers.GlobalAveragePooling2D()(y)
    first = layers.Dense(5, activation="softmax", name="classes")(y)
    second = layers.Dense(2, activation="gelu", name="place")(layers.Reshape((2, 2))(y))
    return alive(keras.Model(x, {"classes": first, "place": second}))


@pytest.fixture(scope="module")
def model():
    return network()


IMAGES = RNG.normal(0, 1, (8, 1, 17, 16, 3)).astype(np.float32)


def test_a_keras_model(model):
    module = qir.trace(model)
    assert module.main.parameters[0].attributes["name"] == "image"
    assert module.main.result_names == ("classes", "place")
    expected = model(IMAGES[0], training=False)
    same(module, [IMAGES[0]], [expected["classes"], expected["place"]])
    places = {op.location[0] for op in module.main.ops if op.kind == "nn.conv2d"}
    assert any("conv2d" in place for place in places)


def test_the_batch_is_an_option(model):
    assert qir.trace(model, batch=4).main.parameters[0].shape == (4, 17, 16, 3)
    example = np.zeros((2, 17, 16, 3), np.float32)
    assert qir.trace(model, example).main.parameters[0].shape == (2, 17, 16, 3)


def test_a_saved_model_and_its_signatures(model, tmp_path):
    model.export(str(tmp_path / "saved"), verbose=False)
    module = qir.trace(tmp_path / "saved")
    expected = model(IMAGES[0], training=False)
    same(module, [IMAGES[0]], [expected["classes"], expected["place"]])
    with pytest.raises(QirError, match="there is no signature 'train'") as caught:
        qir.trace(tmp_path / "saved", signature="train")
    assert str(caught.value) == (f"{tmp_path / 'saved'}: error: there is no signature 'train'\n"
                                 "  help: there are serve, serving_default")  # fmt: skip


def test_a_model_is_quantized_from_its_folder(model, tmp_path):
    model.export(str(tmp_path / "saved"), verbose=False)
    np.savez(tmp_path / "data.npz", image=IMAGES[:, 0])
    arguments = [str(tmp_path / "saved"), "--calibration", str(tmp_path / "data.npz"),
                 "-o", str(tmp_path / "net.qir")]  # fmt: skip
    result = CliRunner().invoke(quantize, arguments)
    assert result.exit_code == 0, result.output
    assert "int8.conv2d" in result.output
    outputs = qir.load(tmp_path / "net.qir")(IMAGES[0])
    np.testing.assert_allclose(outputs["classes"], model(IMAGES[0])["classes"], atol=0.03)


def test_a_quantized_model_is_as_exact_as_its_grids(model):
    quantized = qir.quantize(model, calibration=list(IMAGES))
    found, expected = quantized(IMAGES[1]), model(IMAGES[1], training=False)
    np.testing.assert_allclose(found["classes"], expected["classes"], atol=0.03)


def test_a_frozen_graph(tmp_path):
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        tf.nn.relu(x @ tf.constant(RNG.normal(0, 1, (4, 3)).astype(np.float32)), name="y")
        definition = graph.as_graph_def()
    (tmp_path / "net.pb").write_bytes(definition.SerializeToString())
    for given in (definition, tmp_path / "net.pb"):
        module = qir.trace(given, batch=2)
        assert module.main.result_names == ("y",)
        array = RNG.normal(0, 1, (2, 4)).astype(np.float32)
        (found,) = qir.compile(module)(array)
        with tf.compat.v1.Session(graph=graph) as session:
            np.testing.assert_allclose(found, session.run("y:0", {"x:0": array}), rtol=1e-5)


def test_results_of_a_frozen_graph_are_those_of_operations_that_nothing_reads():
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [1, 4, 4, 2], name="x")
        y = tf.compat.v1.nn.fused_batch_norm(x, *np.ones((4, 2), np.float32), is_training=False)[0]
        tf.nn.relu(tf.split(y, 2, -1)[0], name="y")  # not the statistics, nor the other half
    assert qir.trace(graph.as_graph_def()).main.result_names == ("y",)


F32 = RNG.uniform(0.1, 2, (2, 6, 6, 4)).astype(np.float32)
KERNEL = RNG.normal(0, 1, (3, 3, 4, 5)).astype(np.float32)
FUNCTIONS = {
    "activations": lambda x: tf.nn.elu(x - 1) + tf.nn.selu(x - 1) + tf.nn.softplus(x)
    + tf.nn.softsign(x) + tf.nn.leaky_relu(x - 1, 0.3) + tf.nn.relu6(4 * x),
    "functions": lambda x: tf.exp(x) + tf.math.log(x) + tf.sqrt(x) + tf.math.erf(x) + tf.sin(x)
    + tf.math.rsqrt(x) + tf.square(x) + tf.abs(x - 1) + tf.floor(3 * x) + tf.round(3 * x),
    "choices": lambda x: tf.where(x > 1, tf.maximum(x, 1.5), tf.minimum(x, 0.5)),
    "clip": lambda x: tf.clip_by_value(x, 0.5, 1.0),
    "dilated": lambda x: tf.nn.conv2d(x, KERNEL, 1, "SAME", dilations=2),
    "explicit": lambda x: tf.nn.conv2d(x, KERNEL, 2, [[0, 0], [1, 0], [2, 1], [0, 0]]),
    "pools": lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID") + tf.nn.avg_pool2d(x, 3, 2, "SAME"),
    "products": lambda x: tf.matmul(x, x[:, :1], transpose_b=True),
    "tensordot": lambda x: tf.tensordot(x, KERNEL[0, 0], 1),
    "einsum": lambda x: tf.einsum("bhwc,bkwc->bhkc", x, x),
    "einsum sums": lambda x: tf.einsum("bhwc,cv->vbh", x, KERNEL[0, 0]),
    "einsum of one": lambda x: tf.einsum("bhwc->cb", x),
    "reductions": lambda x: tf.reduce_mean(x, [1, 2]) + tf.reduce_max(x, [1, 2])
    + tf.reduce_sum(x, -3)[:, 0] + tf.cast(tf.argmax(x[:, 0], 1), tf.float32),
    "norm": lambda x: tf.nn.log_softmax(x) + tf.math.l2_normalize(x, -1),
    "batch norm": lambda x: tf.compat.v1.nn.fused_batch_norm(
        x, KERNEL[0, 0, :, 0], KERNEL[0, 0, :, 1], KERNEL[0, 0, :, 2], KERNEL[0, 1, :, 3] ** 2,
        is_training=False)[0],
    "slices": lambda x: tf.concat([x[:, ::2, 1:-1], tf.reverse(x, [1])[:, :3, :4]], -1),
    "shapes": lambda x: tf.reshape(x, [tf.shape(x)[0], -1, 2 * tf.shape(x)[3]]),
    "parts": lambda x: tf.stack(tf.unstack(x, axis=3)[::-1], 1)
    + tf.transpose(tf.concat(tf.split(x, [1, 3], -1), -1), [0, 3, 1, 2]),
    "time first": lambda x: tf.add_n(tf.unstack(tf.transpose(x, [1, 0, 2, 3]))),
    "tiles": lambda x: tf.tile(tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], constant_values=3.0),
                               [1, 1, 2, 1]),
    "mirrors": lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], "REFLECT"),
    "gather": lambda x: tf.gather(x, [3, 0, 1], axis=3) * tf.one_hot([2, 0, 1], 3)[0],
    "images": lambda x: tf.image.resize(x, (9, 4)) + tf.image.resize(x, (9, 4), "nearest"),
    "blocks": lambda x: tf.nn.depth_to_space(tf.nn.space_to_depth(x, 2), 4),
    "embedding": lambda x: tf.gather(KERNEL[0, 0], tf.cast(x[:, 0, 0] * 2, tf.int32)),
    "cumulative": lambda x: tf.cumsum(x, 2, reverse=True),
    "fake quant": lambda x: tf.quantization.fake_quant_with_min_max_args(x, 0.0, 1.5, 8),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    function = tf.function(FUNCTIONS[name])
    concrete = function.get_concrete_function(tf.TensorSpec(F32.shape, tf.float32))
    for given, examples in ((concrete, ()), (function, (F32,))):
        same(qir.trace(given, *examples), [F32], [function(F32)])


@pytest.mark.parametrize("name", [each for each in FUNCTIONS if "einsum" not in each])
def test_functions_of_an_open_batch(name):
    function = tf.function(FUNCTIONS[name])
    rows = tf.TensorSpec((None, *F32.shape[1:]), tf.float32)
    module = qir.trace(function.get_concrete_function(rows))
    assert module.main.parameters[0].shape[0] == 1
    same(Module((module.main.with_batch(2),)), [F32], [function(F32)])


def test_all_that_has_no_import_is_one_report():
    @tf.function
    def function(x):
        solved = tf.linalg.det(x) + tf.linalg.inv(x) + tf.nn.relu(tf.linalg.cholesky(x))
        return solved + tf.signal.rfft(x, [4])[..., :2].shape[0]

    with pytest.raises(QirError) as caught:
        qir.trace(function, np.eye(3, dtype=np.float32))
    assert str(caught.value).splitlines() == [
        "error: 3 TensorFlow operations are not imported:",
        "  Cholesky (once) at Cholesky",
        "  MatrixDeterminant (once) at MatrixDeterminant",
        "  MatrixInverse (once) at MatrixInverse",
        '  help: declare @imports("Cholesky") in a file of qir/frontends/tensorflow/',
    ]


@pytest.mark.parametrize(("given", "examples", "message"), [
    ("nowhere", (), "nowhere: error: is no SavedModel: there is no saved_model.pb"),
    ("net.tflite", (), "net.tflite: error: is no model to trace\n  help: qir.load reads it"),
    (tf.function(tf.nn.relu), (), "error: a tf.function takes its shapes from examples"),
    (keras.Sequential([keras.layers.Dense(2)]), (), "error: this Keras model was not built"),
])  # fmt: skip
def test_what_cannot_be_traced_is_said(given, examples, message):
    with pytest.raises(QirError) as caught:
        qir.trace(given, *examples)
    assert str(caught.value).startswith(message)


def test_an_example_of_another_shape_is_refused(model):
    with pytest.raises(QirError) as caught:
        qir.trace(model, np.zeros((1, 5, 5, 3), np.float32))
    assert caught.value.message == (
        "the input 'image' takes [-1, 17, 16, 3], found an example of [1, 5, 5, 3]"
    )


ON_JAX = """
import keras, numpy as np, qir

x = keras.Input((8, 8, 3), name="image")
y = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, activation="silu")(x))
model = keras.Model(x, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(y)))
array = np.random.default_rng(0).normal(0, 1, (2, 8, 8, 3)).astype(np.float32)
module = qir.trace(model, array)
assert module.main.parameters[0].attributes["name"] == "image"
assert "conv2d/kernel" in {op.attributes["name"] for op in module.main.ops if op.is_const}
(found,) = qir.compile(module)(array)
np.testing.assert_allclose(found, model(array, training=False), rtol=1e-5, atol=1e-5)
"""


@pytest.mark.parametrize("name", keras_layers.MODELS)
def test_layers(name):
    keras_layers.check(name)


def test_layers_on_jax():
    path = Path(__file__).with_name("keras_layers.py")
    names = ["causal attention", "masked lstm", "group norm", "transposed", "bilinear", "sparsemax"]
    done = subprocess.run([sys.executable, str(path), *names], capture_output=True, text=True,
                          check=False, env={**os.environ, "KERAS_BACKEND": "jax"})  # fmt: skip
    assert done.returncode == 0, done.stderr


def in_a_process(code: str, backend: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env={**os.environ, "KERAS_BACKEND": backend})  # fmt: skip


def test_a_keras_model_on_jax():
    done = in_a_process(ON_JAX, "jax")
    assert done.returncode == 0, done.stderr


def test_a_keras_model_on_another_backend_is_refused():
    done = in_a_process("import keras, qir; qir.trace(keras.Sequential())", "numpy")
    assert done.stderr.splitlines()[-2:] == [
        "qir.errors.QirError: error: the model is of Keras on numpy",
        "  help: set KERAS_BACKEND to jax or tensorflow before keras is imported",
    ]


RECURRENT = {
    "lstm": lambda layers: layers.LSTM(4, return_sequences=True),
    "gru": lambda layers: layers.GRU(4),
    "gru, reset before": lambda layers: layers.GRU(4, reset_after=False, go_backwards=True),
    "simple": lambda layers: layers.SimpleRNN(4),
    "bidirectional": lambda layers: layers.Bidirectional(layers.LSTM(4)),
}  # fmt: skip


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_are_exact_and_quantized(name):
    x = keras.Input((5, 3))
    model = alive(keras.Model(x, RECURRENT[name](keras.layers)(x)))
    array = RNG.normal(0, 1, (2, 5, 3)).astype(np.float32)
    module = qir.trace(model, batch=2)
    same(module, [array], [model(array)])
    quantized = qir.quantize(module, calibration=[array])
    assert not {op.kind for op in quantized.module.main.ops if op.kind.startswith("nn.")}


def test_branches_are_both_computed_or_one_is_known():
    @tf.function
    def function(x):
        y = tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2, lambda: x - 1)
        return tf.cond(tf.constant(True), lambda: y, lambda: tf.linalg.inv(x))

    for array in (np.ones((2, 2), np.float32), -np.ones((2, 2), np.float32)):
        same(qir.trace(function, array), [array], [function(array)])


def test_a_loop_whose_end_an_input_decides_is_refused():
    @tf.function
    def function(x):
        return tf.while_loop(lambda v: v[0] < 9, lambda v: v * 2, [x])

    with pytest.raises(QirError) as caught:
        qir.trace(function, np.ones(3, np.float32))
    assert str(caught.value).splitlines() == [
        "error: 1 TensorFlow operation is not imported:",
        "  StatelessWhile (once) at while: how often the loop runs depends on an input",
    ]


def test_a_saved_model_of_the_first_version(tmp_path, monkeypatch):
    weight = RNG.normal(0, 1, (4, 3)).astype(np.float32)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4])
        kernel = tf.compat.v1.get_variable("kernel", initializer=weight, use_resource=True)
        bias = tf.compat.v1.get_variable("bias", initializer=weight[0], use_resource=False)
        y = tf.nn.relu(x @ kernel + bias)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(tmp_path / "old"), {"x": x}, {"y": y})
        array = RNG.normal(0, 1, (2, 4)).astype(np.float32)
        expected = session.run(y, {x: array})
    for broken in (False, True):  # what only the first loader restores is read by that
        if broken:
            monkeypatch.setattr(tf.saved_model, "load", lambda path: [].missing)
        module = qir.trace(tmp_path / "old", batch=2)
        assert module.main.result_names == ("y",)
        assert {"kernel", "bias"} <= {op.attributes["name"] for op in module.main.ops
                                      if op.is_const}  # fmt: skip
        same(module, [array], [expected])


def test_ranges_of_training_are_obeyed():
    fake = tf.quantization.fake_quant_with_min_max_args
    w, v = KERNEL[0, 0] / 4, KERNEL[0, 1].T / 4

    @tf.function
    def function(x):
        h = tf.nn.relu(fake(x, -2.0, 2.0, 8) @ fake(w, -1.0, 1.0, 8, narrow_range=True))
        return fake(fake(h, 0.0, 4.0, 8) @ fake(v, -1.0, 1.0, 8, narrow_range=True), -3.0, 3.0, 8)

    array = RNG.normal(0, 1, (2, 4)).astype(np.float32)
    module = qir.trace(function, array)
    quantized = qir.quantize(module, calibration=[100 * array])  # which says nothing any more
    scales = [op.type.grid.scale for op in quantized.module.main.ops
              if op.type.grid is not None and not op.is_const]  # fmt: skip
    np.testing.assert_allclose(scales, np.float32([4, 4, 6]) / 255, rtol=1e-6)
    np.testing.assert_allclose(quantized(array), function(array), atol=6 / 255 + 1e-6)


def test_without_tensorflow_it_is_said_how_to_install_it():
    code = "import sys; sys.modules['tensorflow'] = None; import qir; qir.trace('folder')"
    done = in_a_process(code, "jax")
    assert done.stderr.splitlines()[-2:] == [
        "qir.errors.QirError: error: this model takes tensorflow, which is not installed",
        "  help: pip install 'qir[tf]'",
    ]
