"""`qir evaluate`: one model measured on data."""

import json
from functools import partial

import click

from .models import MODEL_HELP


def data_options(command):
    """The options of every command that measures models on data."""
    for option in reversed((
        click.option("--data", required=True, metavar="FILE.npz",
                     help="Samples by input name along the first axis, and labels with them."),
        click.option("--labels", metavar="NAME",
                     help="The array of labels, a class for each sample; by default the only one "
                          "in the file that is no input."),
        click.option("--result", metavar="NAME", help="The result to judge, if there are several."),
        click.option("--input", "inputs", multiple=True, metavar="f32[1,28,28,1]",
                     help="An input's type, one for each, of a function that names no example."),
        click.option("--target", default="xla", show_default=True),
        click.option("--runtime", default="xla", show_default=True,
                     type=click.Choice(["xla", "litert"]),
                     help="What runs a .tflite model: XLA, or LiteRT's interpreter, one thread."),
        click.option("--batch", type=click.IntRange(1), metavar="N",
                     help="Batch to run, the model's own by default."),
        click.option("--rounds", type=click.IntRange(1), default=30, show_default=True,
                     help="Timed calls of each model."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
    )):  # fmt: skip
        command = option(command)
    return command


@click.command("evaluate", epilog=MODEL_HELP)
@click.argument("model")
@data_options
@click.option("--against", metavar="MODEL", help="The float model to compare with.")
@click.option("--kernels", default="xnnpack", show_default=True,
              type=click.Choice(["tflite_reference", "tflite_builtin", "xnnpack"]),
              help="Whose arithmetic a .tflite model has.")  # fmt: skip
def evaluate(model, data, labels, result, inputs, target, runtime, batch, rounds, as_json,
             against, kernels) -> None:  # fmt: skip
    """Measure a float or a quantized model on data.

    Accuracy where the data has labels; signal to noise, and latency timed in turn, against the
    float model where --against names it; size on disk, peak memory of the process, ops in float.
    """
    from . import scores

    loaded = scores.loaded(model, target, runtime, kernels, inputs)
    read = scores.read_data(data, loaded.func, labels)
    origin = None
    if against is not None:
        origin = partial(scores.loaded, against, target, runtime, kernels, inputs)
    size = scores.disk_size(model, loaded.func)
    found = scores.evaluated(loaded, read, result, rounds, size, origin, batch)
    if as_json:
        click.echo(json.dumps(found.record()))
        return
    runs = f"target {target}" if runtime == "xla" else "LiteRT"
    click.echo(f"{model} on {data}: {found.samples} samples, {runs}")
    click.echo("\n".join(scores.columns(list(told(found, rounds)))))


def told(found, rounds: int):
    """What was measured in words: rows of a name, a figure and what it is."""
    from .scores import size_text, time_text

    for name, share in (("top-1", found.top_1), ("top-5", found.top_5)):
        if share is not None:
            yield f"{name} accuracy", f"{100 * share:.2f} %"
    if found.snr is not None:
        yield "signal to noise", f"{found.snr:.1f} dB"
    yield "size on disk", size_text(found.size)
    of = "a call" if found.batch is None else f"batch {found.batch}"
    yield f"latency, {of}, median of {rounds}", time_text(found.latency)
    if found.float_latency is not None:
        yield "latency of the float model in turn", time_text(found.float_latency)
        yield "ratio (float / this)", f"{found.float_latency / found.latency:.2f}"
    yield "peak memory of the process", size_text(found.peak)
    yield f"float ops left, of {found.ops}", str(found.float_ops)
