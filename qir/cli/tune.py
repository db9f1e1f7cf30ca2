"""`qir tune`: the fastest kernels for the shapes of a model, measured on this machine."""

import click

from .bench import interleaved
from .models import MODEL_HELP, model_options, quantized_model


@click.command("tune", epilog=MODEL_HELP)
@model_options
@click.option("-o", "--output", metavar="FILE.json", required=True,
              help="The profile; what it says of other shapes stays.")  # fmt: skip
@click.option("--batch", type=click.IntRange(1), multiple=True, metavar="N",
              help="Batch to measure, the model's own by default; may be repeated.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True,
              help="Timed calls of each.")  # fmt: skip
def tune(model, calibration, inputs, pipeline, param, target, output, batch, rounds) -> None:
    """Measure which kernel is fastest here for each convolution and dot of a model.

    They are XLA's own, which run where qir's kernels in C++ do not. Each gives the same result, so
    that a profile changes nothing but time: `legalize(target=xla, profile=FILE)`, or the parameter
    `profile` of a pipeline.
    """
    from .. import api, registry

    tuner = registry.target_named(target).tuner(output)
    _, quantized = quantized_model(model, calibration or "random", inputs, pipeline, param, target)
    lowered = quantized.module.main
    funcs = [lowered.with_batch(each) for each in batch] or [lowered]
    ops = [op for func in funcs for op in api.legalized(func, target).ops]
    measured, known = tuner(ops, lambda *calls: interleaved(*calls, rounds=rounds), click.echo)
    click.echo(f"{measured} shapes measured, {known} in {output}")
