"""`--verify-diagnostics`: what matches, what is told where something does not."""

import io
import re
import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qir.cli import cli, status
from qir.cli.diagnostics import announcements, verify
from qir.errors import Place, QirError, QirWarning
from qir.testing.bless import blessed
from qir.testing.cases import read_cases
from qir.testing.run import failure, run_case

WRONG = """func @unannounced(%x: f32[4]) -> (f32[4]) {
  %0 = lax.add(%x)
  return %0
}
// -----
func @another_text(%x: f32[4]) -> (f32[4]) {
  %0 = lax.add(%x)  // expected-error {{takes the operand (a)}}
  return %0
}
// -----
// expected-error@+2 {{unknown op}}
func @another_line(%x: f32[4]) -> (f32[4]) {
  %0 = lax.ad(%x, %x)
  return %0
}
// -----
func @right(%x: f32[4]) -> (f32[4]) {
  %0 = lax.ad(%x, %x)  // expected-error {{unknown op}}
  return %0
}
// -----
func @only_announced(%x: f32[4]) -> (f32[4]) {
  %0 = lax.add(%x, %x)  // expected-warning {{this warns of nothing}}
  return %0
}
"""

TOLD = """w.qir:2:8: error: unexpected error: lax.add: takes the operands (a, b), found 1
    %0 = lax.add(%x)
         ^^^^^^^
w.qir:7:8: error: unexpected error: lax.add: takes the operands (a, b), found 1
    %0 = lax.add(%x)  // expected-error {{takes the operand (a)}}
         ^^^^^^^
w.qir:7:21: error: expected error "takes the operand (a)" was not produced
    %0 = lax.add(%x)  // expected-error {{takes the operand (a)}}
                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
w.qir:23:25: error: expected warning "this warns of nothing" was not produced
    %0 = lax.add(%x, %x)  // expected-warning {{this warns of nothing}}
                          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"""

PRINTED = """// -----
// -----
// -----
// -----
func @only_announced(%x: f32[4]) -> (f32[4]) {
  %0 = lax.add(%x, %x) : f32[4]
  return %0
}
"""

OBSERVED = "func @f(%x: f32[4]) -> (f32[4]) {\n  %0 = quant.observe(%x, name=x)\n  return %0\n}\n"


@pytest.fixture
def opt(capsys, monkeypatch, tmp_path):
    """Run `qir opt w.qir --verify-diagnostics` on a text; gives exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(text: str, *words: str, file="w.qir"):
        (tmp_path / "w.qir").write_text(text)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        code = status(cli, ["opt", file, "--verify-diagnostics", *words], "qir")
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_what_differs_is_listed_case_by_case(opt):
    assert opt(WRONG, "--split-input-file") == (1, PRINTED, TOLD)
    right = WRONG.split("// -----\n")[3]
    assert opt(right) == (0, "", "") and opt(right, file="-") == (0, "", "")
    assert opt(OBSERVED) == (0, OBSERVED.replace("=x)\n", "=x) : f32[4]\n"), "")


def test_an_error_of_a_pass_is_told_at_the_line_of_its_op(opt):
    told = ("w.qir:2: error: unexpected error: fold_bn takes a graph in the form 'float': "
            "quant.observe belongs to a later form\n")  # fmt: skip
    assert opt(OBSERVED, "-p", "fold_bn") == (1, "", told)
    announced = OBSERVED.replace("=x)\n", "=x) // expected-error {{quant.observe belongs}}\n")
    assert opt(announced, "-p", "fold_bn", "--print-after-all") == (0, "", "")
    located = announced.replace("name=x)", 'name=x) loc("model.py:7")')
    assert opt(located, "-p", "fold_bn")[2].startswith(
        "model.py:7: error: unexpected error: fold_bn takes a graph in the form 'float': "
        "quant.observe belongs to a later form\n"
        "  help: it has no line here: // expected-error@unknown {{...}}\n")  # fmt: skip
    own = announced.replace("name=x)", 'name=x) loc("conv (w.qir:2)")')
    assert opt(own, "-p", "fold_bn") == (0, "", "")


def test_an_error_of_a_pipeline_has_no_line(opt):
    graph = "func @f(%x: f32[4]) -> (f32[4]) {\n  return %x\n}\n"
    code, out, err = opt(graph, "-p", "fold_b")
    assert (code, out) == (1, "") and err.startswith(
        "<pipeline>:1:1: error: unexpected error: unknown pass or pipeline 'fold_b'\n"
        "  fold_b\n  ^^^^^^\n  help: it has no line here: // expected-error@unknown {{...}}\n")
    assert opt(f"// expected-error@unknown {{{{'fold_b'}}}}\n{graph}", "-p", "fold_b")[0] == 0


def test_it_prints(opt):
    code, _, err = opt(OBSERVED, "-o", "out.qir")
    assert code == 1 and "--verify-diagnostics prints; it cannot be combined with -o" in err


@pytest.mark.parametrize(("comment", "message"), [
    ("// expected-error: unknown op", "this announces nothing"),
    ("// expected-error {{unknown op}} and more", "this announces nothing"),
    ("// expected-remark {{unknown op}}", "this announces nothing"),
    ("// expected-error@1 {{unknown op}}", "'@1' is no line"),
    ("// expected-error@-7 {{unknown op}}", "there is no line '@-7' here"),
    ("// expected-error@below {{unknown op}}", "there is no line '@below' here"),
    ("// expected-error-re {{unknown {{(}}}}", "'unknown {{(}}' holds no regular expression: "
     "missing ), unterminated subpattern"),
])  # fmt: skip
def test_comments_that_cannot_be_read_are_errors(opt, comment, message):
    code, out, err = opt(OBSERVED + f"  {comment}")
    assert (code, out) == (1, "") and err.startswith(f"w.qir:5:3: error: {message}\n    {comment}")
    prose = f"// An expected-error comment may stand anywhere.\n{OBSERVED}"
    assert opt(prose)[0] == 0


def said(text: str, *what: QirError | Warning) -> list[str]:
    """What differs for a text, were this all that its run says."""

    def run(lines=False):
        for each in what:
            if isinstance(each, QirError):
                raise each
            warnings.warn(each, stacklevel=1)

    return [str(each).partition("\n")[0] for each in verify(text, "w.qir", 1, run)[1]]


def test_each_announcement_answers_one_thing_said():
    text = "// expected-warning@unknown {{a}}\n// expected-error {{b}}\n// expected-warning {{a}}"
    at = Place("w.qir", 3, 1)
    everything = QirWarning("an a"), QirWarning("a", at=at), QirError("b", at="x (w.qir:2)")
    assert said(text, *everything) == []
    assert said(text, *everything[:2]) == ['w.qir:2:1: error: expected error "b" was not produced']
    assert said(text, QirWarning("a"), *everything) == ["error: unexpected warning: an a"]
    assert said(text, everything[0], UserWarning("A"), *everything[1:]) == [
        "error: unexpected warning: A"]  # fmt: skip


def test_help_may_be_announced():
    error = QirError("unknown op", at=Place("w.qir", 1, 1), help="did you mean 'x'?")
    text = "op  // expected-error {{unknown op}}\n// expected-note@above {{ mean 'x'}}\n\n"
    assert said(text, error) == []
    assert said(text.replace("'x'", "'y'"), error) == [
        "w.qir:2:1: error: expected note \" mean 'y'\" was not produced"]  # fmt: skip


def test_warnings_of_others_are_told_as_ever():
    with pytest.warns(DeprecationWarning, match="old"):
        assert said("", DeprecationWarning("old")) == []


ROWS = ("", "op", "op // expected-error {{x}}", "// expected-error@above {{x}}",
        "// expected-note@below {{x}}")  # fmt: skip


@given(st.lists(st.sampled_from(ROWS), max_size=9))
def test_above_and_below_skip_what_announces(rows):
    rows = ["first", *rows, "last"]
    plain = [n for n, row in enumerate(rows, 1) if not row.startswith("// expected")]
    for found in announcements("\n".join(rows), "f", 1):
        here, row = found.place.line, rows[found.place.line - 1]
        above = "@above" in row and max(n for n in plain if n < here)
        below = "@below" in row and min(n for n in plain if n > here)
        assert found.line == (above or below or here)


@given(st.text(st.characters(exclude_characters="\n")), st.integers(-3, 3))
def test_what_stands_in_braces_is_what_is_looked_for(text, offset):
    row = f"%0 = x // expected-error@{offset:+d} {{{{{text}}}}}"
    (found,) = announcements("\n" * 5 + row, "f", 1)
    assert (found.line, found.text) == (6 + offset, text)
    assert found.pattern.search(f"one {text} more")


def test_cases_are_judged_by_it(tmp_path):
    run = "// RUN: qir-opt %s --verify-diagnostics\n"
    (tmp_path / "w.qir").write_text(run + WRONG)
    cases = read_cases(tmp_path / "w.qir")
    outcomes = [run_case(case, tmp_path) for case in cases]
    verdicts = [failure(case, outcome) for case, outcome in zip(cases, outcomes, strict=True)]
    told = re.sub(r"w.qir:(\d+)", lambda m: f"{tmp_path}/w.qir:{int(m[1]) + 1}", TOLD)
    assert "".join(f"{verdict}\n" for verdict in verdicts if verdict) == told
    assert [v is None for v in verdicts] == [False, False, True, True, False]
    assert outcomes[4].output.startswith("func @only_announced")
    assert blessed(cases[4], outcomes[4].output) is not None


def test_such_a_case_may_have_checks_and_eval_too(tmp_path):
    text = ("// RUN: qir-opt %s --verify-diagnostics -p canonicalize\n" + OBSERVED
            + "// CHECK: quant.observe\n// CHECK-NOT: nothing\n// EVAL\n")  # fmt: skip
    (tmp_path / "w.qir").write_text(text)

    def verdict():
        (case,) = read_cases(tmp_path / "w.qir")
        return failure(case, run_case(case, tmp_path))

    assert verdict() is None
    (tmp_path / "w.qir").write_text(text.replace("CHECK: quant", "CHECK: qu.nt"))
    assert "Couldn't match" in verdict()
    (tmp_path / "w.qir").write_text(text.replace("name=x", "nam=x // expected-error {{nam}}\n"))
    assert "Couldn't match" in verdict()
