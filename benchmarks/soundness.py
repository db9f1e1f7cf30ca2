"""A hundred thousand random graphs: rules, ops and whole networks, looked at for any difference.

Rules are applied to graphs drawn from their own patterns, nodes are drawn of every op, networks go
through every pipeline there is. A part of the nodes and networks is compiled for XLA as well. Each
graph follows from its kind, its name and its seed; what was done is kept in build/soundness.json,
so that a run that was stopped goes on, and every finding names its seed.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic

import click
import numpy as np

from qir import registry
from qir.ir import OPS
from qir.testing.sampling import Rejected, check_network, check_op, judge, rules_everywhere
from qir.text import write_atomically

from .measure import columns, markdown, write_results

STATE = Path(__file__).resolve().parents[1] / "build" / "soundness.json"
SHARES = {"rules": 0.5, "ops": 0.24, "networks": 0.2, "ops on xla": 0.04, "networks on xla": 0.02}
"""What part of the graphs is of each kind."""
EVERY = 200
"""After how many graphs the state is written."""

Check = Callable[[int], tuple[str, str | None]]
"""From a seed to an outcome and what is wrong, if anything."""


@click.command(help=__doc__)
@click.option("--graphs", default=100_000, show_default=True, help="How many, of all kinds.")
@click.option("--first-seed", default=1_000_000, show_default=True)
@click.option("--minutes", default=1e9, help="Stop after so long; the next run goes on.")
@click.option("--fresh", is_flag=True, help="Forget what an earlier run has done.")
def main(graphs, first_seed, minutes, fresh) -> None:
    registry.load_dialects()
    registry.targets()
    state = {"first_seed": first_seed, "done": {}, "outcomes": {}, "found": {}}
    if STATE.is_file() and not fresh:
        state = json.loads(STATE.read_text())
    end = monotonic() + 60 * minutes
    for number, (kind, name, seed, check) in enumerate(_todo(graphs, state), 1):
        _look(kind, name, seed, check, state)
        if number % EVERY == 0:
            _save(state)
        if monotonic() > end:
            break
    _save(state)
    rows, found = _tables(state)
    click.echo(columns(rows))
    click.echo("\n".join(found))
    click.echo(f"written to {write_results('soundness', 'Random graphs', _parts(state))}")


def _checks() -> Iterator[tuple[str, str, Check]]:
    """Every check: its kind, what it looks at, and the check itself."""
    for name, rule in rules_everywhere().items():
        yield "rules", name, partial(_judged, rule)
    for kind in sorted(OPS):
        yield "ops", kind, partial(_checked_op, kind, None)
        yield "ops on xla", kind, partial(_checked_op, kind, "xla")
    for pipeline in registry.pipelines():
        yield "networks", pipeline, partial(_checked_network, pipeline, None)
        yield "networks on xla", pipeline, partial(_checked_network, pipeline, "xla")


def _todo(graphs: int, state: dict) -> Iterator[tuple[str, str, int, Check]]:
    """What is not done yet, all kinds and names in turn, so that a run that stops saw them all."""
    checks = list(_checks())
    names = Counter(kind for kind, _, _ in checks)
    wanted = {kind: -(-int(graphs * SHARES[kind]) // n) for kind, n in names.items()}
    for turn in range(max(wanted.values())):
        for kind, name, check in checks:
            share = -(-wanted[kind] * (turn + 1) // max(wanted.values()))
            while state["done"].get(f"{kind}: {name}", 0) < share:
                done = state["done"].get(f"{kind}: {name}", 0)
                yield kind, name, state["first_seed"] + done, check


def _look(kind: str, name: str, seed: int, check: Check, state: dict) -> None:
    try:
        outcome, complaint = check(seed)
    except Exception as error:  # any failure is a finding; the campaign goes on
        outcome, complaint = "wrong", f"{type(error).__name__}: {error}"
    key = f"{kind}: {name}"
    state["done"][key] = state["done"].get(key, 0) + 1
    counts = state["outcomes"].setdefault(kind, {})
    counts[outcome] = counts.get(outcome, 0) + 1
    if complaint is not None:
        state["found"][f"{key}, seed {seed}"] = complaint
        click.echo(f"{key}, seed {seed}: {complaint}\n")


def _judged(rule, seed: int) -> tuple[str, str | None]:
    verdict = judge(rule, seed)
    return verdict.outcome, verdict.what if verdict.outcome == "wrong" else None


def _checked_op(kind: str, target: str | None, seed: int) -> tuple[str, str | None]:
    try:
        complaint = check_op(kind, seed, target)
    except Rejected:
        return "rejected", None
    return ("same" if complaint is None else "wrong"), complaint


def _checked_network(pipeline: str, target: str | None, seed: int) -> tuple[str, str | None]:
    complaint, _ = check_network(seed, pipeline, target)
    return ("same" if complaint is None else "wrong"), complaint


def _save(state: dict) -> None:
    STATE.parent.mkdir(exist_ok=True)
    write_atomically(STATE, json.dumps(state, indent=1))


def _tables(state: dict) -> tuple[list, list[str]]:
    outcomes = ("same", "fired", "declined", "unmatched", "rejected", "wrong")
    rows = [("graphs", "in all", *outcomes)]
    counted = {kind: Counter(counts) for kind, counts in state["outcomes"].items()}
    for kind, counts in [*counted.items(), ("in all", sum(counted.values(), Counter()))]:
        rows.append((kind, f"{counts.total():,}", *(f"{counts[o]:,}" for o in outcomes)))
    return rows, [f"- {key}: {what.splitlines()[0]}" for key, what in state["found"].items()]


def _parts(state: dict) -> list[str]:
    rows, found = _tables(state)
    done = np.array(list(state["done"].values()))
    said = ("A rule `fired` and kept types and meaning, `declined` with a reason, or did not "
            "match; a draw that cannot be typed is `rejected`; `same` is an op or a network "
            f"without any difference. Seeds count from {state['first_seed']:,} for each name, "
            f"{done.min():,} to {done.max():,} of them.")  # fmt: skip
    return [said, markdown(rows), "Found:", "\n".join(found) or "Nothing."]


if __name__ == "__main__":
    main()
