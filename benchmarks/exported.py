"""Exported models: are they computed bit for bit as LiteRT's interpreter computes them?

    python -m benchmarks.exported [--only NAME] [--inputs 20]

Each network is quantized, exported as `.tflite` and read again under the arithmetic of every kernel
set; XLA runs it, and the interpreter the file. Counts the output values that differ, and gives the
signal-to-noise ratio of the interpreter's results against the float network. The network for
Fashion-MNIST is the one that `benchmarks.fashion_mnist` trains.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import jax
import numpy as np

import qir
from qir.errors import QirError
from qir.expansions import KERNELS
from qir.targets.tflite.interpreter import Failure, Interpreter

from . import measure
from .fashion_mnist import calibration_images
from .large_models import subjects
from .models import fashion_cnn
from .train_fashion import DATA, VARIABLES, fashion_mnist


@dataclass(frozen=True)
class Subject:
    """A network with its calibration data and inputs to compare on, batches of one."""

    model: Callable
    calibration: Sequence[np.ndarray]
    inputs: Sequence[np.ndarray]


def digits() -> Subject:
    """The demo's network, on scikit-learn's digits."""
    from examples.digits import model

    network, _ = model.load()
    train, _, test, _ = model.digits()
    return Subject(network, _ones(train[:200]), _ones(test))


def fashion() -> Subject:
    """The network for Fashion-MNIST, on its images."""
    network, _ = fashion_cnn.load(VARIABLES)
    train, _, test, _ = fashion_mnist(DATA)
    return Subject(network, calibration_images(train, 200), _ones(test))


def large(name: str) -> Subject:
    """One of the networks of benchmarks.large_models, on random inputs."""
    found = subjects(tiny=False)[name]
    network, _ = found.build()
    return Subject(network, _ones(found.inputs(16, seed=1000)), _ones(found.inputs(64, seed=2000)))


SUBJECTS = {
    "digits": digits, "Fashion-MNIST": fashion, "ResNet-50": lambda: large("resnet50"),
    "MobileNetV2": lambda: large("mobilenet_v2"), "encoder": lambda: large("encoder"),
}  # fmt: skip


def _ones(batch: np.ndarray) -> list[np.ndarray]:
    return [batch[i : i + 1] for i in range(len(batch))]


def rows(name: str, subject: Subject, count: int, interpreter: Interpreter):
    """One row a kernel set: inputs, output values, differing ones, levels, signal to noise."""
    inputs = subject.inputs[:count]
    reals = [np.asarray(jax.jit(subject.model)(x)) for x in inputs]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        try:
            qir.quantize(subject.model, inputs[0], subject.calibration,
                         target="tflite").export_tflite(path)  # fmt: skip
        except QirError as error:
            yield (name, f"not exported: {error.message.splitlines()[0].rstrip(':')}", *[""] * 5)
            return
        for kernels in KERNELS:
            theirs = interpreter.run(path.read_bytes(), kernels, [[x] for x in inputs])
            if isinstance(theirs, Failure):
                raise click.ClickException(f"{name}, {kernels}: {theirs.reason}")
            theirs = [outputs[0] for outputs in theirs]
            run = qir.compile(qir.load(path, kernels=kernels).module)
            ours = [np.asarray(run(x)[0]) for x in inputs]
            wrong = sum(int((a != b).sum()) for a, b in zip(theirs, ours, strict=True))
            noise = measure.signal_to_noise(np.stack(reals), np.stack(theirs))
            yield (name, kernels, len(inputs), f"{sum(a.size for a in theirs):,}", wrong,
                   f"{noise:.1f}", f"{path.stat().st_size / 1e6:.2f}")  # fmt: skip


@click.command(help=__doc__)
@click.option("--only", multiple=True, type=click.Choice(list(SUBJECTS)), help="Just these.")
@click.option("--inputs", default=20, show_default=True, help="Inputs to compare on.")
def main(only, inputs) -> None:
    table = [("model", "kernel set", "inputs", "output values", "differing", "signal to noise dB",
              "file MB")]  # fmt: skip
    with Interpreter() as interpreter:
        for name in only or SUBJECTS:
            for row in rows(name, SUBJECTS[name](), inputs, interpreter):
                click.echo(" | ".join(map(str, row)))
                table.append(row)
    if not only:
        note = ("XLA on the exported file, read again, against LiteRT's interpreter on it; signal "
                "to noise is the interpreter's against the float network under jax.jit.")
        path = measure.write_results("exported", "Exported models, bit for bit",
                                     [note, measure.markdown(table)])  # fmt: skip
        click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
