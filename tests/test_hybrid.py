"""Dynamic range: integer weights, reals on grids found at each call."""

import jax
import numpy as np
import pytest
from qir.dialects import hybrid

import qir
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.expansions import KERNELS
from qir.ir import Func, const, parameter
from qir.targets.tflite.interpreter import Interpreter
from qir.types import DTYPES, Grid, Type, tensor

RNG = np.random.default_rng(0)


def integers(shape, axis) -> object:
    scale = RNG.uniform(0.01, 0.03, shape[axis])
    value = RNG.integers(-127, 128, shape).astype(np.int8)
    return const(value, Type(DTYPES["i8"], shape, Grid(scale, 0, axis, narrow=True)))


def reals(*shape):
    return RNG.normal(0, 1, shape).astype(np.float32)


def _dense(x):
    return hybrid.dense(x, integers((6, 5), 1), const(reals(5)))


def _conv2d(**options):
    channels = 4 // options.get("groups", 1)
    return lambda x: hybrid.conv2d(x, integers((3, 3, channels, 8), 3), const(reals(8)), **options)


def _depthwise(x):
    return hybrid.depthwise_conv2d(x, integers((3, 3, 4, 2), 2), strides=(2, 1), clamp=(0.0, 6.0))


def _lstm(x):
    w, u = integers((4, 6, 5), 0), integers((4, 5, 5), 0)
    return hybrid.lstm(x, w, u, const(reals(20)), const(reals(1, 5)), const(reals(3, 5)))


def _gru(x):
    w, u = integers((3, 6, 5), 0), integers((3, 5, 5), 0)
    return hybrid.gru(x, w, u, const(reals(15)), const(reals(5)), const(reals(1, 5)))


LAYERS = {
    "dense": (_dense, (3, 6)), "dense, one row": (_dense, (1, 6)),
    "dense, sequences": (_dense, (2, 7, 6)), "dense, many rows": (_dense, (500, 6)),
    "convolution": (_conv2d(), (2, 9, 8, 4)),
    "convolution, strides": (_conv2d(strides=(2, 2)), (2, 9, 8, 4)),
    "convolution, dilation": (_conv2d(dilation=(2, 1), padding="valid"), (1, 9, 8, 4)),
    "convolution, groups": (_conv2d(groups=2), (2, 9, 8, 4)),
    "depthwise": (_depthwise, (2, 9, 8, 4)),
    "lstm": (_lstm, (4, 3, 6)), "gru": (_gru, (4, 3, 6)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_xla_computes_what_the_layer_means(name):
    build, shape = LAYERS[name]
    x = parameter("x", tensor("f32", shape))
    func = Func("main", (x,), (build(x),))
    for sample in (reals(*shape), np.abs(reals(*shape)), np.zeros(shape, np.float32)):
        (expected,), (found,) = evaluate(func, [sample]), qir.compile(func)(sample)
        # a value that lies between two steps may go to either
        near = np.isclose(expected, found, rtol=1e-4, atol=1e-4)
        assert near.mean() > 0.95
        assert np.abs(expected - found).max() <= 0.05 * max(1, np.abs(expected).max())


def test_each_row_has_a_grid_of_its_own():
    x = parameter("x", tensor("f32", (2, 6)))
    func = Func("main", (x,), (_dense(x),))
    row = reals(1, 6)
    (both,), (large,) = (evaluate(func, [np.concatenate([row, other])])
                         for other in (row, 1000 * row))  # fmt: skip
    np.testing.assert_array_equal(both[0], both[1])
    np.testing.assert_array_equal(both[0], large[0])


def network(x):
    rng = np.random.default_rng(1)
    filters = rng.normal(0, 0.2, (3, 3, 8, 16)).astype(np.float32)
    dense = rng.normal(0, 0.2, (16, 80)).astype(np.float32)
    y = jax.lax.conv_general_dilated(x, filters, (2, 2), "SAME",
                                     dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip
    return jax.nn.relu(y).mean((1, 2)) @ dense


def test_dynamic_range_of_a_network(tmp_path):
    samples = [reals(1, 8, 8, 8) for _ in range(4)]
    quantized = qir.quantize(network, samples[0], pipeline="dynamic_range")
    exported = qir.quantize(network, samples[0], pipeline="dynamic_range", target="tflite")
    path = tmp_path / "network.tflite"
    exported.export_tflite(path)
    loaded = qir.load(path)
    for x in samples:
        expected, found = np.asarray(network(x)), np.asarray(quantized(x))
        noise = np.square(expected - found).mean()
        assert np.square(expected).mean() / noise > 10**3
        np.testing.assert_allclose(found, np.asarray(next(iter(loaded(x).values()))), atol=0.05)
    with Interpreter() as interpreter:
        for kernels in KERNELS:
            theirs = interpreter.run(path.read_bytes(), kernels, [[x] for x in samples])
            for (found,), x in zip(theirs, samples, strict=True):
                np.testing.assert_allclose(found, np.asarray(quantized(x)), atol=0.05)
    weights = (9 * 8 * 16 + 16 * 80) * 4
    assert path.stat().st_size < weights / 4 + 4000


CELLS = ("LSTM", "GRU", "SimpleRNN")


@pytest.mark.parametrize("cell", CELLS)
def test_dynamic_range_of_cells(cell, tmp_path):
    keras = pytest.importorskip("keras")
    x = keras.Input((5, 32))
    layer = getattr(keras.layers, cell)(32, return_sequences=True)
    model = keras.Model(x, keras.layers.Bidirectional(layer)(x))
    sample = reals(1, 5, 32)
    expected = np.asarray(model(sample))
    quantized = qir.quantize(model, calibration=[sample], pipeline="dynamic_range")
    kinds = {op.kind for op in quantized.module.main.ops}
    assert {"LSTM": "hybrid.lstm", "GRU": "hybrid.gru", "SimpleRNN": "hybrid.dense"}[cell] in kinds
    found = quantized(sample)
    found = np.asarray(next(iter(found.values())) if isinstance(found, dict) else found)
    assert np.square(expected).mean() / np.square(expected - found).mean() > 10**2.5
    path = tmp_path / "cell.tflite"
    qir.quantize(model, calibration=[sample], pipeline="dynamic_range",
                 target="tflite").export_tflite(path)  # fmt: skip
    with Interpreter() as interpreter:
        ((theirs,),) = interpreter.run(path.read_bytes(), "xnnpack", [[sample]])
    assert np.square(expected).mean() / np.square(expected - theirs).mean() > 10**2.5
    assert ("tfl.unidirectional_sequence_lstm" in {
        op.kind for op in qir.api.read_model(path).main.ops}) == (cell == "LSTM")  # fmt: skip


def test_weights_that_are_too_small_are_told():
    quantized = qir.quantize(network, reals(1, 8, 8, 8), pipeline="dynamic_range",
                             min_elements=1200)  # fmt: skip
    kinds = [op.kind for op in quantized.module.main.ops]
    assert kinds.count("hybrid.dense") == 1 and kinds.count("nn.conv2d") == 1
    assert "float ops left: 3, 1 of them by integer weights" in quantized.report().splitlines()


def test_a_size_that_no_weight_has_is_refused():
    with pytest.raises(QirError, match="'min_elements' is at least 1, found -1"):
        qir.quantize(network, reals(1, 8, 8, 8), pipeline="dynamic_range", min_elements=-1)


def test_a_target_without_such_kernels_says_so():
    with pytest.raises(QirError, match="asks for the scheme 'dynamic_range', which the target"):
        qir.quantize(network, reals(1, 8, 8, 8), pipeline="dynamic_range", target="edgetpu")
