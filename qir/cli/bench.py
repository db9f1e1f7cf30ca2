"""`qir bench`: float against int8, in one run and interleaved, so that both see one machine."""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import click

from .models import MODEL_HELP, model_options, quantized_model

WARM_UP = 3


@click.command("bench", epilog=MODEL_HELP)
@model_options
@click.option("--batch", type=int, metavar="N", help="Batch to run, the model's own by default.")
@click.option("--rounds", default=30, show_default=True, help="Timed calls of each.")
@click.option("--per-op", is_flag=True, help="Also the time of each op, compiled by itself.")
def bench(model, calibration, inputs, pipeline, param, target, batch, rounds, per_op) -> None:
    """Time a float model against its quantized form and print the medians and their ratio.

    The float side is the traced model as the target compiles it.
    """
    from .. import api, registry
    from ..arrays import random_inputs
    from ..errors import QirError
    from ..evaluate import checked_inputs

    if rounds < 1 or (batch is not None and batch < 1):
        raise QirError("--rounds and --batch are positive numbers")
    if per_op and target != "xla":
        raise QirError(f"--per-op compiles each op by itself, which the target '{target}' does not",
                       help="leave out --per-op, or say --target xla")  # fmt: skip
    module, quantized = quantized_model(model, calibration or "random", inputs, pipeline, param,
                                        target)  # fmt: skip
    func = module.main if batch is None else module.main.with_batch(batch)
    arrays = checked_inputs(func, random_inputs(func, "bench"))
    lowered = quantized.module.main
    lowered = lowered if batch is None else lowered.with_batch(batch)
    compiled = [partial(api.compile(f, target), *arrays) for f in (func, lowered)]
    float_seconds, int8_seconds = interleaved(*compiled, rounds=rounds)
    shapes = ", ".join(str(p.type) for p in func.parameters)
    click.echo(f"inputs {shapes}, target {target}, medians of {rounds} interleaved calls")
    click.echo(f"float  {1e3 * float_seconds:9.3f} ms")
    click.echo(f"int8   {1e3 * int8_seconds:9.3f} ms")
    click.echo(f"ratio  {float_seconds / int8_seconds:9.2f} (float / int8)")
    legalized = api.legalized(lowered, target)
    for line in registry.target_named(target).layer_lines(legalized):
        click.echo(line)
    if target == "xla":
        click.echo("XLA's f32 on a CPU is a weak baseline: hand-tuned float kernels are faster.")
    if per_op:
        from .per_op import per_op_lines

        compile = registry.target_named(target).compile
        click.echo("\n".join(per_op_lines(legalized, compile, arrays, rounds)))


def interleaved(*calls: Callable, rounds: int) -> tuple[float, ...]:
    """Median seconds of each of some calls made in turn; their results are waited for."""
    for call in calls:
        for _ in range(WARM_UP):
            finish(call())
    spent = [[] for _ in calls]
    for _ in range(rounds):
        for call, seconds in zip(calls, spent, strict=True):
            started = perf_counter()
            finish(call())
            seconds.append(perf_counter() - started)
    return tuple(map(median, spent))


def finish(results) -> None:
    """Wait for what a target computes behind the caller's back."""
    parts = tuple(results.values()) if isinstance(results, dict) else results
    for part in parts if isinstance(parts, tuple) else (parts,):
        getattr(part, "block_until_ready", lambda: None)()
