"""Capability files: what they say is about operators that there are, and each condition refuses."""

import jax
import numpy as np
import pytest

import qir
from qir import registry
from qir.capabilities import CONDITIONS, read_capabilities
from qir.errors import QirError
from qir.ir import OPS

TARGETS = ("edgetpu", "tflite_micro", "gpu_fp16")
RNG = np.random.default_rng(0)
FILTER = RNG.normal(0, 0.3, (3, 3, 3, 8)).astype(np.float32)
W = RNG.normal(0, 0.3, (8, 5)).astype(np.float32)
SAMPLES = [RNG.normal(0, 1, (1, 8, 8, 3)).astype(np.float32) for _ in range(4)]


def network(x):
    """A convolution, a pooling and a dense layer, as every one of the targets takes them."""
    y = jax.lax.conv_general_dilated(x, FILTER, (2, 2), "SAME",
                                     dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip
    return jax.nn.softmax(jax.nn.relu(y).mean((1, 2)) @ W)


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_speaks_of_what_there_is(target):
    registry.load_dialects()
    found = read_capabilities(f"qir.targets.{target}")
    assert found.sources
    for operator, asked in found.operators.items():
        op = OPS[f"tfl.{operator.lower()}"]
        operands = {*op.required, *op.optional}
        for name in ("operands", "constant", "innermost", "whole_or_number"):
            assert set(asked.get(name, ())) <= operands, f"{operator}: {name}"
        named = {*asked.get("attributes", ()), *asked.get("equal", ()), *asked.get("all_of", ())}
        named |= {asked[n] for n in ("not_batch", "unpadded_batch") if n in asked}
        assert named <= set(op.attributes), operator


def test_every_condition_is_used_by_some_file():
    files = [read_capabilities(f"qir.targets.{target}") for target in TARGETS]
    used = {name for f in files for asked in (f.values, *f.operators.values()) for name in asked}
    assert used == set(CONDITIONS)


def test_an_unknown_condition_is_told_when_the_file_is_read(tmp_path, monkeypatch):
    package = tmp_path / "odd_target"
    package.mkdir()
    (package / "__init__.py").touch()
    text = '{"sources": [], "operators": {"ADD": {"storage": ["i8"]}}}'
    (package / "capabilities.json").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(TypeError, match="odd_target: ADD has the unknown conditions"):
        read_capabilities("odd_target")


@pytest.mark.parametrize("target", ["edgetpu", "tflite_micro"])
def test_a_network_for_it_is_one_that_the_interpreter_runs(target, tmp_path):
    pytest.importorskip("ai_edge_litert")
    from qir.targets.tflite.interpreter import Interpreter

    model = qir.quantize(network, SAMPLES[0], SAMPLES, "ptq_int8_strict", target, inputs="int8",
                         outputs="int8")  # fmt: skip
    path = tmp_path / "net.tflite"
    model.export_tflite(path)
    x = np.clip(np.round(SAMPLES[0] / model.inputs["x"].scale) + model.inputs["x"].zero, -128, 127)
    x = x.astype(np.int8)
    with Interpreter() as interpreter:
        ((found,),) = interpreter.run(path.read_bytes(), "tflite_reference", [[x]])
    loaded = qir.load(path, kernels="tflite_reference")
    np.testing.assert_array_equal(found, next(iter(loaded(x).values())))


def test_reals_are_for_the_gpu():
    module = qir.trace(network, SAMPLES[0])
    func = qir.api.legalized(qir.run_pipeline(module, "float_front").main, "gpu_fp16")
    assert {"tfl.conv_2d", "tfl.fully_connected", "tfl.softmax"} <= {op.kind for op in func.ops}


@pytest.mark.parametrize(("target", "lines"), [
    ("edgetpu", ("tfl.gelu", "it has no GELU")),
    ("tflite_micro", ("tfl.gelu", "it has no GELU")),
])  # fmt: skip
def test_all_that_a_target_lacks_is_listed_with_its_place(target, lines):
    def unusual(x):
        return jax.nn.gelu(jax.nn.gelu(x.mean((1, 2)) @ W[:3]) @ W[:5])

    with pytest.raises(QirError) as caught:
        qir.quantize(unusual, SAMPLES[0], SAMPLES, target=target)
    message = str(caught.value)
    assert f"2 ops are not for the target '{target}'" in message
    assert message.count(lines[0]) == message.count(lines[1]) == 2
    assert message.count("test_capabilities.py:") >= 2


def test_a_scheme_that_a_target_lacks_is_told_before_calibration():
    def samples():
        raise AssertionError("calibration began")
        yield

    with pytest.raises(QirError) as caught:
        qir.quantize(network, SAMPLES[0], samples, target="gpu_fp16")
    assert "propagate_types asks for the scheme 'int8_per_channel'" in str(caught.value)
    assert "known: weight_only_f16, weight_only_i8" in str(caught.value)
