"""Models through both frontends: traced, exact, integer, how long.

    python -m benchmarks.zoo [--only NAME] [--backend tensorflow]

All of keras.applications, of `models/keras_zoo.py` what it has none of, and the SavedModels of
MLPerf Tiny. One process a model and backend; rows are kept in results/zoo.json, so that a run can
be continued: what is there is not measured again unless it is named. Weights of Keras models are
random, such that activations stay alive (`models/alive.py`). Float output is held against the
framework's own, int8 (10 calibration samples) against float on 4 inputs.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

RESULTS = Path(__file__).with_name("results")
ROWS = RESULTS / "zoo.json"
BACKENDS = ("tensorflow", "jax")
SECONDS = 1800
SIDE, PARAMETERS, REDUCED = 240, 10_000_000, 128
"""Images of more pixels a side than the first, or of any number, are taken in the third size, and
so are those of networks with more parameters than the second."""
CALIBRATION, INPUTS = 32, 4
HEADER = ("model", "backend", "input", "traced", "ops", "traced s", "quantized s",
          "float against framework", "float ops left", "signal to noise dB",
          "float, 40 dB noise in")  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """What is traced, the same as its framework runs it, and inputs, batches of one."""

    model: object
    run: Callable
    inputs: Sequence[Sequence]


def models() -> list[str]:
    """The names of all models, our own first."""
    import keras

    from .models.keras_zoo import BUILDERS
    from .tensorflow_peer import TINY

    found = vars(keras.applications).items()
    return [*BUILDERS, *TINY, *sorted(name for name, value in found if callable(value)
                                      and name[0].isupper())]  # fmt: skip


def subject(name: str) -> Subject:
    """A model by name, on the backend of this process."""
    import keras

    from .models.alive import alive, inputs_of
    from .models.keras_zoo import BUILDERS
    from .tensorflow_peer import SUBJECTS, TINY

    if name in TINY:
        save, load = SUBJECTS[name]
        path = save(None)
        if not path.exists():
            raise click.ClickException(f"{path.name} is not there; README.md says where it goes")
        calibration, inputs, _ = load()
        drawn = [*calibration[:CALIBRATION], *inputs[:INPUTS]]
        return Subject(path, partial(_saved_model_run, path), [[x[None]] for x in drawn])
    build = BUILDERS.get(name) or partial(_application, getattr(keras.applications, name))
    model = alive(build())

    def run(*xs):
        return model(xs if len(xs) > 1 else xs[0], training=False)

    return Subject(model, run, inputs_of(model, CALIBRATION + INPUTS))


def measured(name: str) -> dict:
    """One model on the backend of this process."""
    import numpy as np

    import qir
    from qir.floats import float_ops

    from .measure import signal_to_noise

    found = subject(name)
    calibration, inputs = found.inputs[:CALIBRATION], found.inputs[CALIBRATION:]
    began = time.perf_counter()
    module = qir.trace(found.model, *inputs[0])
    traced = time.perf_counter() - began
    run = qir.compile(module)
    ours = [_flat(run(*xs)) for xs in inputs]
    theirs = [_flat(found.run(*xs)) for xs in inputs]
    gap = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours, theirs,
                                                                          strict=True))
    noisy = [_flat(run(*_noisy(xs))) for xs in inputs]
    steady = float(signal_to_noise(np.stack(ours), np.stack(noisy)))
    began = time.perf_counter()
    quantized = qir.quantize(module, calibration=calibration)
    seconds = time.perf_counter() - began
    got = [_flat(quantized(*xs)) for xs in inputs]
    return {"shape": list(inputs[0][0].shape), "ops": len(module.main.ops), "traced": traced,
            "gap": gap, "seconds": seconds,
            "floats": [op.kind for op in float_ops(quantized.module.main)],
            "noise": float(signal_to_noise(np.stack(ours), np.stack(got))),
            "sensitivity": steady if np.isfinite(steady) else None}  # fmt: skip


def _noisy(inputs) -> list:
    """The inputs with noise 40 dB below them; tokens as they are."""
    import numpy as np

    rng = np.random.default_rng(0)
    return [(x + 0.01 * x.std() * rng.standard_normal(x.shape)).astype(x.dtype)
            if x.dtype.kind == "f" else x for x in inputs]  # fmt: skip


def _flat(results):
    """All results of a call as one vector."""
    import numpy as np

    values = results.values() if isinstance(results, dict) else results
    values = values if isinstance(results, (dict, tuple, list)) else (values,)
    return np.concatenate([np.ravel(np.asarray(each)) for each in values])


def _application(build):
    """A model of keras.applications that gives logits, with images of a size that it takes."""
    model = build(weights=None, classifier_activation=None)
    side = model.input_shape[1]
    if side is not None and side <= SIDE and model.count_params() <= PARAMETERS:
        return model
    return build(weights=None, classifier_activation=None, input_shape=(REDUCED, REDUCED, 3))


def _saved_model_run(path: Path, *inputs):
    """The results of a SavedModel, read by the first loader, which no optimizer in it troubles."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(path))
        signature = meta.signature_def["serving_default"]
        names = [each.name for each in signature.inputs.values()]
        fed = dict(zip(names, inputs, strict=True))
        return session.run([each.name for each in signature.outputs.values()], fed)


def page(rows: dict) -> str:
    """The table in Markdown."""
    from .measure import machine, markdown

    note = ("`python -m benchmarks.zoo`: float against the framework's own as the largest "
            "difference over the largest value; float ops left between the casts; int8 against "
            "float in dB; the last column is what the float model makes of noise 40 dB below its "
            "input, in dB below its output: where it is low, the model itself amplifies noise. "
            "Seconds are of single runs, on machines that did other work beside; not all rows are "
            "of the one above, where the last of them were measured.")
    table: list[Sequence] = [HEADER]
    for key, row in sorted(rows.items(), key=lambda item: item[0].lower()):
        name, backend = key.rsplit(" ", 1)
        if "error" in row:
            table.append((name, backend, "", f"no: {row['error']}", *[""] * (len(HEADER) - 4)))
            continue
        steady, floats = row["sensitivity"], row["floats"]
        kinds = f" ({', '.join(sorted(set(floats)))})" if floats else ""
        table.append((name, backend, "x".join(map(str, row["shape"][1:])), "yes", row["ops"],
                      f"{row['traced']:.2f}", f"{row['seconds']:.1f}", f"{row['gap']:.1e}",
                      f"{len(floats)}{kinds}", f"{row['noise']:.1f}",
                      "" if steady is None else f"{steady:.1f}"))  # fmt: skip
    parts = ["# Models through both frontends", f"Machine: {machine()}.", note, markdown(table)]
    return "\n\n".join(parts) + "\n"


@click.command(help=__doc__)
@click.option("--only", multiple=True, help="Just these models, anew.")
@click.option("--backend", multiple=True, type=click.Choice(BACKENDS))
@click.option("--row", hidden=True, help="Measure one model in this process.")
def main(only, backend, row) -> None:
    if row:
        click.echo(json.dumps(measured(row)))
        return
    from qir.text import write_atomically

    from .tensorflow_peer import TINY

    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    for name in only or models():
        for each in backend or BACKENDS:
            key = f"{name} {each}"
            if key in rows and not only or name in TINY and each == "jax":
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
