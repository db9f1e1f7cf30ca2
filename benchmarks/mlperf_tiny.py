"""The MLPerf Tiny int8 models read from `.tflite` and run on XLA, against LiteRT's interpreter.

    python -m benchmarks.mlperf_tiny [--inputs 400]

Real inputs for keyword spotting and ResNet-8, seeded vectors within the input's range for the
autoencoder. Prints how many output values differ, by model and kernel set.
"""

import argparse
from pathlib import Path

import numpy as np

import qir
from qir.ir import Func
from qir.targets.tflite.interpreter import Failure, Interpreter

from .train_fashion import DATA

SHARED = DATA.parent
MODELS = {
    "keyword spotting": "keyword_spotting_dscnn_int8.tflite",
    "ResNet-8": "image_classification_resnet8_int8.tflite",
    "autoencoder": "anomaly_detection_autoencoder_int8.tflite",
}
KERNELS = ("tflite_reference", "tflite_builtin", "xnnpack")


def model_path(name: str) -> Path:
    """Where a model lies; `models` beside the data (QIR_DATA), which may be absent."""
    return SHARED / "models" / "mlperf_tiny" / MODELS[name]


def inputs_of(name: str, func: Func, count: int) -> np.ndarray:
    """Stored integers [count, ...], as the model's first input takes them one by one."""
    type = func.parameters[0].type
    if name == "autoencoder":
        rng = np.random.default_rng(0)
        shape = (count, *type.shape[1:])
        return rng.integers(type.lo, type.hi, shape, type.dtype.numpy, endpoint=True)
    if name == "ResNet-8":
        images = np.load(SHARED / "data" / "cifar10_dev.npz")["test_images"][:count]
        return (images.astype(np.int32) - 128).astype(np.int8)
    features = np.load(SHARED / "data" / "speech_commands_dev.npz")["test_features"][:count]
    stored = np.round(features / type.scale) + type.zero
    return np.clip(stored, type.lo, type.hi).astype(type.dtype.numpy)


def differing(name: str, kernels: str, count: int, interpreter: Interpreter) -> tuple[int, int]:
    """How many output values differ, and of how many."""
    path = model_path(name)
    model = qir.load(path, kernels=kernels)
    arrays = inputs_of(name, model.module.main, count)
    theirs = interpreter.run(path.read_bytes(), kernels, [[a[None]] for a in arrays])
    if isinstance(theirs, Failure):
        raise RuntimeError(theirs.reason)
    run = qir.compile(model.module)
    ours = [run(a[None])[0] for a in arrays]
    pairs = list(zip(theirs, ours, strict=True))
    return sum(int((a[0] != np.asarray(b)).sum()) for a, b in pairs), sum(
        a[0].size for a, _ in pairs)  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=400)
    count = parser.parse_args().inputs
    print("| model | kernel set | inputs | output values | differing |\n|---|---|---|---|---|")
    with Interpreter() as interpreter:
        for name in MODELS:
            for kernels in KERNELS:
                wrong, values = differing(name, kernels, count, interpreter)
                print(f"| {name} | {kernels} | {count} | {values} | {wrong} |", flush=True)


if __name__ == "__main__":
    main()
