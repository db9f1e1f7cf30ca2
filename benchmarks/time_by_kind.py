"""Where the time goes: the ops of the models of `benchmarks.peers`, by kind, on one thread.

    python -m benchmarks.time_by_kind [--rounds 15]

Each op is compiled by itself and timed as `qir bench --per-op` does, in a process of one processor;
the models are those that `benchmarks.peers` left in build/peers.
"""

import json
import subprocess
import sys

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
@click.option("--of", nargs=2, type=(click.Choice(list(MODELS)), int), hidden=True)
def main(rounds, of) -> None:
    if of:
        click.echo(json.dumps(by_kind(*of, rounds)))
        return
    missing = [name for name in MODELS if not (folder_of(name) / "int8.qir").exists()]
    if missing:
        raise click.ClickException(f"no files of {', '.join(missing)}: run benchmarks.peers first")
    parts = [NOTE]
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
