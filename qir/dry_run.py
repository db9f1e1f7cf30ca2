"""What the selectors of a pipeline mean for a model, found without calibrating or writing.

Steps run as far as they need no data, so that selectors meet the ops that they will meet. Behind
the first that is left out, graphs are no further on; selectors there are matched all the same.
"""

from collections.abc import Iterator

from .forms import implies
from .ir import Func, Module, Op, place_of
from .pipeline import Step, Steps, check_start, flat, run_steps
from .recipes import Choice, choices


def dry_run(steps: Steps, module: Module) -> Iterator[str]:
    """Lines that say, step by step, which ops each selector means; QirError where it means none."""
    found = False
    for func in module.funcs:
        check_start(func, steps)
        for number, choice in enumerate(_choices(steps, func)):
            if number == 0 and len(module.funcs) > 1:
                yield f"@{func.name}"
            found = True
            yield f"{choice.text}: {len(choice.ops)} op{'s' * (len(choice.ops) > 1)}"
            yield from map(_line, choice.ops)
    if not found:
        yield "no step of the pipeline has a selector"


def _choices(steps: Steps, func: Func) -> Iterator[Choice]:
    """What each selector means, in a function that goes as far as it can without data."""
    form: str | None = None
    for step in flat(steps):
        yield from choices(step.action.name, step.options, func, step.place)
        if _can_run(step, form):
            func = run_steps((step,), func, verify=False)
            form = form if step.action.after == "any" else _form_after(step, form)


def _can_run(step: Step, form: str | None) -> bool:
    """Whether a step needs nothing that is not at hand, and finds the form it takes."""
    before = step.action.before
    fits = before == "any" or form is None or implies(form, before)
    return fits and not step.action.resources and step.action.after != "{target}"


def _form_after(step: Step, form: str | None) -> str:
    return step.action.form_after(form or step.action.before, step.options)


def _line(op: Op) -> str:
    return f"  {op.kind} : {op.type}  at {place_of(op) or 'an unknown place'}"
