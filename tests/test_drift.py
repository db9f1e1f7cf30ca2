"""Drift: what every step adds to the error of every result, and budgets that fail the run."""

import re
import shlex
import sys
from math import inf
from pathlib import Path

import numpy as np
import planted
import pytest
import toy as ops
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from qir import drift, registry
from qir.cli import cli, status
from qir.cli.account import accounted
from qir.drift import Budget, Error, Probe, Results, difference, errors, measuring, together
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.graph_pass import graph_pass
from qir.ir import Func, parameter
from qir.noise import entries, paired
from qir.pipeline import compose, run_module, run_steps
from qir.text import read_module
from qir.types import per_tensor, tensor

registry.load_dialects()
from qir.dialects import quant  # noqa: E402

# Figures


def test_an_error_is_the_largest_difference_and_a_ratio_of_powers():
    found = difference(np.float32([3.0, 4.0, 0.0]), np.float32([3.0, 4.5, 0.0]), 0)
    assert found == Error(largest=0.5, signal=25.0, noise=0.25)
    assert found.snr == pytest.approx(20.0)
    assert str(found) == "20.0 dB, max error 0.5"
    assert str(Error()) == str(difference(np.zeros((0, 3)), np.zeros((0, 3)), 0)) == "no error"
    assert Error().snr == inf
    assert difference(np.zeros(2), np.float32([0, 1]), 0).snr == -inf


def test_integers_and_truth_values_are_compared_as_they_are():
    assert difference(np.int32([7, -3]), np.int32([7, -1]), 0).largest == 2
    assert difference(np.array([True, False]), np.array([True, True]), 0).largest == 1


@pytest.mark.parametrize(("was", "now", "said"), [
    ([1.5, 2.0], [1.5, np.nan], "nan at [1] of sample 3 where 2 was"),
    ([np.inf, 2.0], [1e30, 2.0], "1e+30 at [0] of sample 3 where inf was"),
    ([np.inf, 2.0], [-np.inf, 2.0], "-inf at [0] of sample 3 where inf was"),
    ([np.nan, 2.0], [0.0, 2.0], "0 at [0] of sample 3 where nan was"),
])  # fmt: skip
def test_a_nan_or_infinity_that_comes_or_goes_is_named(was, now, said):
    found = difference(np.float32(was), np.float32(now), 3)
    assert (found.strange, found.largest, found.snr) == (said, inf, -inf)
    assert not Budget(snr=-1000.0).allows(found)
    assert str(found) == f"-inf dB, max error inf, {said}"


def test_the_same_nan_or_infinity_is_no_error():
    array = np.float32([np.nan, np.inf, -np.inf, 2.0])
    assert difference(array, array.copy(), 0) == Error(0.0, 4.0, 0.0)


FINITE = st.floats(-1e6, 1e6, width=32)


@given(st.data(), array_shapes(max_dims=3, max_side=4))
def test_errors_of_parts_are_the_error_of_the_whole(data, shape):
    x, y = (data.draw(arrays(np.float32, shape, elements=FINITE)) for _ in range(2))
    parts = [difference(a, b, i) for i, (a, b) in enumerate(zip(x, y, strict=True))]
    whole = difference(x, y, 0)
    sum_ = Error()
    for part in parts:
        sum_ = together(sum_, part)
    assert (sum_.largest, sum_.strange) == (whole.largest, None)
    assert sum_.signal == pytest.approx(whole.signal) and sum_.noise == pytest.approx(whole.noise)
    assert difference(x, x, 0).snr == inf


# Functions on samples


def func_of(text: str) -> Func:
    return read_module(text).main


HALF = """func @main(%x: f32[2,2]) -> (f32[2,2]) {
  %0 = quant.quantize(%x, to=i8<0.5:3>)
  RESULT
}"""


def test_results_on_a_grid_are_compared_as_reals():
    stored = func_of(HALF.replace("-> (f32", "-> (i8<0.5:3>").replace("RESULT", "return %0"))
    probe = Probe(plain(), [np.float32([[0.25, 1.0], [-0.7, 0.0]])], evaluate)
    ((found,),) = errors(probe, Results(stored), Results(plain()))
    assert found.largest == 0.25
    assert found.noise == pytest.approx(0.25**2 + 0.2**2)


def plain() -> Func:
    x = parameter("x", tensor("f32", (2, 2)))
    return Func("main", (x,), (x,))


def test_inputs_that_moved_onto_a_grid_are_given_there_and_back():
    x = parameter("x", tensor("i8", (2, 2), per_tensor(0.5, 3)))
    inner, data = Func("main", (x,), (x,)), [np.float32([[0.25, 1.0], [-0.7, 0.0]])]
    ((found,),) = errors(Probe(plain(), data, evaluate), Results(inner), Results(plain()))
    assert found.largest == 0.25
    stored = [np.int8([[3, 5], [2, 127]])]
    ((found,),) = errors(Probe(inner, stored, evaluate), Results(plain()), Results(inner))
    assert found == Error(0.0, signal=0.5**2 * (2**2 + 1 + 124**2))


def negated(func: Func) -> Func:
    return func.with_results([ops.neg(r) for r in func.results])


def test_every_function_is_run_once_a_sample_and_an_unchanged_one_not_at_all():
    calls = []

    def run(func, arrays):
        calls.append(func)
        return evaluate(func, arrays)

    told = []
    listener = measuring(lambda func: samples, run, told.append)
    samples = [np.float32([[1, 2], [3, 4]])] * 3
    run_steps(compose("cse, report, cse, canonicalize"), negated(negated(plain())),
              {"emit": lambda text: None}, listener)  # fmt: skip
    assert [measured.number for measured in told] == [1, 2, 3, 4]
    assert [measured.added for measured in told] == [None] * 4 and calls == []
    func = plain()
    steps = [func, negated(func), negated(negated(func))]
    for before, after in zip(steps, steps[1:], strict=False):
        listener(drift.Done(compose("cse")[0], before, after))
    twice = pytest.approx(-6.0206)
    assert [(m.added[0].snr, m.total[0].snr) for m in told[4:]] == [(twice, twice), (twice, inf)]
    assert {func: calls.count(func) for func in calls} == dict.fromkeys(steps, 3)


def test_results_without_room_are_computed_anew(monkeypatch):
    func, samples = plain(), [np.full((2, 2), i, np.float32) for i in range(1, 5)]
    monkeypatch.setattr(drift, "ROOM", 40)
    held, probe = Results(func), Probe(func, samples, evaluate)
    first = errors(probe, Results(negated(func)), held)
    assert len(held.held) == 2
    assert errors(probe, Results(negated(func)), held) == first == [(Error(8.0, 120.0, 480.0),)]


def test_rows_that_are_left_over_are_compared_too():
    """Graphs that serve one batch alone take them in a full one."""
    samples = [np.float32([[1, 1], [2, 2], [30, 30]])]
    probe = Probe(plain(), samples, evaluate)
    ((found,),) = errors(probe, Results(negated(plain())), Results(plain()))
    assert found.largest == 60


def test_what_cannot_be_compared_is_said():
    func, x = plain(), parameter("x", tensor("f32", (4,)))
    probe = Probe(func, [np.zeros((2, 2), np.float32)], evaluate)
    for other, message in (
        (Func("main", (x,), (x,)), "the results of @main have the shapes [[4]], they had [[2, 2]]: "
                                   "they cannot be compared"),
        (Func("main", (x,), (ops.reshape(x, shape=(2, 2)),)),
         "@main takes the inputs x [4], it took x [2, 2]: the samples do not fit it"),
    ):  # fmt: skip
        with pytest.raises(QirError) as caught:
            errors(probe, Results(other), Results(func))
        assert str(caught.value) == f"error: {message}"
    with pytest.raises(QirError, match="the comparison data is empty"):
        errors(Probe(func, [], evaluate), Results(func), Results(func))
    with pytest.raises(QirError, match="clean the data: comparison needs finite numbers"):
        errors(Probe(func, [np.full((2, 2), np.nan)], evaluate), Results(func), Results(func))


def test_a_step_that_changes_the_signature_is_named(monkeypatch):
    @graph_pass("any -> any")
    def flatten(func: Func) -> Func:
        """Give the result another shape."""
        return func.with_results([ops.reshape(func.results[0], shape=(4,))])

    @graph_pass("any -> any")
    def again(func: Func) -> Func:
        """The same nodes in another function."""
        return func.with_results(func.results)

    plant(monkeypatch, flatten, again)
    told = []
    listener = measuring(lambda func: [np.zeros((2, 2), np.float32)], evaluate, told.append)
    with pytest.raises(QirError) as caught:
        run_steps(compose("again, flatten"), plain(), listen=listener)
    assert str(caught.value) == (
        "<pipeline>:1:8: error: after flatten, the results of @main have the shapes [[4]], they "
        "had [[2, 2]]: they cannot be compared\n  again, flatten\n         ^^^^^^^")  # fmt: skip
    assert [measured.added for measured in told] == [None]


# Budgets


def test_budgets_are_met_at_their_limit_and_are_written_as_given():
    error = Error(largest=0.5, signal=25.0, noise=0.25)
    assert Budget(snr=20.0, largest=0.5).allows(error)
    assert not Budget(snr=20.1).allows(error) and not Budget(largest=0.49).allows(error)
    assert Budget(snr=inf, largest=0.0).allows(Error(signal=1.0))
    assert str(Budget(20.0, 0.5, "any", "y")) == "any(snr=20, max=0.5, result=y)"


GRAPH = """func @main(%x: f32[1,4]) -> (y: f32[1,4]) {
  %0 = quant.quantize(%x, to=i8<0.5:0>) loc("model.py:7")
  %1 = quant.dequantize(%0) loc("model.py:7")
  return %1
}
"""


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Run `qir` with words in a folder with a graph and samples; gives code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.qir").write_text(GRAPH)
    (tmp_path / "net.qir").write_text(planted.network())
    np.savez(tmp_path / "x.npz", x=np.float32([[0.25, 1, 2, 3], [4, 5, 6, 7.5]]))

    def run(*words: str):
        code = status(cli, list(words), "qir")
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def plant(monkeypatch, *passes):
    known = {**registry.passes(), **{each.name: each for each in passes}}
    monkeypatch.setattr(registry, "passes", lambda: known)


@graph_pass("any -> any")
def coarsen(func: Func) -> Func:
    """Quantize the first result on a coarse grid."""
    first, *rest = func.results
    to = tensor("i8", (), per_tensor(1.0)).element
    return func.with_results([quant.dequantize(quant.quantize(first, to=to)), *rest])


@graph_pass("any -> any")
def spoil(func: Func) -> Func:
    """Divide by nothing."""
    from qir.dialects import lax

    return func.with_results([lax.div(r, lax.sub(r, r)) for r in func.results])


def test_every_step_has_a_row_a_result_and_sinks_change_nothing(call, monkeypatch):
    plant(monkeypatch, coarsen, spoil)
    code, out, err = call("opt", "g.qir", "-p", "report, coarsen, fixpoint(cse), spoil", "--drift",
                          "x.npz")  # fmt: skip
    rows = [line for line in err.splitlines() if line.startswith("//")]
    assert code == 0 and rows == [
        "// drift on x.npz: what each step adds, and all since the original",
        "// step pass     result   max added      dB   max total      dB",
        "//    1 report   y                unchanged           0     inf",
        "//    2 coarsen  y              0.5    24.7         0.5    24.7",
        "//    3 cse      y                unchanged         0.5    24.7",
        "//    4 spoil    y              inf    -inf         inf    -inf",
        "//      y became inf at [0, 0] of sample 0 where 1 was",
    ]


def test_a_budget_fails_the_run_and_nothing_is_written(call, monkeypatch, tmp_path):
    plant(monkeypatch, coarsen)
    code, out, err = call("opt", "g.qir", "-p", "cse, coarsen, cse", "--drift", "x.npz",
                          "--drift-budget", "snr=30", "-o", "out.qir")  # fmt: skip
    assert (code, out) == (1, "")
    assert err.splitlines()[3:] == [
        "//    2 coarsen  y              0.5    24.7         0.5    24.7",
        "<pipeline>:1:6: error: step 2, coarsen, is beyond the budget snr=30: y of @main: 24.7 dB, "
        "max error 0.5 against the original; the step alone: 24.7 dB, max error 0.5",
        "  cse, coarsen, cse", "       ^^^^^^^",
        "  help: find the rule and its firing: qir bisect g.qir -p 'cse, coarsen, cse' --samples "
        "x.npz --snr 30",
    ]  # fmt: skip
    assert not (tmp_path / "out.qir").exists()


@pytest.mark.parametrize(("budget", "fails"), [
    ("snr=24", None),
    ("max=0.5", None),
    ("snr=24, max=0.4", "snr=24, max=0.4"),
    ("snr=24, coarsen(max=0.3)", "coarsen(max=0.3)"),
    ("cse(max=0), any(snr=25, result=y)", "any(snr=25, result=y)"),
    ("any(snr=24), cse(max=0)", None),
    ("snr=30, result=y", "snr=30, result=y"),
])  # fmt: skip
def test_budgets_are_of_all_drift_or_of_what_passes_add(call, monkeypatch, budget, fails):
    plant(monkeypatch, coarsen)
    code, _, err = call("opt", "g.qir", "-p", "cse, coarsen", "--drift", "x.npz",
                        "--drift-budget", budget)  # fmt: skip
    assert code == (0 if fails is None else 1), err
    assert fails is None or f"is beyond the budget {fails}: y of @main" in err


def test_the_budget_of_a_pass_advises_to_bisect_what_passes_add(call, monkeypatch):
    plant(monkeypatch, coarsen)
    _, _, err = call("opt", "g.qir", "-p", "coarsen", "--drift", "x.npz", "--drift-budget",
                     "coarsen(max=0.25, result=y)")  # fmt: skip
    assert err.splitlines()[-1].endswith("--max-error 0.25 --result y --added")
    assert ": y of @main: it adds 24.7 dB, max error 0.5\n" in err


@pytest.mark.parametrize(("words", "message"), [
    (["--drift-budget", "snr=3"],
     "error: --drift-budget needs samples\n  help: give --drift data.npz\n"),
    (["--drift", "random", "--drift-budget", "snt=3"],
     "--drift-budget:1:8: error: 'snt' is no limit\n  budget(snt=3)\n         ^^^\n"
     "  help: did you mean 'snr'? known: max, result, snr\n"),
    (["--drift", "random", "--drift-budget", "snr=much"],
     "--drift-budget:1:8: error: snr is a number, found 'much'\n  budget(snr=much)\n"
     "         ^^^\n"),
    (["--drift", "random", "--drift-budget", "snr=nan"],
     "--drift-budget:1:8: error: snr is a number, found 'nan'\n  budget(snr=nan)\n         ^^^\n"),
    (["--drift", "random", "--drift-budget", "max=-1"],
     "--drift-budget:1:8: error: max is 0 or more, found -1\n  budget(max=-1)\n         ^^^\n"),
    (["--drift", "random", "--drift-budget", "snr=1, snr=2"],
     "--drift-budget:1:15: error: 'snr' is given twice\n  budget(snr=1, snr=2)\n"
     "                ^^^\n  help: did you mean 'snr'? known: max, result, snr\n"),
    (["--drift", "random", "--drift-budget", "fold(max=1)"],
     "--drift-budget:1:8: error: the pipeline has no pass 'fold'\n  budget(fold(max=1))\n"
     "         ^^^^\n  help: known: any, cse\n"),
    (["--drift", "random", "--drift-budget", "cse"],
     "--drift-budget: error: 'cse' is no budget\n"
     "  help: snr=20, max=0.1, or such limits for a pass: fold_bn(snr=60)\n"),
    (["--drift", "random", "--drift-budget", "result=y"],
     "--drift-budget:1:1: error: a budget needs a limit\n  budget(result=y)\n  ^^^^^^\n"
     "  help: snr=20 (dB at least) or max=0.1 (at most)\n"),
    (["--drift", "random", "--drift-budget", "snr=1, result=z"],
     "--drift-budget:1:15: error: there is no result 'z'\n  budget(snr=1, result=z)\n"
     "                ^^^^^^\n  help: known: y\n"),
    (["--drift", "random", "--drift-budget", "snr=1), cse("],
     "--drift-budget:1:16: error: this is no budget\n  budget(snr=1), cse()\n"
     "                 ^\n"),
    (["--drift", "random", "--drift-budget", ""],
     "--drift-budget:1:1: error: a budget needs a limit\n  budget()\n  ^^^^^^\n"
     "  help: snr=20 (dB at least) or max=0.1 (at most)\n"),
    (["--drift", "nowhere.npz"], "nowhere.npz: error: cannot read: No such file or directory\n"),
    (["--firings", "3", "-p", "fixpoint(cse)"],
     "error: --firings needs --steps: of a fixpoint no step is the last one beforehand\n"
     "  help: --drift random counts the steps\n"),
])  # fmt: skip
def test_what_is_wrong_with_a_wish_is_said(call, words, message):
    code, out, err = call("opt", "g.qir", "-p", "cse", *words)
    assert (code, out) == (1, "")
    assert "".join(line for line in err.splitlines(True) if line[:2] != "//") == message


def test_a_function_that_the_samples_are_not_for_is_left_out(call):
    other = GRAPH.replace("@main", "@other").replace("%x", "%z").replace("[1,4]", "[3,3]")
    Path("two.qir").write_text(f"{other}\n{GRAPH}")
    code, _, err = call("opt", "two.qir", "-p", "canonicalize", "--drift", "x.npz")
    assert code == 0 and err.splitlines() == [
        "// drift on x.npz: what each step adds, and all since the original",
        "// step pass          result     max added      dB   max total      dB",
        "// @other is not measured: sample 0: the input 'z' has shape [2, 4], the model takes "
        "[3, 3]",
        "//    1 canonicalize  @main y            unchanged           0     inf",
    ]
    code, _, err = call("opt", "two.qir", "-p", "canonicalize", "--drift", "random:2")
    assert [line.split()[3] for line in err.splitlines()[2:]] == ["@other", "@main"]


# A fault in the middle of ptq_int8


def test_the_budget_finds_a_planted_fault_and_the_advice_finds_its_rule(call, monkeypatch):
    words = ("opt", "net.qir", "-p", "ptq_int8", "--calibration", "random:16", "--drift",
             "random:8", "--drift-budget", "snr=25", "-o", "out.qir")  # fmt: skip
    assert call(*words)[:2] == (0, "")
    plant(monkeypatch, planted.fold_bn)
    code, out, err = call(*words)
    assert (code, out) == (1, "")
    assert ("pipelines/float_front.pipe:7:3: error: step 5, fold_bn, is beyond the budget snr=25: "
            "y of @main: 14.1 dB, max error 0.22 against the original") in err  # fmt: skip
    advice = shlex.split(err.rpartition("firing: ")[2])
    code, out, err = call(*advice[1:])
    assert code == 0 and "rule shift_passes_relu at " in out


def test_quantize_measures_its_passes_too(call, monkeypatch, tmp_path):
    words = ("quantize", "net.qir", "--calibration", "random:16", "--drift", "random:8", "-o",
             "q.qir", "--drift-budget", "snr=25", "--drift-budget", "cse(max=0)")  # fmt: skip
    code, out, err = call(*words)
    assert code == 0 and "float ops left: 0" in out
    assert err.splitlines()[-1].startswith("//   17 legalize ") and (tmp_path / "q.qir").exists()
    (tmp_path / "q.qir").unlink()
    plant(monkeypatch, planted.fold_bn)
    code, out, err = call(*words)
    assert (code, out) == (1, "") and not (tmp_path / "q.qir").exists()
    assert err.splitlines()[-1] == (
        "  help: find the rule and its firing: qir bisect net.qir -p ptq_int8 --calibration "
        "random:16 --samples random:8 --snr 25")  # fmt: skip


def test_the_seconds_of_passes_do_not_hold_those_of_the_comparison(monkeypatch):
    clock = [0.0]

    def slow(func, arrays):
        clock[0] += 100.0
        return evaluate(func, arrays)

    plant(monkeypatch, coarsen)
    monkeypatch.setattr("qir.timing.perf_counter", lambda: clock[0])
    opt = sys.modules["qir.cli.opt"]
    said, wishes = [], opt.Wishes("coarsen, cse", drift="random:1", timing=True)
    with accounted(True, False, said.append):
        opt.optimize(GRAPH, "g.qir", 1, wishes, said.append, slow)
    rows = re.findall(r"^// +([\d.]+) +[\d.]+ %  (\w+)$", said[-1], re.M)
    seconds = {name: float(spent) for spent, name in rows}
    assert seconds["coarsen"] == seconds["cse"] == 0 < seconds["listeners"] <= clock[0]


# Where noise enters


def test_values_are_paired_by_node_then_kind_and_place_then_place():
    before = func_of("""func @main(%x: f32[2,2]) -> (f32[2,2]) {
      %0 = nn.relu(%x) loc("a")
      %1 = nn.sigmoid(%0) loc("b")
      %2 = nn.add(%0, %1) loc("c")
      return %2
    }""")
    sigmoid, add = before.ops[2], before.ops[3]
    assert paired(before, before) == {op: op for op in before.ops[1:]}
    wide = quant.quantize(sigmoid, to=tensor("i8", (), per_tensor(0.5)).element, location=("b",))
    real = quant.dequantize(wide, location=("b",))
    other = ops.sub(before.ops[1], real, location=("c",))
    twins = paired(before, before.with_results([other]))
    assert twins == {before.ops[1]: before.ops[1], sigmoid: real, add: other}


def test_noise_enters_where_a_value_has_more_than_what_it_is_made_of():
    module = read_module(planted.network())
    samples = [np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)]
    steps = compose("insert_observers, calibrate")
    func = run_module(steps, module, {"samples": samples, "run": evaluate}).main
    probe = Probe(module.main, samples, evaluate)
    found = entries(probe, func, planted.propagate_types(func))
    assert [(e.before.kind, e.before.location) for e in found[:1]] == [("nn.dense", ("block_2",))]
    assert found[0].error.snr < 5 and found[0].now[1] < found[0].was[1] / 4
    assert entries(probe, func, func) == []
