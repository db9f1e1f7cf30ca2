"""One case run: the command line's own function in this process, then CHECK and EVAL."""

from dataclasses import dataclass, fields
from pathlib import Path

import click

from ..cli.account import accounted
from ..cli.opt import Wishes, attempt, graph_text, opt
from ..errors import QirError
from ..evaluate import evaluate
from ..ir import Module
from ..registry import load_dialects
from ..text import read_module
from .cases import Case
from .check import mismatch
from .equality import compare

_WISHES = [field.name for field in fields(Wishes)]


@dataclass(frozen=True)
class Outcome:
    """What a case's command gave: all its output, and the module, None after an error.

    differences: what differs from what the case announces, where it has --verify-diagnostics.
    """

    output: str
    module: Module | None
    differences: tuple[str, ...] = ()


def run_case(case: Case, scratch: Path) -> Outcome:
    """Run the case's command; a QirError's message is its output.

    scratch: what `%t` in the RUN line stands for; `%s` is the file and `%S` its folder. In the
    output the folders are left out of paths, and lines count from the start of the case, so that
    it is the same wherever the tests lie and whatever stands above the case.
    """
    marks = {"%s": str(case.file), "%S": str(case.file.parent), "%t": str(scratch)}
    said: list[str] = []
    module, wrong = None, []
    try:
        wishes = _wishes([_replaced(word, marks) for word in case.run])
        line = case.line if case.verifies else 1
        with accounted(wishes.timing, wishes.pass_statistics, said.append):
            module, wrong = attempt(case.text, str(case.file), line, wishes, said.append, evaluate)
            said += [graph_text(module, wishes)] if module is not None else []
    except QirError as error:
        wrong = [error]
    told = tuple(map(str, wrong))
    output = "\n".join(said if case.verifies else [*said, *told])
    for folder in (case.file.parent, scratch):
        output = output.replace(f"{folder}/", "")
    return Outcome(output, module, told if case.verifies else ())


def _wishes(words: list[str]) -> Wishes:
    try:
        given = opt.make_context("qir-opt", words).params
    except click.ClickException as error:
        raise QirError(error.format_message(), at="qir-opt") from None
    return Wishes(**{name: given[name] for name in _WISHES})


def _replaced(word: str, marks: dict[str, str]) -> str:
    for mark, meaning in marks.items():
        word = word.replace(mark, meaning)
    return word


def failure(case: Case, outcome: Outcome) -> str | None:
    """Why the case fails, None if it passes."""
    lines = case.text.splitlines()
    checks = [lines[i] for i in case.checks]
    if outcome.differences:
        return "\n".join(outcome.differences)
    if not checks and case.evaluate is None and not case.verifies:
        return "the case has no CHECK and no EVAL line, it tests nothing (--bless adds CHECK lines)"
    expected = case.verifies or any("error:" in line for line in checks)
    if outcome.module is None and not expected:
        return f"the command failed and no CHECK line expects an error\n\n{outcome.output}"
    if checks:
        said = mismatch(case.text, outcome.output, str(case.file), case.line)
        if said is not None:
            return f"{said}\nthe output was:\n{outcome.output}"
    if case.evaluate is not None and outcome.module is None:
        return f"EVAL needs a graph, the command gave an error\n\n{outcome.output}"
    if case.evaluate is not None:
        return _difference(case, outcome.module)
    return None


def report(case: Case, reason: str) -> str:
    """What is told of a case that fails."""
    return f"{case.file}:{case.line}: qir-opt {' '.join(case.run)}\n{reason}"


def _difference(case: Case, after: Module) -> str | None:
    load_dialects()
    before = read_module(case.text, str(case.file), case.line)
    try:
        compare(before, after, **case.evaluate)
    except QirError as error:
        return str(error)
    return None
