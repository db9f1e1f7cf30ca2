"""The scheme of TensorFlow's version 1 converter: against its files, its interpreter, and XLA."""

import numpy as np
import pytest

import qir
from qir.errors import QirError
from qir.expansions import KERNELS
from qir.targets.tflite.interpreter import Interpreter
from qir.targets.tflite.read import read_bytes

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_numbers_in_any_order():
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def fake(x, lo, hi):
    return tf.quantization.fake_quant_with_min_max_args(x, lo, hi)


def weight(*shape, lo=None, hi=None):
    """A constant, rounded as training did where a range is given."""
    value = tf.constant(RNG.normal(0.05, 0.3, shape).astype(np.float32))
    return value if lo is None else fake(value, lo, hi)


def bias(size):
    return tf.constant(RNG.normal(0, 0.3, size).astype(np.float32))


def classifier(x):
    """A convolution, a depthwise one, a sum, pools, a dense layer and a softmax."""
    y = tf.nn.bias_add(tf.nn.conv2d(x, weight(3, 3, 3, 8, lo=-0.7, hi=0.9), 1, "SAME"), bias(8))
    y = fake(tf.nn.relu6(y), 0.0, 6.0)
    z = tf.nn.depthwise_conv2d(y, weight(3, 3, 8, 1, lo=-0.9, hi=0.5), [1, 1, 1, 1], "SAME")
    z = fake(tf.nn.bias_add(z, bias(8)), -3.0, 4.0)
    s = fake(tf.nn.relu(y + z), 0.0, 7.0)
    m = tf.nn.max_pool2d(tf.nn.avg_pool2d(s, 2, 2, "VALID"), 2, 2, "VALID")
    d = tf.matmul(tf.reshape(m, (1, 32)), weight(32, 5, lo=-0.8, hi=0.6))
    return tf.nn.softmax(fake(tf.nn.bias_add(d, bias(5)), -6.0, 5.0))


def branches(x):
    """Branches of other ranges joined, strides, a mean, and functions of one value."""
    a = fake(tf.nn.relu(tf.nn.conv2d(x, weight(3, 3, 3, 4, lo=-0.5, hi=0.8), 2, "VALID")), 0.0, 4.0)
    b = fake(tf.nn.conv2d(x, weight(3, 3, 3, 4, lo=-0.9, hi=0.4), 2, "VALID"), -3.0, 4.0)
    y = fake(tf.concat([a, b], 3), -3.0, 4.0)
    y = fake(tf.reduce_mean(tf.pad(y, [[0, 0], [1, 1], [0, 1], [0, 0]]), [1, 2]), -1.0, 2.0)
    y = fake(tf.matmul(y, weight(8, 6, lo=-0.8, hi=0.8)), -1.5, 1.5)
    return tf.tanh(y)


def untrained(x):
    """Weights whose range is their own, values that no training has rounded."""
    y = tf.nn.relu6(tf.nn.conv2d(x, weight(3, 3, 3, 4), 1, "SAME"))
    y = tf.reshape(tf.nn.avg_pool2d(y, 4, 4, "VALID"), (1, 16))
    return tf.sigmoid(tf.matmul(y, weight(16, 3)))


NETWORKS = {classifier: {}, branches: {}, untrained: {"default_ranges": (-4.0, 6.0)}}
"""The options of each network."""
STATS = (128.0, 64.0)


def converted(network, folder, default_ranges=None):
    """The path of a frozen graph, and the file that the version 1 converter makes of it."""
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (1, 8, 8, 3), name="x")
        tf.identity(network(x), name="y")
    path = folder / "graph.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(str(path), ["x"], ["y"])
    converter.inference_type = tf.uint8
    converter.quantized_input_stats = {"x": STATS}
    converter.default_ranges_stats = default_ranges
    return path, converter.convert()


def images(count=64):
    return [RNG.integers(0, 256, (1, 8, 8, 3)).astype(np.uint8) for _ in range(count)]


def apart(a, b) -> int:
    """The most levels between stored results."""
    return int(np.abs(np.int32(a) - np.int32(b)).max())


def run(model, batches):
    return np.concatenate([np.asarray(model(x)["y"]) for x in batches])


def interpreted(file: bytes, kernels: str, batches) -> np.ndarray:
    with Interpreter() as interpreter:
        found = interpreter.run(file, kernels, [[x] for x in batches])
    return np.concatenate([each[0] for each in found])


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_it_agrees_with_the_version_1_converter(network, tmp_path):
    """Within one level, kernel set by kernel set; and XLA's own roundings by default."""
    options = NETWORKS[network]
    path, theirs = converted(network, tmp_path, **options)
    module, batches = qir.trace(path), images()
    given = {"pipeline": "legacy_uint8", "input_stats": {"x": STATS}, **options}
    on_xla = qir.quantize(module, **given)
    exported = qir.quantize(module, target="tflite", **given)
    exported.export_tflite(tmp_path / "ours.tflite")
    ours = (tmp_path / "ours.tflite").read_bytes()
    expected = {kernels: interpreted(theirs, kernels, batches) for kernels in KERNELS}
    for kernels in KERNELS:
        found = interpreted(ours, kernels, batches)
        assert apart(found, expected[kernels]) <= 1, kernels
        loaded = run(qir.load(tmp_path / "ours.tflite", kernels=kernels), batches)
        np.testing.assert_array_equal(loaded, found)
    # XLA rounds nearly as the default kernels do; those of a network that ends in a mean and a
    # tanh, whose steps are finer than those before it, differ by 2 among themselves
    spread = max(apart(expected["xnnpack"], each) for each in expected.values())
    most = spread if network is branches else 1
    assert apart(run(on_xla, batches), expected["xnnpack"]) <= most


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_files_of_the_version_1_converter_are_read(network, tmp_path):
    _, theirs = converted(network, tmp_path, **NETWORKS[network])
    (tmp_path / "theirs.tflite").write_bytes(theirs)
    batches = images(16)
    for kernels in KERNELS:
        loaded = run(qir.load(tmp_path / "theirs.tflite", kernels=kernels), batches)
        np.testing.assert_array_equal(loaded, interpreted(theirs, kernels, batches))


def grids(module) -> dict:
    """The grids of the weights and results of layers."""
    return {(op.kind, i): (each.type.dtype, each.type.grid.scale.item(), int(each.type.zero))
            for i, op in enumerate(o for o in module.main.ops if o.kind.startswith("tfl."))
            for each in (op, *op.operands[1:2])}  # fmt: skip


@pytest.mark.parametrize("network", [classifier, untrained], ids=lambda network: network.__name__)
def test_grids_are_those_of_the_converter(network, tmp_path):
    options = NETWORKS[network]
    path, theirs = converted(network, tmp_path, **options)
    ours = qir.quantize(qir.trace(path), pipeline="legacy_uint8", input_stats=[STATS],
                        target="tflite", **options).final  # fmt: skip
    found, expected = grids(ours), grids(read_bytes(theirs))
    assert found.keys() == expected.keys()
    for key, (dtype, scale, zero) in expected.items():
        assert found[key][0] == dtype and found[key][2] == zero, key
        np.testing.assert_allclose(found[key][1], scale, rtol=3e-7)


def test_samples_say_the_ranges_that_nothing_else_does():
    def f(x):
        return tf.matmul(tf.reshape(x, (1, 48)), weight(48, 4))

    module = qir.trace(tf.function(f), np.zeros((1, 4, 4, 3), np.float32))
    samples = [RNG.normal(0, 0.5, (1, 4, 4, 3)).astype(np.float32) for _ in range(8)]
    model = qir.quantize(module, calibration=samples, pipeline="legacy_uint8", outputs="float32",
                         input_stats=(128, 64), target="xla")  # fmt: skip
    (x,) = model.inputs.values()
    assert (x.dtype.name, float(x.scale), int(x.zero)) == ("u8", 1 / 64, 128)
    stored = np.clip(np.round(samples[0] * 64) + 128, 0, 255).astype(np.uint8)
    found = np.asarray(model(stored))
    expected = np.asarray(qir.compile(module)((np.float32(stored) - 128) / 64)[0])
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max() + 0.02


def test_an_input_that_training_stored_otherwise_is_warned_of():
    def f(x):
        return fake(tf.matmul(fake(x, -1.0, 2.0), weight(4, 4)), -3.0, 3.0)

    module = qir.trace(tf.function(f), np.zeros((1, 4), np.float32))
    with pytest.warns(UserWarning, match="'x' is stored as training rounded it, with scale 0.0117"):
        model = qir.quantize(module, pipeline="legacy_uint8", input_stats=(128, 64))
    assert int(model.inputs["x"].zero) == 85
    with pytest.warns(UserWarning, match="mean and deviation of 'x' say nothing"):
        qir.run_pipeline(qir.trace(tf.function(lambda x: tf.cumsum(x)), np.zeros(4, np.float32)),
                         "legacy_uint8(inputs=float32, outputs=float32, input_stats=[1, 2])")


def test_statistics_of_some_values_are_filled_up_by_the_default(tmp_path):
    def f(x):
        return tf.nn.relu(tf.matmul(x, weight(4, 4)))

    module = qir.trace(tf.function(f), np.zeros((1, 4), np.float32))
    samples = [RNG.normal(0, 1, (1, 4)).astype(np.float32) for _ in range(4)]
    saved = tmp_path / "stats.txt"
    options = {"pipeline": "legacy_uint8", "stats": str(saved)}
    qir.quantize(module, calibration=samples, pipeline="legacy_uint8", save_stats=str(saved))
    text = saved.read_text()
    saved.write_text(text[: text.index('value "x"')])
    with pytest.raises(QirError, match="there are no statistics of 'x'"):
        qir.quantize(module, **options)
    model = qir.quantize(module, default_ranges=(-2.55, 2.55), **options)
    assert float(model.inputs["x"].scale) == np.float32(0.02)


ATTENTION = """
func @main(%x: f32[1,8,8], %t: f32[1,8]) -> (a: f32[1,8,8], b: f32[1,8], c: f32[1,8]) {
  %0 = nn.matmul(%x, %x, adjoint_b=true)
  %1 = nn.softmax(%0)
  %2 = nn.matmul(%1, %x)
  %g = const(value=random) : f32[8]
  %3 = nn.layer_norm(%2, %g, %g, epsilon=0.001)
  %4 = nn.gelu(%3, approximate=false)
  %5 = lax.exp(%t)
  %6 = nn.elu(%t)
  return %4, %5, %6
}
"""


def test_what_has_no_kernel_on_bytes_is_exported_bit_for_bit(tmp_path):
    """Products of two activations run as int8 between casts, functions are looked up."""
    (tmp_path / "net.qir").write_text(ATTENTION)
    samples = [{"x": RNG.normal(0, 1, (1, 8, 8)).astype(np.float32),
                "t": RNG.normal(0, 1, (1, 8)).astype(np.float32)} for _ in range(4)]  # fmt: skip
    model = qir.quantize(tmp_path / "net.qir", calibration=samples, pipeline="legacy_uint8",
                         target="tflite")  # fmt: skip
    kinds = {op.kind for op in model.final.main.ops}
    assert kinds >= {"tfl.batch_matmul", "tfl.gather"} and "tfl.dequantize" not in kinds
    path = tmp_path / "net.tflite"
    model.export_tflite(path)
    batches = [[RNG.integers(0, 256, shape).astype(np.uint8) for shape in ((1, 8, 8), (1, 8))]
               for _ in range(16)]  # fmt: skip
    for kernels in KERNELS:
        with Interpreter() as interpreter:
            expected = interpreter.run(path.read_bytes(), kernels, batches)
        loaded = qir.load(path, kernels=kernels)
        for arrays, each in zip(batches, expected, strict=True):
            for ours, theirs in zip(loaded(*arrays).values(), each, strict=True):
                np.testing.assert_array_equal(ours, theirs)
