"""Recovery of accuracy: what equalization, bias correction and smoothing win back, and how."""

import numpy as np
import pytest
from qir.dialects import lax, nn
from qir.dialects.nn.channels import LAYER_KINDS

import qir
from benchmarks.recovery import block, data, measured, separable, steps
from qir import segments
from qir.errors import QirError, QirWarning
from qir.evaluate import each_value, evaluate
from qir.ir import Func, parameter
from qir.registry import passes
from qir.types import Type, dtype

SEPARABLE = separable(width=16, blocks=2)
CALIBRATED = "insert_observers, calibrate"


def snr_and_error(func, pipeline, seed=0, **parameters):
    """On other data than calibrates."""
    return measured(func, pipeline, data(func, 8, seed), data(func, 8, seed + 1), **parameters)


@pytest.fixture(scope="module")
def separated():
    ways = {"none": (), "equalized": ("equalize_channels",),
            "both": ("equalize_channels", "correct_bias")}  # fmt: skip
    return {name: snr_and_error(SEPARABLE, steps("per_tensor", *way)) for name, way in ways.items()}


def test_equalization_wins_back_what_one_scale_a_weight_costs(separated):
    assert separated["none"][0] < 10
    assert separated["equalized"][0] > 30


def test_bias_correction_takes_the_mean_errors_off(separated):
    assert separated["both"][1] * 5 < separated["equalized"][1]
    assert separated["both"][0] > separated["equalized"][0]


def test_the_pipeline_does_both(separated):
    found = snr_and_error(SEPARABLE, "ptq_int8_recovered", weights="per_tensor")
    assert found == separated["both"]


@pytest.mark.parametrize("weights", ["per_tensor", "per_channel"])
def test_smoothing_wins_back_what_outliers_cost(weights):
    func = block(width=32, heads=2)
    before, _ = snr_and_error(func, "ptq_int8", weights=weights)
    after, _ = snr_and_error(func, "ptq_int8_smoothed", weights=weights)
    assert after > before + 10


@pytest.mark.parametrize("func", [SEPARABLE, block(width=32, heads=2)], ids=lambda f: f.name)
def test_the_function_stays_what_it_was(func):
    samples = data(func, 2, 3)
    module = qir.run_pipeline(func, "equalize_channels, smooth_quant", samples)
    for x in samples:
        (wanted,), (found,) = evaluate(func, [x]), evaluate(module.main, [x])
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_what_is_even_stays():
    once = qir.run_pipeline(SEPARABLE, "equalize_channels").main
    assert passes()["equalize_channels"](once) is once


def test_equal_ranges_on_both_sides():
    func = qir.run_pipeline(SEPARABLE, "equalize_channels").main
    filters = [op.operands[1].value for op in func.ops if op.kind in LAYER_KINDS]
    for first, second in zip(filters, filters[1:], strict=False):
        given = np.abs(first).max(axis=(0, 1)).max(axis=0 if first.shape[-1] > 1 else 1)
        read = np.abs(second).max(axis=tuple(range(second.ndim - 2))).max(axis=1)
        np.testing.assert_allclose(given, read, rtol=0.01)


def test_a_channel_that_training_gave_up_does_not_widen_the_grid():
    """Next to nothing but a bias is left of three channels."""
    rng = np.random.default_rng(0)
    x = parameter("x", Type(dtype("f32"), (64, 16)))
    w = rng.normal(0, 0.3, (16, 16))
    w[:, :3] *= 1e-8
    y = nn.dense(x, w, rng.normal(0, 0.3, 16) + 0.2, clamp=(0.0, np.inf))
    func = Func("given_up", (x,), (nn.dense(y, rng.normal(0, 0.3, (16, 4))),))
    before, _ = snr_and_error(func, steps("per_tensor"))
    after, _ = snr_and_error(func, steps("per_tensor", "equalize_channels"))
    assert after > before - 4


def layers_of(func):
    return [op for op in func.ops if op.kind in LAYER_KINDS]


def bare_means(func, x):
    """The mean of each channel that each layer gives, before its clamp."""
    found = []
    values = dict(each_value(func, [x]))
    for op in layers_of(func):
        bare = op.rebuild(clamp=None)
        array = bare.definition.evaluate(bare, *(_value(o, values) for o in op.operands))
        found.append(array.reshape(-1, array.shape[-1]).mean(axis=0, dtype=np.float64))
    return found


def _value(op, values):
    return op.value if op.is_const else values[op]


@pytest.mark.parametrize("func", [SEPARABLE, block(width=32, heads=2)], ids=lambda f: f.name)
@pytest.mark.parametrize("weights", ["per_tensor", "per_channel"])
def test_every_layer_is_corrected_after_those_before_it(func, weights):
    """What is left of the mean errors is what a bias on its grid cannot say: half a step."""
    (x,) = samples = data(func, 1, 4)
    start = qir.run_pipeline(func, CALIBRATED, samples).main
    corrected = qir.run_pipeline(start, f"correct_bias(weights={weights})", samples, run=evaluate)
    stored = qir.run_pipeline(corrected, f"propagate_types(weights={weights})").main
    wanted, found = bare_means(func, x), bare_means(stored, x)
    for layer, now, real in zip(layers_of(stored), found, wanted, strict=True):
        half = layer.operands[2].operands[0].type.scale / 2
        assert (np.abs(now - real) <= 1.01 * half + 1e-5 * np.abs(real).max()).all()


def test_rows_left_over_count_too():
    func = separable(width=8, blocks=1)
    rows = np.concatenate(data(func, 3, 5))[:20]  # two batches of 8, and 4 rows
    start = qir.run_pipeline(func, CALIBRATED, [rows]).main
    found = qir.run_pipeline(start, "correct_bias", [rows]).main
    assert found is not start


def test_no_more_is_kept_than_there_is_room_for(monkeypatch):
    func = separable(width=8, blocks=1)
    samples = data(func, 3, 6)
    start = qir.run_pipeline(func, CALIBRATED, samples).main
    first = qir.run_pipeline(start, "correct_bias", samples[:1]).main
    monkeypatch.setattr("qir.passes.correct_bias.ROOM", 1)
    with pytest.warns(QirWarning, match="corrected on the first 1 batch"):
        found = qir.run_pipeline(start, "correct_bias", samples).main
    for a, b in zip(layers_of(first), layers_of(found), strict=True):
        np.testing.assert_array_equal(a.operands[2].value, b.operands[2].value)


def test_an_iterator_that_calibration_has_read_gives_nothing():
    func = separable(width=8, blocks=1)
    with pytest.raises(QirError, match="the calibration data is empty"):
        qir.run_pipeline(func, f"{CALIBRATED}, correct_bias", iter(data(func, 2, 7)))


def test_pieces_end_where_they_are_told_to():
    x = parameter("x", Type(dtype("f32"), (2, 3)))
    a = nn.relu(x)
    b = lax.neg(a)
    c = nn.add(a, b)
    func = Func("f", (x,), (a, c))
    plan = segments.cut(func, 10, {a})
    assert [piece.makes for piece in plan.pieces] == [(a,), (c,)]
    assert [len(piece.func.ops) for piece in segments.cut(func, 1, {a}).pieces] == [2, 2, 3]
    assert segments.held(plan) == 2 * 6 * 4  # the input and a, then a and c
    array = np.array([[1, -2, 3], [4, 5, -6]], np.float32)
    found = dict(segments.run(plan, [array], evaluate))
    np.testing.assert_array_equal(found[a], np.maximum(array, 0))
    np.testing.assert_array_equal(found[c], 0 * array)


@pytest.mark.parametrize("name", ["ptq_int8_recovered", "ptq_int8_smoothed"])
def test_what_is_recovered_is_exported(name, tmp_path):
    pytest.importorskip("ai_edge_litert")
    from qir.targets.tflite.interpreter import Interpreter

    func = {"ptq_int8_recovered": SEPARABLE, "ptq_int8_smoothed": block(width=32, heads=2)}[name]
    samples = data(func, 4, 8)
    model = qir.quantize(func, calibration=samples, pipeline=name, target="tflite")
    path = tmp_path / "net.tflite"
    model.export_tflite(path)
    with Interpreter() as interpreter:
        theirs = interpreter.run(path.read_bytes(), "tflite_reference", [[x] for x in samples])
    wanted = np.stack([evaluate(func, [x])[0] for x in samples])
    found = np.stack([each[0] for each in theirs])
    assert 10 * np.log10(np.square(wanted).sum() / np.square(found - wanted).sum()) > 20
