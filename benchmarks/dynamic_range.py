"""Dynamic range against float on XLA: a BERT-base encoder and ResNet-50.

    python -m benchmarks.dynamic_range [--rounds 15] [--batches 1,8] [--tiny]

Weights are random; both forms of a model are called in turn in one process. Counts milliseconds a
call, the bytes of the weights file on disk, and signal to noise of the result against float.
"""

from functools import partial

import click
import jax

import qir
from qir.cli.bench import interleaved

from . import measure
from .large_models import subjects

NAMES = {"encoder": "BERT-base encoder, 128 tokens", "resnet50": "ResNet-50, 224 by 224"}
NOTE = (
    "Median milliseconds of calls made in turn; float is the unmodified model under `jax.jit`. "
    "Smaller: bytes of the float model's weights file over those of this one. dB: signal to noise "
    "of the result against float on 8 inputs."
)


def measured(name: str, batches: list[int], rounds: int, tiny: bool) -> list[str]:
    """A row of the table."""
    subject = subjects(tiny)[name]
    model, example = subject.build()
    found = qir.quantize(model, example, pipeline="dynamic_range")
    jitted = jax.jit(model)
    held_out = subject.inputs(8, seed=2000)
    noise = measure.signal_to_noise(jitted(held_out), found(held_out))
    before, after = measure.sizes_on_disk(found)
    cells = []
    for batch in batches:
        x = subject.inputs(batch, seed=3000)
        reals, ours = interleaved(partial(jitted, x), partial(found, x), rounds=rounds)
        cells += [f"{1e3 * reals:.1f}", f"{1e3 * ours:.1f}", f"{reals / ours:.2f}"]
    return [NAMES[name], *cells, f"{before / after:.2f}", f"{noise:.1f}"]


@click.command(help=__doc__)
@click.option("--batches", default="1,8", show_default=True, help="Batches to time.")
@click.option("--rounds", default=15, show_default=True, help="Timed calls of each.")
@click.option("--tiny", is_flag=True, help="Small models, to see that the benchmark works.")
def main(batches, rounds, tiny) -> None:
    sizes = [int(n) for n in batches.split(",")]
    header = ["model", *(f"{what} b{n}" for n in sizes for what in ("float ms", "ms", "ratio")),
              "smaller", "dB"]  # fmt: skip
    table = [header, *(measured(name, sizes, rounds, tiny) for name in NAMES)]
    click.echo(measure.columns(table))
    if tiny:
        return
    products = "What XLA's own products of matrices give here, which bounds the ratios: f32 {:.0f} and int8 {:.0f} GOP/s."  # noqa: E501
    path = measure.write_results(
        "dynamic_range", "Dynamic range against float",
        [NOTE, measure.BASELINE, products.format(*measure.products()), measure.markdown(table)],
    )  # fmt: skip
    click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
