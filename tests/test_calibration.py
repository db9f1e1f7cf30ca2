"""Calibration: data in every form, statistics that lose nothing, errors that name the culprit."""

import io
import re
import sys

import numpy as np
import pytest

from qir import observers, segments
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.registry import load_dialects
from qir.samples import batches
from qir.text import read_module

load_dialects()
from qir.passes.calibrate import calibrate  # noqa: E402
from qir.passes.insert_observers import insert_observers  # noqa: E402

ONE_INPUT = """
func @main(%x: f32[2,4]) -> (f32[2,4]) {
  %w = const(value=random) : f32[4,4]
  %0 = nn.dense(%x, %w) loc("first")
  %1 = nn.relu(%0) loc("first")
  %2 = nn.dense(%1, %w) loc("second")
  return %2
}
"""
TWO_INPUTS = """
func @main(%x: f32[2,4], %y: f32[2,4]) -> (f32[2,4]) {
  %0 = nn.mul(%x, %y)
  %1 = nn.add(%0, %y)
  return %1
}
"""


def observed(text: str):
    return insert_observers(read_module(text).main)


def ranges(func) -> dict[str, tuple[float, float]]:
    found = [op.attributes for op in func.ops if op.kind == "quant.stats"]
    return {a["name"]: (a["lo"], a["hi"]) for a in found}


def statistics(func, samples, tmp_path, **options):
    path = tmp_path / "statistics.txt"
    calibrate(func, samples=samples, save_stats=str(path), **options)
    return observers.load(path)


def data(count: int, rows: int = 2, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    scales = generator.uniform(0.1, 3, count)
    shape = (count, rows, 4)
    return list((generator.standard_normal(shape) * scales[:, None, None]).astype(np.float32))


def failure(func, samples, **options) -> str:
    with pytest.raises(QirError) as caught:
        calibrate(func, samples=samples, **options)
    return str(caught.value)


@pytest.mark.parametrize("method", ["minmax", "ema", "percentile", "entropy", "mse"])
def test_streaming_gives_what_the_observers_give(method):
    func = observed(ONE_INPUT)
    plain = read_module(ONE_INPUT).main
    by_hand = {"x": observers.empty(), "second/dense": observers.empty()}
    for x in data(7):
        by_hand["x"] = observers.update(by_hand["x"], x)
        (y,) = evaluate(plain, [x])
        by_hand["second/dense"] = observers.update(by_hand["second/dense"], y)
    found = ranges(calibrate(func, samples=data(7), method=method))
    for name, stats in by_hand.items():
        lo, hi = observers.solve(stats, method)
        assert found[name] == (float(np.float32(lo)), float(np.float32(hi)))
        assert found[name][0] <= 0 <= found[name][1]


def test_each_observer_may_wish_for_a_method_and_the_option_overrules_all():
    text = """
    func @main(%x: f32[2,4]) -> (f32[2,4]) {
      %0 = quant.observe(%x, name=a, method=percentile)
      %1 = quant.observe(%0, name=b)
      %2 = nn.relu(%1)
      return %2
    }"""
    func = read_module(text).main
    wished = ranges(calibrate(func, samples=data(5), keep=0.5))
    assert wished["a"] != wished["b"]
    forced = ranges(calibrate(func, samples=data(5), method="minmax"))
    assert forced["a"] == forced["b"] == wished["b"]


def test_the_moving_average_follows_the_order_of_the_stream():
    func, samples = observed(ONE_INPUT), data(6)
    expected = samples[0].max()
    for x in samples[1:]:
        expected = observers.MOMENTUM * expected + (1 - observers.MOMENTUM) * x.max()
    forward = ranges(calibrate(func, samples=samples, method="ema"))["x"]
    backward = ranges(calibrate(func, samples=samples[::-1], method="ema"))["x"]
    assert forward[1] == pytest.approx(expected, rel=1e-6)
    assert forward != backward


def test_items_may_be_lists_tuples_and_dicts_and_come_from_a_callable():
    func = observed(TWO_INPUTS)
    xs, ys = data(4), data(4, seed=1)
    expected = ranges(calibrate(func, samples=list(zip(xs, ys, strict=True))))
    forms = [
        [[x, y] for x, y in zip(xs, ys, strict=True)],
        [{"y": y, "x": x} for x, y in zip(xs, ys, strict=True)],
        (pair for pair in zip(xs, ys, strict=True)),
        lambda: zip(xs, ys, strict=True),
        [(x.astype(np.float64), y.tolist()) for x, y in zip(xs, ys, strict=True)],
    ]
    for form in forms:
        assert ranges(calibrate(func, samples=form)) == expected
    one = observed(ONE_INPUT)
    assert ranges(calibrate(one, samples=xs)) == ranges(calibrate(one, samples=[[x] for x in xs]))


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7])
def test_any_batch_extent_is_cut_and_nothing_is_dropped(rows, tmp_path):
    func = observed(ONE_INPUT)
    whole = np.concatenate(data(21))[: 6 * rows]
    items = list(whole.reshape(-1, rows, 4))
    found = statistics(func, items, tmp_path)
    by_rows = statistics(func, list(whole[:, None]), tmp_path)
    for name, stats in found.items():
        assert stats.elements == whole.size
        assert stats.counts.sum() == whole.size
        # Matrix products of other shapes may differ in their last bit.
        assert (stats.min, stats.max) == pytest.approx((by_rows[name].min, by_rows[name].max))
    assert np.array_equal(found["x"].counts, by_rows["x"].counts)


def test_batches_are_the_traced_one_and_what_is_left_over():
    func = read_module(ONE_INPUT).main
    parts = list(batches(func, [np.zeros((5, 4)), np.zeros((2, 4))]))
    assert [(b.sample, b.arrays[0].shape[0]) for b in parts] == [(0, 2), (0, 2), (0, 1), (1, 2)]
    assert [b.func is func for b in parts] == [True, True, False, True]
    assert all(b.arrays[0].dtype == np.float32 for b in parts)


def test_data_is_read_as_it_is_used_and_not_before():
    func = observed(ONE_INPUT)
    events = []

    def samples():
        for i, x in enumerate(data(3)):
            events.append(f"read {i}")
            yield x

    def run(func, arrays):
        events.append("run")
        return evaluate(func, arrays)

    calibrate(func, samples=samples, run=run)
    assert events == ["read 0", "run", "read 1", "run", "read 2", "run"]


def test_statistics_are_saved_loaded_and_solved_by_another_method(tmp_path):
    func, path = observed(ONE_INPUT), str(tmp_path / "statistics.txt")
    first = calibrate(func, samples=data(9), save_stats=path)
    assert ranges(calibrate(func, stats=path)) == ranges(first)
    for method, options in (("percentile", {"keep": 0.9}), ("mse", {}), ("ema", {})):
        direct = ranges(calibrate(func, samples=data(9), method=method, **options))
        assert ranges(calibrate(func, stats=path, method=method, **options)) == direct
    text = (tmp_path / "statistics.txt").read_text()
    edited = re.sub(r"^  max .*$", "  max 100.0", text, flags=re.MULTILINE)
    (tmp_path / "statistics.txt").write_text(edited)
    assert {hi for _, hi in ranges(calibrate(func, stats=path)).values()} == {100.0}


def test_statistics_that_lack_a_name_or_hold_others(tmp_path):
    path = tmp_path / "statistics.txt"
    func = observed(ONE_INPUT)
    calibrate(func, samples=data(2), save_stats=str(path))
    text = path.read_text()
    path.write_text(text.replace('"second/dense"', '"second/dens"'))
    with pytest.raises(QirError) as caught:
        calibrate(func, stats=str(path))
    assert "statistics.txt: error: there are no statistics of 'second/dense'" in str(caught.value)
    assert "did you mean 'second/dens'?" in str(caught.value)
    path.write_text(text + text[text.index('value "x"') :].replace('"x"', '"gone"', 1))
    with pytest.warns(UserWarning, match="nobody observes 'gone'"):
        calibrate(func, stats=str(path))


GRAPH = """
func @main(%x: f32[2,4], %y: f32[3]) -> (f32[2,4], f32[2,2], f32[3], f32[2,4]) {
  %c = const(value=random) : f32[2,4]
  %0 = nn.add(%x, %c)
  %1 = lax.split(%0, sizes=[2, 2], axis=1)
  %2 = item(%1, index=0)
  %3 = item(%1, index=1)
  %4 = nn.mul(%2, %3)
  %5 = nn.relu(%0)
  %6 = lax.concatenate(%4, %2, axis=1)
  %7 = nn.add(%6, %5)
  %8 = nn.sub(%7, %0)
  return %8, %4, %y, %c
}
"""


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 500])
def test_segments_compute_what_the_whole_computes(size):
    func = read_module(GRAPH).main
    func = func.with_results(op for op in func.ops if op.kind != "lax.split")
    arrays = [data(1)[0], np.float32([1, 2, 3])]
    plan = segments.cut(func, size)
    calls = []

    def run(piece, inputs):
        calls.append(len(piece.results))
        return evaluate(piece, inputs)

    found = dict(segments.run(plan, arrays, run))
    expected = dict(zip(func.results, evaluate(func, arrays), strict=True))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[op], expected[op]) for op in expected)
    assert len(calls) == -(-7 // size)


def test_segments_forget_what_nobody_reads_any_more():
    lines = [f"  %{i + 1} = nn.relu(%{i})" for i in range(40)]
    body = "\n".join(["  %0 = nn.relu(%x)", *lines, "  return %40"])
    func = read_module(f"func @main(%x: f32[4]) -> (f32[4]) {{\n{body}\n}}").main
    plan = segments.cut(func, 4)
    made = [value for piece in plan.pieces for value in piece.makes]
    done = [value for piece in plan.pieces for value in piece.done]
    assert sorted(map(id, made)) == sorted(id(v) for v in done if v.kind != "parameter")
    assert all(len(piece.reads) == 1 and len(piece.done) <= 2 for piece in plan.pieces)


def test_segments_give_the_same_statistics(monkeypatch, tmp_path):
    func = observed(GRAPH)
    samples = [(x, np.float32([1, 2, 3])) for x in data(3)]
    whole = statistics(func, samples, tmp_path)
    cut = segments.cut
    monkeypatch.setattr(segments, "cut", lambda func: cut(func, 2))
    assert statistics(func, samples, tmp_path) == whole


WRONG_DATA = [
    ([], "the calibration data is empty"),
    (lambda: iter(()), "the calibration data is empty"),
    (7, "calibration data must be an iterable of items, found int"),
    ({"x": data(1)[0]}, "calibration data must be an iterable of items, found dict"),
    ([data(1)[0][0]], "sample 0: the input 'x' has shape [4], the model takes [2, 4]"),
    ([*data(2), np.zeros((2, 5))],
     "sample 2: the input 'x' has shape [2, 5], the model takes [2, 4]"),
    ([np.zeros((0, 4))], "sample 0: the input 'x' has shape [0, 4], the model takes [2, 4]"),
    ([data(1)[0].tolist()[0]], "sample 0 has 4 inputs, the model takes 1 (x)"),
    ([{"y": data(1)[0]}], "sample 0: the model has no input 'y'"),
    ([{}], "sample 0 lacks the input 'x'"),
    (["x.png"], "sample 0: the input 'x' is no array of numbers, found str"),
    ([[[[1, 2, 3, 4], [1, 2]]]], "sample 0: the input 'x' is no array of numbers, found list"),
    ([np.zeros((2, 4), np.complex64)],
     "sample 0: the input 'x' is no array of numbers, found an array of complex64"),
    ([*data(1), np.full((2, 4), np.nan)], "sample 1: the input 'x' holds nan at index [0, 0]"),
    ([np.float32([[0, 0, 0, 0], [0, 0, -np.inf, 0]])],
     "sample 0: the input 'x' holds -inf at index [1, 2]"),
    ([np.full((2, 4), 1e300)], "sample 0: the input 'x' holds inf at index [0, 0]"),
]  # fmt: skip


@pytest.mark.parametrize(("samples", "message"), WRONG_DATA, ids=map(str, range(len(WRONG_DATA))))
def test_wrong_data_is_told_with_input_and_sample(samples, message):
    assert message in failure(observed(ONE_INPUT), samples)


def test_a_missing_batch_axis_gets_advice():
    assert "the batch, is missing: x[None]" in failure(observed(ONE_INPUT), [np.zeros(4)])


def test_an_integer_input_takes_no_reals_and_a_batch_belongs_to_all_inputs():
    text = """
    func @main(%i: i32[2], %x: f32[2,4]) -> (f32[2,4], i32[2]) {
      %0 = nn.relu(%x)
      return %0, %i
    }"""
    func = observed(text)
    x, i = data(1)[0], np.array([1, 2])
    assert "sample 0: the input 'i' holds float64, the model takes i32" in failure(
        func, [(i.astype(np.float64), x)]
    )
    assert "sample 0: the input 'x' has shape [1, 4]" in failure(func, [(i, x[:1])])
    assert ranges(calibrate(func, samples=[(i[:1], x[:1])])).keys() == {"x", "relu"}


def test_rows_left_over_by_a_graph_of_one_batch():
    text = """
    func @main(%x: f32[2,4]) -> (f32[8]) {
      %0 = nn.relu(%x) loc("model.py:3")
      %1 = lax.reshape(%0, shape=[8]) loc("model.py:4")
      return %1
    }"""
    func = observed(text)
    message = failure(func, [np.zeros((4, 4)), np.zeros((3, 4))])
    assert "sample 1 leaves 1 rows over, and this graph serves batch 2 only" in message
    assert "a multiple of the traced batch" in message
    calibrate(func, samples=[np.zeros((4, 4)), np.zeros((2, 4))])


def test_a_graph_of_no_rows_takes_no_rows():
    text = "func @main(%x: f32[0,4]) -> (f32[0,4]) {\n  %0 = nn.relu(%x)\n  return %0\n}"
    func = observed(text)
    assert "'x' has shape [1, 4], the model takes [0, 4]" in failure(func, [np.zeros((1, 4))])


def test_nan_in_an_intermediate_names_the_op_where_it_began_and_the_sample():
    text = """
    func @main(%x: f32[2,4]) -> (f32[2,4]) {
      %0 = nn.relu(%x) loc("model.py:3")
      %1 = lax.log(%0) loc("model.py:4")
      %2 = lax.sub(%1, %1) loc("model.py:5")
      %3 = lax.tanh(%2) loc("model.py:6")
      return %3
    }"""
    func = observed(text)
    good, bad = np.ones((2, 4)), np.ones((2, 4))
    bad[1, 3] = -1
    message = failure(func, [good, good, bad])
    # log(0) is -inf, and the difference of two of them the first NaN.
    assert "model.py:5: error: sample 2: the result of lax.sub holds nan at index [1, 3]" in message


def test_nan_that_only_another_evaluator_makes_names_the_observed_op():
    func = observed(ONE_INPUT)

    def broken(piece, arrays):
        return tuple(array * np.nan for array in evaluate(piece, arrays))

    with pytest.raises(QirError) as caught:
        calibrate(func, samples=data(1), run=broken)
    assert re.match(r"first: error: sample 0: the result of nn.\w+ holds nan", str(caught.value))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_range_that_8_bits_cannot_serve_is_told():
    func = observed(ONE_INPUT)
    huge = [np.where(x > 0, x, -3e38).astype(np.float32) for x in data(2)]
    name = next(op.attributes["name"] for op in func.ops if op.kind == "quant.observe")
    with pytest.warns(UserWarning, match=f"'{name}' spans .* a mask written as a huge number"):
        calibrate(func, samples=[huge[0] * np.float32(1e-20)])


def test_progress_on_a_terminal_and_silence_in_a_pipe(monkeypatch, capfd):
    calibrate(observed(ONE_INPUT), samples=data(2))
    assert capfd.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    calibrate(observed(ONE_INPUT), samples=data(2))
    assert "calibration" in terminal.getvalue()
    assert "0/2" in terminal.getvalue()


def test_names_are_the_same_for_the_same_model_and_survive_a_new_folder():
    moved = ONE_INPUT.replace('loc("first")', 'loc("/new/model.py:4")')
    names = ranges(calibrate(observed(moved), samples=data(1))).keys()
    assert names == {"x", "model.py:4/relu", "second/dense", "model.py:4/dense"}
    assert ranges(calibrate(observed(ONE_INPUT), samples=data(1))).keys() == {
        "x", "first/relu", "second/dense", "first/dense",
    }  # fmt: skip
