"""Bisection: the step that breaks accuracy, and inside it the rule and its firing."""

import os
import shlex
from pathlib import Path

import numpy as np
import planted
import pytest
import toy as ops

from qir import registry
from qir.bisection import Bisector, blocks_round, match_of
from qir.cli import cli, status
from qir.drift import Budget
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.excerpt import excerpts
from qir.graph_pass import graph_pass
from qir.ir import Func, Module, item, parameter
from qir.partial import Part, run_part
from qir.pattern import V
from qir.pipeline import compose, flat
from qir.rewrite import Firing, limited, recorded, rewrite, rule
from qir.text import load_module, read_module
from qir.types import tensor

registry.load_dialects()


def plant(monkeypatch, *passes):
    known = {**registry.passes(), **{each.name: each for each in passes}}
    monkeypatch.setattr(registry, "passes", lambda: known)


# Rules for graphs of negations and scales


@rule(ops.neg(ops.neg(V.x)))
def twice_negated(x):
    """Two negations are none."""
    return x


@rule(ops.scale(V.x, by=1.0, times=1))
def scaled_by_one(x):
    """Right: a scale by one is nothing."""
    return x


@rule(ops.scale(V.x, times=3))
def thrice_is_once(x):
    """WRONG."""
    return ops.scale(x, by=0.5)


@graph_pass("any -> any")
def tidy(func: Func) -> Func:
    """Right rules and a wrong one, in two rewrites."""
    return rewrite(rewrite(func, twice_negated), scaled_by_one, thrice_is_once)


def chain(*kinds: str, name: str = "main") -> Func:
    """A chain over one input: `n` negates, `o` scales by one, `w` is what the wrong rule takes."""
    x = value = parameter("x", tensor("f32", (1, 2)))
    made = {"n": ops.neg, "o": lambda x: ops.scale(x, by=1.0),
            "w": lambda x: ops.scale(x, by=0.5, times=3)}  # fmt: skip
    for kind in "".join(kinds):
        value = made[kind](value)
    return Func(name, (x,), (value,))


SAMPLES = [np.float32([[1.0, -2.0]])]


def bisector(monkeypatch, pipeline: str, *funcs: Func, passes=(), budget=None, **resources):
    plant(monkeypatch, tidy, *passes)
    steps = compose(pipeline)
    return Bisector(steps, Module(funcs), lambda func: SAMPLES, evaluate, resources,
                    budget or Budget(snr=30.0))  # fmt: skip


def found(by: Bisector):
    """The number of every step that breaks the budget, and the search in the first."""
    course = by.course()
    broken = by.broken(course)
    search = by.search(course.steps[broken[0]], course.firings[broken[0]]) if broken else None
    return [course.steps[i].number for i in broken], search


# Limited firings


@pytest.mark.parametrize("firings", range(8))
def test_only_so_many_firings_take_effect_over_all_rewrites_of_a_pass(firings):
    func = chain("nnonnon")  # one pair, its third negation left, then another pair, and two scales
    full = 4
    with recorded() as log, limited(firings) as limit:
        result = tidy(func)
    fired = [f.rule for f in log if f.fired]
    assert fired == ["twice_negated", "twice_negated", "scaled_by_one", "scaled_by_one"][:firings]
    assert limit.left == max(0, firings - full) and limit.func is result
    assert len(result.ops) == 8 - sum(2 if name == "twice_negated" else 1 for name in fired)


def test_matches_beyond_the_limit_are_not_even_tried():
    with recorded() as log, limited(1):
        tidy(chain("wowo"))
    assert [f.fired for f in log] == [True]


def test_firings_know_their_rule_and_what_it_matched():
    func = chain("nn")
    with recorded() as log:
        rewrite(func, twice_negated)
    (firing,) = log
    assert firing.source is twice_negated and firing.matched == (func.ops[2], func.ops[1])
    path, _, line = firing.source.place.rpartition(":")
    assert path == __file__
    assert Path(path).read_text().splitlines()[int(line) - 1] == "@rule(ops.neg(ops.neg(V.x)))"


# Parts of a pipeline


def test_a_part_ends_after_its_last_step_wherever_that_stands(monkeypatch):
    plant(monkeypatch, tidy)
    steps = compose('only(tidy, match="a"), fixpoint(tidy, cse), report')
    told, said, module = [], [], Module((chain("nnw"), chain("o", name="other")))
    for part, ran, kinds in (
        (Part(1), 1, [4, 2]),
        (Part(2), 2, [2, 1]),
        (Part(2, 0), 2, [4, 2]),
        (Part(2, 1), 2, [2, 1]),
        (Part(4, 0), 4, [2, 1]),
        (Part(99, 0), 6, [2, 1]),
    ):
        told.clear()
        after = run_part(steps, module, part, {"emit": said.append}, told.append)
        assert len(told) == (2 * ran if part.steps < 99 else 12)
        assert [len(func.ops) for func in after.funcs] == kinds, part
        assert told[-1].after is after.funcs[1]
    assert len(said) == 2, "the report is out of reach of the other parts"


# Searches


@pytest.mark.parametrize("wrong", range(7))
def test_the_firing_is_found_wherever_it_stands(monkeypatch, wrong):
    kinds = ["o"] * 7
    kinds[wrong] = "w"
    by = bisector(monkeypatch, "cse, tidy", chain("nn", *kinds))
    numbers, search = found(by)
    assert numbers == [2] and search.firing.rule == "thrice_is_once"
    assert (search.within, search.beyond, search.total) == (1 + wrong, 2 + wrong, 8)
    assert search.tried[search.within][0].noise == 0
    assert search.own.snr == pytest.approx(20 * np.log10(1.5))


def test_a_fault_in_a_later_round_or_under_only_is_found_there(monkeypatch):
    @graph_pass("any -> any")
    def age(func: Func) -> Func:
        """Make the wrong rule fire in the next round alone, and at the place of the first op."""
        (end,) = func.results
        if end.kind != "toy.neg" or len(func.ops) != 3:
            return func
        worse = ops.scale(end.operands[0], by=0.5, times=3, location=("here",))
        return func.with_results([ops.neg(ops.scale(worse, by=2 / 3))])

    by = bisector(monkeypatch, 'fixpoint(only(tidy, match="here"), age)', chain("on"), passes=[age])
    course = by.course()
    (index,) = by.broken(course)
    assert course.steps[index].number == 3
    step = course.steps[index].done.step
    assert [block.name for block in blocks_round(by.steps, step)] == ["fixpoint", "only"]
    assert match_of(by.steps, step) == "here"
    search = by.search(course.steps[index], course.firings[index])
    assert (search.firing.rule, search.beyond, search.total) == ("thrice_is_once", 1, 1)


def test_a_fault_in_one_function_of_several_is_found_in_it(monkeypatch):
    funcs = chain("oo", name="first"), chain("ow", name="second"), chain("n", name="third")
    by = bisector(monkeypatch, "tidy, cse", *funcs)
    course = by.course()
    (index,) = by.broken(course)
    assert course.steps[index].done.before.name == "second"
    assert len(course.steps) == 6 and course.steps[index].number == 1


@graph_pass("any -> any")
def third(func: Func) -> Func:
    """Divide by three what tidy takes for too small."""
    return func.with_results([ops.scale(func.results[0], by=3.0)])


def test_a_fault_that_is_mended_does_not_hide_one_that_lasts(monkeypatch):
    @graph_pass("any -> any")
    def zero(func: Func) -> Func:
        """Give zeros."""
        (result,) = func.results
        return func.with_results([ops.sub(result, result)])

    by = bisector(monkeypatch, "tidy, third, zero", chain("w"), passes=[third, zero])
    numbers, search = found(by)
    assert numbers == [1, 3] and search.firing.rule == "thrice_is_once"


def test_firings_that_mend_each_other_do_not_hide_one_that_lasts(monkeypatch):
    @rule(ops.scale(V.x, times=5))
    def five_is_seven(x):
        """WRONG, until the next rule has fired."""
        return ops.scale(x, by=1.0, times=7)

    @rule(ops.scale(V.x, times=7))
    def seven_is_fives(x):
        """Mend it."""
        return ops.scale(x, by=5.0)

    @graph_pass("any -> any")
    def detour(func: Func) -> Func:
        """All fives wrong, then right again, then the other rules."""
        return tidy(rewrite(rewrite(func, five_is_seven), seven_is_fives))

    value = x = parameter("x", tensor("f32", (1, 2)))
    for _ in range(3):
        value = ops.scale(value, by=1.0, times=5)
    right, wrong = (Func("main", (x,), (ops.scale(value, by=0.5, times=n),)) for n in (2, 3))
    assert found(bisector(monkeypatch, "detour", right, passes=[detour])) == ([], None)
    numbers, search = found(bisector(monkeypatch, "detour", wrong, passes=[detour]))
    assert numbers == [1] and search.beyond - search.within == 1
    within, beyond = (search.tried[n][0].snr for n in (search.within, search.beyond))
    assert within >= 30 > beyond
    assert search.firing.rule in ("five_is_seven", "thrice_is_once")


def test_a_pass_that_refuses_unfinished_graphs_is_searched_all_the_same(monkeypatch):
    @graph_pass("any -> any")
    def strict(func: Func) -> Func:
        """As `legalize`: an error where anything is left to do."""
        func = rewrite(func, scaled_by_one, thrice_is_once)
        if any(op.attributes.get("by") == 1.0 for op in func.ops):
            raise QirError("there are scales by one left")
        return func

    by = bisector(monkeypatch, "strict", chain("ooowoo"), passes=[strict])
    numbers, search = found(by)
    assert numbers == [1]
    assert (search.within, search.beyond, search.firing.rule) == (3, 4, "thrice_is_once")


def test_graphs_that_cannot_be_judged_are_passed_over(monkeypatch):
    def run(func, arrays):
        left = any(op.attributes.get("times") == 3 for op in func.ops)
        if 9 - left - len(func.ops) in unjudged:  # after so many firings
            raise QirError("nothing takes this graph")
        return evaluate(func, arrays)

    def narrowed():
        by = bisector(monkeypatch, "tidy", chain("oooowoo"))
        return found(Bisector(by.steps, by.module, by.samples_of, run, {}, by.budget))[1]

    unjudged = {6}
    search = narrowed()
    assert (search.within, search.beyond, search.tried[6]) == (4, 5, None)
    unjudged = {3, 4, 5}
    search = narrowed()
    assert (search.within, search.beyond, search.firing) == (2, 6, None)


def test_what_a_pass_does_outside_its_rules_is_not_blamed_on_them(monkeypatch):
    @graph_pass("any -> any")
    def spoils(func: Func) -> Func:
        """Right rules, wrong code."""
        func = rewrite(func, scaled_by_one)
        return func.with_results([ops.scale(func.results[0], by=2.0)])

    by = bisector(monkeypatch, "spoils", chain("oon"), passes=[spoils])
    numbers, search = found(by)
    assert (numbers, search.total, search.beyond, search.firing) == ([1], 2, 0, None)


def test_a_pass_that_does_not_do_the_same_twice_is_not_searched(monkeypatch):
    runs = []

    @graph_pass("any -> any")
    def moody(func: Func) -> Func:
        """Wrong when it runs first."""
        runs.append(1)
        wrong = (thrice_is_once,) if len(runs) == 1 else ()
        return rewrite(func, scaled_by_one, *wrong)

    numbers, search = found(bisector(monkeypatch, "moody", chain("oow"), passes=[moody]))
    assert (numbers, search.within, search.total, search.firing) == ([1], 3, 3, None)


def test_what_each_step_adds_is_judged_by_itself(monkeypatch):
    by = bisector(monkeypatch, "tidy, third, cse, third", chain("w"), passes=[third],
                  budget=Budget(snr=30.0, step="any"))  # fmt: skip
    assert found(by)[0] == [1, 2, 4]


# Excerpts


def test_an_excerpt_shows_what_the_pattern_names_and_the_values_that_are_read():
    func = chain("onn")
    with recorded() as log:
        rewrite(func, twice_negated)
    before, after = excerpts(log[0])
    assert str(before) == ("func @before(%_0: f32[1,2]) -> (f32[1,2]) {\n"
                           "  %0 = toy.neg(%_0) : f32[1,2]\n  %1 = toy.neg(%0) : f32[1,2]\n"
                           "  return %1\n}\n")  # fmt: skip
    assert str(after) == "func @after(%_0: f32[1,2]) -> (f32[1,2]) {\n  return %_0\n}\n"


def test_an_excerpt_shows_what_a_rule_looked_at_beyond_its_pattern():
    func = chain("wnn")
    start, end = func.ops[1], func.ops[3]
    deep = Firing("deep", end, None, ops.scale(start, by=2.0), (end,))
    before, after = excerpts(deep)
    assert [op.kind for op in before.ops] == ["parameter", "toy.neg", "toy.neg"]
    assert [op.kind for op in after.ops] == ["parameter", "toy.scale"]
    far = chain("w" + "n" * 40)
    deep = Firing("deep", far.ops[-1], None, ops.scale(far.ops[1], by=2.0), (far.ops[-1],))
    before, after = excerpts(deep)
    assert [op.kind for op in before.ops] == ["parameter", "parameter", "toy.neg"]


def test_an_excerpt_holds_ops_of_several_results_whole():
    x = parameter("x", tensor("f32", (4,)))
    halves = ops.halves(ops.neg(x))
    end = item(halves, 0)
    again = item(ops.halves(ops.neg(x)), 0)
    before, after = excerpts(Firing("same", end, None, again, (end,)))
    assert [op.kind for op in before.ops] == ["parameter", "toy.neg", "toy.halves", "item"]
    for func in (before, after):
        assert evaluate(func, [np.float32([1, 2, 3, 4])])[0].tolist() == [-1, -2]


# The command


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Run `qir` with words in a folder with the network and a small graph."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.qir").write_text(planted.network())
    (tmp_path / "g.qir").write_text(GRAPH)

    def run(*words: str):
        code = status(cli, list(words), "qir")
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


GRAPH = """func @main(%x: f32[1,4]) -> (y: f32[1,4]) {
  %0 = toy.scale(%x, by=1.0) loc("model.py:3")
  %1 = toy.scale(%0, by=0.5, times=3) loc("model.py:4")
  return %1
}
"""
PLANTED = ["net.qir", "--calibration", "random:16", "--samples", "random:8"]
FOUND = """step 5 of @main breaks snr=25: fold_bn
  at pipelines/float_front.pipe:7:3
  y before it: no error
  y after it: 14.1 dB, max error 0.22
rule shift_passes_relu at {place}
  firing 7 of 9, at nn.relu (block_3)
  y with 6 firings: 122.9 dB, max error 8.94e-07
  y with 7 firings: 14.1 dB, max error 0.22
  tried 0, 5, 6: within; 7, 9: beyond
  the replacement against what it replaces: -1.9 dB, max error 0.4
what it matched, and what it put in its place
  func @before(%_0: f32[2,8]) -> (f32[2,8]) {{
    %0 = const(value=-0.4) : f32[]
    %1 = nn.add(%_0, %0) : f32[2,8]
    %2 = nn.relu(%1) : f32[2,8]
    return %2
  }}

  func @after(%_0: f32[2,8]) -> (f32[2,8]) {{
    %0 = nn.relu(%_0) : f32[2,8]
    %1 = const(value=0.0) : f32[]
    %2 = nn.add(%0, %1) : f32[2,8]
    return %2
  }}
reproduce
  qir opt net.qir -p ptq_int8 --calibration random:16 --steps 5 --firings 7 --drift random:8
"""


def test_pass_rule_and_firing_of_a_planted_fault_are_named(call, monkeypatch):
    plant(monkeypatch, planted.fold_bn)
    code, out, err = call("bisect", *PLANTED, "--snr", "25")
    assert (code, err) == (0, "")
    assert out == FOUND.format(place=planted.shift_passes_relu.place)
    assert call("bisect", *PLANTED, "--max-error", "0.1")[1].splitlines()[4:6] == (
        out.splitlines()[4:6])  # fmt: skip


def test_the_command_it_gives_stops_at_the_firing(call, monkeypatch):
    plant(monkeypatch, planted.fold_bn)
    _, out, _ = call("bisect", *PLANTED, "--snr", "25")
    words = shlex.split(out.splitlines()[-1])[1:]
    code, graph, err = call(*words)
    assert code == 0 and err.splitlines()[-1].split()[-2:] == ["0.22", "14.1"]
    words[words.index("--firings") + 1] = "6"
    code, one_less, err = call(*words)
    assert code == 0 and err.splitlines()[-1].split()[-1] == "122.9"
    assert graph != one_less and graph.count("quant.") == 0
    _, out, _ = call("bisect", *PLANTED, "--snr", "25", "-o", "before.qir")
    assert out.splitlines()[-1] == (
        "  qir opt before.qir -p fold_bn --firings 7 --drift random:8")  # fmt: skip
    code, again, err = call(*shlex.split(out.splitlines()[-1])[1:])
    assert (code, again) == (0, graph) and err.splitlines()[-1].split()[-1] == "14.1"
    assert len(load_module("before.qir").main.ops) == 31


def test_a_pass_that_is_no_rewrite_is_named_with_the_value_that_noise_enters_at(call, monkeypatch):
    plant(monkeypatch, planted.propagate_types)
    code, out, _ = call("bisect", *PLANTED, "--snr", "20")
    lines = out.splitlines()
    assert code == 0 and lines[0] == (
        "step 11 of @main breaks snr=20: propagate_types(weights=per_channel)")  # fmt: skip
    assert lines[4:8] == [
        "no rule fired in it", "noise enters most at",
        "  nn.dense (block_2) : f32[2,8]: 2.2 dB, max error 2.33",
        "    it spans [-2.662, 2.666] before the step, [-0.3805, 0.3329] after it",
    ]  # fmt: skip
    assert lines[-1] == ("  qir opt net.qir -p ptq_int8 --calibration random:16 --steps 11 --drift "
                         "random:8")  # fmt: skip


def test_a_pipeline_that_keeps_the_budget_is_said_to(call):
    code, out, err = call("bisect", *PLANTED, "--snr", "25")
    assert (code, out, err) == (0, "no step breaks snr=25\n  y of @main after 17 steps: 52.1 dB, "
                                   "max error 0.00464\n", "")  # fmt: skip
    out = call("bisect", *PLANTED, "--snr", "100", "--from", "12")[1]
    assert out.startswith("no step from 12 on breaks snr=100\n")


def test_blocks_rounds_and_what_comes_later_are_told(call, monkeypatch):
    @graph_pass("any -> any")
    def broken(func: Func) -> Func:
        """Refuse everything."""
        raise QirError("this is all wrong")

    plant(monkeypatch, tidy, third, broken)
    words = ["g.qir", "-p", 'fixpoint(cse, only(tidy, match="py:4")), third, third, broken',
             "--snr", "30", "--samples", "random:2"]  # fmt: skip
    code, out, err = call("bisect", *words, "-o", "b.qir")
    lines = out.splitlines()
    assert code == 0
    assert lines[1] == "  at <pipeline>:1:20, in only(match=py:4) in fixpoint, round 1"
    assert lines[-5:] == [
        "step 5, third, mends it",
        "step 6 of @main, third, breaks it too (--from 6)",
        "the pipeline then fails: this is all wrong",
        "reproduce",
        "  qir opt b.qir -p 'only(tidy, match=\"py:4\")' --firings 1 --drift random:2",
    ]
    assert call(*shlex.split(lines[-1])[1:])[0] == 0
    _, out, _ = call("bisect", *words, "--from", "6")
    assert out.startswith("step 6 of @main breaks snr=30: third\n")
    code, out, err = call("bisect", "g.qir", "-p", "cse, broken", "--snr", "30")
    assert (code, out) == (1, "")
    assert err == "<pipeline>:1:6: error: this is all wrong\n  cse, broken\n       ^^^^^^\n"


def test_sinks_do_what_they_do_and_are_not_blamed(call, monkeypatch):
    plant(monkeypatch, tidy)
    code, out, err = call("bisect", "g.qir", "-p", 'report, tidy, export(path="e.qir")', "--snr",
                          "30")  # fmt: skip
    assert code == 0 and out.startswith("step 2 of @main breaks snr=30: tidy\n")
    assert err.startswith("@main: 3 ops\n") and err.count("@main") == 1
    assert os.path.exists("e.qir")


def test_a_function_is_bisected_and_reproduced_on_a_saved_graph(call, monkeypatch):
    Path("model.py").write_text("def f(x):\n    return (x + 1) * 3 + 0.25\n")
    words = ["bisect", "model.py:f", "--input", "f32[1,4]", "--calibration", "random:4",
             "--snr", "90"]  # fmt: skip
    code, out, err = call(*words)
    assert code == 0, err
    assert out.splitlines()[-1] == (
        "to reproduce it, give -o FILE.qir for the graph before the step")  # fmt: skip
    out = call(*words, "-o", "b.qir")[1]
    assert call(*shlex.split(out.splitlines()[-1])[1:])[0] == 0


@pytest.mark.parametrize(("words", "message"), [
    (["net.qir", "--snr", "3"], "pipelines/ptq_int8.pipe:13:3: error: calibrate needs samples and "
     "none were given\n    calibrate(keep=$keep, stats=$stats, save_stats=$save_stats),\n"
     "    ^^^^^^^^^\n  help: give calibration data (--calibration data.npz, or "
     "calibration=iterable)\n"),
    (["net.qir", "--snr", "3", "--result", "z"],
     "--result: error: there is no result 'z'\n  help: known: y\n"),
    (["net.qir", "-p", "cse", "--snr", "3", "-o", "no/b.qir"],
     "no/b.qir: error: cannot write: there is no such folder\n"
     "  help: choose a folder that exists and can be written\n"),
    (["nowhere.qir", "--snr", "3"],
     "nowhere.qir: error: cannot read: No such file or directory\n"),
])  # fmt: skip
def test_what_is_wrong_is_said(call, words, message):
    assert call("bisect", *words) == (1, "", message)


def test_a_tolerance_has_to_be_given(call):
    for words in ((), ("--snr", "nan"), ("--max-error", "nan", "--snr", "3")):
        code, out, err = call("bisect", "net.qir", *words)
        assert (code, out) == (1, "")
        assert err.endswith("Error: say what is too much: --snr DB or --max-error E, a number\n")
    assert "-1.0 is not in the range x>=0" in call("bisect", "net.qir", "--max-error", "-1")[2]


def test_every_step_of_ptq_int8_can_be_cut_short_anywhere():
    """Each number of firings of each step gives a graph that runs, close to the whole one's."""
    module = read_module(planted.network())
    samples = [np.random.default_rng(1).standard_normal((2, 8)).astype(np.float32)]
    resources = {"samples": samples, "run": evaluate}
    steps = compose("ptq_int8")
    wanted = evaluate(module.main, samples)[0]
    for number in range(1, len(flat(steps)) + 1):
        for firings in (0, 1, 2, 5, 100):
            func = run_part(steps, module, Part(number, firings), resources).main
            np.testing.assert_allclose(evaluate(func, samples)[0], wanted, atol=0.02)
