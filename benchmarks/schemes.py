"""Every scheme on five trained models: `qir compare`, one table and one picture a model.

    python -m benchmarks.schemes [--only NAME] [--rounds 30]

Keyword spotting and ResNet-8 of MLPerf Tiny, a convolutional network, a vision transformer and an
LSTM for Fashion-MNIST, which are trained where build/ holds none. Rows are kept in
results/schemes.json: `--only` measures the named models anew and leaves the others. Pictures go to
results/schemes/.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

import qir
from qir.cli.compare import table_cells, table_lines, write_plot
from qir.text import write_atomically

from . import measure
from .tensorflow_peer import SUBJECTS

ROWS = measure.RESULTS / "schemes.json"
PICTURES = measure.RESULTS / "schemes"
MODELS = ("keyword spotting", "ResNet-8", "Fashion-MNIST CNN", "Fashion-MNIST ViT",
          "Fashion-MNIST LSTM")  # fmt: skip
SCHEMES = (
    "dynamic_range",
    "weight_only",
    "weight_only(block=32)",
    "weight_only(bits=4)",
    "weight_only(bits=4, clip=mse)",
    "weight_only(bits=4, block=32)",
    "weight_only(bits=4, block=32, clip=mse)",
    "float16",
    "bfloat16",
    "ptq_int8",
    "ptq_int8(method=mse)",
    "ptq_int8_per_tensor",
    "ptq_int8_recovered",
    "ptq_int8_recovered(weights=per_tensor)",
    "ptq_int8_smoothed",
    "ptq_int16x8",
    "legacy_uint8(inputs=float32, outputs=float32)",
    "mixed(max_drop=0.005)",
)
BATCH = 20
NOTE = (
    f"`qir compare` with batches of {BATCH}, on XLA: accuracy over 400 speech stimuli, 1,000 "
    "CIFAR-10 pictures and the 10,000 test images of Fashion-MNIST, calibrated with 100, 500 and "
    "200 others. Bytes of the saved graph and its weights: small models are mostly text. Ratio: "
    "the float model's latency over that of the row, timed in turn in one process."
)


def compared(name: str, rounds: int) -> list[dict]:
    """The rows of one model, the first of them the float model."""
    save, load = SUBJECTS[name]
    calibration, inputs, labels = load()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = save(folder)
        key = qir.trace(model).main.parameters[0].attributes["name"]
        np.savez(folder / "calibration.npz", **{key: calibration})
        np.savez(folder / "evaluation.npz", **{key: inputs}, label=labels)
        command = [sys.executable, "-m", "qir", "compare", str(model), "-p", ", ".join(SCHEMES),
                   "--calibration", str(folder / "calibration.npz"), "--batch", str(BATCH),
                   "--data", str(folder / "evaluation.npz"), "--rounds", str(rounds),
                   "--json"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:] or done.stdout[-2000:])
    return json.loads(done.stdout)["rows"]


def draw(name: str, rows: list[dict], rounds: int) -> None:
    """Size against accuracy, as a picture."""
    PICTURES.mkdir(exist_ok=True)
    head = f"{name}: {rows[0]['samples']} samples, on XLA"
    write_plot(str(PICTURES / picture_name(name)), head, rows, rounds)


def picture_name(model: str) -> str:
    return f"{model.lower().replace(' ', '_')}.png"


def tables(known: dict[str, list[dict]]) -> list[str]:
    """A table in markdown for each model that was measured."""
    parts = []
    for name in MODELS:
        if name not in known:
            continue
        header, rows = table_cells(known[name])
        parts += [f"## {name}", measure.markdown([header, *rows]),
                  f"![size against accuracy](schemes/{picture_name(name)})"]  # fmt: skip
    return parts


@click.command(help=__doc__)
@click.option("--rounds", default=30, show_default=True, help="Timed calls of each.")
@click.option("--only", multiple=True, type=click.Choice(MODELS), help="Just these, anew.")
def main(rounds, only) -> None:
    known = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    for name in only or MODELS:
        known[name] = compared(name, rounds)
        draw(name, known[name], rounds)
        click.echo("\n".join([name, *table_lines(known[name])]))
        write_atomically(ROWS, json.dumps(known, indent=1) + "\n")
        path = measure.write_results("schemes", "Every scheme, side by side",
                                     [NOTE, *tables(known)])  # fmt: skip
    click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
