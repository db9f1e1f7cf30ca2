"""Where the time goes: the ops of the models of `benchmarks.peers`, by kind, on one thread.

    python -m benchmarks.time_by_kind [--rounds 15]

Each op is compiled by itself and timed as `qir bench --per-op` does, in a process of one processor;
the models are those that `benchmarks.peers` left in build/peers. A large product of 8 bits on each
of two processors, alone and both at once, tells what a second thread can win.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import click

from qir import api
from qir.cli.per_op import measured_limits, op_times
from qir.targets.xla.compile import compile_func

from . import measure
from .peers import BATCHES, MODELS, folder_of

NOTE = (
    "Milliseconds of the ops of a kind in one call, each op compiled by itself and called with the "
    "values it has in the model, on one processor; what a call of nothing takes is subtracted. In "
    "the model a sum with a shortcut goes into the layer before it: `int8.add` is listed, and not "
    "part of the whole. Of the whole: of all others."
)
FUSED = "int8.add"


@click.command(help=__doc__)
@click.option("--rounds", default=15, show_default=True, help="Timed calls of each op.")
@click.option("--product", type=int, hidden=True)
@click.option("--of", nargs=2, type=(click.Choice(list(MODELS)), int), hidden=True)
def main(rounds, product, of) -> None:
    if product is not None:
        click.echo(json.dumps(product_rate(product, rounds)))
        return
    if of:
        click.echo(json.dumps(by_kind(*of, rounds)))
        return
    missing = [name for name in MODELS if not (folder_of(name) / "int8.qir").exists()]
    if missing:
        raise click.ClickException(f"no files of {', '.join(missing)}: run benchmarks.peers first")
    parts = [NOTE, cores(rounds)]
    for name in MODELS:
        for batch in BATCHES:
            parts += table(name, batch, _child("--of", name, str(batch), "--rounds", str(rounds)))
            click.echo("\n".join(parts[-2:]))
    click.echo(f"written to {measure.write_results('time_by_kind', 'Where the time goes', parts)}")


def _child(*words: str):
    done = subprocess.run([sys.executable, "-m", "benchmarks.time_by_kind", *words], text=True,
                          capture_output=True, check=False)  # fmt: skip
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def cores(rounds: int) -> str:
    """What a large product runs at on two processors, each alone and both at once."""
    processors = sorted(os.sched_getaffinity(0))[:2]

    def rate(processor: int) -> float:
        return _child("--product", str(processor), "--rounds", str(rounds))

    alone = [rate(each) for each in processors]
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(rate, processors))
    told = [" and ".join(f"{each / 1e9:.0f}" for each in rates) for rates in (alone, both)]
    share = sum(both) / (sum(alone) / len(alone))
    return (f"A product of 2048 by 2048 by 2048 on each processor alone: {told[0]} GOP/s; on both "
            f"at once: {told[1]}, together {share:.2f} times one.")  # fmt: skip


def product_rate(processor: int, rounds: int) -> float:
    """Operations a second of a large product on one processor."""
    from .peer_engines import use_threads

    os.sched_setaffinity(0, {processor})
    use_threads(1)
    return measured_limits(compile_func, rounds).operations


def by_kind(name: str, batch: int, rounds: int) -> dict[str, list]:
    """By kind of op: how many there are, their seconds, their multiplications and additions."""
    from .peer_engines import use_threads

    use_threads(1)
    model = api.read_model(folder_of(name) / "int8.qir").main.with_batch(batch)
    inputs = [MODELS[name].inputs(batch, seed=3000)]
    limits = measured_limits(compile_func, rounds)
    found: dict[str, list] = {}
    for each in op_times(api.legalized(model, "xla"), compile_func, inputs, limits, rounds):
        count, seconds, operations = found.get(each.op.kind, (0, 0.0, 0))
        found[each.op.kind] = [count + 1, seconds + each.seconds, operations + each.operations]
    return found


def table(name: str, batch: int, found: dict[str, list]) -> list[str]:
    """The kinds of one model, the slowest first."""
    whole = sum(seconds for kind, (_, seconds, _) in found.items() if kind != FUSED)
    rows = [("kind", "ops", "ms", "of the whole", "GOP/s")]
    for kind, (count, seconds, operations) in sorted(found.items(), key=lambda kv: -kv[1][1]):
        share = "-" if kind == FUSED or not whole else f"{100 * seconds / whole:.0f} %"
        rate = f"{operations / seconds / 1e9:.0f}" if operations and seconds else "-"
        rows.append((kind, count, f"{1e3 * seconds:.2f}", share, rate))
    return [f"## {name}, batch {batch}: {1e3 * whole:.2f} ms", measure.markdown(rows)]


if __name__ == "__main__":
    main()
