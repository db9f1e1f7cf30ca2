"""Text and rewriting of the same graph in qir and in xDSL, in one run.

The graph of mixed_graph.py, whose ops xDSL knows through IRDL, is parsed, printed and canonicalized
by the same rules in both, in turn. xDSL prints its ops in their own form or in the generic one,
whichever is faster, and looks up patterns by the kind of op. Python's garbage collector rests in
both; qir lets it rest by itself, xDSL takes longer with it. What is given is processor time: all
of this runs on one processor.
"""

import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from statistics import median
from time import process_time

import click

from qir.garbage import paused
from qir.registry import load_dialects
from qir.text import print_func, read_module

from . import mixed_graph, xdsl_graph
from .measure import columns, markdown, write_results

STEPS = ("parse", "print", "both", "rewrite")
MOST_ROUNDS = 3


@click.command(help=__doc__)
@click.option("--ops", default="1000,10000,100000", show_default=True, help="Sizes of the graph.")
@click.option("--rounds", default=3, show_default=True, help="Rounds at the largest size, at "
              f"most {MOST_ROUNDS} at smaller ones.")  # fmt: skip
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(ops, rounds, write) -> None:
    load_dialects()
    sizes = sorted(int(size) for size in ops.split(","))
    generic = faster_form(sizes[0])
    rows, found = [], {}
    for size in sizes:
        found[size] = measured(size, min(MOST_ROUNDS, rounds * sizes[-1] // size), generic)
        rows += table_rows(found, size)
        click.echo(columns([HEADER, *rows[-len(STEPS) :]]) + "\n")
    form = "the generic form" if generic else "its ops' own form"
    title = (f"qir against xDSL {version('xdsl')}, which prints in {form}. Processor time, "
             "medians; qir / xDSL below 1 means that qir is faster. Linear is qir's time per op "
             "over that at the smallest size. qir checks the type of every op that it parses, "
             "xDSL does not here. Both leave the same number of ops.")  # fmt: skip
    if write:
        path = write_results("compiler", "Text and rewriting", [title, markdown([HEADER, *rows])])
        click.echo(f"written to {path}")


HEADER = ("ops", "step", "ops left", "rounds", "qir ms", "xDSL ms", "qir / xDSL", "linear")


def table_rows(found: dict[int, tuple], size: int) -> list[tuple]:
    """A row for each step at one size."""
    left, rounds, seconds = found[size]
    least = min(found)
    rows = []
    for step in STEPS:
        qir, xdsl = seconds[step]
        linear = (qir / size) / (found[least][2][step][0] / least)
        shown = f"{left:,}" if step == "rewrite" else ""
        rows.append((f"{size:,}", step, shown, rounds, f"{1e3 * qir:,.1f}", f"{1e3 * xdsl:,.1f}",
                     f"{qir / xdsl:.3f}", f"{linear:.2f}"))  # fmt: skip
    return rows


def measured(size: int, rounds: int, generic: bool) -> tuple[int, int, dict]:
    """Ops left by the rewrite, the rounds, and median seconds of each step, qir's and xDSL's."""
    graph = mixed_graph.mixed_graph(size)
    func, module = mixed_graph.built(graph), xdsl_graph.built(graph)
    module.verify()
    text, xdsl_text = print_func(func), xdsl_graph.printed(module, generic)
    times: dict[str, list[tuple[float, float]]] = {step: [] for step in STEPS}
    left = set()
    for _ in range(rounds):
        ours, read = seconds(partial(read_module, text))
        theirs, parsed = seconds(partial(xdsl_graph.parsed, xdsl_text))
        times["parse"].append((ours, theirs))
        ours, ours_again = seconds(partial(print_func, read.main))
        theirs, theirs_again = seconds(partial(xdsl_graph.printed, parsed, generic))
        times["print"].append((ours, theirs))
        if (ours_again, theirs_again) != (text, xdsl_text):
            raise click.ClickException("a text that was read and printed is another text")
        ours, result = seconds(partial(mixed_graph.canonical, replace(read.main)))
        theirs, _ = seconds(partial(xdsl_graph.canonicalized, parsed))
        times["rewrite"].append((ours, theirs))
        left |= {len(result.ops) - len(result.parameters), xdsl_graph.ops_in(parsed)}
    if len(left) > 1:
        raise click.ClickException(f"the rewrites leave different numbers of ops: {sorted(left)}")
    pairs = zip(times["parse"], times["print"], strict=True)
    times["both"] = [(p[0] + q[0], p[1] + q[1]) for p, q in pairs]
    found = {s: tuple(map(median, zip(*each, strict=True))) for s, each in times.items()}
    return left.pop(), rounds, found


def faster_form(size: int) -> bool:
    """Whether xDSL parses and prints this graph faster in the generic form."""
    module = xdsl_graph.built(mixed_graph.mixed_graph(size))

    def whole(generic: bool) -> float:
        return seconds(lambda: xdsl_graph.parsed(xdsl_graph.printed(module, generic)))[0]

    return min(whole(True) for _ in range(3)) < min(whole(False) for _ in range(3))


def seconds(call: Callable) -> tuple[float, object]:
    """Processor time of a call, which runs on one, without collections; and what it gives."""
    gc.collect()
    with paused():
        started = process_time()
        result = call()
        return process_time() - started, result


if __name__ == "__main__":
    main()
