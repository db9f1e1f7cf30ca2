"""A scheme for each op: what a recipe says holds, on XLA and in TensorFlow Lite's interpreter."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qir
from qir.api import read_model
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.schemes import SCHEMES, scheme_of
from qir.sensitivity import Bounds

KERNELS = ("tflite_reference", "tflite_builtin", "xnnpack")
RNG = np.random.default_rng(3)


def normal(*shape):
    return RNG.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape).astype(np.float32)


FILTERS = [normal(*shape) for shape in ((3, 3, 3, 8), (3, 3, 1, 8), (1, 1, 8, 16), (16, 64),
                                        (64, 10))]  # fmt: skip
LAYOUT = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}


def network(x):
    """Convolutions, a depthwise one among them, a residual sum, two dense layers; two results."""
    first, depthwise, pointwise, dense, head = FILTERS
    y = jax.nn.relu(jax.lax.conv_general_dilated(x, first, (2, 2), "SAME", **LAYOUT))
    z = jax.lax.conv_general_dilated(y, depthwise, (1, 1), "SAME", feature_group_count=8, **LAYOUT)
    y = jax.nn.relu(y + z)
    y = jax.nn.relu(jax.lax.conv_general_dilated(y, pointwise, (1, 1), "VALID", **LAYOUT))
    pooled = y.mean((1, 2))
    return pooled, jax.nn.softmax(jax.nn.relu(pooled @ dense) @ head)


SAMPLES = [RNG.normal(size=(1, 16, 16, 3)).astype(np.float32) for _ in range(12)]
TABLE, QKV, OUT = normal(50, 32) * 5, normal(32, 96), normal(32, 50)


def attention(tokens):
    """A look-up, one head of attention, a norm and logits."""
    x = jnp.take(TABLE, tokens, axis=0, mode="clip")
    q, k, v = jnp.split(x @ QKV, 3, axis=-1)
    scores = jax.nn.softmax(q @ k.swapaxes(-1, -2) / np.sqrt(32), axis=-1)
    x = x + scores @ v
    x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x @ OUT


TOKENS = [RNG.integers(0, 50, (1, 12)).astype(np.int32) for _ in range(8)]
RECIPES = {
    "convolutions": (network, SAMPLES, "[first: float, last: weight_only_i4, "
                                       "kind(nn.softmax): float]"),  # fmt: skip
    "tail": (network, SAMPLES, "[kind(nn.dense): dynamic_range, after(nn.dense): float]"),
    "head in integers": (network, SAMPLES, "[last(2) | kind(nn.softmax): int8, any: float]"),
    "sixteen bits inside": (network, SAMPLES, "[kind(nn.depthwise_conv2d, nn.add): int16x8]"),
    "sixteen bits at the ends": (network, SAMPLES, "[first | last | after(last): int16x8]"),
    "halves": (network, SAMPLES, "[kind(\"nn.*conv2d\"): float16, kind(nn.add): float]"),
    "attention": (attention, TOKENS, "[first(kind(nn.dense)): int8, kind(nn.softmax) | "
                                     "before(nn.softmax): float, kind(lax.take): weight_only_i8, "
                                     "last: weight_only_i8]"),  # fmt: skip
}  # fmt: skip


def as_tuple(found):
    return found if isinstance(found, tuple) else (found,)


def snr(wanted, found) -> float:
    wanted, found = np.asarray(wanted, np.float64), np.asarray(found, np.float64)
    return float(10 * np.log10(np.mean(wanted**2) / max(np.mean((wanted - found) ** 2), 1e-30)))


def by_scheme(name, target="xla", **more):
    model, samples, recipe = RECIPES[name]
    made = qir.quantize(model, samples[0], samples, pipeline="mixed", recipe=recipe, target=target,
                        **more)  # fmt: skip
    return made, model, samples


@pytest.mark.parametrize("name", RECIPES)
def test_xla_computes_what_the_ops_mean(name):
    made, model, samples = by_scheme(name)
    for x in samples[:4]:
        meant = evaluate(made.module.main, [x])
        found = as_tuple(made(x))
        for a, b, reals in zip(meant, found, as_tuple(model(x)), strict=True):
            assert snr(a, b) > 40  # what lies between two steps may go to either
            assert snr(reals, b) > 15


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_saved_is_loaded_as_it_was(name, tmp_path):
    made, _, samples = by_scheme(name)
    made.save(tmp_path / "mixed.qir")
    again = qir.load(tmp_path / "mixed.qir")
    schemes = [scheme_of(op) for op in again.func.ops]
    assert schemes == [scheme_of(op) for op in made.module.main.ops]
    assert any(schemes) != name.startswith("sixteen")  # integers alone have had their effect
    for a, b in zip(as_tuple(made(samples[0])), as_tuple(again(samples[0])), strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_op_is_what_the_recipe_says():
    made, _, _ = by_scheme("convolutions")
    ops = [op.kind for op in made.module.main.ops if op.kind.partition(".")[0] in ("nn", "int8")]
    assert ops[0] == "nn.conv2d" and ops[-2:] == ["nn.dense", "nn.softmax"]
    assert ops[1:-2] == ["int8.depthwise_conv2d", "int8.add", "int8.conv2d", "int8.mean",
                         "int8.dense"]  # fmt: skip
    stored = {str(op.dtype) for op in made.module.main.ops if op.is_const}
    assert stored == {"f32", "i4", "i8"}
    lines = made.report().splitlines()
    assert "schemes given: float of 2 ops, weight_only_i4 of 1 ops" in lines
    assert "casts between schemes: 2" in lines
    assert sum("its scheme is 'float'" in line for line in lines) == 2


def test_every_scheme_can_be_the_one_of_all():
    reals = np.asarray(network(SAMPLES[0])[1])
    for name in SCHEMES:
        made = qir.quantize(network, SAMPLES[0], SAMPLES, pipeline="mixed", default=name)
        assert snr(reals, made(SAMPLES[0])[1]) > (4 if name == "weight_only_i2" else 15), name
        left = [line for line in made.report().splitlines() if line.startswith("float ops left")]
        assert (left == ["float ops left: 0"]) == name.startswith("int")


def same_in_litert(made, samples, path):
    """The results of qir's ops and of the interpreter, for each set of kernels."""
    from qir.targets.tflite.interpreter import Interpreter

    made.export_tflite(path)
    meant = [evaluate(made.module.main, [x]) for x in samples]
    with Interpreter() as interpreter:
        for kernels in KERNELS:
            theirs = interpreter.run(path.read_bytes(), kernels, [[x] for x in samples])
            loaded = qir.load(path, kernels=kernels)
            ours = [tuple(loaded(x).values()) for x in samples]
            yield kernels, meant, ours, theirs


@pytest.mark.parametrize("name", RECIPES)
def test_the_interpreter_computes_the_same(name, tmp_path):
    pytest.importorskip("ai_edge_litert")
    made, _, samples = by_scheme(name, target="tflite")
    for _, meant, ours, theirs in same_in_litert(made, samples[:2], tmp_path / "m.tflite"):
        for each in zip(meant, ours, theirs, strict=True):
            for wanted, read, found in zip(*each, strict=True):
                assert snr(wanted, found) > 30 and snr(read, found) > 40


@pytest.mark.parametrize("name", ["sixteen bits inside", "sixteen bits at the ends"])
def test_integers_of_both_widths_agree_bit_for_bit(name, tmp_path):
    pytest.importorskip("ai_edge_litert")
    made, _, samples = by_scheme(name, target="tflite")
    stored = {str(op.dtype) for op in made.module.main.ops if op.kind.startswith("int8.")}
    assert stored == {"i8", "i16"}
    for _, _, ours, theirs in same_in_litert(made, samples[:6], tmp_path / "m.tflite"):
        for mine, found in zip(ours, theirs, strict=True):
            for a, b in zip(mine, found, strict=True):
                np.testing.assert_array_equal(a, b)


def test_integers_before_what_is_float_agree_bit_for_bit(tmp_path):
    pytest.importorskip("ai_edge_litert")
    made, _, samples = by_scheme("tail", target="tflite")
    assert made.module.main.results[0].kind == "quant.dequantize"
    for _, _, ours, theirs in same_in_litert(made, samples[:6], tmp_path / "m.tflite"):
        for mine, found in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine[0], found[0])
    kinds = {op.kind for op in read_model(tmp_path / "m.tflite").main.ops}
    assert {"tfl.conv_2d", "tfl.fully_connected", "tfl.quantize", "tfl.dequantize"} <= kinds


OUTLIERS = normal(16, 64) * np.where(np.arange(64) < 2, 40, 1).astype(np.float32)


def hard(x):
    """Two channels of one layer are 40 times as large as the others, so one grid serves none."""
    y = jax.nn.relu(x @ normal_of(16, 16)) @ OUTLIERS
    y = jnp.tanh(y) * 3
    return jax.nn.relu(y @ normal_of(64, 32)) @ normal_of(32, 10)


def normal_of(*shape):
    rng = np.random.default_rng(shape)
    return rng.normal(0, 1 / np.sqrt(shape[0]), shape).astype(np.float32)


ROWS = [RNG.normal(size=(4, 16)).astype(np.float32) for _ in range(16)]


def lost(made) -> tuple[float, float]:
    """Signal to noise in dB, and the share of rows whose largest is another, over all samples."""
    wanted = np.concatenate([np.asarray(hard(x)) for x in ROWS])
    found = np.concatenate([np.asarray(made(x)) for x in ROWS])
    return snr(wanted, found), float(np.mean(wanted.argmax(-1) != found.argmax(-1)))


@pytest.mark.parametrize("bounds", [{"min_snr": 24.0}, {"min_snr": 45.0}, {"max_drop": 0.0},
                                    {"max_drop": 0.05, "min_snr": 20.0}])  # fmt: skip
def test_the_worst_are_raised_until_the_bound_holds(bounds):
    plain = qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed")
    made = qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed", batches=16, **bounds)
    (ranking,) = made.rankings
    assert ranking.bounds == Bounds(bounds.get("max_drop"), bounds.get("min_snr"))
    snrs = [row.loss.snr for row in ranking.rows]
    assert snrs == sorted(snrs) and ranking.bounds.allow(ranking.after)
    assert 0 < ranking.raised <= len(ranking.rows)
    found, drop = lost(made)
    assert found == pytest.approx(ranking.after.snr, abs=1.5)
    assert drop == pytest.approx(ranking.after.drop, abs=0.04)
    assert lost(plain)[0] == pytest.approx(ranking.before.snr, abs=1.5)
    text = made.report()
    assert f"with {ranking.raised} of {len(snrs)} raised for {ranking.bounds}: " in text
    assert text.count("  raised to float") == ranking.raised


def test_with_labels_the_drop_is_of_accuracy(tmp_path):
    wanted = np.concatenate([np.asarray(hard(x)) for x in ROWS])
    labels = wanted.argmax(-1)
    labels[:6] = 9 - labels[:6] // 2  # some that the function in reals gets wrong
    np.savez(tmp_path / "eval.npz", x=np.concatenate(ROWS), y=labels)
    made = qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed", batches=16, max_drop=0.0,
                        labels=str(tmp_path / "eval.npz"))  # fmt: skip
    (ranking,) = made.rankings
    found = np.concatenate([np.asarray(made(x)) for x in ROWS])
    accuracy = [np.mean(each.argmax(-1) == labels) for each in (wanted, found)]
    assert accuracy[0] - accuracy[1] == pytest.approx(ranking.after.drop, abs=0.02)
    assert ranking.before.drop > 0 >= ranking.after.drop


@pytest.mark.parametrize(("arrays", "message"), [
    ({"y": np.zeros(3, int)}, "3 labels for 64 rows of samples"),
    ({"y": np.zeros(64)}, r"labels are one array of integers beside .*, found y: float64\[64\]"),
    ({"y": np.zeros((64, 2), int)}, "labels are one array of integers"),
    ({"y": np.zeros(64, int), "z": np.zeros(64, int)}, "labels are one array of integers"),
    ({}, "labels are one array of integers beside the inputs, found none"),
])  # fmt: skip
def test_what_are_no_labels(arrays, message, tmp_path):
    np.savez(tmp_path / "labels.npz", x=np.concatenate(ROWS), **arrays)
    with pytest.raises(QirError, match=message):
        qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed", batches=16, max_drop=0.0,
                     labels=str(tmp_path / "labels.npz"))  # fmt: skip


def test_labels_of_samples_that_are_filled_up_are_refused(tmp_path):
    np.save(tmp_path / "labels.npy", np.zeros(64, int))
    with pytest.raises(QirError, match="sample 0 does not fill the traced batch"):
        qir.quantize(hard, ROWS[0], [ROWS[0][:3], *ROWS], pipeline="mixed", max_drop=0.0,
                     labels=str(tmp_path / "labels.npy"))  # fmt: skip


def test_labels_need_a_result_of_classes(tmp_path):
    np.save(tmp_path / "labels.npy", np.zeros(64, int))
    with pytest.raises(QirError, match="no result of @.* has rows of classes for 4 labels"):
        qir.quantize(lambda x: hard(x).sum(-1), ROWS[0], ROWS, pipeline="mixed", max_drop=0.0,
                     labels=str(tmp_path / "labels.npy"))  # fmt: skip


def test_one_fewer_would_not_do_and_twice_is_the_same():
    made, again = (qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed", batches=16, min_snr=30.0)
                   for _ in range(2))  # fmt: skip
    assert made.report() == again.report()
    assert str(made.module.main) == str(again.module.main)
    (ranking,) = made.rankings
    names = [row.ops[-1] for row in ranking.rows[: ranking.raised - 1]]
    places = {op.location for op in names}
    recipe = [(f"loc({_quoted(place[0])})", "float") for place in places]
    fewer = qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed", recipe=recipe)
    assert lost(fewer)[0] < 31.5


def _quoted(text: str) -> str:
    return json.dumps(f"^{re.escape(text)}$")


def test_what_a_recipe_says_is_not_raised():
    made = qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed", recipe="[last: int8]", batches=16,
                        min_snr=20.0)  # fmt: skip
    (ranking,) = made.rankings
    assert not any(scheme_of(op) for row in ranking.rows for op in row.ops)
    assert made.module.main.results[0].kind == "quant.dequantize"
    with pytest.raises(QirError, match=r"min_snr=80 cannot be reached: .* with all \d+ in float"):
        qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed", recipe="[last: int8]", min_snr=80.0)


def test_the_worst_are_raised_to_16_bits():
    plain = qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed")
    bound = lost(plain)[0] + 4
    made = qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed", batches=16, min_snr=bound,
                        raise_to="int16x8")  # fmt: skip
    (ranking,) = made.rankings
    assert ranking.to == "int16x8" and ranking.raised and "raised to int16x8" in made.report()
    assert lost(made)[0] == pytest.approx(ranking.after.snr, abs=1.5)
    assert "float ops left: 0" in made.report()
    with pytest.raises(QirError, match="all . in int16x8 that may be raised"):
        qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed", min_snr=90.0, raise_to="int16x8")
    with pytest.raises(QirError, match="raise_worst asks for the scheme 'int16_per_channel'"):
        qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed", min_snr=30.0, raise_to="int16x8",
                     target="edgetpu")  # fmt: skip


def test_all_raised_is_the_float_function():
    made = qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed", min_snr=300.0)
    assert not any(op.kind.startswith(("quant.", "int8.")) for op in made.module.main.ops)
    np.testing.assert_allclose(made(ROWS[0]), hard(ROWS[0]), rtol=1e-4, atol=1e-5)
    assert str(made.rankings[0].after) == "drop 0, no noise"


def test_a_mixed_model_serves_any_batch():
    made = qir.quantize(hard, ROWS[0], ROWS, pipeline="mixed", recipe={"last": "dynamic_range"})
    both = np.concatenate(ROWS[:2])
    np.testing.assert_allclose(made(both)[:4], made(ROWS[0]), rtol=1e-5, atol=1e-5)


def test_the_target_is_asked_before_calibration():
    def samples():
        raise AssertionError("calibration began")

    for recipe, target, scheme in (("[last: int16x8]", "edgetpu", "int16_per_channel"),
                                   ("[last: bfloat16]", "tflite", "weight_only_bf16"),
                                   ("[last: dynamic_range]", "edgetpu", "dynamic_range")):
        with pytest.raises(QirError, match=f"assign asks for the scheme '{scheme}', which"):
            qir.quantize(network, SAMPLES[0], samples, pipeline="mixed", recipe=recipe,
                         target=target)  # fmt: skip
