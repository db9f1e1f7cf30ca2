"""Quantization in TensorFlow's graphs: roundings of training, and quantized tensors proper."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import qir
from qir.errors import QirError

tf = pytest.importorskip("tensorflow")
RNG = np.random.default_rng(0)
FRONT = "float_front, insert_observers, calibrate, propagate_types"


def traced(function, *arrays):
    """The results of a function by TensorFlow and by qir on XLA."""
    module = qir.trace(tf.function(lambda *given: function(*given)), *arrays)
    expected = [np.asarray(each) for each in tf.nest.flatten(function(*arrays))]
    return expected, [np.asarray(each) for each in qir.compile(module)(*arrays)]


def exact(function, *arrays) -> None:
    """Fail where a function has another value than TensorFlow gives it."""
    for a, b in zip(*traced(function, *arrays), strict=True):
        assert a.shape == b.shape
        np.testing.assert_array_equal(stored(a), b)


def stored(array):
    return array[array.dtype.names[0]] if array.dtype.names else array


def on_steps(lo, hi, bits, shape):
    """Values of which many lie between two levels."""
    step = (np.max(hi) - np.min(lo)) / (2**bits - 1) / 2
    x = RNG.normal(0, np.abs(hi).max() + 0.1, shape)
    return np.float32(np.where(RNG.random(shape) < 0.5, np.round(x / step) * step, x))


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("narrow", [False, True])
def test_fake_quantization_is_exact(bits, narrow):
    for lo, hi in ((-1.3, 2.1), (0.0, 0.7), (-3.0, 0.0), (0.5, 2.5), (-2.5, -0.5), (0.0, 0.0)):
        x = on_steps(lo, hi + 0.1, bits, (7, 5))
        ends = [np.float32(RNG.normal(each, 0.01 * (hi > lo), 5)) for each in (lo, hi)]
        width = {"num_bits": bits, "narrow_range": narrow}
        exact(lambda x, lo=lo, hi=hi, width=width:
              tf.quantization.fake_quant_with_min_max_vars(x, lo, hi, **width), x)  # fmt: skip
        exact(lambda x, ends=ends, width=width:
              tf.quantization.fake_quant_with_min_max_vars_per_channel(x, *ends, **width), x)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("rounding", ["HALF_TO_EVEN", "HALF_UP"])
def test_quantize_and_dequantize_is_exact(signed, narrow, rounding):
    for bits, given, version in itertools.product((3, 8, 16), (False, True), (2, 4)):
        lo, hi = np.sort(RNG.normal(0, 1, 2).astype(np.float32))
        op = getattr(tf.raw_ops, f"QuantizeAndDequantizeV{version}")
        exact(lambda x, op=op, lo=lo, hi=hi, bits=bits, given=given: op(
            input=x, input_min=lo, input_max=hi, signed_input=signed, num_bits=bits,
            range_given=given, narrow_range=narrow, round_mode=rounding), on_steps(lo, hi, bits,
                                                                                   (6, 5)))


@pytest.mark.parametrize("axis", [-1, 0, 2])
@pytest.mark.parametrize("given", [False, True])
def test_quantize_and_dequantize_along_an_axis(axis, given):
    x = on_steps(-1, 1, 8, (3, 4, 5))
    shape = () if axis < 0 else x.shape[axis]
    lo, hi = np.sort(RNG.normal(0, 1, (2, *np.atleast_1d(shape)[: axis >= 0])), 0)
    exact(lambda x: tf.raw_ops.QuantizeAndDequantizeV3(
        input=x, input_min=np.float32(lo), input_max=np.float32(hi), num_bits=8, axis=axis,
        range_given=given), x)  # fmt: skip


# TensorFlow's own kernels: those of oneDNN round otherwise, and are chosen when it is imported.
MODES = """
import itertools, sys
sys.path.insert(0, sys.argv[1])
from test_frontend_quantized import RNG, exact, np, tf

kinds = (tf.qint8, tf.quint8, tf.qint16, tf.quint16)
for kind, mode, narrow, axis in itertools.product(
        kinds, ("MIN_COMBINED", "MIN_FIRST", "SCALED"), (False, True), (None, 1)):
    for rounding in ("HALF_AWAY_FROM_ZERO", "HALF_TO_EVEN")[: 1 + (mode == "SCALED")]:
        if mode == "MIN_FIRST" and axis == 1:
            continue
        lo, hi = np.sort(RNG.normal(0, 1, (2, 3) if axis else 2).astype(np.float32), 0)
        least = float(RNG.choice([0.01, 0.3]))

        def function(x):
            q, a, b = tf.quantization.quantize(x, lo, hi, kind, mode, rounding, narrow_range=narrow,
                                               axis=axis, ensure_minimum_range=least)
            return q, a, b, tf.quantization.dequantize(q, a, b, mode, axis=axis,
                                                       narrow_range=narrow)

        exact(function, RNG.normal(0, 1.5, (2, 3, 40)).astype(np.float32))
"""


def test_quantize_and_dequantize_in_their_modes():
    found = subprocess.run(
        [sys.executable, "-c", MODES, str(Path(__file__).parent)], capture_output=True, text=True,
        check=False, env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


def test_a_quantized_input_and_constant():
    constant = np.int8([[1, -128], [127, 3]])

    @tf.function(input_signature=[tf.TensorSpec((2, 2), tf.qint8)])
    def function(q):
        held = tf.bitcast(tf.constant(constant), tf.qint8)
        return tf.quantization.dequantize(q, -1.0, 1.0), tf.quantization.dequantize(held, 0.0, 3.0)

    array = np.int8([[0, 5], [-7, 127]])
    first, second = qir.compile(qir.trace(function.get_concrete_function()))(array)
    np.testing.assert_array_equal(first, tf.quantization.dequantize(
        tf.bitcast(tf.constant(array), tf.qint8), -1.0, 1.0))  # fmt: skip
    np.testing.assert_array_equal(second, tf.quantization.dequantize(
        tf.bitcast(tf.constant(constant), tf.qint8), 0.0, 3.0))  # fmt: skip


def test_ranges_that_an_input_computes_are_reported():
    @tf.function
    def function(x):
        y = tf.quantization.fake_quant_with_min_max_vars(x, tf.reduce_min(x), 1.0, name="first")
        return tf.quantization.quantize(y, -1.0, tf.reduce_max(x), tf.qint8, name="second")[0]

    with pytest.raises(QirError) as caught:
        qir.trace(function, np.ones((2, 2), np.float32))
    assert str(caught.value).splitlines() == [
        "error: 1 TensorFlow operation is not imported:",
        "  FakeQuantWithMinMaxVars (once) at first: the range is computed from an input",
    ]


# Weights that training rounded

CONV = RNG.normal(0, 0.3, (3, 3, 4, 6)).astype(np.float32)
DEPTHWISE = RNG.normal(0, 0.3, (3, 3, 6, 1)).astype(np.float32)
DENSE = RNG.normal(0, 0.3, (5, 6)).astype(np.float32)
LIMITS = RNG.uniform(0.3, 0.8, 6).astype(np.float32)
GAMMA = np.float32([0.5, -1.5, 0.0, 1.0, 2.0, 1.25])
BETA, MEAN, VARIANCE = RNG.uniform(0.5, 1.5, (3, 6)).astype(np.float32)


def network(per_channel: bool, normalized: bool):
    fake = tf.quantization.fake_quant_with_min_max_vars

    def function(x):
        if per_channel:
            w = tf.quantization.fake_quant_with_min_max_vars_per_channel(
                CONV, -LIMITS, LIMITS, narrow_range=True)  # fmt: skip
        else:
            w = fake(CONV, -0.6, 0.6, narrow_range=True)
        y = tf.nn.conv2d(fake(x, -3.0, 3.0), w, 1, "SAME")
        if normalized:
            y = tf.compat.v1.nn.fused_batch_norm(y, GAMMA, BETA, MEAN, VARIANCE, 0.0,
                                                 is_training=False)[0]  # fmt: skip
        y = fake(tf.nn.relu(y), 0.0, 4.0)
        w = fake(DEPTHWISE, -0.5, 0.5, narrow_range=True)
        y = fake(tf.nn.depthwise_conv2d(y, w, [1, 1, 1, 1], "SAME"), -4.0, 4.0)
        y = fake(tf.reduce_mean(y, [1, 2]), -2.0, 2.0)
        w = tf.quantization.quantize_and_dequantize_v2(DENSE, -0.7, 0.7, range_given=True,
                                                       narrow_range=True)  # fmt: skip
        return fake(tf.matmul(y, w, transpose_b=True), -2.0, 2.0)

    return tf.function(function)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("normalized", [False, True])
def test_weights_keep_the_grids_of_training(per_channel, normalized):
    function = network(per_channel, normalized)
    x = RNG.normal(0, 1, (2, 8, 8, 4)).astype(np.float32)
    module = qir.trace(function, x)
    found = qir.run_pipeline(module, FRONT, samples=[100 * x]).main
    grids = {op.kind: op.operands[1].operands[0].type.grid for op in found.ops
             if op.kind in ("nn.conv2d", "nn.depthwise_conv2d", "nn.dense")}  # fmt: skip
    scale = (2 * LIMITS if per_channel else np.float32(1.2)) / np.float32(254)
    if normalized:
        factor = np.abs(GAMMA / np.sqrt(VARIANCE))
        scale = scale * np.where(factor == 0, 1, factor)
    np.testing.assert_allclose(grids["nn.conv2d"].scale, scale, rtol=3e-7)
    np.testing.assert_array_equal(grids["nn.depthwise_conv2d"].scale, np.float32(1 / 254))
    np.testing.assert_array_equal(grids["nn.dense"].scale, np.float32(0.7) / np.float32(127))
    assert all(grid.narrow and not grid.zero.any() for grid in grids.values())
    quantized = qir.quantize(module, calibration=[100 * x])
    apart = np.abs(np.asarray(quantized(x)) - function(x)) * 255 / 4
    assert apart.max() < 1.01  # one level of the result


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_interpreter_computes_what_was_trained(per_channel, tmp_path):
    pytest.importorskip("ai_edge_litert")
    from qir.targets.tflite.interpreter import Interpreter

    function = network(per_channel, True)
    x = RNG.normal(0, 1, (2, 8, 8, 4)).astype(np.float32)
    qir.quantize(qir.trace(function, x), calibration=[100 * x]).export_tflite(tmp_path / "a.tflite")
    with Interpreter() as interpreter:
        ((found,),) = interpreter.run((tmp_path / "a.tflite").read_bytes(), "tflite_builtin", [[x]])
    assert (np.abs(found - function(x)) * 255 / 4).max() < 2.01  # its own rounding beside ours


def test_a_value_along_an_axis_stays_in_float_with_a_warning():
    def function(x):
        y = tf.quantization.fake_quant_with_min_max_vars_per_channel(x, -LIMITS, LIMITS, name="odd")
        return tf.nn.relu(y)

    x = RNG.normal(0, 1, (2, 6)).astype(np.float32)
    with pytest.warns(qir.errors.QirWarning, match="quant.fake_quant_per_channel along axis 1 "
                                                   "stays in float"):  # fmt: skip
        quantized = qir.quantize(qir.trace(tf.function(function), x), calibration=[x])
    assert "quant.fake_quant_per_channel" in {op.kind for op in quantized.module.main.ops}
    np.testing.assert_allclose(quantized(x), function(x), atol=0.02)


def test_a_weight_out_of_reach_keeps_its_values():
    w = np.abs(DENSE.T)

    def function(x):
        rounded = tf.quantization.fake_quant_with_min_max_vars(w, 0.0, 1.0)
        return tf.matmul(x, rounded)

    x = RNG.normal(0, 1, (2, 6)).astype(np.float32)
    module = qir.run_pipeline(qir.trace(tf.function(function), x), FRONT, samples=[x])
    (weight,) = (op.operands[1].operands[0] for op in module.main.ops if op.kind == "nn.dense")
    rounded = np.round(w * 255) / 255
    np.testing.assert_allclose(weight.type.grid.scale, rounded.max(0) / 127, rtol=1e-6)
    back = weight.value * weight.type.grid.scale
    assert (np.abs(back - rounded) <= weight.type.grid.scale / 2 * 1.001).all()
