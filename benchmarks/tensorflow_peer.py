"""Side by side with TensorFlow's converter: SavedModels of MLPerf Tiny and of Keras.

    python -m benchmarks.tensorflow_peer [--rounds 3] [--only NAME]

Both quantize each SavedModel to int8 between float inputs and results and write a `.tflite`, on the
same calibration data. LiteRT runs both files with XNNPACK. Seconds are from the folder to the file,
the frameworks loaded already. Rows are kept in results/tensorflow_peer.json: `--only` measures the
named models anew and leaves the others. Networks for Fashion-MNIST are trained where build/ holds
none.
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
from qir.text import write_atomically
from qir.types import TupleType

from . import measure
from .fashion_mnist import calibration_images
from .mlperf_tiny import SHARED
from .models.random_inputs import images as smooth_images
from .train_fashion import fashion_mnist
from .train_keras import saved_model, train

ROWS = measure.RESULTS / "tensorflow_peer.json"
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


def tiny(name: str, folder: Path | None) -> Path:
    """A SavedModel of MLPerf Tiny."""
    return SHARED / "models" / "mlperf_tiny" / name


def trained(name: str, folder: Path) -> Path:
    """A network of benchmarks.train_keras, trained now if it is not there."""
    there = saved_model(name)
    return there if there.exists() else train(name)


def fashion() -> tuple:
    """Fashion-MNIST: calibration, inputs, labels."""
    train_images, _, test_images, test_labels = fashion_mnist()
    return np.concatenate(calibration_images(train_images, 200)), test_images, test_labels


def keras_model(name: str, folder: Path) -> Path:
    """A network of keras.applications with random weights, saved into a folder."""
    import keras

    from .models.alive import alive

    build = getattr(keras.applications, name)
    model = alive(build(weights=None, classifier_activation=None))
    model.export(str(folder / "saved"), verbose=False)
    return folder / "saved"


def pictures() -> tuple:
    """Smooth random images: 10 for calibration, 8 inputs; no labels."""
    draw = smooth_images(18, 224, seed=1)
    return draw[:10], draw[10:], None


TINY = {
    "ResNet-8": (partial(tiny, "image_classification_resnet8"), images),
    "keyword spotting": (partial(tiny, "keyword_spotting_dscnn"), speech),
    "autoencoder": (partial(tiny, "anomaly_detection_autoencoder"), vectors),
}
SUBJECTS = {
    **TINY,
    "Fashion-MNIST CNN": (partial(trained, "cnn"), fashion),
    "Fashion-MNIST ViT": (partial(trained, "vit"), fashion),
    "Fashion-MNIST LSTM": (partial(trained, "lstm"), fashion),
    "MobileNetV2": (partial(keras_model, "MobileNetV2"), pictures),
    "ResNet50": (partial(keras_model, "ResNet50"), pictures),
}  # fmt: skip
"""By name: what gives the SavedModel from a folder to write in, and what gives the data."""
HEADER = ("model", "by", "seconds", "file kB", "accuracy", "signal to noise dB", "float operators")
NOTE = ("Accuracy on 1,000 CIFAR-10 pictures, 400 speech stimuli and the 10,000 test images of "
        "Fashion-MNIST, which 200 training images calibrate; signal to noise against the float "
        "file. Seconds from the SavedModel to the file, medians of 3; those of Fashion-MNIST "
        "beside other work on the machine.")


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
    ops = [op for op in read_model(path).main.ops
           if op.kind.startswith("tfl.") and op.kind != "tfl.dequantize"]  # fmt: skip
    types = [op.type.items if isinstance(op.type, TupleType) else (op.type,) for op in ops]
    return sum(any(each.is_float for each in several) for several in types)


def outputs(path: Path, inputs, interpreter: Interpreter) -> np.ndarray:
    """What LiteRT gives, one input at a time."""
    found = interpreter.run(path.read_bytes(), "xnnpack", [[x[None]] for x in inputs])
    if isinstance(found, Failure):
        raise click.ClickException(found.reason)
    return np.stack([each[0] for each in found])


def compared(name: str, rounds: int, interpreter: Interpreter) -> list[tuple]:
    """A row for TensorFlow's float file, its int8 file and qir's."""
    save, load = SUBJECTS[name]
    calibration, inputs, labels = load()
    rows = []
    with TemporaryDirectory() as temporary:
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
            right = "" if labels is None else f"{(best == labels).mean():.2%}"
            noise = "" if file == "float" else f"{measure.signal_to_noise(reals, found):.1f}"
            rows.append((name, by, f"{seconds:.2f}", f"{path.stat().st_size / 1e3:.1f}", right,
                         noise, islands(path) if file != "float" else ""))  # fmt: skip
    return rows


@click.command(help=__doc__)
@click.option("--rounds", default=3, show_default=True, help="Conversions to time.")
@click.option("--only", multiple=True, type=click.Choice(list(SUBJECTS)), help="Just these, anew.")
def main(rounds, only) -> None:
    known = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    for name in only or SUBJECTS:
        with Interpreter() as interpreter:
            known[name] = compared(name, rounds, interpreter)
        for row in known[name]:
            click.echo(" | ".join(map(str, row)))
        write_atomically(ROWS, json.dumps(known, indent=1) + "\n")
        table = [HEADER, *(row for each in SUBJECTS for row in known.get(each, ()))]
        path = measure.write_results("tensorflow_peer", "Side by side with TensorFlow's converter",
                                     [NOTE, measure.markdown(table)])  # fmt: skip
    click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
