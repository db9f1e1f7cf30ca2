"""`qir reduce`: a failing graph, its pipeline and its data made as small as they still fail."""

import os
import shlex
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from .opt import check_folder, read_text
from .reproducers import SWITCH

LEAST_SECONDS, TIMES = 10.0, 10
"""Without --timeout a run may take so many times as long as the first one, at least this long."""


@click.command("reduce")
@click.argument("file")
@click.option("--check", "command", metavar="COMMAND",
              help="Fails on the graph, whose path stands for {} in it or comes last; by default "
                   "qir opt, on a reproducer.")  # fmt: skip
@click.option("-o", "--output", metavar="FILE.qir", help="Default: NAME.reduced.qir.")
@click.option("--match", metavar="REGEX",
              help="What a run must say to be the same failure, instead of the last error "
                   "of the first run.")  # fmt: skip
@click.option("--any-failure", is_flag=True, help="Only the exit status must be the same.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
              help="The most that a run may take; ten times the first one by default.")  # fmt: skip
def reduce(file, command, output, match, any_failure, timeout) -> None:
    """Shrink a graph, and a reproducer's pipeline and samples, while a command fails on it.

    The same failure is one with the same exit status and the same last "error:" line, names and
    numbers aside. The smallest graph so far is always in the output, whole.
    """
    from .. import registry
    from ..errors import QirError
    from ..reduction import Search, case_of, reduced
    from ..reduction.command import by_shell

    if match is not None and any_failure:
        raise click.UsageError("--match and --any-failure exclude each other")
    output = output or f"{Path(file).stem if file != '-' else 'stdin'}.reduced.qir"
    check_folder(output)
    registry.load_dialects()
    started = time.perf_counter()
    case = case_of(read_text(file), "<stdin>" if file == "-" else file)
    if command is None and case.record is None:
        raise click.UsageError("--check is missing: say what fails on this graph")
    command = command or f"{shlex.quote(sys.executable)} -m qir opt"
    before = _size(case)
    with TemporaryDirectory(prefix="qir-") as folder, _judged(command) as run, _bar(case) as shown:
        failure, ended = _failing(case, Path(folder), command, run, match, any_failure, timeout)
        search = Search(case, lambda text: failure.is_of(ended(text)))

        def keep(best) -> None:
            _write(output, best)
            shown(best, search.tests)

        search.better = keep
        keep(case)
        try:
            reduced(search)
            left = by_shell(command, Path(output), timeout)
        finally:
            spent = time.perf_counter() - started
            click.echo(f"{output}: {before} -> {_size(search.best)}, {search.tests} runs of the "
                       f"command, {spent:.1f} s", err=True)  # fmt: skip
    if not failure.is_of(left):
        raise QirError("on what is left the command does not fail in this way any more", at=output,
                       help="does it do the same each time?")  # fmt: skip


def _size(case) -> str:
    from ..pipeline import flat

    said = [f"{case.ops} op{'s' * (case.ops != 1)}"]
    steps = len(flat(case.steps))
    said += [f"{steps} step{'s' * (steps != 1)}"] if steps else []
    return " and ".join(said)


def _write(output: str, case) -> None:
    from ..text import write_atomically

    write_atomically(output, case.text())


def _failing(case, folder: Path, command: str, run, match, any_failure: bool,
             timeout: float | None):  # fmt: skip
    """How the command fails on the case as it is, and what runs it on a text.

    QirError if it does not fail.
    """
    from ..reduction.command import Ended, failure_of

    path = folder / "candidate.qir"

    def ended(text: str, seconds: float | None) -> Ended:
        path.write_text(text, encoding="utf-8")
        return run(command, path, seconds)

    started = time.perf_counter()
    failure = failure_of(ended(case.text(), timeout), command, match, any_failure)
    first = time.perf_counter() - started
    seconds = timeout or max(LEAST_SECONDS, TIMES * first)
    return failure, partial(ended, seconds=seconds)


@contextmanager
def _judged(command: str):
    """What runs the command; nothing of it is left running."""
    from .warm import end, runner_for

    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "off"  # each failure would leave a file behind
    run, process = runner_for(command)
    try:
        yield run
    finally:
        end(process)
        os.environ.pop(SWITCH)
        os.environ.update({} if before is None else {SWITCH: before})


@contextmanager
def _bar(case):
    """What shows on a terminal how far it is."""
    if not sys.stderr.isatty():
        yield lambda best, tests: None
        return
    from tqdm import tqdm

    with tqdm(total=case.ops, desc="reduce", unit=" ops", leave=False) as bar:

        def shown(best, tests: int) -> None:
            bar.set_postfix_str(f"{best.ops} left, {tests} runs", refresh=False)
            bar.update(case.ops - best.ops - bar.n)

        yield shown
