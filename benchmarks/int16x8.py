"""Activations of 16 bits against 8 on keyword spotting and ResNet-8, and against the converter's.

    python -m benchmarks.int16x8 [--rounds 15]

Accuracy on real inputs, signal to noise against the float model, milliseconds a batch of 50 on XLA
in turn; the same of our `.tflite` file and of TensorFlow's converter in its mode of 16-bit
activations, run by LiteRT. Writes results/int16x8.md; needs the shared models and data.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import jax
import numpy as np

import qir
from qir.targets.tflite.interpreter import Interpreter

from . import measure
from .mlperf_tiny import SHARED

MODELS = {"keyword spotting": "keyword_spotting_dscnn", "ResNet-8": "image_classification_resnet8"}
BATCH, CALIBRATION = 50, 100


def data_of(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs that calibrate, inputs that count, and their labels."""
    if name == "ResNet-8":
        found = np.load(SHARED / "data" / "cifar10_dev.npz")
        calibration, test = found["calibration_images"], found["test_images"]
    else:
        found = np.load(SHARED / "data" / "speech_commands_dev.npz")
        calibration, test = found["calibration_features"], found["test_features"]
    calibration, test = calibration[:CALIBRATION].astype(np.float32), test.astype(np.float32)
    return calibration, test, found["test_labels"]


def converted(path: Path, calibration: np.ndarray) -> bytes:
    """The file that TensorFlow's converter makes with activations of 16 bits."""
    import tensorflow as tf

    convert = tf.compat.v1.lite.TFLiteConverter.from_saved_model(str(path))
    convert.optimizations = [tf.lite.Optimize.DEFAULT]
    convert.representative_dataset = lambda: ([x[None]] for x in calibration)
    convert.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
    return convert.convert()


def on_xla(run: Callable, inputs: np.ndarray) -> np.ndarray:
    """The scores of all inputs, a batch at a time."""
    found = (run(inputs[i : i + BATCH]) for i in range(0, len(inputs), BATCH))
    return np.concatenate([np.asarray(jax.tree.leaves(each)[0]) for each in found])


def on_litert(model: bytes, inputs: np.ndarray) -> np.ndarray:
    """The scores of all inputs, one by one, by the reference kernels."""
    with Interpreter() as interpreter:
        found = interpreter.run(model, "tflite_reference", [[x[None]] for x in inputs])
    return np.concatenate([each[0] for each in found])


def milliseconds(runs: Sequence[Callable], inputs: np.ndarray, rounds: int) -> list[float]:
    """The median of calls made in turn."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, seconds in zip(runs, times, strict=True):
            began = perf_counter()
            np.asarray(on_xla(run, inputs[:BATCH]))
            seconds.append(perf_counter() - began)
    return [1e3 * median(seconds) for seconds in times]


def rows_of(name: str, rounds: int) -> list[tuple]:
    """The table of one model."""
    calibration, test, labels = data_of(name)
    path = SHARED / "models" / "mlperf_tiny" / MODELS[name]
    module = qir.trace(path, batch=BATCH)
    samples = [calibration[i : i + BATCH] for i in range(0, len(calibration), BATCH)]
    runs = {"float": qir.compile(module)}
    for pipeline in ("ptq_int8", "ptq_int16x8"):
        runs[pipeline] = qir.quantize(module, calibration=samples, pipeline=pipeline)
    scores = {way: on_xla(run, test) for way, run in runs.items()}
    times = dict(zip(runs, milliseconds(list(runs.values()), test, rounds), strict=True))
    single = qir.trace(path)
    ours = qir.quantize(single, calibration=[x[None] for x in calibration], target="tflite",
                        pipeline="ptq_int16x8")  # fmt: skip
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ours.tflite"
        ours.export_tflite(file)
        scores["ptq_int16x8 as .tflite"] = on_litert(file.read_bytes(), test)
    scores["the converter's .tflite"] = on_litert(converted(path, calibration), test)
    rows = [("way", "accuracy %", "SNR dB", "ms")]
    for way, found in scores.items():
        right = 100 * np.mean(found.argmax(-1) == labels)
        noise = "" if way == "float" else f"{measure.signal_to_noise(scores['float'], found):.1f}"
        rows.append((way, f"{right:.2f}", noise, f"{times[way]:.1f}" if way in times else ""))
    return rows


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    parts = ["100 real inputs calibrate, 400 and 1,000 others count. ms: a batch of 50 on XLA."]
    for name in MODELS:
        rows = rows_of(name, rounds)
        print(f"{name}\n{measure.columns(rows)}\n", flush=True)
        parts.append(f"## {name}\n\n{measure.markdown(rows)}")
    measure.write_results("int16x8", "Activations of 16 bits by weights of 8", parts)


if __name__ == "__main__":
    main()
