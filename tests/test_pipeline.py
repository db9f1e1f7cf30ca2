"""Pipelines: composed from text, checked before anything runs, run step by step."""

import numpy as np
import pytest
import toy as ops

from qir import registry
from qir.attributes import Ints
from qir.errors import QirError
from qir.graph_pass import Compile, Emit, Samples, graph_pass
from qir.ir import Func, parameter
from qir.pattern import V
from qir.pipeline import Block, Step, check_arrows, check_resources, compose, flat, run_steps
from qir.rewrite import rewrite, rule
from qir.text.syntax import Source, parse_pipelines
from qir.types import tensor


@rule(ops.neg(ops.neg(V.x)))
def twice_negated(x):
    """Two negations are none."""
    return x


@graph_pass("any -> any")
def tidy(func: Func, *, most: int = 3, axes: Ints = ()) -> Func:
    """Drop double negations."""
    return rewrite(func, twice_negated)


@graph_pass("any -> any")
def shorten(func: Func) -> Func:
    """Drop one negation at the end."""
    (result,) = func.results
    return func.with_results(result.operands) if result.kind == "toy.neg" else func


@graph_pass("any -> any")
def grow(func: Func) -> Func:
    """Negate the result; never at rest."""
    return func.with_results([ops.neg(func.results[0])])


@graph_pass("traced -> float")
def lift(func: Func) -> Func:
    """From traced to float."""
    return func


@graph_pass("float -> observed")
def observe(func: Func, *, samples: Samples) -> Func:
    """From float to observed, with samples."""
    return func


@graph_pass("observed -> calibrated", samples="stats")
def measure(func: Func, *, stats: str | None = None, samples: Samples) -> Func:
    """From observed to calibrated, with samples or statistics."""
    return func


@graph_pass("any -> any")
def sink(func: Func, *, compile: Compile, emit: Emit) -> Func:
    """Say how many ops there are."""
    emit(f"{len(func.ops)} ops, {compile(func, 'none')}")
    return func


@graph_pass("observed -> mixed")
def liar(func: Func) -> Func:
    """Promise a form and do not deliver."""
    return func


OURS = {p.name: p for p in (tidy, shorten, grow, lift, observe, measure, sink, liar)}
TEXTS = """
pipeline front(most=5) = tidy(most=$most), lift,
pipeline whole(most=7, stats="s.txt") = front(most=$most), observe, measure(stats=$stats)
pipeline round = round
"""


@pytest.fixture(autouse=True)
def known(monkeypatch):
    source = Source(TEXTS, "known.pipe")
    named = {record.name: (record, source) for record in parse_pipelines(source)}
    monkeypatch.setattr(registry, "passes", lambda: OURS)
    monkeypatch.setattr(registry, "pipelines", lambda: named)


def negations(count: int, **keywords) -> Func:
    x = op = parameter("x", tensor("f32", (2,)))
    for _ in range(count):
        op = ops.neg(op, **keywords)
    return Func("main", (x,), (op,))


def error(text: str, **keywords) -> str:
    with pytest.raises(QirError) as caught:
        compose(text, **keywords)
    return str(caught.value)


# Composing


def test_steps_in_order_with_their_options_in_kind():
    steps = compose("tidy(axes=[1, -1], most=2), shorten,")
    assert [s.action.name for s in steps] == ["tidy", "shorten"]
    assert steps[0].options == {"axes": (1, -1), "most": 2}
    assert str(steps[0]) == "tidy(most=2, axes=[1, -1])"


def test_a_named_pipeline_takes_parameters_from_the_text_and_from_outside():
    (first, *_), names = compose("whole"), [s.action.name for s in flat(compose("whole"))]
    assert names == ["tidy", "lift", "observe", "measure"]
    assert first.options == {"most": 7}
    assert compose("whole(most=1)")[0].options == {"most": 1}
    assert compose("whole(most=1)", parameters={"most": 2})[0].options == {"most": 2}
    assert compose("whole", parameters={"most": 2})[0].options == {"most": 2}
    text = "pipeline mine(n=4) = tidy(most=$n)"
    assert compose(text, parameters={"n": 9})[0].options == {"most": 9}


def test_combinators_hold_steps():
    (block,) = compose('fixpoint(tidy, only(shorten, front(most=1), match="a.*"))')
    assert isinstance(block, Block) and isinstance(block.steps[0], Step)
    assert block.steps[1].match == "a.*"
    assert [s.action.name for s in flat((block,))] == ["tidy", "shorten", "tidy", "lift"]


@pytest.mark.parametrize(("text", "message"), [
    ("tidi", "<pipeline>:1:1: error: unknown pass or pipeline 'tidi'\n  tidi\n  ^^^^\n"
             "  help: did you mean 'tidy'? known: fixpoint, front, grow, liar, lift, measure, "
             "observe, only, round, shorten, sink, tidy, whole"),
    ("lift,\n  tidy(moost=3)", "<pipeline>:2:8: error: tidy has no option 'moost'\n"
     "    tidy(moost=3)\n         ^^^^^\n  help: did you mean 'most'? known: axes, most"),
    ("tidy(most=many)", "<pipeline>:1:6: error: tidy: option 'most': expected an integer, found "
     "'many'\n  tidy(most=many)\n       ^^^^"),
    ("tidy(most=1, most=2)", "<pipeline>:1:14: error: 'most' is given twice\n"
     "  tidy(most=1, most=2)\n               ^^^^"),
    ("tidy(3)", "<pipeline>:1:1: error: the options of tidy are given by name\n  tidy(3)\n  ^^^^\n"
     "  help: most: int = 3, axes: ints = ()"),
    ("tidy(most=$n)", "<pipeline>:1:11: error: no parameter $n\n  tidy(most=$n)\n"
     "            ^^\n  help: there are none"),
    ("front(moost=3)", "<pipeline>:1:1: error: the pipeline 'front' has no parameter 'moost'\n"
     "  front(moost=3)\n  ^^^^^\n  help: did you mean 'most'? known: most"),
    ("round", "known.pipe:4:18: error: the pipeline 'round' contains itself\n"
     "  pipeline round = round\n                   ^^^^^"),
    ("only(tidy)", "<pipeline>:1:1: error: only needs match=\"...\", a regular expression on "
     "locations\n  only(tidy)\n  ^^^^"),
    ('only(tidy, match="(")', "<pipeline>:1:12: error: '(' is no regular expression: missing ), "
     'unterminated subpattern at position 0\n  only(tidy, match="(")\n             ^^^^^'),
    ("fixpoint(tidy, 3)", "<pipeline>:1:1: error: fixpoint takes steps\n  fixpoint(tidy, 3)\n"
     "  ^^^^^^^^"),
    ("lift, liar", "<pipeline>:1:7: error: liar takes a graph in the form 'observed', here it is "
     "in the form 'float'\n  lift, liar\n        ^^^^\n  help: insert observe before it"),
    ("lift, observe, lift", "<pipeline>:1:16: error: lift takes a graph in the form 'traced', here "
     "it is in the form 'observed'\n  lift, observe, lift\n                 ^^^^\n"
     "  help: no sequence of passes leads from 'observed' to 'traced'"),
    ("lift lift", "<pipeline>:1:6: error: syntax error: 'lift' cannot stand here\n  lift lift\n"
     "       ^^^^\n  help: expected '(' or ',' or the end of the text"),
    ("tidy(most=", "<pipeline>:1:11: error: syntax error: the end of the text cannot stand here\n"
     "  tidy(most=\n            ^\n  help: expected '(' or '[' or a function such as @main or a "
     "name or a number or a resource such as #w or a setting such as $x or a text in quotes "
     "or a value such as %x"),
])  # fmt: skip
def test_what_is_wrong_is_said_with_its_place_and_advice(text, message):
    assert error(text) == message


def test_a_missing_resource_is_an_error_before_anything_runs():
    message = error("lift, observe", resources=["run"])
    assert message == (
        "<pipeline>:1:7: error: observe needs samples and none were given\n  lift, observe\n"
        "        ^^^^^^^\n  help: give calibration data (--calibration data.npz, or "
        "calibration=iterable)"
    )
    check_resources(compose("measure(stats=file)"), [])
    with pytest.raises(QirError, match="measure needs samples"):
        check_resources(compose("measure"), [])


def test_a_graph_that_is_further_on_is_an_error():
    assert check_arrows(compose("lift"), "traced") == "float"
    with pytest.raises(QirError, match="lift takes a graph in the form 'traced'"):
        check_arrows(compose("lift"), "observed")


# Running


def test_every_step_is_told_and_graphs_before_it_are_kept():
    told = []
    result = run_steps(compose("tidy, shorten"), negations(5), listen=told.append)
    assert [len(d.before.ops) for d in told] == [6, 2]
    assert [len(d.after.ops) for d in told] == [2, 1]
    assert result is told[-1].after


def test_fixpoint_runs_until_nothing_changes_and_gives_up_at_last():
    assert len(run_steps(compose("fixpoint(shorten)"), negations(7)).ops) == 1
    with pytest.raises(QirError, match=r"fixpoint\(grow\) still changes @main after 20 rounds"):
        run_steps(compose("fixpoint(grow)"), negations(1))


def test_only_keeps_passes_to_matching_places():
    func = negations(4, location=("layer_1",))
    assert run_steps(compose('only(tidy, match="layer_2")'), func) is func
    assert len(run_steps(compose('only(tidy, match="layer_1")'), func).ops) == 1


def test_a_pass_that_breaks_its_promise_is_named():
    from qir.dialects import quant

    x = parameter("x", tensor("f32", (2,)))
    func = Func("main", (x,), (quant.observe(x, name="x", location=("m.py:7",)),))
    with pytest.raises(QirError, match="m.py:7: error: liar promised the form 'mixed': quant.obs"):
        run_steps(compose("liar"), func)


def test_resources_are_handed_to_the_passes_that_name_them():
    said = []
    handed = {"compile": lambda func, target: target, "emit": said.append, "samples": [1]}
    run_steps(compose("sink"), negations(1), handed)
    assert said == ["2 ops, none"]


def test_a_pass_called_from_python_is_the_function_itself():
    assert len(tidy(negations(4), most=1).ops) == 1


def test_passes_refuse_parameters_that_are_neither_option_nor_resource():
    def wrong(func: Func, *, weights: dict) -> Func:
        return func

    with pytest.raises(TypeError, match="'weights' needs a kind"):
        graph_pass("any -> any")(wrong)


def test_samples_by_name_along_the_first_axis(tmp_path):
    from qir.arrays import samples_from

    path = str(tmp_path / "data.npz")
    func = negations(1)
    np.savez(path, x=np.arange(8, dtype=np.float32))
    assert [s["x"].tolist() for s in samples_from(path, func)()] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    np.savez(path, np.arange(8, dtype=np.float32).reshape(4, 2))
    assert [s["x"].tolist() for s in samples_from(path, func)()] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    np.savez(path, x=np.arange(3, dtype=np.float32))
    assert [s["x"].tolist() for s in samples_from(path, func)()] == [[0, 1], [2]]
    empty = Func("main", (parameter("x", tensor("f32", (0,))),), ())
    assert [s["x"].shape for s in samples_from(path, empty)()] == [(1,), (1,), (1,)]
    assert len(list(samples_from("random:3", func)())) == 3
    np.savez(path, x=np.zeros(2), y=np.zeros(3))
    with pytest.raises(QirError, match="@main takes the inputs x, the file holds x, y"):
        samples_from(path, func)
