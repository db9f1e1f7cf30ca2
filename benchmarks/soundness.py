"""Random graphs by the hundred thousand: every rule, op and pipeline against what it must keep.

Parts, each over its own seeds: `rules` (graphs from every rule's pattern, the meaning before and
after; those on which the rule fired count), `ops` (nodes of every op on numpy), `networks` (seeded
networks through every pipeline with random parameters, each step checked), `hypothesis` (networks
that hypothesis draws, and shrinks where they fail), `xla_ops` and `xla_networks` (the same compiled
by XLA under default flags and compared with numpy bit for bit). A chunk of seeds is the unit: what
is done is kept in build/soundness.json after each, and an interrupted run goes on from there.
"""

import json
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np

from qir import registry
from qir.evaluate import evaluate
from qir.ir import OPS
from qir.testing.sampling import (
    Rejected,
    check_op,
    check_pipeline,
    draw_call,
    draw_network,
    draw_normal,
    judge,
    rules_everywhere,
)
from qir.text import write_atomically

from .measure import columns, markdown, write_results

STATE = Path(__file__).resolve().parent.parent / "build" / "soundness.json"
SHARES = {"rules": 0.4, "ops": 0.25, "networks": 0.25, "hypothesis": 0.1}
"""The parts that make up the graphs asked for; XLA's are compiled besides."""
TRACED = (0.0, 0.0, 0.5, 1.0)
"""The part of a network's layers spelled in primitives, by its seed."""
MEANT = {
    "rules": "a rule fired on a graph of its pattern; meaning, types, locations, text and back",
    "ops": "a node of an op: its type, its numpy meaning, text and back",
    "networks": "a seeded network through a pipeline: each step, batch 1, text and back",
    "hypothesis": "a network drawn by hypothesis through a pipeline: the same",
    "xla_ops": "a node compiled by XLA: numpy's values",
    "xla_networks": "a network through a pipeline, compiled by XLA: numpy's bits",
}


@dataclass
class Part:
    """What has been done of a part: seeds, graphs, seconds, and what was found, by seed."""

    chunks: int = 0
    graphs: int = 0
    seconds: float = 0.0
    outcomes: Counter = field(default_factory=Counter)
    found: dict[str, str] = field(default_factory=dict)


@click.command(help=__doc__)
@click.option("--graphs", default=100_000, show_default=True, help="Graphs in all, on numpy.")
@click.option("--xla-ops", default=5_000, show_default=True, help="Nodes compiled by XLA.")
@click.option("--xla-networks", default=5_000, show_default=True, help="Networks compiled by XLA.")
@click.option("--again", multiple=True, type=click.Choice(list(MEANT)), help="Start a part anew.")
@click.option("--only", multiple=True, type=click.Choice(list(MEANT)), help="Run these parts.")
@click.option("--chunk", type=int, help="Run this chunk of the one part named, keep nothing.")
@click.option("--state", default=STATE, type=Path, help="Where what is done is kept.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(graphs, xla_ops, xla_networks, again, only, chunk, state, write) -> None:
    warnings.simplefilter("ignore")
    registry.load_dialects()
    registry.targets()
    if chunk is not None:
        (name,) = only
        for seed, what in run_chunk(name, chunk).found.items():
            click.echo(f"{name} {seed}: {what}")
        return
    parts = loaded(state)
    parts |= {name: Part() for name in again}
    wanted = {name: round(share * graphs) for name, share in SHARES.items()}
    wanted |= {"xla_ops": xla_ops, "xla_networks": xla_networks}
    for name in only or MEANT:
        part = parts.setdefault(name, Part())
        while part.graphs < wanted[name]:
            advance(name, part)
            keep(state, parts)
            click.echo(f"{name}: {part.graphs:,} graphs, {part.graphs / part.seconds:.1f} a "
                       f"second, {len(part.found)} findings")  # fmt: skip
    rows = table(parts)
    click.echo(columns(rows))
    for name, part in parts.items():
        for seed, what in part.found.items():
            click.echo(f"{name} {seed}: {what}\n")
    if write:
        click.echo(f"written to {write_results('soundness', 'Rule soundness', report(parts))}")


def loaded(state: Path) -> dict[str, Part]:
    """The parts as they were left."""
    if not state.is_file():
        return {}
    found = json.loads(state.read_text())
    return {n: Part(**{**p, "outcomes": Counter(p["outcomes"])}) for n, p in found.items()}


def keep(state: Path, parts: dict[str, Part]) -> None:
    """Write down what is done."""
    state.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(state, json.dumps({n: vars(p) for n, p in parts.items()}, indent=1))


def advance(name: str, part: Part) -> None:
    """Run the next chunk of a part."""
    started = time.perf_counter()
    done = run_chunk(name, part.chunks)
    part.chunks += 1
    part.graphs += done.graphs
    part.seconds += time.perf_counter() - started
    part.outcomes.update(done.outcomes)
    part.found |= done.found


def run_chunk(name: str, chunk: int) -> Part:
    """One chunk of a part by itself."""
    return _CHUNKS[name](chunk)


def _rules(chunk: int, size: int = 10) -> Part:
    """So many draws for every rule."""
    done = Part()
    for name, rule in rules_everywhere().items():
        for seed in range(chunk * size, (chunk + 1) * size):
            verdict = judge(rule, seed)
            done.outcomes[verdict.outcome] += 1
            done.outcomes[f"fired {name}"] += verdict.outcome == "fired"
            if verdict.outcome == "wrong":
                done.found[f"{name} {seed}"] = verdict.what
    done.graphs = done.outcomes["fired"]
    return done


def _ops(chunk: int, target: str | None = None) -> Part:
    """A draw for every op."""
    done = Part()
    for kind in sorted(OPS):
        try:
            complaint = check_op(kind, chunk, target)
        except Rejected:
            done.outcomes["rejected"] += 1
            continue
        done.graphs += 1
        if complaint is not None:
            done.found[f"{kind} {chunk}"] = complaint
    return done


def _networks(chunk: int, size: int = 100, target: str | None = None) -> Part:
    """So many networks, each through a pipeline in turn with parameters drawn."""
    done, names = Part(), list(registry.pipelines())
    for seed in range(chunk * size, (chunk + 1) * size):
        rng = np.random.default_rng([11, seed])
        func = draw_network(rng, traced=TRACED[seed % len(TRACED)])
        samples = [draw_normal(rng, func) for _ in range(4)]
        if not all(np.isfinite(a).all() for a in evaluate(func, samples[0])):
            done.outcomes["not finite"] += 1  # a softmax without its maximum overflows: no meaning
            continue
        call = draw_call(rng, names[seed % len(names)])
        try:
            passage = check_pipeline(func, call, samples, target)
        except Exception as error:  # any failure is a finding; go on with the next
            done.found[str(seed)] = f"{call}: {type(error).__name__}: {error}\n{func}"
            continue
        done.graphs += 1
        done.outcomes[names[seed % len(names)]] += 1
        done.outcomes.update(f"{5 * int(loss.decibels // 5)} dB" for loss in passage.losses)
        if passage.complaint is not None:
            done.found[str(seed)] = passage.complaint
    return done


def _hypothesis(chunk: int, size: int = 100) -> Part:
    """So many networks by hypothesis under one seed, a failing one shrunk."""
    from hypothesis import HealthCheck, given, seed, settings
    from hypothesis import strategies as st

    from qir.testing.sampling.strategies import calls_of, networks, samples_of

    done, names = Part(), list(registry.pipelines())

    @seed(chunk)
    @settings(max_examples=size, deadline=None, database=None, print_blob=False,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.data(), st.sampled_from(names))
    def keeps(data, name):
        func = data.draw(networks())
        call, samples = data.draw(calls_of(name)), data.draw(samples_of(func))
        complaint = check_pipeline(func, call, samples).complaint
        done.graphs += 1
        assert complaint is None, complaint

    try:
        keeps()
    except Exception as error:  # a complaint, or whatever a pass raised
        done.found[str(chunk)] = f"{type(error).__name__}: {error}"
    return done


def _xla_networks(chunk: int) -> Part:
    return _forgetting(_networks, chunk + 10_000, size=20)


def _xla_ops(chunk: int) -> Part:
    return _forgetting(_ops, chunk + 10_000)


def _forgetting(run, chunk: int, **options) -> Part:
    """A chunk on XLA, its programs let go afterwards."""
    import jax

    try:
        return run(chunk, target="xla", **options)
    finally:
        jax.clear_caches()


_CHUNKS = {
    "rules": _rules, "ops": _ops, "networks": _networks, "hypothesis": _hypothesis,
    "xla_ops": _xla_ops, "xla_networks": _xla_networks,
}  # fmt: skip


def table(parts: dict[str, Part]) -> list[tuple]:
    """A row for each part."""
    rows = [("part", "graphs", "findings", "chunks of seeds", "graphs a second")]
    rows += [
        (name, f"{p.graphs:,}", len(p.found), f"0 to {p.chunks - 1}",
         f"{p.graphs / p.seconds:.1f}" if p.seconds else "")
        for name, p in parts.items()
    ]  # fmt: skip
    ours = [p for name, p in parts.items() if name in SHARES]
    return [*rows, ("on numpy in all", f"{sum(p.graphs for p in ours):,}",
                    sum(len(p.found) for p in ours), "", "")]  # fmt: skip


def report(parts: dict[str, Part]) -> list[str]:
    """The parts of the results file."""
    said = ["`python -m benchmarks.soundness`; a chunk of seeds is run again by `--only PART "
            "--chunk N`.", markdown(table(parts))]  # fmt: skip
    said.append("\n".join(f"- {name}: {what}." for name, what in MEANT.items()))
    if "rules" in parts and parts["rules"].outcomes:
        fired = {n: c for n, c in parts["rules"].outcomes.items() if n.startswith("fired ")}
        least = min(fired, key=fired.get)
        said.append(f"{len(fired)} rules; the one that fired least, `{least[6:]}`, fired "
                    f"{fired[least]:,} times.")  # fmt: skip
    for name in ("networks", "xla_networks"):
        if name in parts:
            counts = {n: c for n, c in parts[name].outcomes.items() if n in registry.pipelines()}
            said.append(f"{name} by pipeline: "
                        + ", ".join(f"{n} {c:,}" for n, c in counts.items()) + ".")  # fmt: skip
    return said


if __name__ == "__main__":
    main()
