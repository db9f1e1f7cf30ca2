"""`qir bisect`: the pass that breaks accuracy, and inside it the rule and its firing."""

import json
import os
import shlex
from functools import partial
from math import isnan

import click

from .models import MODEL_HELP, pipeline_options, traced_model
from .opt import at_hand, check_folder, pipeline_text, quickest_run, settings


@click.command("bisect", epilog=MODEL_HELP)
@pipeline_options
@click.option("--samples", metavar="FILE.npz|random[:N]",
              help="What to compare on; else the calibration data, else random ones.")  # fmt: skip
@click.option("--snr", type=float, metavar="DB", help="At least this signal-to-noise ratio.")
@click.option("--max-error", type=click.FloatRange(0), metavar="E",
              help="At most this absolute difference.")  # fmt: skip
@click.option("--result", metavar="NAME", help="Judge this result alone, else each of them.")
@click.option("--added", is_flag=True, help="Judge what each step adds, not all since the start.")
@click.option("--from", "first", type=click.IntRange(1), default=1, metavar="STEP",
              help="Leave out what earlier steps break.")  # fmt: skip
@click.option("-o", "--output", metavar="FILE.qir",
              help="Write the graph as it was before the step, to reproduce it on.")  # fmt: skip
def bisect(model, calibration, inputs, pipeline, param, samples, snr, max_error, result, added,
           first, output) -> None:  # fmt: skip
    """Find the pass, the rule and the firing that first break a tolerance.

    The pipeline runs once, each step compared with the original model; then the step that breaks
    the tolerance runs again with fewer of its rules' firings.
    """
    from .. import registry
    from ..bisection import Bisector
    from ..drift import Budget
    from ..pipeline import compose
    from .drift import check_label, command_words, samples_of

    limits = [limit for limit in (snr, max_error) if limit is not None]
    if not limits or any(map(isnan, limits)):
        raise click.UsageError("say what is too much: --snr DB or --max-error E, a number")
    check_folder(output)
    registry.load_dialects()
    wanted = samples or calibration or "random"
    module = traced_model(model, calibration or wanted, inputs)
    if result is not None:
        check_label(result, module, "--result")
    note = partial(click.echo, err=True)
    resources = at_hand(module, calibration, quickest_run, note)
    text, origin = pipeline_text(pipeline)
    steps = compose(text, origin, settings(param), tuple(resources))
    budget = Budget(snr, max_error, "any" if added else None, result)
    words = command_words(model, pipeline, param, calibration)
    by = Bisector(steps, module, samples_of(wanted, module, note), quickest_run, resources, budget)
    course = by.course()
    for line in _told(by, course, first, words, wanted, output):
        click.echo(line)


def _told(by, course, first: int, words: list[str], samples: str, output: str | None):
    """Lines that say what was found."""
    broken = [i for i in by.broken(course) if course.steps[i].number >= first]
    if not broken and course.failed is not None:
        raise course.failed
    if not broken:
        yield f"no step{f' from {first} on' if first > 1 else ''} breaks {by.budget}"
        yield from _ends(course)
        return
    measured = course.steps[broken[0]]
    search = by.search(measured, course.firings[broken[0]])
    yield from _step_lines(by, course, broken[0])
    yield from _search_lines(by, measured, search)
    yield from _later_lines(by, course, broken)
    yield from _reproduced(by, measured, search, words, samples, output)


def _ends(course):
    last = {measured.done.before.name: measured for measured in course.steps}
    for name, measured in last.items():
        for label, error in zip(measured.labels, measured.total, strict=True):
            yield f"  {label} of @{name} after {measured.number} steps: {error}"


def _step_lines(by, course, index: int):
    """The step, where it stands, and the result that it breaks, before and after it."""
    from ..bisection import blocks_round
    from ..drift import Error, exceeding

    measured = course.steps[index]
    done, added = measured.done, by.budget.step is not None
    yield f"step {measured.number} of @{done.before.name} breaks {by.budget}: {done.step}"
    blocks = [f"only(match={b.match})" if b.match is not None else b.name
              for b in blocks_round(by.steps, done.step) or ()]  # fmt: skip
    rounds = sum(other.done.step is done.step and other.done.before.name == done.before.name
                 for other in course.steps[: index + 1])  # fmt: skip
    inside = f", in {' in '.join(reversed(blocks))}" if blocks else ""
    turn = f", round {rounds}" if "fixpoint" in inside else ""
    yield f"  at {done.step.place or 'an unknown place'}{inside}{turn}"
    found = measured.added if added else measured.total
    i = exceeding(by.budget, measured.labels, found)
    if added:
        yield f"  {measured.labels[i]}: the step adds {found[i]}"
        return
    before = Error() if measured.number == 1 else course.steps[index - 1].total[i]
    yield f"  {measured.labels[i]} before it: {before}"
    yield f"  {measured.labels[i]} after it: {found[i]}"
    yield from _gathered(before, found[i], "step")


def _gathered(before, after, what: str):
    if before.noise > after.noise / 2:
        yield f"  most of the noise was there before this {what}: it gathers little by little"


def _search_lines(by, measured, search):
    """The rule and its firing, or why the step is named as a whole."""
    if search.firing is not None:
        yield from _firing_lines(by, measured, search)
        return
    if search.total == 0:
        yield "no rule fired in it"
    elif search.beyond == 0:
        yield f"it breaks with none of its {search.total} firings: by its own code, not by a rule"
    elif search.within == search.total:
        yield f"run again, its {search.total} firings do something else: it is not deterministic"
        return
    else:
        yield (f"firings {search.within + 1} to {search.beyond} of {search.total}: the graphs "
               "between them cannot be judged")  # fmt: skip
        return
    found = by.entries(measured, search)
    yield from ["noise enters most at"] if found else []
    for entry in found:
        yield f"  {_at(entry.before)} : {entry.before.type}: {entry.error}"
        yield f"    it spans {_span(entry.was)} before the step, {_span(entry.now)} after it"


def _span(ends: tuple[float, float]) -> str:
    return f"[{ends[0]:.4g}, {ends[1]:.4g}]"


def _firing_lines(by, measured, search):
    from ..drift import exceeding
    from ..excerpt import excerpts
    from ..ir import Module
    from ..text import print_module

    firing = search.firing
    yield f"rule {firing.rule} at {_short(firing.source.place)}"
    yield f"  firing {search.beyond} of {search.total}, at {_at(firing.op)}"
    i = exceeding(by.budget, measured.labels, search.tried[search.beyond])
    for number in (search.within, search.beyond):
        found = search.tried[number]
        said = "cannot be judged" if found is None else str(found[i])
        yield f"  {measured.labels[i]} with {number} firings: {said}"
    yield f"  tried {_tried(by, measured, search)}"
    if search.tried[search.within] is not None:
        pair = (search.tried[n][i] for n in (search.within, search.beyond))
        yield from _gathered(*pair, "firing")
    if search.own is not None:
        yield f"  the replacement against what it replaces: {search.own}"
    yield "what it matched, and what it put in its place"
    text = print_module(Module(excerpts(firing)))
    yield "\n".join(f"  {line}".rstrip() for line in text.rstrip().splitlines())


def _tried(by, measured, search) -> str:
    """Which numbers of firings kept the budget; a search by halving tries few of them."""
    from ..drift import exceeding

    kept, gone = [], []
    for number, found in sorted(search.tried.items()):
        if found is not None:
            bad = exceeding(by.budget, measured.labels, found) is not None
            (gone if bad else kept).append(str(number))
    return f"{', '.join(kept)}: within; {', '.join(gone)}: beyond"


def _later_lines(by, course, broken: list[int]):
    """What becomes of the budget after the step that breaks it first."""
    if by.budget.step is None:
        name = course.steps[broken[0]].done.before.name
        mended = next((m for m, bad in _verdicts(by, course)[broken[0]:]
                       if not bad and m.done.before.name == name), None)  # fmt: skip
        if mended is not None:
            yield f"step {mended.number}, {mended.done.step.action.name}, mends it"
    for index in broken[1:]:
        later = course.steps[index]
        yield (f"step {later.number} of @{later.done.before.name}, {later.done.step.action.name}, "
               f"breaks it too (--from {later.number})")  # fmt: skip
    if course.failed is not None:
        yield f"the pipeline then fails: {course.failed.message}"


def _verdicts(by, course):
    from ..drift import overrun

    return [(m, overrun((by.budget,), m) is not None) for m in course.steps]


def _reproduced(by, measured, search, words: list[str], samples: str, output: str | None):
    """The command that stops at the firing, or at the step."""
    from ..bisection import match_of
    from ..ir import Module
    from ..text import save_module

    firings = ["--firings", str(search.beyond)] if search.firing is not None else []
    step = measured.done.step
    if output is not None:
        save_module(Module((measured.done.before,)), output)
        match, text = match_of(by.steps, step), str(step)
        text = text if match is None else f"only({text}, match={json.dumps(match)})"
        kept = words[words.index("--calibration") :] if "--calibration" in words else []
        needs = kept if "samples" in step.action.needs(step.options) else []
        words = [output, "-p", text, *needs]
    elif not words[0].endswith(".qir"):
        yield "to reproduce it, give -o FILE.qir for the graph before the step"
        return
    else:
        firings = ["--steps", str(measured.number), *firings]
    yield f"reproduce\n  {shlex.join(['qir', 'opt', *words, *firings, '--drift', samples])}"


def _at(op) -> str:
    place = op.location[0] if op.location else None
    return f"{op.kind} ({place})" if place else op.kind


def _short(place: str) -> str:
    """A place as seen from the current folder, if it is in there."""
    here = os.path.join(os.getcwd(), "")
    return place.removeprefix(here)
