"""The benchmarks run, in small; what they measure with is right."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import (
    fashion_mnist,
    grid_kinds,
    large_models,
    measure,
    scale,
    shape_grid,
    time_by_kind,
    weight_only,
    zoo,
)
from benchmarks.models.fashion_cnn import FashionCNN


def test_signal_to_noise_is_in_decibels():
    signal = np.array([3.0, -4.0])
    assert measure.signal_to_noise(signal, signal) == np.inf
    assert measure.signal_to_noise(signal, 1.1 * signal) == pytest.approx(20)


def test_tables_are_aligned():
    rows = [("model", "ms"), ("a", 10.5), ("longer", 7)]
    assert measure.columns(rows).splitlines() == ["model     ms", "a       10.5", "longer     7"]
    assert measure.markdown(rows).splitlines()[:2] == ["| model | ms |", "| --- | ---: |"]


def test_the_machine_is_described():
    assert f"{measure.threads()} threads" in measure.machine()


@pytest.mark.parametrize("model", ["resnet50", "mobilenet_v2", "encoder"])
def test_models_quantize_fully_and_equal_numpy(model, tmp_path):
    arguments = [model, "--tiny", "--rounds=1", "--samples=32", f"--records={tmp_path}"]
    CliRunner().invoke(large_models.main, arguments, catch_exceptions=False)
    record = large_models.Record(**json.loads((tmp_path / f"{model}.json").read_text()))
    assert not record.float_ops
    assert record.compared > record.ops
    assert not record.differing
    assert record.noise_db > large_models.LOW
    assert len(large_models.tables([record], rounds=1, samples=32)) == 7


def test_fashion_table_has_a_row_for_each_calibration():
    images = np.random.default_rng(0).random((20, 28, 28, 1), np.float32)
    variables = FashionCNN().init(jax.random.key(0), images[:1])

    def model(x):
        return FashionCNN().apply(variables, x)

    labels = np.asarray(model(images)).argmax(-1)
    calibration = fashion_mnist.calibration_images(images, 5)
    rows, sizes, failures = fashion_mnist.compare(
        model, images[:1], calibration, images, labels, methods=("minmax", "mse")
    )
    assert [row[:2] for row in rows[1:]] == [
        ("float", ""), ("per_channel", "minmax"), ("per_channel", "mse"), ("per_tensor", "minmax"),
    ]  # fmt: skip
    assert {row[4] for row in rows[2:]} == {0}
    assert "times smaller" in sizes
    assert not any("computes in float" in text for text in failures)


def test_scale_counts_ops_and_reads_text_back():
    _, rows = scale.passes_table(30, rounds=1)
    assert {"trace", "canonicalize", "calibrate", "lower_int8"} <= {row[0] for row in rows}
    title, rows = scale.text_table(30)
    assert rows[1][0].startswith("print")
    title, rows = scale.start_table(rounds=1)
    assert title.endswith(": none.")


def test_qir_and_xdsl_read_print_and_rewrite_the_same_graph():
    pytest.importorskip("xdsl")
    from benchmarks import compiler

    left, rounds, seconds = compiler.measured(60, rounds=1, generic=False)
    assert (left, rounds) == (38, 1)
    assert set(seconds) == set(compiler.STEPS)
    rows = compiler.table_rows({60: (left, rounds, seconds)}, 60)
    assert [row[:3] for row in rows] == [
        ("60", "parse", ""), ("60", "print", ""), ("60", "both", ""), ("60", "rewrite", "38"),
    ]  # fmt: skip


def test_the_zoo_runs_a_keras_model_and_makes_a_table():
    """Activations are alive: outputs differ between inputs, and noise in them is not amplified."""
    script = "from benchmarks import zoo; import json; print(json.dumps(zoo.measured('conv_1d')))"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=True, env=environment)  # fmt: skip
    row = json.loads(done.stdout.splitlines()[-1])
    assert row["gap"] < 1e-5 and row["floats"] == []
    assert row["noise"] > 20 and row["sensitivity"] > 30
    text = zoo.page({"conv_1d jax": row, "broken net tensorflow": {"error": "TypeError: no"}})
    assert "| conv_1d | jax | 256x4 | yes |" in text
    assert "| broken net | tensorflow |  | no: TypeError: no |" in text


def test_ways_of_storing_weights_are_compared(monkeypatch):
    monkeypatch.setattr(weight_only, "HIDDEN", 32)
    monkeypatch.setattr(weight_only, "INNER", 64)
    table = weight_only.measured(layers=1, batches=[1, 2], rounds=1)
    assert [row[0] for row in table] == list(weight_only.WAYS)
    smaller = {row[0]: float(row[4]) for row in table}
    assert smaller["float16, once"] > 1.8 and smaller["2 bits, fused"] > smaller["4 bits, fused"]


def test_shapes_step_along_one_axis_at_a_time():
    kind = grid_kinds.KINDS["convolution"]
    shapes = grid_kinds.shapes_of(kind)
    assert len(shapes) == len(set(shapes)) > 200
    beside = list(grid_kinds.neighbours(kind, (14, 64, 3, 1, 1, 4, 1)))
    assert [shape[5] for axis, shape in beside if axis == "groups"] == [1, 8]
    assert [shape[1] for axis, shape in beside if axis == "channels"] == [16, 128]


def test_cliffs_are_far_below_a_neighbour_and_not_bound(monkeypatch):
    kind = grid_kinds.Kind(grid_kinds.dense, {"rows": (1, 2, 4, 8)}, ((1,),))
    monkeypatch.setattr(shape_grid, "KINDS", {"dense": kind})
    bounds = shape_grid.Bounds({"native": 1e-5}, moved=1e10)
    seconds = {(1,): 1e-5, (2,): 4e-4, (4,): 1e-5, (8,): 1.2e-4}
    times = {shape: shape_grid.Timed(shape[0] * 10**6, 10**5, {"native": each})
             for shape, each in seconds.items()}  # fmt: skip
    found = shape_grid.cliffs("dense", times, bounds)
    assert [each.shape for each in found if not each.is_bound] == [(2,), (8,)]
    assert found[0].above == pytest.approx({("rows", (1,)): 20, ("rows", (4,)): 80})
    assert shape_grid.flagged_rows(found)[2] == (
        "dense", "native", "rows 8", "8.0", "66.7", "6.0", "rows 4: 400",
    )  # fmt: skip
    again = {**times, (2,): shape_grid.Timed(2 * 10**6, 10**5, {"native": 2e-5})}
    monkeypatch.setattr(shape_grid, "timed", lambda kind, shapes, *_: {x: again[x] for x in shapes})
    kept = shape_grid.confirmed("dense", times, bounds, rounds=1)
    assert [each.shape for each in kept] == [(8,)]
    bounds = shape_grid.Bounds({"native": 1e-5}, moved=1e9)  # a copy takes 1e-4 s
    found = shape_grid.cliffs("dense", times, bounds)
    assert [each.is_bound for each in found] == [True, True]


def test_a_grid_of_shapes_is_timed_and_written(monkeypatch, tmp_path):
    def small(name, *bases):
        return dataclasses.replace(grid_kinds.KINDS[name], bases=bases, at_once=0)

    kinds = {
        "convolution": small("convolution", (7, 64, 3, 1, 1, 1, 1), (7, 3, 1, 1, 1, 1, 1)),
        "depthwise": small("depthwise", (7, 64, 5, 1, 2, 1, 8)),
        "dense": small("dense", (49, 256, 64)),
        "matmul": small("matmul", (8, 49, 64, 33, 1)),
    }
    monkeypatch.setattr(shape_grid, "KINDS", kinds)
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    monkeypatch.setattr(shape_grid, "measured_bounds", lambda rounds: shape_grid.Bounds(
        dict.fromkeys(shape_grid.layers(), 1e-5), 1e10))  # fmt: skip
    done = CliRunner().invoke(shape_grid.main, ["--rounds=1"], catch_exceptions=False)
    assert done.output.count("portable") == 4  # the other convolution has too little work
    text = (tmp_path / "shape_grid.md").read_text()
    assert "No shape is more than 5 times below a neighbour." in text
    assert "| 7 | 64 | 3 | 1 | 1 | 1 | 1 | 3.6 |" in text


def test_time_by_kind_leaves_fused_sums_out_of_the_whole():
    found = {"xla.dot": [2, 3e-3, 6 * 10**9], "int8.add": [1, 5e-3, 0], "int8.table": [1, 1e-3, 0]}
    title, rows = time_by_kind.table("a model", 8, found)
    assert title == "## a model, batch 8: 4.00 ms"
    assert rows.splitlines()[2:] == [
        "| int8.add | 1 | 5.00 | - | - |",
        "| xla.dot | 2 | 3.00 | 75 % | 2000 |",
        "| int8.table | 1 | 1.00 | 25 % | - |",
    ]
