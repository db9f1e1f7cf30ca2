"""`python -m qir.testing.sampling`: the checks on as many draws as asked for."""

import re
import sys
from functools import partial

import click
import numpy as np

from ... import registry
from ...ir import OPS
from .checks import check_network, check_op
from .draft import Rejected
from .soundness import tally
from .spans import check_span
from .steering import rules_everywhere

FIRST, SHOWN = 0, 2


@click.command()
@click.option("--seeds", default=200, help="Draws for each rule.")
@click.option("--ops", default=0, help="Draws for each op, numpy against the target.")
@click.option("--spans", default=0, help="Draws for each op, its numpy meaning against its ranges.")
@click.option("--networks", default=0, help="Networks through ptq_int8, numpy against the target.")
@click.option("--start", default=FIRST, help="The first seed.")
@click.option("--match", default="", help="Only rules and ops whose name matches this expression.")
@click.option("--target", default="xla", help="What ops and networks are compiled for.")
@click.option("--show", default=SHOWN, help="How many wrong draws of each are shown.")
def main(seeds, ops, spans, networks, start, match, target, show):
    """Fuzz every rewrite rule from its own pattern, every op, random networks."""
    registry.load_dialects()
    registry.targets()
    wrong = _rules(range(start, start + seeds), match, show)
    wrong += _ops(range(start, start + ops), match, partial(check_op, target=target), show)
    wrong += _ops(range(start, start + spans), match, check_span, show)
    wrong += _networks(range(start, start + networks), target, show)
    sys.exit(1 if wrong else 0)


def _rules(seeds, match: str, show: int) -> int:
    wrong = 0
    for name, rule in rules_everywhere().items() if seeds else ():
        if not re.search(match, name):
            continue
        found = tally(rule, seeds)
        counts = ", ".join(f"{n} {what}" for what, n in sorted(found.outcomes.items()))
        click.echo(f"{name:45} {counts}")
        if not found.outcomes["fired"]:
            click.echo(f"    never fired: {found.reasons.most_common(2)}")
            wrong += 1
        wrong += _shown(name, found.wrong, show)
    return wrong


def _ops(seeds, match: str, check, show: int) -> int:
    wrong = 0
    for kind in sorted(OPS) if seeds else ():
        if not re.search(match, kind):
            continue
        found = {}
        for seed in seeds:
            try:
                complaint = check(kind, seed)
            except Rejected:
                continue
            found |= {} if complaint is None else {seed: complaint}
        wrong += _shown(kind, found, show)
    return wrong


def _networks(seeds, target: str, show: int) -> int:
    losses, found = [], {}
    for seed in seeds:
        try:
            complaint, lost = check_network(seed, target=target)
        except Exception as error:  # any failure is a finding; go on with the next
            complaint, lost = f"{type(error).__name__}: {error}", []
        losses += [loss.decibels for loss in lost]
        found |= {} if complaint is None else {seed: complaint}
    if losses:
        low, middle = np.percentile(losses, [1, 50])
        click.echo(f"signal to noise: median {middle:.1f} dB, 1 % below {low:.1f} dB")
    return _shown("networks", found, show)


def _shown(name: str, found: dict[int, str], show: int) -> int:
    for seed, complaint in list(found.items())[:show]:
        click.echo(f"  {name}, seed {seed}: {complaint}\n")
    if len(found) > show:
        click.echo(f"  {name}: {len(found) - show} more wrong seeds {list(found)[show:][:20]}")
    return len(found)


if __name__ == "__main__":
    main()
