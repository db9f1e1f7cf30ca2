"""`qir quantize` killed at random moments: what lies at its output is the old pair or the new one.

The output of an earlier run lies there already, and is put back for each trial. Of the trials one
half is killed at a moment anywhere in a run, the other half once the run has begun to write. After
each, text and weights must load as one of the two models, every array read, and give its outputs.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from qir import registry
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.ir import Func, Module, const, parameter
from qir.text import load_module, print_module, save_module
from qir.types import tensor

from .measure import columns, markdown, write_results

PARTIAL = "partial files"
ORPHANS = "weights that no text names"


@dataclass(frozen=True)
class Model:
    """A model as it lies on disk: its text, and what it gives."""

    text: str
    results: tuple[np.ndarray, ...]


@click.command(help=__doc__)
@click.option("--kills", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--width", default=768, show_default=True, help="Of the layers: what is written.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(kills, seed, width, write) -> None:
    registry.load_dialects()
    with TemporaryDirectory() as folder:
        counts, leftovers, seconds = trials(Path(folder), kills, seed, width)
    rows = [("what lay there", "trials"), *counts.items(),
            *((f"left beside it: {what}", n) for what, n in leftovers.items())]  # fmt: skip
    click.echo(columns(rows))
    if write:
        said = (f"`python -m benchmarks.kills --kills {kills} --seed {seed}`: `qir quantize -o` "
                f"over an older output, killed (SIGKILL) {kills} times; a whole run takes "
                f"{seconds:.1f} s. A partial file is removed by a later save to that path once it "
                "is an hour old; weights that no text names stay, and are written over by the run "
                "that makes them again.")  # fmt: skip
        click.echo(f"written to {write_results('kills', 'Killed writers', [said, markdown(rows)])}")
    sys.exit(1 if counts["neither"] else 0)


def trials(folder: Path, kills: int, seed: int, width: int) -> tuple[Counter, Counter, float]:
    """Outcomes of all trials, what was left beside the outputs, and the seconds of a whole run."""
    save_module(Module((_float(width),)), folder / "float.qir")
    command = [sys.executable, "-m", "qir", "quantize", str(folder / "float.qir"),
               "--calibration", "random:2", "-o"]  # fmt: skip
    models, seconds = {}, 0.0
    for name, options in {"old": ["--param", "weights=per_tensor"], "new": []}.items():
        (folder / name).mkdir()
        started = time.perf_counter()
        subprocess.run([*command, str(folder / name / "out.qir"), *options], check=True,
                       capture_output=True)  # fmt: skip
        seconds = time.perf_counter() - started
        models[name] = _read(folder / name / "out.qir")
    rng, counts, leftovers = random.Random(seed), Counter(old=0, new=0, neither=0), Counter()
    for number in range(kills):
        place = folder / "trial"
        shutil.copytree(folder / "old", place)
        _killed([*command, str(place / "out.qir")], place, rng, number % 2 == 0, seconds)
        counts[_outcome(place / "out.qir", models)] += 1
        leftovers.update(_left(place))
        shutil.rmtree(place)
    return counts, leftovers, seconds


def _killed(command, place: Path, rng, anywhere: bool, seconds: float) -> None:
    """Run the command and kill it: at any moment, or soon after it has begun to write."""
    before = set(os.listdir(place))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if anywhere:
        end = time.perf_counter() + rng.uniform(0, 1.1 * seconds)
        while process.poll() is None and time.perf_counter() < end:
            time.sleep(0.001)
    else:
        while process.poll() is None and set(os.listdir(place)) == before:
            time.sleep(0.0002)
        time.sleep(rng.choice((0, rng.uniform(0, 0.005), rng.uniform(0, 0.05))))
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()


def _read(path: Path) -> Model:
    """A saved model, every array of it read, on a fixed input."""
    module = load_module(path)
    func = module.main
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=p.shape).astype(np.float32) for p in func.parameters]
    return Model(print_module(module), evaluate(func, inputs))


def _outcome(path: Path, models: dict[str, Model]) -> str:
    try:
        found = _read(path)
    except QirError as error:
        click.echo(str(error))
        return "neither"
    for name, model in models.items():
        same = map(np.array_equal, found.results, model.results)
        if found.text == model.text and all(same):
            return name
    return "neither"


def _left(place: Path) -> list[str]:
    """What lies beside the text and the weights that it names."""
    named = (place / "out.qir").read_text().split('"')[1]
    rest = [name for name in os.listdir(place) if name not in ("out.qir", named)]
    return [PARTIAL if name.endswith(".partial") else ORPHANS for name in rest]


def _float(width: int) -> Func:
    """Three dense layers of this width."""
    from qir.dialects import nn

    rng = np.random.default_rng(0)
    x = y = parameter("x", tensor("f32", (1, width)))
    for _ in range(3):
        y = nn.relu(nn.dense(y, const(rng.normal(size=(width, width)) / np.sqrt(width), name="w")))
    return Func("main", (x,), (y,))


if __name__ == "__main__":
    main()
