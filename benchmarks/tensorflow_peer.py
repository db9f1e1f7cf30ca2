"""Side by side with TensorFlow's converter: SavedModels of MLPerf Tiny and of Keras.

    python -m benchmarks.tensorflow_peer [--rounds 3] [--only NAME]

Both quantize each SavedModel to int8 between float inputs and results and write a `.tflite`, on the
same calibration data. LiteRT runs both files with XNNPACK. Seconds are from the folder to the file,
the frameworks loaded already.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

import qir
from qir.api import read_model
from qir.targets.tflite.interpreter import Failure, Interpreter

from . import measure
from .mlperf_tiny import SHARED
from .zoo import alive

CONVERT = Path(__file__).with_name("tensorflow_convert.py")


def images() -> tuple:
    """CIFAR-10: calibration, inputs, labels."""
    data = np.load(SHARED / "data" / "cifar10_dev.npz")
    pictures = (data[f"{part}_images"].astype(np.float32) for part in ("calibration", "test"))
    return (*pictures, data["test_labels"])


def speech() -> tuple:
    """Features of speech commands: calibration, inputs, labels."""
    data = np.load(SHARED / "data" / "speech_commands_dev.npz")
    return data["calibration_features"], data["test_features"], data["test_labels"]


def vectors() -> tuple:
    """Seeded vectors for the autoencoder, in the range of log-mel energies; no labels."""
    draw = np.random.default_rng(0).normal(-20, 10, (600, 640)).astype(np.float32)
    return draw[:200], draw[200:], None


def tiny(name: str, folder: Path) -> Path:
    """A SavedModel of MLPerf Tiny."""
    return SHARED / "models" / "mlperf_tiny" / name


def keras_model(name: str, folder: Path) -> Path:
    """A network of keras.applications with random weights, saved into a folder."""
    import keras

    build = getattr(keras.applications, name)
    model = alive(build(weights=None, classifier_activation=None), np.random.default_rng(0))
    model.export(str(folder / "saved"), verbose=False)
    return folder / "saved"


def pictures() -> tuple:
    """Random images: 10 for calibration, 8 inputs; no labels."""
    draw = np.random.default_rng(0).normal(0, 1, (18, 224, 224, 3)).astype(np.float32)
    return draw[:10], draw[10:], None


SUBJECTS = {
    "ResNet-8": (partial(tiny, "image_classification_resnet8"), images),
    "keyword spotting": (partial(tiny, "keyword_spotting_dscnn"), speech),
    "autoencoder": (partial(tiny, "anomaly_detection_autoencoder"), vectors),
    "MobileNetV2": (partial(keras_model, "MobileNetV2"), pictures),
    "ResNet50": (partial(keras_model, "ResNet50"), pictures),
}  # fmt: skip
"""By name: what gives the SavedModel from a folder to write in, and what gives the data."""


def converted(model: Path, calibration, folder: Path, rounds: int) -> dict:
    """TensorFlow's files in a folder, and the median seconds of each conversion."""
    np.save(folder / "calibration.npy", calibration)
    command = [sys.executable, str(CONVERT), str(model), str(folder / "calibration.npy"),
               str(folder), str(rounds)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})  # fmt: skip
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:])
    seconds = json.loads(done.stdout.splitlines()[-1])
    return {kind: statistics.median(times) for kind, times in seconds.items()}


def quantized(model: Path, calibration, folder: Path, rounds: int) -> float:
    """qir's file of a SavedModel in a folder, and the median seconds it took."""
    import_module("qir.frontends.tensorflow")  # loads TensorFlow, as the peer has it loaded
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        qir.quantize(model, calibration=[x[None] for x in calibration],
                     target="tflite").export_tflite(folder / "qir.tflite")  # fmt: skip
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def islands(path: Path) -> int:
    """Operators that compute in float between the first cast and the last."""
    ops = [op for op in read_model(path).main.ops if op.kind.startswith("tfl.")]
    return sum(op.type.is_float and op.kind != "tfl.dequantize" for op in ops)


def outputs(path: Path, inputs, interpreter: Interpreter) -> np.ndarray:
    """What LiteRT gives, one input at a time."""
    found = interpreter.run(path.read_bytes(), "xnnpack", [[x[None]] for x in inputs])
    if isinstance(found, Failure):
        raise click.ClickException(found.reason)
    return np.stack([each[0] for each in found])


@click.command(help=__doc__)
@click.option("--rounds", default=3, show_default=True, help="Conversions to time.")
@click.option("--only", multiple=True, type=click.Choice(list(SUBJECTS)), help="Just these.")
def main(rounds, only) -> None:
    table = [("model", "by", "seconds", "file kB", "accuracy", "signal to noise dB",
              "float operators")]  # fmt: skip
    for name, (save, load) in SUBJECTS.items():
        if only and name not in only:
            continue
        calibration, inputs, labels = load()
        with TemporaryDirectory() as temporary, Interpreter() as interpreter:
            folder = Path(temporary)
            model = save(folder)
            theirs = converted(model, calibration, folder, rounds)
            ours = quantized(model, calibration, folder, rounds)
            reals = outputs(folder / "float.tflite", inputs, interpreter)
            for by, file, seconds in (("TensorFlow, float", "float", theirs["float"]),
                                      ("TensorFlow, int8", "int8", theirs["int8"]),
                                      ("qir, int8", "qir", ours)):  # fmt: skip
                path = folder / f"{file}.tflite"
                found = outputs(path, inputs, interpreter)
                best = found.reshape(len(found), -1).argmax(1)
                right = "" if labels is None else f"{(best == labels).mean():.1%}"
                noise = "" if file == "float" else f"{measure.signal_to_noise(reals, found):.1f}"
                row = (name, by, f"{seconds:.2f}", f"{path.stat().st_size / 1e3:.1f}", right, noise,
                       islands(path) if file != "float" else "")  # fmt: skip
                click.echo(" | ".join(map(str, row)))
                table.append(row)
    if only:
        return
    note = ("Accuracy on 1,000 CIFAR-10 pictures and 400 speech stimuli; signal to noise against "
            f"the float file. Seconds from the SavedModel to the file, medians of {rounds}.")
    path = measure.write_results("tensorflow_peer", "Side by side with TensorFlow's converter",
                                 [note, measure.markdown(table)])  # fmt: skip
    click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
