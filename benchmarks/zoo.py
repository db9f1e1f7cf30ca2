"""Models of Keras through both frontends: traced, exact, integer, how long.

    python -m benchmarks.zoo [--only NAME] [--backend tensorflow]

All of keras.applications, and of `models/keras_zoo.py` what it has none of. One process a model and
backend; rows are kept in results/zoo.json, so that a run can be continued:
what is there is not measured again unless it is named. Weights are random, batch-norm statistics
from data, so that activations stay alive. Float output is held against Keras's own, int8 (10
calibration samples) against float on 4 inputs.
"""

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import click

RESULTS = Path(__file__).with_name("results")
ROWS = RESULTS / "zoo.json"
BACKENDS = ("tensorflow", "jax")
SECONDS = 1800
LARGE, REDUCED = 260, 128
"""Images of more pixels a side than the first are taken in the second size."""


def models() -> list[str]:
    """The names of all models, our own first."""
    import keras

    from .models.keras_zoo import BUILDERS

    found = vars(keras.applications).items()
    return [*BUILDERS, *sorted(name for name, value in found if callable(value)
                               and name[0].isupper())]  # fmt: skip


def measured(name: str) -> dict:
    """One model on the backend of this process."""
    import keras
    import numpy as np

    import qir

    from .measure import signal_to_noise
    from .models.keras_zoo import BUILDERS, inputs_of

    rng = np.random.default_rng(0)
    build = BUILDERS.get(name) or partial(_application, getattr(keras.applications, name))
    model = alive(build(), rng)
    inputs = [inputs_of(model, rng) for _ in range(14)]
    began = time.perf_counter()
    module = qir.trace(model, *inputs[0])
    traced = time.perf_counter() - began
    run = qir.compile(module)
    ours = [_flat(run(*xs)) for xs in inputs[10:]]
    theirs = [_flat(model(xs if len(xs) > 1 else xs[0], training=False)) for xs in inputs[10:]]
    gap = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours, theirs,
                                                                          strict=True))
    began = time.perf_counter()
    quantized = qir.quantize(module, calibration=inputs[:10])
    seconds = time.perf_counter() - began
    casts = ("quant.quantize", "quant.dequantize")
    floats = sorted({op.kind for op in quantized.module.main.ops
                     if _is_float(op) and op.kind not in (*casts, "parameter", "const")})
    found = [_flat(quantized(*xs)) for xs in inputs[10:]]
    return {"shape": list(inputs[0][0].shape), "ops": len(module.main.ops), "traced": traced,
            "gap": gap, "seconds": seconds, "floats": floats,
            "noise": float(signal_to_noise(np.stack(ours), np.stack(found)))}  # fmt: skip


def _flat(results):
    """All results of a call as one vector."""
    import numpy as np

    values = results.values() if isinstance(results, dict) else results
    values = values if isinstance(results, (dict, tuple, list)) else (values,)
    return np.concatenate([np.ravel(np.asarray(each)) for each in values])


def _is_float(op) -> bool:
    return getattr(op.type, "is_float", False)


def _application(build):
    """A model of keras.applications with random weights that gives logits."""
    model = build(weights=None, classifier_activation=None)
    side = model.input_shape[1]
    if side is not None and side <= LARGE:
        return model
    return build(weights=None, classifier_activation=None, input_shape=(REDUCED, REDUCED, 3))


def alive(model, rng):
    """A model with other biases than zeros, its batch norms with statistics of random images."""
    import keras
    import numpy as np

    norms = [each for each in model._flatten_layers()
             if isinstance(each, keras.layers.BatchNormalization)]  # fmt: skip
    for norm in norms:
        norm.momentum = 0.0
    for v in model.variables:
        if v.path.endswith(("gamma", "beta", "bias")):
            low = 0.5 if v.path.endswith("gamma") else -0.1
            v.assign(rng.uniform(low, low + 0.2 if low < 0 else 1.5, v.shape))
    if norms:
        model(rng.normal(0, 1, (8, *model.input_shape[1:])).astype(np.float32), training=True)
    return model


def page(rows: dict) -> str:
    """The table in Markdown."""
    from .measure import machine

    lines = ["# Models of Keras through both frontends", "", f"Machine: {machine()}.", "",
             "`python -m benchmarks.zoo`: int8 against float in dB; float against Keras's own as "
             "the largest difference over the largest value; float ops left between the casts.",
             "", "| model | backend | input | ops | traced s | quantized s | float against Keras | "
             "float ops left | signal to noise dB |", "|---" * 9 + "|"]  # fmt: skip
    for key, row in sorted(rows.items()):
        name, backend = key.split(" ")
        if "error" in row:
            lines.append(f"| {name} | {backend} | {row['error']} |" + " |" * 6)
            continue
        side = "x".join(map(str, row["shape"][1:]))
        cells = (name, backend, side, row["ops"], f"{row['traced']:.2f}", f"{row['seconds']:.1f}",
                 f"{row['gap']:.1e}", ", ".join(row["floats"]) or 0, f"{row['noise']:.1f}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, ""])


@click.command(help=__doc__)
@click.option("--only", multiple=True, help="Just these models, anew.")
@click.option("--backend", multiple=True, type=click.Choice(BACKENDS))
@click.option("--row", hidden=True, help="Measure one model in this process.")
def main(only, backend, row) -> None:
    if row:
        click.echo(json.dumps(measured(row)))
        return
    from qir.text import write_atomically

    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    for name in only or models():
        for each in backend or BACKENDS:
            key = f"{name} {each}"
            if key in rows and not only:
                continue
            rows[key] = _in_a_process(name, each)
            click.echo(f"{key}: {rows[key]}")
            write_atomically(ROWS, json.dumps(rows, indent=1) + "\n")
            write_atomically(RESULTS / "zoo.md", page(rows))


def _in_a_process(name: str, backend: str) -> dict:
    command = [sys.executable, "-m", "benchmarks.zoo", "--row", name]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env=environment, timeout=SECONDS)  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {SECONDS} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = [line for line in done.stderr.strip().splitlines() if line.strip()]
        return {"error": (said or [f"the process ended with {done.returncode}"])[-1][:200]}
    return json.loads(lines[-1])


if __name__ == "__main__":
    main()
