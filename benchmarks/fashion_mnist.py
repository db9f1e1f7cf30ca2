"""Accuracy on Fashion-MNIST, int8 against float, for every way to calibrate.

The network of models/fashion_cnn.py is trained first if build/ holds no trained one. 200 training
images calibrate it; the 10,000 test images are what counts.
"""

from pathlib import Path

import click
import jax
import numpy as np

import qir
from qir.errors import QirError
from qir.floats import float_ops

from .measure import columns, markdown, sizes_on_disk, write_results
from .models import fashion_cnn
from .train_fashion import DATA, VARIABLES, accuracy, fashion_mnist, train

METHODS = ("minmax", "ema", "percentile", "entropy", "mse")
ALLOWED_DROP = 0.005


@click.command(help=__doc__)
@click.option("--data", default=DATA, help="Folder that holds fashion_mnist/ (QIR_DATA).")
@click.option("--variables", default=VARIABLES, type=Path, help="The trained network, an .npz.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(data, variables, write) -> None:
    train_x, train_y, test_x, test_y = fashion_mnist(data)
    if not variables.exists():
        fashion_cnn.save(train(train_x, train_y, epochs=6), variables)
    model, example = fashion_cnn.load(variables)
    calibration = calibration_images(train_x, 200)
    rows, sizes, failures = compare(model, example, calibration, test_x, test_y)
    click.echo(f"{len(calibration)} images to calibrate, {len(test_x)} to test\n{columns(rows)}")
    click.echo(sizes)
    if write:
        note = (f"{len(calibration)} training images calibrate, {len(test_x)} test images count. "
                "Drop: float minus int8, in points. Float ops: those between the boundary casts.")
        path = write_results("fashion_mnist", "Fashion-MNIST, int8 against float",
                             [note, markdown(rows), sizes])  # fmt: skip
        click.echo(f"written to {path}")
    if failures:
        raise click.ClickException("; ".join(failures))


def calibration_images(images: np.ndarray, count: int, seed: int = 0) -> list[np.ndarray]:
    """`count` images drawn without replacement, each a batch of one."""
    chosen = np.random.default_rng(seed).choice(len(images), count, replace=False)
    return [images[i : i + 1] for i in chosen]


def compare(model, example, calibration, images, labels, methods=METHODS):
    """A table of accuracies, one row a pipeline, a sentence on sizes, and what must not be.

    That is: an op that computes in float between the boundary casts, and more than half a point
    lost by the default (minmax, per channel).
    """
    reference = accuracy(jax.jit(model), images, labels)
    rows = [("weights", "calibration", "accuracy %", "drop", "float ops")]
    rows.append(("float", "", f"{100 * reference:.2f}", "", ""))
    wanted = [("per_channel", "ptq_int8", m) for m in methods]
    wanted.append(("per_tensor", "ptq_int8_per_tensor", methods[0]))
    sizes, failures = "", []
    for weights, pipeline, method in wanted:
        quantized = qir.quantize(model, example, calibration, pipeline, method=method)
        reached = accuracy(quantized, images, labels)
        left = float_ops(quantized.module.main)
        rows.append((weights, method, f"{100 * reached:.2f}", f"{100 * (reference - reached):+.2f}",
                     len(left)))  # fmt: skip
        failures += [f"{pipeline}({method}): {op.kind} computes in float" for op in left]
        if not sizes:
            before, after = sizes_on_disk(quantized)
            sizes = (f"Weights on disk: {before:,} bytes in float, {after:,} in int8, "
                     f"{before / after:.2f} times smaller.")
            if reference - reached > ALLOWED_DROP:
                failures.append(f"int8 loses {100 * (reference - reached):.2f} points of accuracy")
    return rows, sizes, failures


if __name__ == "__main__":
    try:
        main()
    except (FileNotFoundError, QirError) as error:
        raise SystemExit(str(error)) from None
