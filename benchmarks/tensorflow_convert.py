"""TensorFlow's converter on a SavedModel, under a Python that has TensorFlow.

    python tensorflow_convert.py SAVED_MODEL CALIBRATION.npy OUT_FOLDER ROUNDS

Writes float.tflite and int8.tflite (integers between float inputs and results) and prints the
seconds of each conversion as JSON.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def main() -> None:
    """Convert both ways, several rounds."""
    import numpy as np
    import tensorflow as tf

    saved, data, out, rounds = sys.argv[1:]
    samples, folder = np.load(data), Path(out)
    seconds: dict[str, list[float]] = {"float": [], "int8": []}
    for name, times in [*seconds.items()] * int(rounds):
        began = time.perf_counter()
        # the loader of the first version of SavedModels: optimizers in them do not matter to it
        converter = tf.compat.v1.lite.TFLiteConverter.from_saved_model(saved)
        if name == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([x[None]] for x in samples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        content = converter.convert()
        times.append(time.perf_counter() - began)
        (folder / f"{name}.tflite").write_bytes(content)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
