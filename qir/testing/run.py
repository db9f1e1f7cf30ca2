"""One case run: the command line's own function in this process, then CHECK and EVAL."""

from dataclasses import dataclass, fields
from pathlib import Path

import click

from ..cli.opt import Wishes, graph_text, opt, optimize
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
    """What a case's command gave: all its output, and the module, None after an error."""

    output: str
    module: Module | None


def run_case(case: Case, scratch: Path) -> Outcome:
    """Run the case's command; a QirError's message is its output.

    scratch: what `%t` in the RUN line stands for; `%s` is the file and `%S` its folder. In the
    output the folders are left out of paths, and lines count from the start of the case, so that
    it is the same wherever the tests lie and whatever stands above the case.
    """
    marks = {"%s": str(case.file), "%S": str(case.file.parent), "%t": str(scratch)}
    said: list[str] = []
    module = None
    try:
        wishes = _wishes([_replaced(word, marks) for word in case.run])
        module = optimize(case.text, str(case.file), 1, wishes, said.append, evaluate)
        said.append(graph_text(module, wishes))
    except QirError as error:
        module = None
        said.append(str(error))
    output = "\n".join(said)
    for folder in (case.file.parent, scratch):
        output = output.replace(f"{folder}/", "")
    return Outcome(output, module)


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
    if not checks and case.evaluate is None:
        return "the case has no CHECK and no EVAL line, it tests nothing (--bless adds CHECK lines)"
    if outcome.module is None and not any("error:" in line for line in checks):
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


def _difference(case: Case, after: Module) -> str | None:
    load_dialects()
    before = read_module(case.text, str(case.file), case.line)
    try:
        compare(before, after, **case.evaluate)
    except QirError as error:
        return str(error)
    return None
