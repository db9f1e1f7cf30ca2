"""`qir explain`: where the type and the scale of a value come from."""

import re

import click

from .models import MODEL_HELP, model_options, traced_model
from .opt import pipeline_text, settings

MOST = 10
"""Of more values than these only the list is shown."""


@click.command("explain", epilog=MODEL_HELP)
@model_options
@click.argument("values", nargs=-1, metavar="[%VALUE]...")
@click.option("--at", metavar="REGEX",
              help="All values whose layer, file:line or name matches.")  # fmt: skip
@click.option("--after", metavar="PASS|N",
              help="Values of the graph after PASS (its last run) or after N steps; 0 is the graph "
                   "that goes in. By default of the last graph.")  # fmt: skip
@click.option("--function", metavar="NAME", help="The function the values belong to, else main.")
def explain(model, calibration, inputs, pipeline, param, target, values, at, after,
            function) -> None:  # fmt: skip
    """Say of a value what it came from, and why it has its type and its scale.

    A %VALUE is named as the graph is printed; without one the graph is printed. Which rules made
    it, which observer and statistic gave its range, who shares its grid and who wanted another
    one, where a requantize came from, why it stays in float. What `qir quantize -o` writes is the
    graph before legalize, that of --after cse.
    """
    from ..text import print_func

    history = history_of(model, calibration, inputs, pipeline, param, target, function)
    stage = stage_after(history, after)
    if values or at is not None:
        click.echo(stories(history, stage, values, at))
    else:
        click.echo(print_func(history.stages[stage]), nl=False)
        click.echo("// name a value of this graph to have it explained", err=True)


def history_of(model, calibration, inputs, pipeline, param, target, function=None):
    """The way of a function through the pipeline that the options of a command ask for."""
    from .. import api
    from ..arrays import samples_from
    from ..explain import followed

    text, _ = pipeline_text(pipeline)
    module = traced_model(model, calibration, inputs)
    func = module.main if function is None else module[function.removeprefix("@")]
    samples = None if calibration is None else samples_from(calibration, module.main)
    with followed() as follower:
        api.quantize(module, None, samples, text, target, follower.listen, **settings(param))
    return follower.history(func)


def stage_after(history, after: str | None) -> int:
    """The number of the graph that `--after` names."""
    from ..errors import QirError, suggestion

    last = len(history.stages) - 1
    if after is None:
        return last
    if after.isdigit():
        if int(after) > last:
            raise QirError(f"--after {after}: the pipeline has {last} steps")
        return int(after)
    found = [i for i, name in enumerate(history.names) if i and name == after]
    if not found:
        raise QirError(f"--after: the pipeline has no pass '{after}'",
                       help=suggestion(after, set(history.names[1:])))  # fmt: skip
    return found[-1]


def stories(history, stage: int, values, at: str | None) -> str:
    """The stories of the values named, or a list of them where they are too many."""
    from ..explain import story
    from ..text.write import op_printer

    func = history.stages[stage]
    found = [*named(func, values), *(placed(func, at) if at is not None else ())]
    found = list(dict.fromkeys(found))
    printed = op_printer(func)
    if len(found) > MOST:
        lines = [printed(op) for op in found]
        return "\n".join([f"{len(found)} values are there, name those to explain:", *lines])
    return "\n\n".join(story(history, stage, op, printed) for op in found)


def named(func, values) -> list:
    """The ops that the names stand for; QirError with a suggestion."""
    from ..errors import QirError, suggestion
    from ..text.write import value_names

    ops = {name: op for op, name in value_names(func).items()}
    found = []
    for value in values:
        name = value if value.startswith("%") else f"%{value}"
        if name not in ops:
            raise QirError(f"@{func.name} has no value {name}", help=suggestion(name, ops))
        found.append(ops[name])
    return found


def placed(func, at: str) -> list:
    """The ops one of whose places, or whose name, matches a regular expression."""
    from ..errors import QirError

    try:
        wanted = re.compile(at)
    except re.error as error:
        raise QirError(f"'{at}' is no regular expression: {error}", at="--at") from None
    found = [op for op in func.ops
             if any(map(wanted.search, (*op.location, op.attributes.get("name") or "")))]
    if not found:
        places = len({text for op in func.ops for text in op.location})
        raise QirError(f"no value of @{func.name} is at '{at}'", at="--at",
                       help=f"its ops are at {places} places; --locations of qir opt shows them")
    return found
