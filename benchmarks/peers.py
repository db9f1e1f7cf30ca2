"""int8 on a CPU side by side: qir, LiteRT, ONNX Runtime, OpenVINO, and their float.

    python -m benchmarks.peers [--only MODEL] [--rounds 30] [--page peers_avx2]

One process for each model and number of threads, all engines called in turn in it; one more for
each engine's memory and first call. Files go to build/peers, where they are kept; rows to
results/PAGE.json: `--only` measures that model anew. A page is of one machine. Needs
`pip install -e ".[peers]"`.
"""

import json
import subprocess
import sys
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import click
import numpy as np

from qir.cli.scores import peak_memory
from qir.text import write_atomically

from . import measure
from .large_models import Subject
from .models import efficientnet, encoder, mobilenet_v2, resnet50
from .models.random_inputs import images, tokens

FILES = Path(__file__).resolve().parent.parent / "build" / "peers"
NEEDED = ("onnx", "onnxruntime", "openvino", "nncf")
BATCHES, THREADS, CALIBRATION = (1, 8), (1, 2), 32
REST = 0.05  # seconds
MINILM = {"layers": 6, "hidden": 384, "heads": 12, "intermediate": 1536}
MODELS = {
    "ResNet-50": Subject(resnet50.build, images),
    "MobileNetV2": Subject(mobilenet_v2.build, images),
    "EfficientNet-B0": Subject(efficientnet.build, images),
    "MiniLM-L6 encoder": Subject(partial(encoder.build, **MINILM), partial(tokens, width=384)),
    "BERT-base encoder": Subject(encoder.build, tokens),
}
NOTE = (
    "Median milliseconds of calls made in turn, each after a rest and a call of its own that is "
    "not timed: threads of one engine spin on when its call is over. The machine is shared, and "
    "absolute times vary by half between runs. Ratio: to the fastest 8-bit engine that is not "
    "qir. dB: signal to noise against the engine's own float, on 8 inputs. Every engine quantizes "
    f"the same weights with the same {CALIBRATION} inputs: ONNX Runtime as QDQ by channel, "
    "OpenVINO by NNCF, LiteRT runs what qir exports. First: seconds from the file to the end of "
    "the first call, at batch 1 in a process of its own that has loaded the library. MB: its "
    "memory at most; own MB: without what it had before it read the file. XLA's float is the "
    "traced graph, compiled as qir's are. OpenVINO's float is kept to f32; its 8-bit model chooses "
    "its own type for what is not quantized."
)


@click.command(help=__doc__)
@click.option("--only", multiple=True, type=click.Choice(list(MODELS)), help="Just these, anew.")
@click.option("--rounds", default=30, show_default=True, help="Timed calls of each.")
@click.option("--page", default="peers", show_default=True, help="Of results, that is written.")
@click.option("--timed", nargs=2, type=(click.Choice(list(MODELS)), int), hidden=True)
@click.option("--first", nargs=2, type=(click.Choice(list(MODELS)), str), hidden=True)
def main(only, rounds, page, timed, first) -> None:
    if timed:
        click.echo(json.dumps(times(*timed, rounds)))
        return
    if first:
        click.echo(json.dumps(first_call(*first)))
        return
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise click.ClickException(f"{', '.join(missing)} not installed: "
                                   "pip install -e \".[peers]\"")  # fmt: skip
    rows = measure.RESULTS / f"{page}.json"
    known = json.loads(rows.read_text()) if rows.exists() else {}
    for name in only or MODELS:
        known[name] = measured(name, rounds)
        write_atomically(rows, json.dumps(known, indent=1) + "\n")
        parts = [NOTE, *(part for each in MODELS if each in known for part in table(each, known))]
        path = measure.write_results(page, "int8 on a CPU, side by side", parts)
        click.echo(f"{name}: written to {path}")


def measured(name: str, rounds: int) -> dict:
    """What child processes say about one model."""
    from .peer_engines import ENGINES, prepare

    subject = MODELS[name]
    model, example = subject.build()
    calibration = [x[None] for x in subject.inputs(CALIBRATION, seed=1000)]
    prepare(folder_of(name), model, example, calibration, "encoder" in name)
    timed = {str(n): _child("--timed", name, str(n), "--rounds", str(rounds)) for n in THREADS}
    return {"timed": timed, "first": {e: _child("--first", name, e) for e in ENGINES}}


def folder_of(name: str) -> Path:
    return FILES / name.lower().replace(" ", "_")


def _child(*words: str) -> dict:
    done = subprocess.run([sys.executable, "-m", "benchmarks.peers", *words], text=True,
                          capture_output=True, check=False)  # fmt: skip
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def times(name: str, threads: int, rounds: int) -> dict:
    """Milliseconds by batch and engine, and signal to noise by engine."""
    from . import peer_engines

    peer_engines.use_threads(threads)
    folder, found = folder_of(name), {}
    for batch in BATCHES:
        engines = {engine: chosen.load(folder / chosen.file, batch, threads)
                   for engine, chosen in peer_engines.ENGINES.items()}  # fmt: skip
        x = MODELS[name].inputs(batch, seed=3000)
        found[str(batch)] = in_turn(engines, x, rounds)
    results = {engine: np.array(run(x)) for engine, run in engines.items()}
    noise = {engine: measure.signal_to_noise(results[real], results[engine])
             for engine, real in peer_engines.FLOAT_OF.items()}  # fmt: skip
    return {"ms": found, "noise": noise}


def in_turn(engines: dict, x: np.ndarray, rounds: int) -> dict[str, float]:
    """Median milliseconds of a call of each engine.

    A call is timed after a rest, in which the threads of the engine before it stop spinning, and
    after another call of its own, which brings its weights back into the caches.
    """
    spent = {engine: [] for engine in engines}
    for _ in range(rounds):
        for engine, run in engines.items():
            sleep(REST)
            run(x)
            started = perf_counter()
            run(x)
            spent[engine].append(1e3 * (perf_counter() - started))
    return {engine: median(each) for engine, each in spent.items()}


def first_call(name: str, engine: str) -> dict:
    """Seconds from the file to the first result, and the most memory that took, in MB: all of it,
    and what there was before the file was read."""
    from . import peer_engines

    peer_engines.use_threads(max(THREADS))
    x = MODELS[name].inputs(1, seed=3000)
    chosen = peer_engines.ENGINES[engine]
    import_module(chosen.library)
    before, started = peak_memory(), perf_counter()
    chosen.load(folder_of(name) / chosen.file, 1, max(THREADS))(x)
    seconds = perf_counter() - started
    return {"seconds": seconds, "megabytes": peak_memory() / 1e6, "before": before / 1e6}


def table(name: str, known: dict) -> list[str]:
    """The rows of one model: an engine each."""
    record = known[name]
    columns = [(b, t) for b in BATCHES for t in THREADS]
    header = ["engine", *(text for b, t in columns for text in (f"b{b} {t}T ms", "ratio")),
              "dB", "first s", "MB", "own MB"]  # fmt: skip
    rows = []
    for engine in record["first"]:
        cells = [engine]
        for batch, threads in columns:
            ms = record["timed"][str(threads)]["ms"][str(batch)]
            best = min(ms[e] for e in ("LiteRT", "ONNX Runtime", "OpenVINO"))
            cells += [f"{ms[engine]:.2f}", f"{ms[engine] / best:.2f}"]
        noise = record["timed"][str(THREADS[-1])]["noise"].get(engine)
        first = record["first"][engine]
        cells += ["" if noise is None else f"{noise:.1f}", f"{first['seconds']:.2f}",
                  f"{first['megabytes']:.0f}",
                  f"{first['megabytes'] - first['before']:.0f}"]  # fmt: skip
        rows.append(cells)
    return [f"## {name}", measure.markdown([header, *rows])]


if __name__ == "__main__":
    main()
