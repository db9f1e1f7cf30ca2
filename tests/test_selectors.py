"""Selectors: what is printed reads back, what is meant is what the graph says; dry runs."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_layering import nothing

import qir
from qir import registry
from qir.attributes import coerce
from qir.errors import Declined, QirError
from qir.ir import OPS
from qir.pipeline import compose, flat
from qir.recipes import Recipe, read_recipe
from qir.schemes import SCHEMES
from qir.selectors import WORDS, Selector, matched, read_selector
from qir.text import read_module

registry.load_dialects()
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
EXPRESSIONS = TEXT.map(re.escape)
KINDS = st.sampled_from([*sorted(OPS)[:40], "nn.*", "*", "*.conv?d"])
COUNTS = st.integers(1, 2**40)


def _above(below):
    word = st.sampled_from(("first", "last"))
    some = st.lists(below, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Selector, st.sampled_from("|&"), st.tuples(below, below)),
        st.builds(Selector, st.just("!"), st.tuples(below)),
        st.builds(Selector, st.sampled_from(("before", "after")), some),
        st.builds(Selector, word, st.tuples(below) | st.tuples(COUNTS) | st.tuples(below, COUNTS)),
    )


def _texts(word, texts):
    return st.builds(Selector, st.just(word), st.lists(texts, min_size=1, max_size=3).map(tuple))


SELECTORS = st.recursive(
    st.one_of(
        st.sampled_from(("any", "first", "last")).map(Selector), _texts("kind", KINDS),
        _texts("loc", EXPRESSIONS), _texts("name", TEXT),
        _texts("scheme", st.sampled_from(list(SCHEMES))),
    ),
    _above, max_leaves=8,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(SELECTORS)
def test_what_is_printed_reads_back_as_the_same(selector):
    assert read_selector(repr(selector)) == selector
    (step,) = compose(f"quantize_weights(where={selector!r})")
    assert step.options["where"] == selector
    assert compose(str(step))[0].options == step.options


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(SELECTORS, st.sampled_from(list(SCHEMES))), max_size=4).map(tuple))
def test_recipes_read_back_as_the_same(lines):
    recipe = Recipe(lines)
    assert read_recipe(repr(recipe)) == recipe
    assert read_recipe([(repr(selector), scheme) for selector, scheme in lines]) == recipe


GRAPH = """
func @main(%image: f32[1,4,4,2], %mask: f32[1,4]) -> (scores: f32[1,4], sum: f32[1,4]) {
  %f = const(value=random) : f32[3,3,2,4]
  %0 = nn.conv2d(%image, %f) loc("stem (net.py:1)")
  %1 = nn.relu(%0) loc("stem (net.py:2)")
  %2 = nn.mean(%1, axes=[1, 2]) loc("pool (net.py:3)")
  %w = const(value=random) : f32[4,4]
  %3 = nn.dense(%2, %w) loc("head (net.py:4)", "net.py:40")
  %4 = lax.reshape(%3, shape=[4, 1]) loc("head (net.py:5)")
  %5 = lax.reshape(%4, shape=[1, 4]) loc("head (net.py:6)")
  %6 = nn.softmax(%5) loc("head (net.py:7)")
  %7 = nn.add(%2, %mask) loc("sum (net.py:8)")
  return %6, %7
}
"""
CONV, RELU, MEAN, DENSE, FIRST_MOVE, SECOND_MOVE, SOFTMAX, ADD = range(8)


@pytest.mark.parametrize(("text", "wanted"), [
    ("any", range(8)),
    ("kind(nn.dense)", [DENSE]),
    ("kind(\"nn.?e*\", lax.reshape)", [RELU, MEAN, DENSE, FIRST_MOVE, SECOND_MOVE]),
    ("loc(\"^head\")", [DENSE, FIRST_MOVE, SECOND_MOVE, SOFTMAX]),
    ("loc(\"py:40\", \"py:1\")", [CONV, DENSE]),
    ("name(image)", [CONV]), ("name(w)", [DENSE]), ("name(scores)", [SOFTMAX]),
    ("name(\"s*\")", [SOFTMAX, ADD]), ("name(mask)", [ADD]),
    ("first", [CONV]), ("last", [DENSE]), ("first(5)", [CONV, DENSE]),
    ("first(lax.reshape)", [FIRST_MOVE]), ("last(kind(\"nn.*\"), 2)", [SOFTMAX, ADD]),
    ("before(nn.softmax)", [DENSE, FIRST_MOVE, SECOND_MOVE]), ("before(first)", []),
    ("after(nn.dense)", [FIRST_MOVE, SECOND_MOVE, SOFTMAX]), ("after(nn.mean)", [DENSE, ADD]),
    ("before(before(nn.add) & kind(nn.mean))", [RELU]),
    ("!loc(head) & !first", [RELU, MEAN, ADD]),
    ("kind(nn.add) | kind(nn.relu) & last", [ADD]),
    ("(kind(nn.add) | kind(nn.relu)) & last", []),
    ("scheme(float)", []),
])  # fmt: skip
def test_what_is_meant(text, wanted):
    func = read_module(GRAPH).main
    ops = [op for op in func.ops if op.kind in OPS]
    order = [CONV, RELU, MEAN, DENSE, FIRST_MOVE, SECOND_MOVE, SOFTMAX, ADD]
    if not list(wanted):
        with pytest.raises(QirError, match="matches no op of @main"):
            matched(read_selector(text), func)
        return
    found = matched(read_selector(text), func)
    assert [order[ops.index(op)] for op in found] == list(wanted)


def test_marks_of_calibration_are_looked_through():
    module = qir.run_pipeline(read_module(GRAPH), "insert_observers", run=None)
    found = matched(read_selector("before(nn.softmax) | name(image)"), module.main)
    assert [op.kind for op in found] == ["nn.conv2d", "nn.dense", "lax.reshape", "lax.reshape"]
    assert not any(op.kind.startswith("quant.") for op in matched(Selector("any"), module.main))


@pytest.mark.parametrize(("value", "message"), [
    ("kind()", "kind takes kinds of ops such as .*, found nothing"),
    ("kind(3)", "kind takes kinds of ops such as .*, found 3"),
    ("kind(nn.dense, x=3)", "kind has no 'x'"), ("any(3)", "any takes nothing"),
    ("before()", r"before takes selectors or kinds of ops, such as before\(nn.softmax\)"),
    ("first(nn.add, nn.mul)", "first takes a selector, and how many, at least 1"),
    ("last(true)", "last takes a selector, and how many, at least 1; found True"),
    ("[first]", "expected a selector, found"),
    ("!7", "expected a selector, found 7"), ("scheme(int3)", "there is no scheme 'int3'"),
    ("before(nn.softmx)", "there is no op 'nn.softmx'; did you mean 'nn.softmax'"),
    ("fast", "'fast' is no selector; did you mean 'last'"),
    ("first | ", r"'first \| ' cannot be read: syntax error: the end of the text"),
    (3.5, "expected a selector, found 3.5"),
])  # fmt: skip
def test_what_is_no_selector(value, message):
    with pytest.raises(Declined, match=message):
        coerce(value, Selector)


@pytest.mark.parametrize(("value", "message"), [
    (7, "expected a recipe, found 7"), ("[last]", "a line of a recipe is a selector and a scheme"),
    ("[last: int9]", "there is no scheme 'int9'; did you mean 'int8'"),
    ([("last", 8)], "there is no scheme '8'"), ({"lst": "float"}, "'lst' is no selector"),
])  # fmt: skip
def test_what_is_no_recipe(value, message):
    with pytest.raises(Declined, match=message):
        coerce(value, Recipe)


def test_settings_reach_into_selectors():
    text = "pipeline mine(skip=last, to=float) = quantize_weights(where=!$skip & first)"
    (step,) = flat(compose(text, parameters={"skip": "kind(nn.dense)"}))
    assert repr(step.options["where"]) == "!kind(nn.dense) & first"


def test_every_pass_that_chooses_ops_takes_a_selector():
    takers = {name for name, each in registry.passes().items()
              if any(kind == Selector | None for kind, _ in each.options.values())}  # fmt: skip
    assert takers >= {"quantize_weights", "quantize_dynamic", "half_weights", "insert_observers",
                      "equalize_channels", "smooth_quant", "correct_bias"}  # fmt: skip


def test_the_language_is_documented():
    page = (Path(__file__).parent.parent / "docs/language.md").read_text()
    nothing(word for word in WORDS if f"`{word}" not in page)


@pytest.mark.parametrize("command", ["opt", "quantize"])
def test_a_dry_run_lists_what_is_meant_and_writes_nothing(command, call, tmp_path):
    (tmp_path / "net.qir").write_text(GRAPH)
    pipeline = ("float_front, insert_observers(where=!last), calibrate, correct_bias(where=first), "
                "propagate_types, lower_int8")  # fmt: skip
    code, out, err = call(command, "net.qir", "-p", pipeline, "--dry-run", "-o", "out.qir")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "insert_observers: where=!last: 4 ops"
    assert lines[1] == "  nn.conv2d : f32[1,4,4,4]  at stem (net.py:1)"
    assert lines[5:] == ["correct_bias: where=first: 1 op",
                         "  nn.conv2d : f32[1,4,4,4]  at stem (net.py:1)"]  # fmt: skip
    assert sorted(file.name for file in tmp_path.iterdir()) == ["g.qir", "net.qir"]
    code, out, _ = call(command, "net.qir", "-p", "cse", "--dry-run")
    assert (code, out.strip()) == (0, "no step of the pipeline has a selector")
    code, _, err = call(command, "net.qir", "-p", "insert_observers(where=last & first)",
                        "--dry-run", "--diagnostics", "json")  # fmt: skip
    assert code == 1


def test_a_dry_run_is_of_a_pipeline(call):
    code, _, err = call("opt", "g.qir", "--dry-run")
    assert code == 1 and "--dry-run is of a pipeline" in err
