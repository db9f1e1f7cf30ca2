"""`--drift`: what every pass adds to the error of every result, and budgets that fail the run."""

import shlex
from collections.abc import Callable, Sequence

from ..arrays import result_labels, samples_from
from ..drift import Budget, Error, Measured, measuring, overrun
from ..errors import QirError, suggestion
from ..ir import Func, Module
from ..pipeline import Listener, Steps, flat
from ..samples import filled_batches
from ..text.read import read_value
from ..text.syntax import CallText, Source, parse_pipelines
from .watch import Note

LIMITS = ("snr", "max", "result")


def drift_listener(wanted: str | None, texts: Sequence[str], module: Module, steps: Steps, run,
                   note: Note, command: Sequence[str]) -> Listener | None:  # fmt: skip
    """The listener that prints the table and holds the budgets; None where no drift is wanted.

    command: the words for `qir bisect` that run the same pipeline on the same model.
    """
    if wanted is None:
        if texts:
            raise QirError("--drift-budget needs samples", help="give --drift data.npz")
        return None
    budgets = [b for text in texts for b in read_budgets(text, steps, module)]
    table = _Table(module, steps)
    note("\n".join(table.header(wanted)))

    def tell(measured: Measured) -> None:
        note("\n".join(table.rows(measured)))
        over = overrun(budgets, measured)
        if over is not None:
            raise broken(measured, *over, [*command, "--samples", wanted])

    return measuring(samples_of(wanted, module, note), run, tell)


def samples_of(wanted: str, module: Module, note: Note) -> Callable[[Func], object | None]:
    """The samples for each function; one that is not the entry may do without, which is noted."""

    def found(func: Func):
        if func.name == module.main.name:
            return samples_from(wanted, func)
        try:
            samples = samples_from(wanted, func)
            next(filled_batches(func, samples, "comparison"))
        except QirError as error:
            note(f"// @{func.name} is not measured: {error.message}")
            return None
        return samples

    return found


def read_budgets(text: str, steps: Steps, module: Module) -> list[Budget]:
    """The budgets of a text: limits on all drift, and calls named after passes for theirs."""
    source = Source(f"budget({text})", "--drift-budget")
    calls = parse_pipelines(source)[0].steps
    if len(calls) > 1:
        raise QirError("this is no budget", at=source.place(calls[1].offset))
    call = calls[0]
    budgets = [_budget(call, source, None, module)] if call.kwargs or not call.args else []
    names = [step.action.name for step in flat(steps)]
    for inner in call.args:
        if not isinstance(inner, CallText) or inner.args:
            at = source.place(inner.offset) if isinstance(inner, CallText) else source.file
            raise QirError(f"'{text}' is no budget", at=at,
                           help="snr=20, max=0.1, or such limits for a pass: "
                                "fold_bn(snr=60)")  # fmt: skip
        if inner.name not in ("any", *names):
            raise QirError(f"the pipeline has no pass '{inner.name}'",
                           at=source.place(inner.offset, len(inner.name)),
                           help=suggestion(inner.name, {"any", *names}))  # fmt: skip
        budgets.append(_budget(inner, source, inner.name, module))
    return budgets


def _budget(call: CallText, source: Source, step: str | None, module: Module) -> Budget:
    given = {key: read_value(value, source) for key, value in call.kwargs.items()}
    for key, value in given.items():
        at = source.place(call.keyword_offsets[key], len(key))
        if key not in LIMITS or key == call.repeated:
            what = "is given twice" if key == call.repeated else "is no limit"
            raise QirError(f"'{key}' {what}", at=at, help=suggestion(key, LIMITS))
        if key == "result":
            check_label(value, module, at)
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            raise QirError(f"{key} is a number, found '{value}'", at=at)
        elif key == "max" and value < 0:
            raise QirError(f"max is 0 or more, found {value}", at=at)
    if "snr" not in given and "max" not in given:
        raise QirError("a budget needs a limit", at=source.place(call.offset, len(call.name)),
                       help="snr=20 (dB at least) or max=0.1 (at most)")  # fmt: skip
    return Budget(given.get("snr"), given.get("max"), step, given.get("result"))


def check_label(label: str, module: Module, at=None) -> None:
    """QirError if no function has a result of that name."""
    known = {name for func in module.funcs for name in result_labels(func)}
    if label not in known:
        raise QirError(f"there is no result '{label}'", at=at,
                       help=suggestion(str(label), known))  # fmt: skip


def broken(measured: Measured, budget: Budget, result: int, command: list[str]) -> QirError:
    """The error for a step that is beyond a budget."""
    step, label = measured.done.step, measured.labels[result]
    name = f"step {measured.number}, {step.action.name}, is beyond the budget {budget}"
    if budget.step is None:
        did = "it adds nothing"
        if measured.added is not None:
            did = f"the step alone: {measured.added[result]}"
        text = f"{measured.total[result]} against the original; {did}"
    else:
        text = f"it adds {measured.added[result]}"
    advice = shlex.join(["qir", "bisect", *command, *budget_words(budget)])
    return QirError(f"{name}: {label} of @{measured.done.before.name}: {text}", at=step.place,
                    help=f"find the rule and its firing: {advice}")  # fmt: skip


def budget_words(budget: Budget) -> list[str]:
    """A budget as options of `qir bisect`."""
    words = [] if budget.snr is None else ["--snr", f"{budget.snr:g}"]
    words += [] if budget.largest is None else ["--max-error", f"{budget.largest:g}"]
    words += [] if budget.result is None else ["--result", budget.result]
    return [*words, "--added"] if budget.step is not None else words


class _Table:
    """The widths of the columns, known before the first row."""

    def __init__(self, module: Module, steps: Steps):
        self.prefixed = len(module.funcs) > 1
        labels = [self.label(f.name, label) for f in module.funcs for label in result_labels(f)]
        self.label_width = max(map(len, (*labels, "result")))
        self.name_width = max(map(len, (*(s.action.name for s in flat(steps)), "pass")))

    def label(self, func: str, label: str) -> str:
        return f"@{func} {label}" if self.prefixed else label

    def header(self, wanted: str) -> list[str]:
        start = f"// {'step':>4} {'pass':<{self.name_width}}  {'result':<{self.label_width}}"
        return [f"// drift on {wanted}: what each step adds, and all since the original",
                f"{start}  {'max added':>10} {'dB':>7}  {'max total':>10} {'dB':>7}"]  # fmt: skip

    def rows(self, measured: Measured) -> list[str]:
        done = measured.done
        start = f"// {measured.number:>4} {done.step.action.name:<{self.name_width}}"
        lines = []
        for i, label in enumerate(measured.labels):
            added = f"{'unchanged':>18}"
            if measured.added is not None:
                added = _numbers(measured.added[i])
            label = self.label(done.before.name, label)
            total = _numbers(measured.total[i])
            lines.append(f"{start}  {label:<{self.label_width}}  {added}  {total}")
            strange = measured.added and measured.added[i].strange
            lines += [f"//      {label} became {strange}"] if strange else []
        return lines


def _numbers(error: Error) -> str:
    return f"{error.largest:>10.3g} {error.snr:>7.1f}"


def command_words(model: str, pipeline: str, param, calibration: str | None, inputs=()):
    """The words by which another command runs the same pipeline on the same model."""
    words = [model, "-p", pipeline]
    for name, values in (("--param", param), ("--input", inputs)):
        words += [word for value in values for word in (name, value)]
    return [*words, "--calibration", calibration] if calibration else words
