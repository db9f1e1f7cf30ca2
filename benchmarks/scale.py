"""How quantization, text and start-up scale: a generated network of thousands of ops.

The network of chain_network.py goes through ptq_int8 with one calibration sample and is not
compiled for the target; then the same with twice the blocks. Then 20,000 ops are printed and
parsed, and `import qir` and `qir passes` are timed as whole processes.
"""

import gc
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import click

import qir
from qir.ir import Func
from qir.text import load_module, save_module

from .chain_network import blocks_for, build
from .measure import columns, markdown, write_results

IMPORT = """
import sys, time
start = time.perf_counter()
import qir
print(time.perf_counter() - start)
print(*sorted({"jax", "networkx", "tensorflow", "sklearn"} & set(sys.modules)))
"""


@click.command(help=__doc__)
@click.option("--ops", default=15_000, show_default=True, help="Ops after canonicalize, at least.")
@click.option("--text-ops", default=20_000, show_default=True, help="Ops to print and parse.")
@click.option("--rounds", default=2, show_default=True, help="Runs of the pipeline on each size.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(ops, text_ops, rounds, write) -> None:
    parts = []
    for part in (passes_table(ops, rounds), text_table(text_ops), start_table()):
        title, rows = part
        click.echo(f"{title}\n{columns(rows)}\n")
        parts += [title, markdown(rows)]
    if write:
        click.echo(f"written to {write_results('scale', 'Scale and start-up', parts)}")


def passes_table(ops: int, rounds: int) -> tuple[str, list]:
    """Seconds of each pass on a network of `ops` ops and on one of twice the blocks."""
    quantized_chain(1)  # what is loaded and compiled once is not what is measured
    blocks = blocks_for(ops)
    runs = [(quantized_chain(blocks), quantized_chain(2 * blocks)) for _ in range(rounds)]
    once, twice = (min(sizes, key=lambda run: in_all(run[1])) for sizes in zip(*runs, strict=True))
    rows = [("seconds", f"{once[0]:,} ops", f"{twice[0]:,} ops", "ratio")]
    for step in once[1]:
        rows.append((step, *cells(once[1][step], twice[1][step])))
    rows.append(("ptq_int8 in all, without trace", *cells(in_all(once[1]), in_all(twice[1]))))
    return ("Passes of ptq_int8 on residual blocks of 1x1 convolutions, bias and relu6; ops are "
            "those after the first canonicalize, constants not counted. One sample calibrates; "
            f"the result is not compiled. The faster of {rounds} runs, sizes in turn."), rows


def in_all(seconds: Counter) -> float:
    """The seconds of the pipeline, what tracing took aside."""
    return seconds.total() - seconds["trace"]


def quantized_chain(blocks: int) -> tuple[int, Counter]:
    """Ops after `canonicalize` of a chain of so many blocks, and the seconds of every pass."""
    model, example = build(blocks)
    gc.collect()
    seconds, counts, started = Counter(), [], perf_counter()
    module = qir.trace(model, example)
    seconds["trace"], started = perf_counter() - started, perf_counter()

    def listen(done) -> None:
        nonlocal started
        seconds[done.step.action.name] += perf_counter() - started
        counts.append(computing(done.after))
        started = perf_counter()

    qir.quantize(module, None, [example], listen=listen)
    return counts[0], seconds


def text_table(ops: int) -> tuple[str, list]:
    """Seconds to print and parse a traced network of so many ops, and whether it came back."""
    model, example = build(blocks_for(ops))
    module = qir.run_pipeline(qir.trace(model, example), "canonicalize")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "chain.qir"
        started = perf_counter()
        save_module(module, path, locations=False)
        printed = perf_counter() - started
        started = perf_counter()
        again = load_module(path)
        parsed = perf_counter() - started
        megabytes = path.stat().st_size / 1e6
        save_module(again, Path(folder) / "again.qir", locations=False)
        same = path.read_text().partition("\n")[2] == (
            Path(folder) / "again.qir").read_text().partition("\n")[2]
    if not same:
        raise click.ClickException("the graph printed again differs from the first text")
    rows = [("", "seconds"), ("print, with weights", f"{printed:.2f}"),
            ("parse", f"{parsed:.2f}"), ("both", f"{printed + parsed:.2f}")]  # fmt: skip
    return (f"Text of {len(module.main.ops):,} ops, {computing(module.main):,} of them no "
            f"constants, {megabytes:.1f} MB; read back as the same graph."), rows  # fmt: skip


def start_table(rounds: int = 7) -> tuple[str, list]:
    """Milliseconds of `import qir` and of a whole `qir passes`, medians, and what is imported."""
    imports, loaded, listings = [], "", []
    for _ in range(rounds):
        said = python("-c", IMPORT).splitlines()
        imports.append(float(said[0]))
        loaded = said[1] if len(said) > 1 else ""
        started = perf_counter()
        python("-m", "qir", "passes")
        listings.append(perf_counter() - started)
    rows = [("", "ms"), ("import qir", f"{1e3 * median(imports):.0f}"),
            ("qir passes, whole process", f"{1e3 * median(listings):.0f}")]  # fmt: skip
    return (f"Start-up, medians of {rounds}. `import qir` loads of jax, networkx, tensorflow and "
            f"sklearn: {loaded or 'none'}."), rows  # fmt: skip


def python(*arguments: str) -> str:
    """The output of a Python process; an error if it fails."""
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True,
                          text=True).stdout  # fmt: skip


def computing(func: Func) -> int:
    """How many ops are neither inputs nor constants."""
    return sum(op.kind not in ("parameter", "const", "item") for op in func.ops)


def cells(once: float, twice: float) -> tuple[str, str, str]:
    """Two durations and their ratio, which means nothing where both are small."""
    return f"{once:.2f}", f"{twice:.2f}", f"{twice / once:.2f}" if once > 0.05 else ""


if __name__ == "__main__":
    main()
