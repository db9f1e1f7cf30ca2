"""Cliffs among shapes: for each kind of op a grid of them, and those far slower than the next.

    python -m benchmarks.shape_grid [convolution depthwise dense matmul] [--rounds 9]

Each op is timed by itself in the C++ kernels (native) and by XLA's own (portable): the median of
turns, in which each layer calls its own for some milliseconds. What a call of nothing takes is
subtracted, and no less than that is counted, since what is left of shorter calls is noise. GOP/s
are multiplications and additions by what remains.

A neighbour is one step away along one axis. A shape is flagged where it takes more than 5 times
both what its work would take at the rate of a neighbour and a call of nothing. It is timed once
more before it is, and the faster counts. Shapes of less than 1 MOP, which the call bounds, and of
more than 4 GOP, which take as long as their neighbours and many times over, are left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from time import perf_counter

import click
import jax
import jax.numpy as jnp

from qir import api
from qir.arrays import random_inputs
from qir.cli.bench import WARM_UP, finish
from qir.cli.per_op import operations
from qir.ir import Func
from qir.targets.native.library import library
from qir.targets.xla.compile import build, lowered

from . import measure
from .grid_kinds import KINDS, Kind, Shape, dense, neighbours, shapes_of

TIMES_BELOW = 5
LEAST, MOST = 10**6, 4 * 10**9
"""Operations of the shapes that are timed."""

SECONDS = 0.003
"""How long the calls of one turn take at least."""


@dataclass(frozen=True)
class Timed:
    """Operations of a shape, and by layer the seconds that they take."""

    work: int
    seconds: dict[str, float]

    def rate(self, layer: str) -> float:
        """Operations a second."""
        return self.work / self.seconds[layer]


@dataclass(frozen=True)
class Cliff:
    """A shape far below some neighbours, each by the axis that leads there."""

    kind: str
    layer: str
    shape: Shape
    above: tuple[tuple[str, Shape], ...]


def _portable(func: Func) -> Callable:
    """A legalized function by XLA's own operations."""
    return jax.jit(lambda *xs: lowered(func, xs))


def layers() -> dict[str, Callable[[Func], Callable]]:
    """What compiles a legalized function, by layer; portable alone where no kernels were built."""
    return {"native": build, "portable": _portable} if library() else {"portable": _portable}


def seconds_by_layer(func: Func, rounds: int) -> dict[str, float]:
    """Median seconds of a call in each layer, whose turns alternate; `func` is legalized."""
    given = [jnp.asarray(x) for x in random_inputs(func, "shape grid").values()]
    runs = {name: partial(compile(func), *given) for name, compile in layers().items()}
    for run in runs.values():
        _seconds(run, WARM_UP)
    calls = {name: max(1, int(SECONDS / _seconds(run, 1))) for name, run in runs.items()}
    spent = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            spent[name].append(_seconds(run, calls[name]))
    return {name: median(each) for name, each in spent.items()}


def _seconds(run: Callable, calls: int) -> float:
    started = perf_counter()
    for _ in range(calls):
        finish(run())
    return (perf_counter() - started) / calls


def timed(kind: Kind, shape: Shape, empty: dict[str, float], rounds: int) -> Timed | None:
    """A shape's times, None where it has too little work or too much; empty: calls of nothing."""
    func = api.legalized(kind.build(*shape), "xla")
    work = sum(map(operations, func.ops))
    if not LEAST <= work <= MOST:
        return None
    spent = seconds_by_layer(func, rounds)
    return Timed(work, {name: max(each - empty[name], empty[name]) for name, each in spent.items()})


def measured(kind: Kind, empty: dict[str, float], rounds: int,
             tell: Callable[[str], None]) -> dict[Shape, Timed]:  # fmt: skip
    """The times of the shapes of a kind; those that look like cliffs are timed twice."""
    times = {}
    for shape in shapes_of(kind):
        if (found := timed(kind, shape, empty, rounds)) is not None:
            times[shape] = found
            tell(f"{described(kind, shape)}: {_rates(found)}")
    suspects = dict.fromkeys(each.shape for each in cliffs("", kind, times, empty))
    for shape in suspects:
        again = timed(kind, shape, empty, rounds).seconds
        least = {name: min(each, again[name]) for name, each in times[shape].seconds.items()}
        times[shape] = replace(times[shape], seconds=least)
    return times


def cliffs(name: str, kind: Kind, times: dict[Shape, Timed], empty: dict[str, float]):
    """The shapes that take more than TIMES_BELOW times what a neighbour's rate allows, by layer."""
    found = []
    for layer, call in empty.items():
        for shape, each in times.items():
            beside = [(axis, other) for axis, other in neighbours(kind, shape) if other in times]
            above = tuple(
                (axis, other) for axis, other in beside
                if each.seconds[layer]
                > TIMES_BELOW * max(each.work / times[other].rate(layer), call)
            )  # fmt: skip
            if above:
                found.append(Cliff(name, layer, shape, above))
    return found


def described(kind: Kind, shape: Shape) -> str:
    """A shape by its axes."""
    return ", ".join(f"{axis} {value}" for axis, value in zip(kind.axes, shape, strict=True))


def _rates(each: Timed) -> str:
    return ", ".join(f"{name} {_giga(each.rate(name))} GOP/s" for name in each.seconds)


def _giga(rate: float) -> str:
    return f"{rate / 1e9:.3g}"


def flagged_rows(found: Sequence[Cliff], times: dict[str, dict[Shape, Timed]]) -> list[tuple]:
    """A table of the flagged shapes, each with the neighbours that it is below."""
    rows = [("kind", "layer", "shape", "MOP", "GOP/s", "times below", "neighbours, GOP/s")]
    for each in found:
        kind, here = KINDS[each.kind], times[each.kind]
        own, rate = here[each.shape], here[each.shape].rate(each.layer)
        rates = {other: here[other].rate(each.layer) for _, other in each.above}
        names = [f"{axis} {other[list(kind.axes).index(axis)]}: {_giga(rates[other])}"
                 for axis, other in each.above]  # fmt: skip
        rows.append((each.kind, each.layer, described(kind, each.shape), f"{own.work / 1e6:.1f}",
                     _giga(rate), f"{max(rates.values()) / rate:.1f}", "; ".join(names)))
    return rows


def table(kind: Kind, times: dict[Shape, Timed]) -> str:
    """A line for each shape that was timed."""
    names = tuple(layers())
    rows = [(*kind.axes, "MOP", *(f"{name} GOP/s" for name in names))]
    for shape, each in times.items():
        rows.append((*shape, f"{each.work / 1e6:.1f}", *(_giga(each.rate(n)) for n in names)))
    return measure.markdown(rows)


def page(times: dict[str, dict[Shape, Timed]], found: Sequence[Cliff], empty) -> list[str]:
    """The parts of results/shape_grid.md."""
    about = "\n\n".join(__doc__.split("\n\n")[2:]).strip().replace("\n", " ")
    calls = ", ".join(f"{1e6 * each:.0f} us {name}" for name, each in empty.items())
    flagged = (measure.markdown(flagged_rows(found, times)) if found
               else f"No shape is more than {TIMES_BELOW} times below a neighbour.")
    tables = [part for name, each in times.items()
              for part in (f"## {name}", table(KINDS[name], each))]
    return [about, f"A call of nothing: {calls}.", "## Flagged", flagged, *tables]


@click.command(help=__doc__)
@click.argument("kinds", nargs=-1, type=click.Choice(list(KINDS)))
@click.option("--rounds", default=9, show_default=True, help="Turns of each layer at a shape.")
def main(kinds, rounds) -> None:
    """Results are written where all kinds are timed."""
    click.echo(measure.machine())
    empty = seconds_by_layer(api.legalized(dense(8, 8, 8), "xla"), rounds)
    times, found = {}, []
    for name in kinds or KINDS:
        click.echo(f"\n{name}")
        times[name] = measured(KINDS[name], empty, rounds, click.echo)
        found += cliffs(name, KINDS[name], times[name], empty)
    click.echo("\n" + measure.columns(flagged_rows(found, times)) if found else "\nnone flagged")
    if not kinds:
        path = measure.write_results("shape_grid", "Cliffs among shapes", page(times, found, empty))
        click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
