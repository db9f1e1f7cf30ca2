"""Cliffs among shapes: for each kind of op a grid of them, and those far slower than the next.

    python -m benchmarks.shape_grid [convolution depthwise dense matmul] [--rounds 9]

Each op is timed by itself in the C++ kernels (native) and by XLA's own (portable): the median of
turns, in which each layer calls its own for some milliseconds. What a call of nothing takes is
subtracted, and no less than that is counted, since what is left of shorter calls is noise. GOP/s
count multiplications and additions by what remains.

A neighbour is one step away along one axis. A shape is flagged where it takes more than 5 times
what its work would take at the rate of a neighbour, what its bytes would take at the speed of a
large copy, and what a call of nothing takes; by the better of two times, the second taken when all
shapes have been timed. What lies beyond a cliff is as slow as its own neighbours and is not
flagged. Shapes of less than 1 MOP, which the call bounds, and of more than 4 GOP, which would take
most of the run, are left out.
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
from qir.cli.per_op import measured_limits, operations
from qir.ir import Func
from qir.targets.native.library import library
from qir.targets.xla.compile import build, lowered

from . import measure
from .grid_kinds import KINDS, Kind, Shape, dense, neighbours, shapes_of

TITLE = "Cliffs among shapes"
TIMES_BELOW = 5
LEAST, MOST = 10**6, 4 * 10**9
"""Operations of the shapes that are timed."""

SECONDS = 0.003
"""How long the calls of one turn take at least."""


@dataclass(frozen=True)
class Bounds:
    """What bounds a small op: seconds of a call of nothing, by layer; bytes a second of a copy."""

    call: dict[str, float]
    moved: float


@dataclass(frozen=True)
class Timed:
    """Operations of a shape, the bytes it reads and writes, and by layer the seconds it takes."""

    work: int
    moved: int
    seconds: dict[str, float]

    def rate(self, layer: str) -> float:
        """Operations a second."""
        return self.work / self.seconds[layer]


@dataclass(frozen=True)
class Cliff:
    """A shape far below some neighbours, each by the axis that leads there.

    is_bound: its bytes or the call explain that.
    """

    kind: str
    layer: str
    shape: Shape
    above: tuple[tuple[str, Shape], ...]
    is_bound: bool


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


def measured_bounds(rounds: int) -> Bounds:
    """What bounds small ops here."""
    call = seconds_by_layer(api.legalized(dense(8, 8, 8), "xla"), rounds)
    return Bounds(call, measured_limits(build, rounds).moved)


def timed(kind: Kind, shape: Shape, call: dict[str, float], rounds: int) -> Timed | None:
    """A shape's times, None where it has too little work or too much; call: of nothing."""
    func = api.legalized(kind.build(*shape), "xla")
    work = sum(map(operations, func.ops))
    if not LEAST <= work <= MOST:
        return None
    held = [op for op in func.ops if op.is_const or op.kind == "parameter"]
    moved = sum(op.type.size * op.dtype.numpy.itemsize for op in (*held, *func.results))
    spent = seconds_by_layer(func, rounds)
    net = {name: max(each - call[name], call[name]) for name, each in spent.items()}
    return Timed(work, moved, net)


def measured(kind: Kind, call: dict[str, float], rounds: int) -> dict[Shape, Timed]:
    """The times of the shapes of a kind, each told when it is known."""
    times = {}
    for shape in shapes_of(kind):
        if (found := timed(kind, shape, call, rounds)) is not None:
            times[shape] = found
            rates = (f"{name} {_giga(found.rate(name))} GOP/s" for name in call)
            click.echo(f"{described(kind, shape)}: {', '.join(rates)}")
    return times


def settled(name: str, times: dict[Shape, Timed], bounds: Bounds,
            rounds: int) -> dict[Shape, Timed]:  # fmt: skip
    """The times of a kind, of what looks like a cliff the better of those and of new ones."""
    kind, again = KINDS[name], {}
    for suspect in cliffs(name, times, bounds):
        if not suspect.is_bound and suspect.shape not in again:
            again[suspect.shape] = timed(kind, suspect.shape, bounds.call, rounds)
    return {shape: _better(each, again.get(shape, each)) for shape, each in times.items()}


def _better(a: Timed, b: Timed) -> Timed:
    return replace(a, seconds={name: min(a.seconds[name], b.seconds[name]) for name in a.seconds})


def cliffs(name: str, times: dict[Shape, Timed], bounds: Bounds) -> list[Cliff]:
    """The shapes that are more than TIMES_BELOW times below a neighbour, by layer."""
    found = []
    for layer, call in bounds.call.items():
        for shape, each in times.items():
            above = tuple(
                (axis, other) for axis, other in neighbours(KINDS[name], shape)
                if other in times and times[other].rate(layer) > TIMES_BELOW * each.rate(layer)
            )  # fmt: skip
            least = max(each.moved / bounds.moved, call)
            if above:
                is_bound = each.seconds[layer] <= TIMES_BELOW * least
                found.append(Cliff(name, layer, shape, above, is_bound))
    return found


def described(kind: Kind, shape: Shape) -> str:
    """A shape by its axes."""
    return ", ".join(f"{axis} {value}" for axis, value in zip(kind.axes, shape, strict=True))


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


def page(times: dict[str, dict[Shape, Timed]], found: Sequence[Cliff],
         bounds: Bounds) -> list[str]:  # fmt: skip
    """The parts of results/shape_grid.md."""
    about = [part.replace("\n", " ").strip() for part in __doc__.split("\n\n")[2:]]
    calls = ", ".join(f"{1e6 * each:.0f} us {name}" for name, each in bounds.call.items())
    parts = [*about, f"A call of nothing: {calls}. A copy: {bounds.moved / 1e9:.1f} GB/s.",
             "## Flagged", *verdict(found, times, measure.markdown)]  # fmt: skip
    for name, each in times.items():
        parts += [f"## {name}", table(KINDS[name], each)]
    return parts


def verdict(found: Sequence[Cliff], times: dict[str, dict[Shape, Timed]],
            laid_out: Callable[[list], str]) -> list[str]:  # fmt: skip
    """The flagged shapes as a table, or that there is none; how many more are bound."""
    flagged = [each for each in found if not each.is_bound]
    told = (laid_out(flagged_rows(flagged, times)) if flagged
            else f"No shape is more than {TIMES_BELOW} times below a neighbour.")  # fmt: skip
    return [told, f"Below a neighbour by GOP/s alone, within {TIMES_BELOW} times what their bytes "
                  f"or a call take: {len(found) - len(flagged)}."]  # fmt: skip


@click.command(help=__doc__)
@click.argument("kinds", nargs=-1, type=click.Choice(list(KINDS)))
@click.option("--rounds", default=9, show_default=True, help="Turns of each layer at a shape.")
def main(kinds, rounds) -> None:
    """Results are written where all kinds are timed."""
    click.echo(measure.machine())
    bounds = measured_bounds(rounds)
    times = {}
    for name in kinds or KINDS:
        click.echo(f"\n{name}")
        times[name] = measured(KINDS[name], bounds.call, rounds)
    times = {name: settled(name, each, bounds, rounds) for name, each in times.items()}
    found = [cliff for name, each in times.items() for cliff in cliffs(name, each, bounds)]
    click.echo("\n" + "\n".join(verdict(found, times, measure.columns)))
    if not kinds:
        path = measure.write_results("shape_grid", TITLE, page(times, found, bounds))
        click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
