"""Reproducers: what a failed run leaves behind runs again elsewhere, and fails alike."""

import os
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qir import registry
from qir.cli import cli, status
from qir.errors import QirError
from qir.graph_pass import Samples, graph_pass
from qir.ir import Func
from qir.pipeline import compose, run_module
from qir.progress import Progress, followed
from qir.reproducer import (
    Drawn,
    Reproducer,
    blanked,
    captured,
    record_of,
    reproducer_text,
    rerun,
    signature,
    steps_text,
)
from qir.reproducer.capture import rest
from qir.samples import batches
from qir.text import decoded, encoded, load_module, read_module, save_module, whole_text

registry.load_dialects()
GRAPH = """func @main(%x: f32[2,4]) -> (y: f32[2,4]) {
  %w = const(value=random) : f32[4,4]
  %0 = nn.dense(%x, %w) : f32[2,4] loc("model.py:1")
  %1 = nn.relu(%0) : f32[2,4] loc("model.py:2")
  return %1
}
"""


@graph_pass("any -> any")
def breaks(func: Func, *, times: int = 1) -> Func:
    """A bug, whatever comes."""
    return func.results[times].nothing


@graph_pass("any -> any")
def refuses(func: Func) -> Func:
    """Refuse a relu."""
    for op in func.ops:
        if op.kind == "nn.relu":
            raise QirError(f"no {op.type}", at=op.location[0])
    return func


@graph_pass("any -> any")
def positive(func: Func, *, samples: Samples) -> Func:
    """Refuse samples with a number below zero."""
    for i, item in enumerate(samples() if callable(samples) else samples):
        array = item["x"] if isinstance(item, dict) else np.asarray(item)
        if (array < 0).any():
            raise QirError(f"sample {i} has a negative number")
    return func


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    known = {**registry.passes(), **{each.name: each for each in (breaks, refuses, positive)}}
    monkeypatch.setattr(registry, "passes", lambda: known)
    monkeypatch.delenv("QIR_REPRODUCER", raising=False)


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Run `qir` with words in a folder that holds a graph; gives exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.qir").write_text(GRAPH)

    def run(*words: str):
        code = status(cli, list(words), "qir")
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def kept(pipeline: str, graph: str = GRAPH, samples=None, **wanted):
    """The module and the reproducer of a pipeline that fails on a graph."""
    drawn = Drawn()
    resources = {} if samples is None else {"samples": samples}
    with followed(Progress(drawn.watched)) as progress:
        try:
            run_module(compose(pipeline), read_module(graph), resources)
        except Exception as error:
            found = error
    return captured(found, progress, drawn, **wanted)


# One text file


def test_weights_inside_a_text_are_those_beside_it(tmp_path):
    save_module(read_module(GRAPH), tmp_path / "g.qir")
    text = whole_text(load_module(tmp_path / "g.qir"))
    assert text == whole_text(read_module(text)) == whole_text(read_module(GRAPH))
    assert text.startswith('weights("data:base64,')
    assert (read_module(text).main.ops[1].value == read_module(GRAPH).main.ops[1].value).all()


def test_a_constant_of_one_number_is_written_as_that_number():
    for number in ("0.0", "-0.0", "1.5", "inf", "nan"):
        text = f"func @f() -> (f32[3,4]) {{\n  %0 = const(value={number}) : f32[3,4]\n" \
               "  return %0\n}\n"  # fmt: skip
        assert whole_text(read_module(text)) == text
    mixed = np.zeros((3, 4), np.float32)
    mixed[0, 0] = -0.0
    from qir.ir import Module, const

    assert whole_text(Module((Func("f", (), (const(mixed),)),))).startswith("weights(")


@pytest.mark.parametrize("damage", ["AAAA", "not base64!", "", "QAAAAAAAAAB7"])
def test_damaged_weights_inside_a_text_are_an_error(damage):
    text = f'weights("data:base64,{damage}")\n{GRAPH}'
    with pytest.raises(QirError) as caught:
        read_module(text, "g.qir")
    assert str(caught.value) == (
        "g.qir: error: this is no whole weights file, it is truncated or damaged\n"
        "  help: write the model again")  # fmt: skip


@given(st.lists(st.integers(0, 12), max_size=3), st.sampled_from("bBhif?"))
@settings(max_examples=30, deadline=None)
def test_arrays_inside_a_text_come_back(shape, code):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(code)
    found = decoded(encoded({"a": array}), "<text>")["a"].array
    assert found.dtype == array.dtype and found.shape == array.shape and (found == array).all()


def test_a_message_does_not_show_a_line_of_weights():
    text = f'weights("data:base64,{"A" * 4000}") oops\n'
    with pytest.raises(QirError) as caught:
        read_module(text, "g.qir")
    assert len(str(caught.value)) < 300


# Fields


ITEMS = st.one_of(
    st.integers(0, 3).map(lambda n: np.array(n, np.float32)),
    st.just(np.ones((2, 3), np.int8)),
    st.lists(st.integers(0, 3).map(lambda n: np.array(n, np.float32)), min_size=1, max_size=12),
    st.dictionaries(st.text("ab/#1", min_size=1, max_size=3), st.just(np.zeros(2)), min_size=1),
)


def ordered(items) -> list:
    return [sorted(item.items()) if isinstance(item, dict) else item for item in items]


@given(st.text(max_size=40), st.lists(ITEMS, max_size=12),
       st.dictionaries(st.text("ab./", min_size=1, max_size=4), st.binary(max_size=9)))
@settings(max_examples=60, deadline=None)
def test_a_reproducer_reads_back(error, samples, files):
    record = Reproducer(error, "cse", tuple(samples), files, verify_each=True, again=False)
    text = reproducer_text(record, read_module(GRAPH))
    read = record_of(read_module(text), "g.qir")
    assert (read.error, read.files, read.again) == (error, files, False)
    assert repr(ordered(read.samples)) == repr(ordered(samples))
    assert reproducer_text(read, read_module(text)) == text


@pytest.mark.parametrize("field, message", [
    ("pipeline=3", "reproducer: pipeline is a text in quotes, found 3"),
    ("files=[a, b]", 'reproducer: files are written [["name", "content"]]'),
    ("verify_each=1", "reproducer: verify_each is true or false, found 1"),
    ('samples="data:base64,AA"', "this is no whole weights file, it is truncated or damaged"),
    ('files=[[a, "data:base64,A"]]', "reproducer: the content of a file is damaged"),
])  # fmt: skip
def test_a_wrong_field_is_an_error(field, message):
    with pytest.raises(QirError) as caught:
        record_of(read_module(f"reproducer({field})\n{GRAPH}"), "g.qir")
    assert str(caught.value).partition("\n")[0] == f"g.qir: error: {message}"


def test_errors_of_a_smaller_graph_are_alike():
    assert blanked("sample 13: the input 'x' holds nan at [1, [3]] (and 4 more)") == (
        "sample #: the input '' holds nan at _")  # fmt: skip
    assert blanked("%x is i8<0.5:-3>[2,4], not f32[7]") == "@ is i8__, not f32_"
    assert signature(QirError("no 3", at="a:1")) == signature(QirError("no 4")) == "error: no #"
    assert signature(KeyError("a")) != signature(TypeError("a"))


# Capturing


def test_the_graph_before_the_step_that_fails_is_kept():
    module, record = kept("canonicalize, cse, only(cse, refuses, match=\"model\"), cse")
    assert record.pipeline == "only(refuses, match=model), cse" and record.again
    assert record.error == "model.py:2: error: no f32[2,4]"
    assert [op.kind for op in module.main.ops] == ["parameter", "const", "nn.dense", "nn.relu"]


def test_a_fixpoint_goes_on_with_the_round_that_it_was_in():
    _, record = kept("fixpoint(cse, fixpoint(canonicalize, breaks(times=1)), cse), cse")
    assert record.pipeline == ("breaks, fixpoint(canonicalize, breaks), cse, "
                               "fixpoint(cse, fixpoint(canonicalize, breaks), cse), cse")
    steps = compose("fixpoint(cse, canonicalize), cse")
    assert steps_text(rest(steps, [0])) == steps_text(steps)
    assert steps_text(rest(steps, [1])) == "cse"


def test_pipelines_are_written_out_without_defaults():
    _, record = kept("refuses, ptq_int8(method=mse)", samples=[np.ones((2, 4))])
    assert record.pipeline.startswith("refuses, canonicalize, cse, raise_nn, roll_cells, fold_bn, ")
    assert "insert_observers(method=mse), calibrate, propagate_types, " in record.pipeline


def test_the_failing_function_alone_is_kept():
    other = GRAPH.replace("@main", "@other").replace("nn.relu", "nn.tanh")
    module, _ = kept("refuses", other + GRAPH)
    assert [func.name for func in module.funcs] == ["main"]


@pytest.mark.parametrize("give", [list, lambda items: lambda: iter(items), iter, tuple])
def test_the_slice_of_samples_that_fails_is_kept(give):
    rows = np.ones((24, 4), np.float32)
    items = [{"x": rows}, {"x": rows.copy()}, {"x": rows}]
    items[1]["x"][13, 2] = -1
    _, record = kept("positive", samples=give(items))
    (item,) = record.samples
    assert item["x"].shape == (2, 4) and (item["x"] < 0).sum() == 1 and record.again


@pytest.mark.parametrize(("give", "count"), [(list, 12), (lambda items: lambda: iter(items), 12),
                                             (iter, 9)])  # fmt: skip
def test_where_many_samples_are_needed_no_more_than_were_drawn_are_kept(give, count, monkeypatch):
    @graph_pass("any -> any")
    def many(func: Func, *, samples: Samples) -> Func:
        """Fail on the twelfth sample."""
        if sum(1 for _ in batches(func, samples)) > 11:
            raise ValueError("too many")
        return func

    monkeypatch.setitem(registry.passes(), "many", many)
    items = [np.full((2, 4), i, np.float32) for i in range(12)]
    _, record = kept("many", samples=give(items))
    assert len(record.samples) == count and record.again == (count == 12)


def test_no_samples_are_kept_where_no_step_takes_any():
    assert kept("refuses, cse", samples=[np.ones((2, 4))])[1].samples is None
    assert len(kept("refuses, positive", samples=[np.ones((2, 4))] * 3)[1].samples) == 1


def test_what_does_not_fail_again_is_told(monkeypatch):
    times = []

    @graph_pass("any -> any")
    def once(func: Func) -> Func:
        """Fail the first time."""
        times.append(1)
        return breaks(func) if len(times) == 1 else func

    monkeypatch.setitem(registry.passes(), "once", once)
    module, record = kept("cse, once")
    assert not record.again and record.pipeline == "cse, once"
    assert "// Run again in this form it did not fail alike" in reproducer_text(record, module)


# Files


def test_no_file_of_the_user_is_written_when_it_runs_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.txt").write_text("mine")
    pipeline = 'report(path="out.txt"), export(path="out.qir"), refuses'
    record = Reproducer("", pipeline, files={"st.txt": b"no statistics"})
    module = read_module(reproducer_text(record, read_module(GRAPH)))
    resources = {"emit": print}
    with pytest.raises(QirError, match=r"no f32\[2,4\]"):
        rerun(compose(pipeline), module, record.files, resources)
    assert os.listdir() == ["out.txt"] and (tmp_path / "out.txt").read_text() == "mine"
    with pytest.raises(QirError) as caught:
        steps = compose('insert_observers, calibrate(stats="st.txt")')
        rerun(steps, module, record.files, resources)
    assert str(caught.value).startswith("st.txt:1:1: error: this is no statistics file")


# The command line


def test_a_bug_leaves_a_reproducer_which_runs_again(call, tmp_path):
    code, out, err = call("opt", "g.qir", "-p", "canonicalize, breaks")
    (name,) = (p.name for p in tmp_path.glob("qir-reproducer-*.qir"))
    assert (code, out) == (2, "")
    assert err.startswith(f"reproducer: {name}, run it again with: qir opt {name}\nTraceback")
    assert err.splitlines()[-1] == ("error: this is a bug in qir, IndexError in breaks "
                                    "(test_reproducer.py); please report it with the lines above")
    text = (tmp_path / name).read_text()
    assert text.splitlines()[2:6] == [
        "reproducer(", '  error="IndexError: tuple index out of range",', '  pipeline=breaks,',
        '  version="0.1.0",']  # fmt: skip
    assert 'loc("model.py:2")' in text and re.search(r"\nweights\(\"data:base64,", text)
    assert call("opt", name)[2].splitlines()[-1] == err.splitlines()[-1]
    assert call("opt", name, "-p", "cse")[0] == 0
    call("opt", "g.qir", "-p", "canonicalize, breaks")
    assert len(list(tmp_path.glob("qir-reproducer-*"))) == 1  # the same bytes, none of its own


def test_none_is_left_of_a_users_error_or_where_it_is_switched_off(call, tmp_path, monkeypatch):
    assert call("opt", "g.qir", "-p", "refuses")[0] == 1
    monkeypatch.setenv("QIR_REPRODUCER", "off")
    assert call("opt", "g.qir", "-p", "breaks")[0] == 2
    assert os.listdir() == ["g.qir"]


def test_one_is_written_of_any_error_where_it_is_asked_for(call):
    code, out, err = call("opt", "g.qir", "-p", "cse, refuses", "--reproducer", "r.qir")
    assert (code, out) == (1, "")
    error = "model.py:2: error: no f32[2,4]\n"
    assert err == f"reproducer: r.qir, run it again with: qir opt r.qir\n{error}"
    assert call("opt", "r.qir") == (1, "", error)
    assert call("opt", "r.qir", "--reproducer", "again.qir")[0] == 1
    with open("r.qir") as first, open("again.qir") as second:
        assert first.read() == second.read()


def test_a_pipeline_that_cannot_be_composed_is_kept_as_it_is(call):
    call("opt", "g.qir", "-p", "ptq_int8", "--param", "metod=mse", "--reproducer", "r.qir")
    code, _, err = call("opt", "r.qir")
    assert code == 1 and "has no parameter 'metod'" in err
    call("opt", "g.qir", "-p", "csee", "--reproducer", "r.qir")
    assert "unknown pass or pipeline 'csee'" in call("opt", "r.qir")[2]


def test_verify_each_runs_again(call, monkeypatch):
    @graph_pass("any -> any")
    def twice(func: Func) -> Func:
        """WRONG: the type is not the op's."""
        from dataclasses import replace

        r = func.results[0]
        return func.with_results([replace(r, type=r.type.with_shape((4, 2)))])

    monkeypatch.setitem(registry.passes(), "twice", twice)
    call("opt", "g.qir", "-p", "twice", "--verify-each", "--reproducer", "r.qir")
    code, _, err = call("opt", "r.qir")
    assert code == 1 and "after twice, nn.relu has the type f32[4,2]" in err


def test_quantize_leaves_one_with_the_sample_that_fails(call, tmp_path):
    rows = np.ones((6, 4), np.float32)
    rows[3, 1] = np.nan
    np.savez("data.npz", x=rows)
    code, _, err = call("quantize", "g.qir", "--calibration", "data.npz", "--reproducer", "r.qir")
    assert code == 1 and err.startswith("reproducer: r.qir, run it again with: qir opt r.qir\n")
    os.remove("data.npz")
    record = record_of(load_module("r.qir"), "r.qir")
    assert record.pipeline.startswith("calibrate, ") and record.samples[0]["x"].shape == (2, 4)
    code, _, err = call("opt", "r.qir")
    assert code == 1 and "error: sample 0: the input 'x' holds nan at index [1, 1]" in err


def test_statistics_travel_inside(call):
    with open("st.txt", "w") as file:
        file.write('qir-statistics 1\n\nvalue "x"\n  samples 0\n  elements 1\n')
    call("opt", "g.qir", "-p", 'ptq_int8(stats="st.txt")', "--reproducer", "r.qir")
    os.remove("st.txt")
    code, _, err = call("opt", "r.qir")
    assert code == 1 and err.startswith("st.txt:3:7: error: value \"x\" lacks 'zeros'")


def test_a_reproducer_that_cannot_be_written_does_not_hide_the_error(call, monkeypatch):
    def full(*args):
        raise QirError("cannot write: no space")

    monkeypatch.setattr("qir.text.write_atomically", full)
    code, _, err = call("opt", "g.qir", "-p", "refuses", "--reproducer", "r.qir")
    assert code == 1
    assert err == ("there is no reproducer: cannot write: no space\n"
                   "model.py:2: error: no f32[2,4]\n")  # fmt: skip


def test_another_version_is_told(call, tmp_path):
    with warnings.catch_warnings():
        (tmp_path / "r.qir").write_text(f'reproducer(pipeline=cse, version="0.0.9")\n{GRAPH}')
    assert call("opt", "r.qir")[2] == "// a reproducer of qir 0.0.9, run by qir 0.1.0\n"
