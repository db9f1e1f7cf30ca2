"""Recurrent cells: found in the traces of several frameworks, quantized, exported."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from qir.dialects import nn

import qir
from qir.evaluate import evaluate
from qir.floats import float_ops
from qir.ir import Func, const, parameter
from qir.targets.tflite.interpreter import Interpreter
from qir.types import tensor

STEPS, INPUTS, WIDTH = 6, 5, 4


def sequences(count: int, batch: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 1, (batch, STEPS, INPUTS)).astype(np.float32) for _ in range(count)]


def flax_rnn(cell: str, **options):
    linen = pytest.importorskip("flax.linen")
    model = linen.RNN(getattr(linen, cell)(WIDTH), **options)
    x = sequences(1)[0]
    variables = jax.tree.map(lambda a: a + 0.1, model.init(jax.random.key(0), x))
    return lambda x: model.apply(variables, x)


def nnx_rnn():
    nnx = pytest.importorskip("flax.nnx")
    return nnx.RNN(nnx.LSTMCell(INPUTS, WIDTH, rngs=nnx.Rngs(0)))


def by_hand():
    """An LSTM as people write it: both kernels on the joined input and state."""
    rng = np.random.default_rng(1)
    kernel = rng.normal(0, 0.4, (INPUTS + WIDTH, 4 * WIDTH)).astype(np.float32)

    def run(x):
        def step(carried, row):
            h, c = carried
            i, g, f, o = jnp.split(jnp.concatenate([row, h], -1) @ kernel, 4, -1)
            c = c * jax.nn.sigmoid(f + 1) + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jnp.tanh(c) * jax.nn.sigmoid(o)
            return (h, c), h

        zeros = jnp.zeros((x.shape[0], WIDTH))
        return lax.scan(step, (zeros, zeros), jnp.swapaxes(x, 0, 1))[1]

    return run


def keras_model(*layers):
    keras = pytest.importorskip("keras")
    if keras.backend.backend() not in ("jax", "tensorflow"):
        pytest.skip(f"Keras runs on {keras.backend.backend()}")
    model = keras.Sequential([keras.Input((STEPS, INPUTS)), *(make(keras) for make in layers)])
    rng = np.random.default_rng(2)
    for v in model.trainable_variables:
        v.assign(rng.normal(0, 0.4, v.shape))
    return model


def lstm(**options):
    return lambda keras: keras.layers.LSTM(WIDTH, return_sequences=True, **options)


def gru(**options):
    return lambda keras: keras.layers.GRU(WIDTH, return_sequences=True, **options)


def unrolled():
    """The steps of a GRU over the parts of a split, as layers that unroll themselves have them."""
    rng = np.random.default_rng(3)
    w, u = (rng.normal(0, 0.4, (n, 3 * WIDTH)).astype(np.float32) for n in (INPUTS, WIDTH))

    def run(x):
        h, found = jnp.zeros((x.shape[0], WIDTH)), []
        for row in jnp.split(x, STEPS, axis=1):
            given, taken = jnp.split(row[:, 0] @ w, 3, -1), jnp.split(h @ u, 3, -1)
            z, r = (jax.nn.sigmoid(given[i] + taken[i]) for i in (0, 1))
            h = z * h + (1 - z) * jnp.tanh(given[2] + r * taken[2])
            found.append(h)
        return jnp.stack(found, 1)

    return run


CELLS = {
    "flax, LSTM": (lambda: flax_rnn("LSTMCell"), {"nn.lstm": 1}),
    "flax, LSTM in one product": (lambda: flax_rnn("OptimizedLSTMCell"), {"nn.lstm": 1}),
    "flax, LSTM backward": (lambda: flax_rnn("LSTMCell", reverse=True, keep_order=True),
                            {"nn.lstm": 1}),
    "flax, GRU": (lambda: flax_rnn("GRUCell"), {"nn.gru": 1}),
    "nnx, LSTM": (nnx_rnn, {"nn.lstm": 1}),
    "by hand": (by_hand, {"nn.lstm": 1}), "unrolled": (unrolled, {"nn.gru": 1}),
    "Keras, LSTM": (lambda: keras_model(lstm()), {"nn.lstm": 1}),
    "Keras, two LSTMs": (lambda: keras_model(lstm(), lstm()), {"nn.lstm": 2}),
    "Keras, GRU": (lambda: keras_model(gru()), {"nn.gru": 1}),
    "Keras, both ways": (lambda: keras_model(
        lambda keras: keras.layers.Bidirectional(lstm()(keras))), {"nn.lstm": 2}),
    "Keras, GRU both ways": (lambda: keras_model(
        lambda keras: keras.layers.Bidirectional(gru()(keras))), {"nn.gru": 2}),
    "Keras, reset before": (lambda: keras_model(gru(reset_after=False)), {}),
    "Keras, another activation": (lambda: keras_model(lstm(activation="relu")), {}),
    "Keras, a mask": (lambda: keras_model(lambda keras: keras.layers.Masking(), lstm()), {}),
}  # fmt: skip
ROLLED = [name for name, (_, expected) in CELLS.items() if expected]


@pytest.mark.parametrize("name", CELLS)
def test_cells_of_frameworks_become_one_op(name):
    make, expected = CELLS[name]
    model, (x,) = make(), sequences(1)
    before = qir.trace(model, x)
    after = qir.run_pipeline(before, "float_front").main
    kinds = [op.kind for op in after.ops if op.kind in ("nn.lstm", "nn.gru")]
    assert {kind: kinds.count(kind) for kind in kinds} == expected
    if expected:
        assert not any(op.kind in ("nn.sigmoid", "nn.tanh") for op in after.ops)
    for a, b in zip(evaluate(before.main, [x]), evaluate(after, [x]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert all(op.location for op in after.ops)


@pytest.mark.parametrize("name", ROLLED)
def test_cells_are_integers_alone(name):
    model, samples = CELLS[name][0](), sequences(8)
    module = qir.trace(model, samples[0])
    quantized = qir.quantize(module, calibration=samples)
    assert float_ops(quantized.func) == []
    run = qir.compile(module)
    expected = np.stack([np.asarray(run(x)[0]) for x in samples])
    found = np.stack([np.asarray(_first(quantized(x))) for x in samples])
    assert np.square(expected).mean() / np.square(expected - found).mean() > 10**2.8
    same = np.stack([evaluate(quantized.func, [x])[0] for x in samples])
    np.testing.assert_array_equal(same, found)


def _first(results):
    values = results.values() if isinstance(results, dict) else results
    return next(iter(values)) if isinstance(results, (dict, tuple, list)) else results


@pytest.mark.parametrize("name", ["flax, LSTM", "flax, GRU", "Keras, two LSTMs"])
def test_cells_serve_any_batch(name):
    model, samples = CELLS[name][0](), sequences(4)
    quantized = qir.quantize(qir.trace(model, samples[0]), calibration=samples)
    together = np.asarray(_first(quantized(np.concatenate(samples))))
    alone = np.concatenate([np.asarray(_first(quantized(x))) for x in samples])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("name", ["flax, LSTM", "by hand", "Keras, both ways", "flax, GRU"])
def test_cells_are_exported_bit_for_bit(name, tmp_path):
    model, samples = CELLS[name][0](), sequences(4)
    path = tmp_path / "cell.tflite"
    quantized = qir.quantize(qir.trace(model, samples[0]), calibration=samples, target="tflite")
    quantized.export_tflite(path)
    kinds = [op.kind for op in qir.api.read_model(path).main.ops]
    assert ("tfl.unidirectional_sequence_lstm" in kinds) == ("GRU" not in name)
    loaded = qir.load(path)
    with Interpreter() as interpreter:
        theirs = interpreter.run(path.read_bytes(), "xnnpack", [[x] for x in samples])
    for (expected,), x in zip(theirs, samples, strict=True):
        np.testing.assert_array_equal(np.asarray(_first(loaded(x))), expected)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("cell", [nn.lstm, nn.gru])
def test_integers_are_the_same_on_xla_for_long_sequences(cell, batch):
    rng = np.random.default_rng(3)
    gates = 4 if cell is nn.lstm else 3
    x = parameter("x", tensor("f32", (40, batch, 7)))
    w, u = (const(rng.normal(0, 1, (gates, n, 9)).astype(np.float32)) for n in (7, 9))
    b, r = (const(rng.normal(0, 1, n).astype(np.float32)) for n in (gates * 9, 9))
    zeros = const(np.zeros((1, 9), np.float32))
    operands = (x, w, u, b, zeros, zeros) if cell is nn.lstm else (x, w, u, b, r, zeros)
    y = cell(*operands, nn.lstm_cells(*operands)) if cell is nn.lstm else cell(*operands)
    samples = [rng.normal(0, 1, x.shape).astype(np.float32) for _ in range(4)]
    func = Func("main", (x,), (y,))
    quantized = qir.quantize(func, calibration=samples)
    for sample in samples:
        exact, (found,) = evaluate(func, [sample])[0], evaluate(quantized.func, [sample])
        np.testing.assert_allclose(np.asarray(qir.compile(func)(sample)[0]), exact, atol=1e-5)
        np.testing.assert_array_equal(np.asarray(quantized(sample)), found)
        assert np.square(exact).mean() / np.square(exact - found).mean() > 10**2.5
