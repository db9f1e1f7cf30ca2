"""Reduction: the smallest graph, pipeline and data that fail as the first ones did."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qir
from benchmarks.reduction import CHECKS, planted, plugin, shrunk, size
from qir import registry
from qir.cli import cli, status
from qir.cli.warm import _PLAIN, _own_words
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.ir import Module
from qir.pipeline import compose
from qir.reduction import Search, case_of, reduced
from qir.reduction.command import Ended, by_shell, failure_of, last_error, on_file
from qir.reduction.graphs import part, units
from qir.reduction.minimize import minimized
from qir.reduction.pipelines import blocks_in, options_in, steps_in, without
from qir.reproducer import record_of, steps_text
from qir.testing.sampling.networks import draw_network
from qir.testing.sampling.values import one_of
from qir.text import read_module, whole_text
from qir.verify import verify

registry.load_dialects()
ROOT = Path(__file__).resolve().parent.parent


def smallest(text: str, fails) -> str:
    """What is left of a text when `fails`, on modules, is the check; without its comments."""
    search = Search(case_of(text, "<text>"), lambda text: fails(read_module(text)))
    left = reduced(search).text()
    assert fails(read_module(left))
    return "".join(line for line in left.splitlines(True) if not line.startswith("//"))


def kinds(module: Module) -> list[str]:
    return [op.kind for func in module.funcs for op in func.ops]


# Delta debugging


@given(st.sets(st.integers(0, 199), max_size=6), st.integers(0, 200))
@settings(max_examples=80, deadline=None)
def test_just_what_is_needed_is_left(needed, count):
    needed = {n for n in needed if n < count}
    tests = []

    def fails(items):
        tests.append(items)
        return needed <= set(items)

    assert minimized(range(count), fails) == tuple(sorted(needed))
    assert len(tests) <= 40 + 30 * len(needed)


@given(st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_no_single_item_can_be_left_out(count, least):
    left = minimized(range(count), lambda items: len(items) >= min(least, count), whole=False)
    assert len(left) == min(least, count)


# Graphs


def test_a_part_computes_what_the_whole_does():
    func = planted(60, seed=3)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=p.shape).astype(np.float32) for p in func.parameters]
    every = units(func)
    for start in range(0, len(every), 7):
        made, inputs = part(func, every[start : start + 9])
        whole = func.with_results([*inputs.values(), *every[start : start + 9][-1:]])
        if any(not hasattr(r.type, "shape") for r in whole.results):
            continue
        *values, last = evaluate(whole, arrays)
        found = evaluate(made, dict(zip(inputs, values, strict=True)))
        assert any(f.shape == last.shape and (f == last).all() for f in found)
        assert read_module(whole_text(Module((made,)))).main.ops


def test_a_pattern_far_apart_is_joined():
    lines = ["func @main(%x: f32[2,8], %y: f32[2,8]) -> (a: f32[2,8], b: f32[2,8]) {",
             "  %0 = nn.sigmoid(%x)"]  # fmt: skip
    lines += [f"  %{i + 1} = nn.tanh(%{i})" for i in range(40)]
    lines += ["  %41 = nn.relu(%40)", "  return %41, %y", "}"]

    def fails(module) -> bool:
        """Whether a relu depends on a sigmoid."""
        for func in module.funcs:
            below = set()
            for op in func.ops:
                if op.kind == "nn.sigmoid" or any(o in below for o in op.operands):
                    below.add(op)
            if any(op.kind == "nn.relu" and op in below for op in func.ops):
                return True
        return False

    assert smallest("\n".join(lines), fails) == (
        "func @main(%x: f32[1,1]) -> (f32[1,1]) {\n  %0 = nn.sigmoid(%x) : f32[1,1]\n"
        "  %1 = nn.relu(%0) : f32[1,1]\n  return %1\n}\n")  # fmt: skip


def test_shapes_constants_attributes_and_functions_shrink():
    text = """func @other(%x: f32[3]) -> (f32[3]) {
  return %x
}
func @main(%x: f32[4,9,9,6], %z: f32[4,9,9,6]) -> (f32[4,5,5,10]) {
  %w = const(value=random) : f32[3,3,6,10]
  %s = nn.add(%x, %z)
  %0 = nn.conv2d(%s, %w, strides=[2, 2], padding=[[1, 1], [1, 1]]) loc("model.py:7")
  return %0
}
"""
    left = smallest(text, lambda module: "nn.conv2d" in kinds(module))
    assert left == ("func @main(%v2: f32[1,1,1,1]) -> (f32[1,1,1,1]) {\n"
                    "  %0 = const(value=[[[[0.0]]]]) : f32[1,1,1,1]\n"
                    "  %1 = nn.conv2d(%v2, %0) : f32[1,1,1,1]\n  return %1\n}\n")  # fmt: skip


def test_extents_shrink_through_strides_windows_and_reshapes():
    text = """func @main(%x: f32[8,32,32,16]) -> (f32[8,10]) {
  %w = const(value=random) : f32[3,3,16,64]
  %b = const(value=random) : f32[64]
  %0 = nn.conv2d(%x, %w, %b, strides=[2, 2])
  %1 = nn.max_pool(%0, window=[2, 2], strides=[2, 2])
  %2 = lax.reshape(%1, shape=[-1, 4096])
  %d = const(value=random) : f32[4096,10]
  %3 = nn.dense(%2, %d)
  return %3
}
"""

    def fails(module: Module) -> bool:
        """All its layers are there, and the first of them makes the image smaller."""
        convs = [op for func in module.funcs for op in func.ops if op.kind == "nn.conv2d"]
        there = {"nn.max_pool", "lax.reshape", "nn.dense"} <= set(kinds(module))
        return there and any(op.shape[1] < op.operands[0].shape[1] - 1 for op in convs)

    func = read_module(smallest(text, fails)).main
    verify(func, "reduction")
    assert func.parameters[0].shape[0] == func.parameters[0].shape[3] == 1
    assert max(op.type.size for op in func.ops) <= 16


@pytest.mark.parametrize(("x", "shape"), [("2,7,7,3", "[-1, 147]"), ("6,4", "[2, 3, 4]"),
                                          ("8,9", "[8, 3, 3]")])  # fmt: skip
def test_reshapes_shrink_whatever_becomes_of_their_extents(x, shape):
    text = f"func @main(%x: f32[{x}]) {{\n  %0 = lax.reshape(%x, shape={shape})\n  return %0\n}}\n"
    func = read_module(smallest(text, lambda module: "lax.reshape" in kinds(module))).main
    assert func.results[0].type.size == 1


def test_channels_take_their_scales_along():
    text = """func @main(%x: i8<0.5:3>[2,8,8,4]) -> (i8<0.1:0>[2,8,8,6]) {
  %w = const(value=random) : i8<[0.1,0.2,0.3,0.4,0.5,0.6]:0 @3 narrow>[1,1,4,6]
  %b = const(value=random) : i32[6]
  %0 = int8.conv2d(%x, %w, %b, to=i8<0.1:0>,
                   rescale=f32_half_even(scale=[0.1,0.2,0.3,0.4,0.5,0.6]))
  return %0
}
"""
    func = read_module(smallest(text, lambda module: "int8.conv2d" in kinds(module))).main
    (op,) = func.results
    assert op.shape == (1, 1, 1, 1) and op.attributes["rescale"].scale.shape == (1,)
    assert op.operands[1].type.scale.shape == (1,)


@pytest.mark.parametrize("place", [(0, 0), (2, 5), (3, 7)])
def test_of_data_the_part_that_is_needed_is_kept(place):
    from qir.text import encoded

    data = np.ones((4, 8), np.float32)
    data[place] = np.nan
    text = (f'reproducer(pipeline="calibrate", samples="{encoded({"0/x": data})}")\n'
            "func @main(%x: f32[4,8]) -> (f32[4,8]) {\n  return %x\n}\n")  # fmt: skip

    def fails(module: Module) -> bool:
        record = record_of(module, "<text>")
        return any(np.isnan(a).any() for item in record.samples or () for a in item.values())

    (item,) = record_of(read_module(smallest(text, fails)), "<text>").samples
    assert item["x"].shape == (1, 1)


def test_lists_of_integers_become_zeros_or_ones():
    text = ("func @main(%x: f32[2,3]) -> (f32[6,9]) {\n"
            "  %0 = lax.pad(%x, low=[1, 2], high=[3, 4])\n  return %0\n}\n")  # fmt: skip
    left = smallest(text, lambda module: "lax.pad" in kinds(module))
    assert "lax.pad(%x, low=[0, 0], high=[0, 0]) : f32[1,1]" in left


@pytest.mark.parametrize("seed", range(16))
def test_any_network_in_any_form_is_reduced_to_the_ops_that_are_wanted(seed):
    rng = np.random.default_rng(seed)
    func = draw_network(rng)
    samples = [[rng.standard_normal(p.shape).astype(np.float32) for p in func.parameters]]
    steps = "float_front, insert_observers, calibrate, propagate_types, requantize"
    stage = one_of(rng, ("canonicalize", "float_front", steps, f"{steps}, lower_int8", "ptq_int8"))
    module = qir.run_pipeline(func, stage, samples, run=evaluate)
    present = sorted(set(kinds(module)))
    wanted = {one_of(rng, present), one_of(rng, present)}
    left = smallest(whole_text(module), lambda module: wanted <= set(kinds(module)))
    for func in (again := read_module(left)).funcs:
        verify(func, "reduction")
    assert len(kinds(again)) <= 9


def test_ops_of_several_results_and_grids_are_cut():
    text = """func @main(%x: i8<0.5:-3>[2,8]) -> (f32[2,4]) {
  %r = quant.dequantize(%x)
  %t = lax.split(%r, sizes=[4, 4], axis=1)
  %a = item(%t, index=0)
  %b = item(%t, index=1)
  %c = nn.add(%a, %b)
  return %c
}
"""
    for kind in ("quant.dequantize", "lax.split", "nn.add"):
        left = smallest(text, lambda module, kind=kind: kind in kinds(module))
        assert [k for k in kinds(read_module(left)) if k not in ("parameter", "item")] == [kind]


def test_a_case_that_cannot_be_typed_is_not_tested():
    def fails(module) -> bool:
        tested.append(module)
        return "lax.reshape" in kinds(module)

    tested = []
    smallest("func @main(%x: f32[2,6]) -> (f32[3,4]) {\n  %0 = lax.reshape(%x, shape=[3, 4])\n"
             "  return %0\n}\n", fails)  # fmt: skip
    assert len(tested) < 40


# Reproducers


def test_steps_blocks_and_options_are_left_out():
    steps = compose("fixpoint(cse, only(canonicalize, match=\"a\")), legalize(target=xla)")
    assert [list(sort(steps)) for sort in (steps_in, blocks_in, options_in)] == [
        [(0, 0), (0, 1, 0), (1,)], [(0,), (0, 1)], [(1, "target")]]  # fmt: skip
    assert steps_text(without(steps, [(0, 1, 0)])) == "fixpoint(cse), legalize"
    assert steps_text(without(steps, [(0,), (1,)])) == "cse, only(canonicalize, match=a)"
    assert without(steps, list(steps_in(steps))) == ()


REPRODUCER = """reproducer(pipeline="cse, fixpoint(canonicalize, cse), fold_bn, insert_observers(\
method=mse), calibrate, propagate_types", samples="%s")
func @main(%%x: f32[2,4]) -> (f32[2,4]) {
  %%0 = nn.relu(%%x)
  %%1 = nn.exp(%%0)
  %%2 = nn.tanh(%%1)
  return %%2
}
"""


def test_pipeline_and_samples_shrink_and_values_that_are_cut_become_data():
    from qir.text import encoded

    arrays = {f"{i}/x": np.full((2, 4), i, np.float32) for i in range(5)}
    text = (REPRODUCER % encoded(arrays)).replace("nn.exp", "lax.exp")

    def fails(module) -> bool:
        """Whether a tanh is calibrated on what only the graph makes of sample 3."""
        record = record_of(module, "<text>")
        wanted = np.exp(np.float32(3))
        seen = any(np.isclose(a, wanted).any() for item in record.samples or ()
                   for a in item.values())  # fmt: skip
        return seen and "nn.tanh" in kinds(module) and "calibrate" in record.pipeline

    left = record_of(read_module(smallest(text, fails)), "<text>")
    assert left.pipeline == "calibrate"
    (item,) = left.samples
    assert [a.shape for a in item.values()] == [(1, 1)]


# Commands


def test_the_path_stands_where_the_command_says():
    assert on_file("qir opt {} -p cse", Path("/a b.qir")) == "qir opt '/a b.qir' -p cse"
    assert on_file("./check", Path("/c.qir")) == "./check /c.qir"


def test_a_failure_is_the_same_by_status_and_last_error():
    first = Ended(1, "a.qir:3: error: no f32[2,3] here\nb: error: '%x' has 3\n  help: x\n")
    failure = failure_of(first, "cmd", None, False)
    assert failure.is_of(Ended(1, "error: '%yy' has 17"))
    assert not failure.is_of(Ended(2, first.said))
    assert not failure.is_of(Ended(1, "error: '%yy' is 17"))
    assert failure_of(first, "cmd", None, True).is_of(Ended(1, "anything"))
    matching = failure_of(first, "cmd", "^a.*no f32", False)
    assert matching.is_of(Ended(1, "a no f32")) and not matching.is_of(Ended(1, "f32"))
    assert last_error("Traceback\nKeyError: 'a'\n") == "KeyError: ''"
    assert last_error("nothing") is None


@pytest.mark.parametrize("ended, match, message", [
    (Ended(0, "fine"), None, "check: error: the command does not fail on this graph"),
    (Ended(127, "sh: check: not found"), None, "check: error: the shell cannot run the command\n"
                                               "  help: sh: check: not found"),
    (Ended(1, "no"), "yes", "check: error: the command fails, and says nothing that matches "
                            "'yes'\n  help: it said\nno"),
    (Ended(1, "no"), "(", "--match: error: '(' is no regular expression: missing ), "
                          "unterminated subpattern at position 0"),
])  # fmt: skip
def test_a_command_that_is_no_check_is_an_error(ended, match, message):
    with pytest.raises(QirError) as caught:
        failure_of(ended, "check", match, False)
    assert str(caught.value).startswith(message)


def test_a_run_that_takes_too_long_is_ended(tmp_path):
    start = time.monotonic()
    assert by_shell("sleep 30; true", tmp_path, 0.2) == Ended(None, "")
    assert time.monotonic() - start < 20


def test_commands_that_mean_more_than_their_words_go_to_the_shell():
    python = sys.executable
    plain = f"{python} -m qir opt {{}} -p \"canonicalize, only(cse, match='a')\" --steps=3"
    assert _own_words(plain)[1:] == ("qir", ["opt", "{}", "-p",
                                             "canonicalize, only(cse, match='a')", "--steps=3"])
    for more in ("; exit 1", " | cat", " > /dev/null", " $HOME", " `a`", " *.qir", " && a", "\na",
                 " ~", ' "$A"', " !", " #x", " \\a", " (a)"):  # fmt: skip
        assert not _PLAIN.fullmatch(plain + more)
    assert _own_words("X=1 qir opt {}") is None
    assert _own_words(f"{python} -m pytest {{}}") is None
    assert _own_words("no-such-program {}") is None


def test_the_command_line_shrinks_a_planted_bug(tmp_path):
    plugin(tmp_path)
    func = planted(100)
    left, runs, _ = shrunk(func, tmp_path, CHECKS["a bug"])
    assert size(func) >= 100 and left == 4 and runs < 100
    assert not list(tmp_path.glob("qir-reproducer*"))


def test_errors_of_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("g.qir").write_text("func @f(%x: f32[2]) -> (f32[2]) {\n  return %x\n}\n")
    assert status(cli, ["reduce", "g.qir", "--check", "true"], "qir") == 1
    assert capsys.readouterr().err.startswith("true: error: the command does not fail")
    assert status(cli, ["reduce", "none.qir", "--check", "false"], "qir") == 1
    assert capsys.readouterr().err == "none.qir: error: cannot read: No such file or directory\n"
    assert status(cli, ["reduce", "g.qir", "--check", "false", "--match", "a", "--any-failure"],
                  "qir") == 1  # fmt: skip
    assert os.listdir() == ["g.qir"]
    assert status(cli, ["reduce", "g.qir", "--check", "false", "-o", "o.qir"], "qir") == 0
    assert Path("o.qir").read_text() == "func @f(%x: f32[1]) -> (f32[1]) {\n  return %x\n}\n"
    assert "o.qir: 0 ops -> 0 ops, " in capsys.readouterr().err


def test_a_command_that_fails_no_more_on_what_is_left_is_said_to(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("g.qir").write_text("func @f(%x: f32[2]) -> (f32[2]) {\n  %0 = nn.relu(%x)\n"
                             "  %1 = nn.tanh(%0)\n  return %1\n}\n")  # fmt: skip
    Path("runs").write_text("")
    check = "test $(wc -c < runs) -gt 4 && exit 0; printf x >> runs; exit 4 #"
    assert status(cli, ["reduce", "g.qir", "--check", check, "-o", "o.qir"], "qir") == 1
    assert capsys.readouterr().err.endswith(
        "o.qir: error: on what is left the command does not fail in this way any more\n"
        "  help: does it do the same each time?\n")  # fmt: skip


def test_a_reproducer_needs_no_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    graph = ("func @main(%x: f32[2,4]) -> (f32[2,4]) {\n  %0 = nn.tanh(%x)\n"
             "  %1 = quant.observe(%0, name=a)\n  return %1\n}\n")  # fmt: skip
    Path("g.qir").write_text(graph)
    assert status(cli, ["reduce", "g.qir"], "qir") == 1
    assert "--check is missing: say what fails on this graph" in capsys.readouterr().err
    np.savez("x.npz", x=np.full((1, 2, 4), np.inf, np.float32))
    words = ["opt", "g.qir", "-p", "cse, calibrate", "--calibration", "x.npz", "--reproducer", "r"]
    assert status(cli, words, "qir") == 1
    assert status(cli, ["reduce", "r", "-o", "o.qir"], "qir") == 0, capsys.readouterr().err
    left = read_module(Path("o.qir").read_text())
    assert kinds(left) == ["parameter", "quant.observe"]
    assert record_of(left, "o.qir").pipeline == "calibrate"


def test_an_interrupt_keeps_the_best_so_far(tmp_path):
    (tmp_path / "g.qir").write_text(whole_text(Module((planted(100),))))
    script = tmp_path / "check.sh"
    script.write_text("echo run >> runs\n[ $(wc -l < runs) -gt 4 ] && sleep 60\nexit 1\n")
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, "
         "signal.default_int_handler); from qir.cli import main; main()", "reduce", "g.qir",
         "--check", "sh check.sh", "-o", "o.qir"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    runs = tmp_path / "runs"
    while process.poll() is None and not (runs.exists() and len(runs.read_text()) > 16):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and said.endswith("interrupted\n")
    assert read_module((tmp_path / "o.qir").read_text()).main.results
