"""Models that take and give stored integers: on XLA, in saved files, in LiteRT's interpreter."""

import jax
import numpy as np
import pytest

import qir
from qir.errors import QirError
from qir.rounding import quantize_array, real
from qir.text import read_module

RNG = np.random.default_rng(0)
FILTER = RNG.normal(0, 0.3, (3, 3, 3, 8)).astype(np.float32)
W = RNG.normal(0, 0.3, (8, 5)).astype(np.float32)
SAMPLES = [RNG.normal(0, 1, (1, 8, 8, 3)).astype(np.float32) for _ in range(6)]


def network(x):
    """A convolution and two heads: probabilities, and logits as they are."""
    y = jax.lax.conv_general_dilated(x, FILTER, (2, 2), "SAME",
                                     dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip
    logits = jax.nn.relu(y).mean((1, 2)) @ W
    return {"classes": jax.nn.softmax(logits), "logits": logits}


def quantized(target="xla", **io):
    return qir.quantize(network, SAMPLES[0], SAMPLES, target=target, **io)


def on_grid(type, x):
    """Reals as what an input stores."""
    return quantize_array(x, type.scale, type.zero, type.lo, type.hi).astype(type.dtype.numpy)


@pytest.fixture(scope="module")
def plain():
    return quantized()


@pytest.mark.parametrize("storage", ["int8", "uint8"])
def test_integers_go_in_and_come_out_bit_for_bit(plain, storage):
    model = quantized(inputs=storage, outputs=storage)
    (input_type,) = model.inputs.values()
    assert input_type.dtype.numpy == storage
    for x in SAMPLES:
        found, wanted = model(on_grid(input_type, x)), plain(x)
        for name, array in found.items():
            assert array.dtype == storage
            reals = real(model.outputs[name], np.asarray(array)).astype(np.float32)
            np.testing.assert_array_equal(reals, wanted[name])


def test_another_batch_is_served_too():
    model = quantized(inputs="uint8", outputs="uint8")
    x = np.concatenate([on_grid(model.inputs["x"], x) for x in SAMPLES])
    whole = model(x)
    for i in range(len(SAMPLES)):
        for name, array in model(x[i : i + 1]).items():
            np.testing.assert_array_equal(array[0], whole[name][i])


def test_one_result_by_name(plain):
    model = quantized(outputs={"classes": "uint8"})
    found, wanted = model(SAMPLES[0]), plain(SAMPLES[0])
    assert found["classes"].dtype == np.uint8 and found["logits"].dtype == np.float32
    np.testing.assert_array_equal(found["logits"], wanted["logits"])
    assert model.outputs["classes"].zero == 0  # probabilities have a grid from zero up


def test_it_is_saved_and_loaded(tmp_path):
    model = quantized(inputs="uint8", outputs="int8")
    model.save(tmp_path / "net.qir")
    again = qir.load(tmp_path / "net.qir")
    x = on_grid(model.inputs["x"], SAMPLES[0])
    assert (again.inputs, again.outputs) == (model.inputs, model.outputs)
    for name, array in model(x).items():
        np.testing.assert_array_equal(again(x)[name], array)


def test_reals_are_refused_where_integers_are_stored():
    model = quantized(inputs="int8")
    with pytest.raises(QirError, match="the input 'x' holds float32, the model takes i8"):
        model(SAMPLES[0])


@pytest.mark.parametrize(("io", "message"), [
    ({"inputs": "int4"}, "'int4' is none of the choices"),
    ({"inputs": {"y": "int8"}}, "there is no input 'y'"),
    ({"outputs": {"classes": "int16"}}, "its grid is i8"),
])  # fmt: skip
def test_what_cannot_be_is_said(io, message):
    with pytest.raises(QirError, match=message):
        quantized(**io)


def test_a_wrong_name_is_told_before_anything_is_calibrated():
    def samples():
        raise AssertionError("calibration began")
        yield

    with pytest.raises(QirError, match="there is no result 'boxes'"):
        qir.quantize(network, SAMPLES[0], samples, outputs={"boxes": "int8"})


def test_drift_is_measured_through_it(plain):
    from qir.drift import measuring

    told = []
    module = qir.trace(network, SAMPLES[0])
    listen = measuring(lambda func: SAMPLES, qir.evaluate.evaluate, told.append)
    qir.run_pipeline(module, "ptq_int8(inputs=uint8, outputs=uint8)", SAMPLES, listen=listen)
    step = next(each for each in told if each.done.step.action.name == "io")
    assert all(error.snr > 140 for error in step.added)  # f32 rounds what stored integers stand for


@pytest.mark.parametrize("storage", ["int8", "uint8"])
def test_the_interpreter_takes_the_same_integers(tmp_path, storage):
    pytest.importorskip("ai_edge_litert")
    from qir.targets.tflite.interpreter import Interpreter

    model = quantized("tflite", inputs=storage, outputs=storage)
    path = tmp_path / "net.tflite"
    model.export_tflite(path)
    file = qir.api.read_model(path).main
    assert {v.type.dtype.numpy for v in (*file.parameters, *file.results)} == {np.dtype(storage)}
    if storage == "int8":
        assert not {"tfl.quantize", "tfl.dequantize"} & {op.kind for op in file.ops}
    inputs = [on_grid(model.inputs["x"], x) for x in SAMPLES]
    with Interpreter() as interpreter:
        for kernels in ("tflite_reference", "tflite_builtin", "xnnpack"):
            loaded = qir.load(path, kernels=kernels)
            theirs = interpreter.run(path.read_bytes(), kernels, [[x] for x in inputs])
            for arrays, x in zip(theirs, inputs, strict=True):
                ours = loaded(x)
                for found, wanted in zip(arrays, ours.values(), strict=True):
                    assert found.dtype == storage
                    np.testing.assert_array_equal(found, wanted)


def test_every_byte_changes_its_sign_as_the_interpreter_does(tmp_path):
    pytest.importorskip("ai_edge_litert")
    from qir.targets.tflite.interpreter import Interpreter

    graph = """
        func @main(%x: f32[256]) -> (f32[256]) {
          %0 = quant.quantize(%x, to=i8<0.5:3>)
          %1 = lax.reverse(%0, axes=[0])
          %2 = nn.maximum(%0, %1)
          %3 = quant.dequantize(%2)
          return %3
        }
    """
    lowered = qir.run_pipeline(read_module(graph), "io(inputs=uint8, outputs=uint8)")
    qir.api.Quantized(lowered).export_tflite(tmp_path / "net.tflite")
    every = np.arange(256, dtype=np.uint8)
    with Interpreter() as interpreter:
        for kernels in ("tflite_reference", "tflite_builtin", "xnnpack"):
            data = (tmp_path / "net.tflite").read_bytes()
            ((found,),) = interpreter.run(data, kernels, [[every]])
            np.testing.assert_array_equal(found, np.maximum(every, every[::-1]))
