"""`qir opt`: a graph in, a pipeline over it, the graph out."""

import io
import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click

from .depfile import check_depfile, depfile_option, write_depfile
from .messages import tell
from .reproducers import BY_DEFAULT, kept_when_it_fails, reproducer_option

CASE = "// -----"


@dataclass(frozen=True)
class Wishes:
    """What one run is asked for; the fields are options of the command."""

    pipeline: str = ""
    param: tuple[str, ...] = ()
    print_after: tuple[str, ...] = ()
    print_after_all: bool = False
    verify_each: bool = False
    explain: bool = False
    timing: bool = False
    pass_statistics: bool = False
    locations: bool = False
    verify_diagnostics: bool = False
    calibration: str | None = None
    drift: str | None = None
    drift_budget: tuple[str, ...] = ()
    steps: int | None = None
    firings: int | None = None
    reproducer: str | None = None
    dry_run: bool = False


def drift_options(command):
    """The options of every command that measures what its passes do to the results."""
    for option in reversed((
        click.option("--drift", metavar="FILE.npz|random[:N]",
                     help="Print the error that each pass adds to the results on these samples."),
        click.option("--drift-budget", multiple=True, metavar="TEXT",
                     help="Fail where the error is beyond it: snr=20 (dB at least), max=0.1 (at "
                          "most), \"snr=20, result=logits\"; fold_bn(snr=90) is for what a pass "
                          "adds by itself, any(snr=30) for each pass."),
    )):  # fmt: skip
        command = option(command)
    return command


dry_run_option = click.option("--dry-run", is_flag=True,
                              help="List what each selector of the pipeline means, and stop "
                                   "before anything is calibrated or written.")  # fmt: skip


@click.command("opt")
@click.argument("file", default="-", metavar="[FILE]")
@click.option("-p", "--pipeline", default="", metavar="TEXT|FILE",
              help="Steps such as \"canonicalize, cse\", or a .pipe file.")  # fmt: skip
@click.option("-o", "--output", metavar="FILE", help="Write the graph here, its weights beside it.")
@click.option("--param", multiple=True, metavar="KEY=VALUE", help="A parameter of the pipeline.")
@click.option("--print-after", multiple=True, metavar="PASS", help="Print the graph after PASS.")
@click.option("--print-after-all", is_flag=True, help="Print the graph after each pass.")
@click.option("--verify-each", is_flag=True, help="Type every op anew after each pass.")
@click.option("--explain", is_flag=True, help="Say which rules fired, which declined and why.")
@click.option("--timing", is_flag=True, help="Print the seconds of each pass and rule, as a tree.")
@click.option("--pass-statistics", is_flag=True,
              help="Print what each pass counted and how often its rules fired.")  # fmt: skip
@click.option("--split-input-file", is_flag=True, help=f"Run on each part between {CASE} lines.")
@click.option("--locations", is_flag=True, help="Print where each op came from.")
@click.option("--verify-diagnostics", is_flag=True,
              help="Compare errors with what // expected-error {{...}} announces.")  # fmt: skip
@click.option("--calibration", metavar="FILE.npz|random[:N]",
              help="Samples by input name along the first axis, or N random ones.")  # fmt: skip
@drift_options
@click.option("--steps", type=click.IntRange(1), metavar="N",
              help="Stop after N steps, as --drift and `qir bisect` count them.")  # fmt: skip
@dry_run_option
@click.option("--firings", type=click.IntRange(0), metavar="N",
              help="Of the last step take only the first N firings of rules.")  # fmt: skip
@depfile_option
@reproducer_option
def opt(file, output, split_input_file, depfile, **wishes) -> int:
    """Run a pipeline over a graph and print what it became.

    FILE is a .qir text; nothing or - is stdin. The graph goes to stdout, all else to stderr.
    A reproducer runs the pipeline that it holds, unless -p gives another.
    """
    from .account import accounted

    check_folder(output)
    check_depfile(depfile, output)
    text, note = read_text(file), partial(click.echo, err=not wishes["dry_run"])
    name, wanted = "<stdin>" if file == "-" else file, Wishes(**wishes)
    if wanted.dry_run and not wanted.pipeline.strip():
        raise click.UsageError("--dry-run is of a pipeline, give one with -p")
    check_folder(wanted.reproducer)
    if split_input_file and wanted.reproducer:
        raise click.UsageError("--split-input-file makes many runs, --reproducer is of one")
    wanted = replace(wanted, reproducer=wanted.reproducer or BY_DEFAULT)
    if split_input_file and output:
        raise click.UsageError("--split-input-file prints; it cannot be combined with -o")
    if wanted.verify_diagnostics and output:
        raise click.UsageError("--verify-diagnostics prints; it cannot be combined with -o")
    with accounted(wanted.timing, wanted.pass_statistics, note):
        if output and not wanted.dry_run:
            write(optimize(text, name, 1, wanted, note, signed=True), output)
            if depfile:
                write_depfile(depfile, output)
            return 0
        cases = split_cases(text) if split_input_file else [(1, text)]
        return print_cases(cases, name, wanted, note)


def print_cases(cases: list[tuple[int, str]], name: str, wanted: Wishes, note) -> int:
    """Run on every case and print what became of each; 1 if something was wrong with one."""
    failures = 0
    for number, (line, part) in enumerate(cases):
        module, wrong = attempt(part, name, line, wanted, note)
        for error in wrong:
            tell(error)
        failures += bool(wrong)
        printed = "" if module is None else graph_text(module, wanted)
        click.echo(f"{CASE}\n{printed}" if number else printed, nl=False)
    return 1 if failures else 0


def attempt(text: str, file: str, first_line: int, wishes: Wishes, note, run=None):
    """The module a text becomes, None where there is none, and the errors to be told."""
    from ..errors import QirError

    def once(lines: bool = False):
        said = (lambda text: None) if lines else note
        return optimize(text, file, first_line, wishes, said, run, lines)

    if wishes.verify_diagnostics:
        from .diagnostics import verify

        return verify(text, file, first_line, once)
    try:
        return once(), []
    except QirError as error:
        return None, [error]


def optimize(text: str, file: str, first_line: int, wishes: Wishes, note, run=None, lines=False,
             signed=False):  # fmt: skip
    """The module a text becomes; `note` takes what is said on the way, text by text.

    file, first_line: where the text stands, for messages and for the weights beside it. run: the
    evaluator for passes that calibrate, by default XLA's if jax is installed. lines: ops without a
    location get the line they stand at. signed: the module says in a header what made it.
    """
    from ..timing import span

    with span("load"):
        from ..pipeline import compose
        from ..registry import load_dialects
        from ..reproducer import record_of, unpacked
        from ..text import read_module

        load_dialects()
    with span("parse"):
        module = read_module(text, file, first_line, lines)
    resources = at_hand(module, wishes.calibration, run or quickest_run, note)
    pipeline, place = pipeline_text(wishes.pipeline)
    record = record_of(module, file)
    if record is not None and record.samples is not None:
        resources.setdefault("samples", record.samples)
    again = record is not None and not pipeline.strip()
    if again:
        pipeline, place = record.pipeline, f"the pipeline of {file}"
        wishes = wishes_again(wishes, record, note)
    if not pipeline.strip():
        return module
    with kept_when_it_fails(wishes, module, pipeline, note) as failing:
        with span("compose"):
            at_hand_for = None if wishes.dry_run else tuple(resources)
            steps = compose(pipeline, place, settings(wishes.param), at_hand_for)
        failing.steps, failing.files = steps, record.files if again else None
        with unpacked(steps, record.files) if again else nullcontext(steps) as steps:
            return _run(steps, module, file, wishes, resources, note, signed and not again)


def wishes_again(wishes: Wishes, record, note) -> Wishes:
    """What a run of a reproducer is asked for; it writes no other one unless told to."""
    from .. import __version__

    if record.version != __version__:
        note(f"// a reproducer of qir {record.version or 'unknown'}, run by qir {__version__}")
    named = None if wishes.reproducer == BY_DEFAULT else wishes.reproducer
    return replace(wishes, param=(*record.settings, *wishes.param), reproducer=named,
                   verify_each=wishes.verify_each or record.verify_each)  # fmt: skip


def _run(steps, module, file: str, wishes: Wishes, resources, note, signed: bool):
    """The module that the steps make of one, watched as the wishes say; None of a dry run."""
    if wishes.dry_run:
        from ..dry_run import dry_run

        note("\n".join(dry_run(steps, module)))
        return None
    from .. import journal
    from ..ir import Module
    from ..origin import origin, ranges_in
    from ..partial import run_part
    from ..pipeline import run_module
    from ..rewrite import recorded
    from ..sensitivity import Ranking, ranking_lines
    from ..timing import span
    from .drift import command_words, drift_listener
    from .watch import check_names, watcher

    check_names(wishes.print_after, steps)
    model = "MODEL.qir" if file == "<stdin>" else file
    words = command_words(model, wishes.pipeline, wishes.param, wishes.calibration)
    measure = drift_listener(wishes.drift, wishes.drift_budget, module, steps,
                             resources["run"], note, words)  # fmt: skip
    part, ranges = part_wanted(wishes, steps), []

    def then(done) -> None:
        ranges.extend(ranges_in(done))
        if measure is not None:
            measure(done)

    with (recorded() if wishes.explain else nullcontext([]) as log,
          journal.recorded(Ranking) as rankings):  # fmt: skip
        listen = watcher(wishes, log, note, then)
        if part is None:
            made = run_module(steps, module, resources, listen)
        else:
            made = run_part(steps, module, part, resources, listen)
    for ranking in rankings:
        note("\n".join(f"// {line}" for line in ranking_lines(ranking)))
    if signed and part is None:
        with span("sign"):
            made = Module(made.funcs, {"origin": origin(module, steps, ranges)})
    return made


def part_wanted(wishes: Wishes, steps):
    """How far the pipeline is to run, None for all of it."""
    from ..errors import QirError
    from ..partial import Part
    from ..pipeline import flat, has_fixpoint

    if wishes.steps is None and wishes.firings is None:
        return None
    if wishes.steps is None and has_fixpoint(steps):
        raise QirError("--firings needs --steps: of a fixpoint no step is the last one beforehand",
                       help="--drift random counts the steps")  # fmt: skip
    return Part(wishes.steps or len(flat(steps)), wishes.firings)


def graph_text(module, wishes: Wishes) -> str:
    """The module as `qir opt` prints it."""
    from ..text import print_module
    from ..timing import span

    with span("print"):
        return print_module(module, wishes.locations)


def write(module, output: str) -> None:
    """Write the module to a file, its weights beside it."""
    from ..text import save_module
    from ..timing import span

    with span("write"):
        save_module(module, output)


def at_hand(module, calibration: str | None, run, note) -> dict[str, object]:
    """The resources for passes: an evaluator, a compiler, an outlet, samples if asked for."""
    from ..arrays import samples_from
    from ..registry import target_named

    found = {
        "run": run,
        "compile": lambda func, target: target_named(target).compile(func),
        "emit": note,
    }
    if calibration is not None:
        found["samples"] = samples_from(calibration, module.main)
    return found


def quickest_run(func, arrays):
    """Evaluate by XLA where jax is installed, else by numpy."""
    module = "targets.xla.evaluator" if find_spec("jax") else "evaluate"
    return import_module(f"qir.{module}").evaluate(func, arrays)


def pipeline_text(wanted: str) -> tuple[str, str]:
    """A pipeline's text and where it stands: the text itself or the `.pipe` file it names."""
    if not wanted.strip().endswith(".pipe"):
        return wanted, "<pipeline>"
    return read_text(wanted), wanted


def settings(given: tuple[str, ...]) -> dict[str, object]:
    """`key=value` texts as parameters of a pipeline, each value read as the text has it."""
    from ..errors import QirError
    from ..text.read import read_value
    from ..text.syntax import Source, parse_pipelines

    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not (equals and key.isidentifier()):
            raise QirError(f"'{text}' is no setting, it is written key=value", at="--param")
        source = Source(f"settings({text})", "--param")
        call = parse_pipelines(source)[0].steps[0]
        found[key] = read_value(call.kwargs[key], source)
    return found


def split_cases(text: str) -> list[tuple[int, str]]:
    """The parts of a text between case lines, each with the number of its first line."""
    parts, lines, first = [], [], 1
    for number, line in enumerate(io.StringIO(text), 1):
        if line.strip() == CASE:
            parts.append((first, "".join(lines)))
            lines, first = [], number + 1
        else:
            lines.append(line)
    return [*parts, (first, "".join(lines))]


def check_folder(output: str | None) -> None:
    """QirError if a file cannot be written for want of its folder; before the work, not after."""
    from ..errors import QirError

    if output is not None and Path(output).is_dir():
        raise QirError("cannot write: this is a folder", at=output, help="name a file in it")
    if output is not None and not Path(output).parent.is_dir():
        raise QirError("cannot write: there is no such folder", at=output,
                       help="choose a folder that exists and can be written")  # fmt: skip


def read_text(file: str) -> str:
    """The text of a file, `-` for stdin; QirError if there is none."""
    from ..errors import QirError

    if file == "-" and sys.stdin is None:
        raise QirError("cannot read: it is closed", at="<stdin>", help="name a file")
    try:
        if file == "-":
            text = sys.stdin.read()
            text.encode()  # bytes that are no text come as half characters in some locales
            return text
        return Path(file).read_text(encoding="utf-8")
    except UnicodeError:
        translate = f"qir translate {file} -o model.qir makes a graph of it"
        raise QirError("this is not text", at="<stdin>" if file == "-" else file,
                       help=translate if file.endswith(".tflite") else None) from None  # fmt: skip
    except OSError as error:
        raise QirError(f"cannot read: {error.strerror}", at=file) from None
