"""`qir evaluate` and `qir compare`: what is measured is what it says, what cannot be is told."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import qir
from qir import registry
from qir.cli import scores
from qir.cli.compare import split_commas, table_lines
from qir.cli.scores import FIFTH, columns, disk_size, peak_memory
from qir.pipeline import takes

registry.load_dialects()
needs_matplotlib = pytest.mark.skipif(not importlib.util.find_spec("matplotlib"),
                                      reason="needs matplotlib")  # fmt: skip
NET = """func @main(%x: f32[4,12]) -> (logits: f32[4,12]) {
  %w = const(value=random) : f32[12,12]
  %v = const(value=random) : f32[12,12]
  %0 = nn.dense(%x, %w)
  %1 = nn.relu(%0)
  %2 = nn.dense(%1, %v)
  return %2
}
"""
SAME = """func @main(%x: f32[4,12]) -> (logits: f32[4,12]) {
  %0 = nn.relu(%x)
  return %0
}
"""
TWO = """func @main(%x: f32[4,12]) -> (a: f32[4,12], b: f32[4,3,4]) {
  %0 = nn.relu(%x)
  %1 = lax.reshape(%0, shape=[-1,3,4])
  return %0, %1
}
"""


@pytest.fixture
def folder(call, tmp_path):
    """Models and data: ten samples, two more than whole batches, one in five with a wrong label."""
    for name, text in (("net", NET), ("same", SAME), ("two", TWO)):
        Path(f"{name}.qir").write_text(text)
    x = np.random.default_rng(0).uniform(0, 1, (10, 12)).astype(np.float32)
    classes = x.argmax(1)
    classes[[3, 9]] = x[[3, 9]].argmin(1)
    np.savez("eval.npz", x=x, label=classes.astype(np.int32))
    np.savez("x.npz", x=x)
    return tmp_path


# One model


def test_a_model_is_measured_on_every_sample(call, folder):
    code, out, err = call("evaluate", "same.qir", "--data", "eval.npz", "--rounds", "1")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]  # as wide as the latency is
    assert lines[:3] == ["same.qir on eval.npz: 10 samples, target xla",
                         "top-1 accuracy 80.00 %", "top-5 accuracy 80.00 %"]  # fmt: skip
    assert re.search(r"^latency, batch 4, median of 1 +\d+\.\d{3,4} ms$", out, re.M)
    assert re.search(r"^peak memory of the process +\d+\.\d [MG]B$", out, re.M)
    assert re.search(rf"^size on disk +{len(SAME)} B$", out, re.M) and out.endswith(" 1\n")


def test_against_the_float_model_noise_is_measured_and_latency_in_turn(call, folder):
    call("quantize", "net.qir", "--calibration", "x.npz", "-o", "q.qir")
    words = ["--data", "eval.npz", "--against", "net.qir", "--rounds", "2", "--json"]
    code, out, err = call("evaluate", "q.qir", *words)
    assert (code, err) == (0, "")
    found = json.loads(out)
    x = np.load("x.npz")["x"][:8]
    wanted, got = (np.asarray(qir.load(f"{name}.qir")(x)["logits"]) for name in ("net", "q"))
    assert found["samples"] == 10 and found["batch"] == 4 and found["float_ops"] == 0
    expected = 10 * np.log10(np.square(wanted).sum() / np.square(wanted - got).sum())
    assert found["snr"] == pytest.approx(expected, abs=1.5)  # of ten samples, here of eight
    files = [p.stat().st_size for p in folder.glob("q.qir*")]
    assert len(files) == 2 and found["size"] == sum(files)
    assert min(found["latency"], found["float_latency"], found["peak"]) > 0
    code, out, _ = call("evaluate", "net.qir", *words, "--batch", "5")
    found = json.loads(out)
    assert (code, found["snr"], found["batch"]) == (0, "inf", 5)


def test_equal_numbers_and_nan_have_one_order():
    rows = np.float32([[1, 1, 0], [1, 1, 0], [np.nan, 1, 0], [0, 2, 5]])
    assert scores._tops(rows, np.array([0, 1, 0, 2])) == {1: 0.5, FIFTH: None}
    many = np.tile(np.arange(11.0), (11, 1))
    assert scores._tops(many, np.arange(11)) == {1: 1 / 11, FIFTH: 5 / 11}


def test_data_are_reals_whatever_a_model_stores(folder):
    """One file serves a float model and one with integer inputs, be it in reals or as stored."""
    stored = NET.split("{")[0].replace("x: f32", "x: i8<0.25:-3>") + """{
  %0 = quant.dequantize(%x)
  return %0
}
"""
    Path("stored.qir").write_text(stored)
    func = qir.load("stored.qir").module.main
    integers = np.random.default_rng(0).integers(-128, 128, (6, 12), np.int8)
    np.savez("stored.npz", x=integers)
    np.savez("reals.npz", x=(integers.astype(np.float32) + 3) * 0.25)
    for path in ("stored.npz", "reals.npz"):
        data = scores.read_data(path, func, None)
        batches = [arrays[0] for arrays in scores._batches(func, data)]
        assert np.array_equal(np.concatenate(batches)[:6], integers)
        assert np.array_equal(data.arrays["x"], (integers + np.float32(3)) / 4)


def test_peak_memory_is_of_this_process_alone():
    held = np.ones(400_000_000, np.uint8)
    words = "from qir.cli.scores import peak_memory; print(peak_memory())"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert peak_memory() >= held.nbytes
    if Path("/proc/self/status").exists():
        assert 0 < int(done.stdout) < held.nbytes


@pytest.mark.parametrize(("words", "message"), [
    (["same.qir", "--data", "eval.npz", "--labels", "labl"],
     "eval.npz: error: --labels: 'labl' is not in the file\n"
     "  help: did you mean 'label'? known: label\n"),
    (["same.qir", "--data", "eval.npz", "--labels", "x"],
     "eval.npz: error: --labels: 'x' is an input, no labels\n  help: known: label\n"),
    (["same.qir", "--data", "short.npz"],
     "short.npz: error: there are 4 labels for 10 samples\n"),
    (["same.qir", "--data", "more.npz"],
     "more.npz: error: a, b are no inputs of @main\n"
     "  help: say which holds the labels: --labels a\n"),
    (["same.qir", "--data", "reals.npz"],
     "reals.npz: error: 'label' is no input of @main, and no labels: it is float64[10]\n"
     "  help: labels are the number of a class for each sample: int32[N]\n"),
    (["same.qir", "--data", "beyond.npz"],
     "beyond.npz: error: the labels are 0 to 12, logits has the classes 0 to 11\n"),
    (["same.qir", "--data", "other.npz"],
     "other.npz: error: @main takes the inputs x, the file holds label, y\n"
     "  help: name the arrays after the inputs\n"),
    (["same.qir", "--data", "none.npz"],
     "error: the evaluation data is empty\n  help: an iterator that was read before gives nothing; "
     "pass a list or a function that makes it anew\n"),
    (["same.qir", "--data", "wide.npz"],
     "error: sample 0: the input 'x' has shape [4, 13], the model takes [4, 12]\n"
     "  help: only the leading extent of all inputs together, the batch, may be another one\n"),
    (["same.qir", "--data", "x.npz", "--runtime", "litert"],
     "same.qir: error: LiteRT runs .tflite models alone\n"
     "  help: qir translate MODEL.qir -o MODEL.tflite\n"),
    (["two.qir", "--data", "x.npz"],
     "--result: error: @main has the results a, b\n  help: known: a, b\n"),
    (["two.qir", "--data", "x.npz", "--result", "c"],
     "--result: error: there is no result 'c'\n  help: known: a, b\n"),
    (["two.qir", "--data", "eval.npz", "--result", "b"],
     "error: labels are compared with one number for each class, b is f32[4,3,4]\n"
     "  help: choose the result: --result NAME; or leave the labels out\n"),
    (["same.qir", "--data", "x.npz", "--rounds", "1", "--against", "two.qir"],
     "--against: error: the model's results have the shapes [[4, 12]], those of the float model "
     "[[4, 12], [4, 3, 4]]: they cannot be compared\n"),
])  # fmt: skip
def test_what_is_wrong_with_the_data_is_said(call, folder, words, message):
    x, label = (np.load("eval.npz")[name] for name in ("x", "label"))
    np.savez("short.npz", x=x, label=label[:4])
    np.savez("more.npz", x=x, a=label, b=label)
    np.savez("reals.npz", x=x, label=label.astype(np.float64))
    np.savez("beyond.npz", x=x, label=np.arange(3, 13) * (np.arange(10) > 0))
    np.savez("other.npz", y=x, label=label)
    np.savez("none.npz", x=x[:0])
    np.savez("wide.npz", x=np.zeros((4, 13), np.float32))
    assert call("evaluate", *words) == (1, "", message)


# Several pipelines


def test_pipelines_are_rows_and_one_that_fails_stops_no_other(call, folder):
    code, out, err = call("compare", "net.qir", "--pipelines", "ptq_int8(method=mse), dynamic_range"
                          "(min_elements=1, weights=per_tensor)", "--data", "eval.npz",
                          "--rounds", "2", "--plot", "p.html", "--plot", "p.png")  # fmt: skip
    lines = out.splitlines()
    assert (code, err) == (1, "") and lines[0] == "net.qir on eval.npz: 10 samples, target xla"
    assert lines[1].split() == ["scheme", "top-1", "top-5", "dB", "size", "latency", "ratio",
                                "peak", "float", "ops"]  # fmt: skip
    assert re.match(r"float +\d+\.00 % +\d+\.00 % +\d+\.\d .B .* 1\.00 .* 3 of 3$", lines[2])
    assert re.match(r"ptq_int8\(method=mse\) +error: calibrate needs samples", lines[3])
    assert lines[4].startswith("dynamic_range(min_elements=1, weights=per_tensor)  ")
    page = Path("p.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and page.count("<svg") == 1
    assert "dynamic_range(min_elements=1, weights=per_tensor)</td>" in page
    assert '<td class="failed" colspan="8">' in page and " src=" not in page
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("runtime", ["xla", "litert"])
def test_a_comparison_as_an_object_with_models_that_are_kept(call, folder, runtime):
    pytest.importorskip("flatbuffers")
    pytest.importorskip("ai_edge_litert")
    code, out, err = call("compare", "net.qir", "-p", "ptq_int8(method=mse),", "--data", "x.npz",
                          "--calibration", "x.npz", "--target", "tflite", "--rounds", "1",
                          "--json", "-o", "kept", "--runtime", runtime)  # fmt: skip
    assert (code, err) == (0, "")
    found = json.loads(out)
    row = found["rows"][1]
    assert [each["scheme"] for each in found["rows"]] == ["float", "ptq_int8(method=mse)"]
    path = folder / "kept/ptq_int8-method-mse.tflite"
    assert row["size"] == path.stat().st_size and row["snr"] > 20 and "top_1" not in row
    assert row["float_ops"] == 0 and found["rows"][0]["float_ops"] > 1
    assert found["rows"][0]["size"] == sum(p.stat().st_size for p in folder.glob("kept/float.*"))


@pytest.mark.parametrize(("words", "message"), [
    (["--pipelines", "dynamic_range, ptq_int9"],
     "<pipeline>:1:1: error: unknown pass or pipeline 'ptq_int9'\n  ptq_int9\n  ^^^^^^^^\n"
     "  help: did you mean 'ptq_int8'?"),
    (["--pipelines", "ptq_int8(methd=mse)"],
     "<pipeline>:1:1: error: the pipeline 'ptq_int8' has no parameter 'methd'\n"),
    (["--pipelines", "ptq_int8,,dynamic_range"],
     "--pipelines: error: a name is missing between commas\n"),
    (["--pipelines", "ptq_int8", "-p", "ptq_int8"],
     "--pipelines: error: 'ptq_int8' is given twice\n"),
    (["--pipelines", "ptq_int8", "--plot", "p.jpg"],
     "p.jpg: error: a plot is written as .png, .svg, .html\n"),
    (["--pipelines", "ptq_int8", "--plot", "no/p.png"],
     "no/p.png: error: cannot write: there is no such folder\n"),
    (["--pipelines", "ptq_int8", "--runtime", "litert"],
     "--runtime: error: LiteRT runs no model for the target 'xla'\n  help: --target tflite\n"),
    (["--pipelines", "ptq_int8", "--labels", "y"],
     "eval.npz: error: --labels: 'y' is not in the file\n"),
])  # fmt: skip
def test_a_comparison_that_cannot_be_is_refused_first(call, folder, words, message):
    code, out, err = call("compare", "net.qir", "--data", "eval.npz", *words)
    assert (code, out) == (1, "") and err.startswith(message), err


def test_a_plot_says_what_it_needs(call, folder, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name: None if name == "matplotlib" else there(name))
    words = ["--data", "eval.npz", "-p", "ptq_int8", "--plot", "p.png"]
    assert call("compare", "net.qir", *words) == (
        1, "", "error: a plot needs matplotlib, which is not installed\n"
               "  help: pip install 'qir[picture]'\n")  # fmt: skip


def test_texts_between_commas():
    assert split_commas('a, b(c=1, d=["x,(", 2]),c') == ["a", ' b(c=1, d=["x,(", 2])', "c"]
    assert split_commas("a,") == ["a"] and split_commas("a,,b") == ["a", "", "b"]


def test_tables_are_aligned_and_errors_stand_behind_names():
    assert columns([["a", "bb"], ["ccc", "d"]]) == ["a    bb", "ccc   d"]
    row = {"size": 1_500, "latency": 1e-3, "peak": 2e6, "float_ops": 1, "ops": 2}
    rows = [{"scheme": "float", **row}, {"scheme": "wrong", "error": "no"},
            {"scheme": "noisy", **row, "snr": "-inf", "float_latency": 2e-3}]  # fmt: skip
    assert table_lines(rows) == [
        "scheme    dB    size   latency  ratio    peak  float ops",
        "float         1.5 kB  1.000 ms   1.00  2.0 MB     1 of 2",
        "wrong   error: no",
        "noisy   -inf  1.5 kB  1.000 ms   2.00  2.0 MB     1 of 2",
    ]


def test_the_size_of_a_model_is_that_of_both_files(folder):
    text = folder / "moved.qir"
    qir.save(qir.trace(lambda x: x @ np.eye(12, dtype=np.float32) * x[0, 0], np.zeros((1, 12))),
             text)  # fmt: skip
    (weights,) = folder.glob("moved.qir.*")
    text.rename(folder / "renamed.qir")
    both = (folder / "renamed.qir").stat().st_size + weights.stat().st_size
    assert disk_size(str(folder / "renamed.qir"), None) == both


# A pipeline's target


def test_a_target_reaches_a_pipeline_that_is_given_with_options(folder):
    """It once reached names alone; with options a model for XLA was made without a word."""
    func = qir.load("net.qir").module
    samples = [np.load("x.npz")["x"][:4]]
    text = "ptq_int8(method=mse)"
    assert qir.quantize(func, None, samples, text, target="tflite").target == "tflite"
    own = "ptq_int8(method=mse, target=xla)"
    assert qir.quantize(func, None, samples, own, target="tflite").target == "xla"


def test_what_a_pipeline_leaves_open():
    assert takes("ptq_int8", "target") and takes(" ptq_int8(method=mse) ", "target")
    assert takes("pipeline mine(target=xla) = legalize(target=$target)", "target")
    assert not takes("pipeline mine() = cse", "target") and not takes("ptq_int8, cse", "target")
    assert not takes("cse", "target") and not takes("ptq_int8(target=xla)", "target")
    assert not takes("", "target") and not takes(None, "target")


# The picture


@needs_matplotlib
def test_names_in_a_plot_stand_clear_of_each_other():
    from matplotlib.figure import Figure

    from qir.pictures import scatter

    points = [scatter.Point(f"ptq_int8(number={i})", 7e4 + 500 * i, 84.0, 1e-4) for i in range(5)]
    points += [scatter.Point("float", 2.7e5, None, 1e-3), scatter.Point("b", 9e4, float("inf"), 1)]
    figure = Figure(figsize=(8, 5), layout="constrained")
    scatter._draw(figure.add_subplot(), points, "accuracy")
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    assert sorted(t.get_text() for t in texts) == sorted(p.name for p in points)
    boxes = [text.get_window_extent() for text in texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    svg = scatter.scatter(points, "title", "accuracy", ".svg")
    assert svg == scatter.scatter(points, "title", "accuracy", ".svg") and ">float<" in svg
