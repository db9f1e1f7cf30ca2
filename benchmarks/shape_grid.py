"""Cliffs among shapes: for each kind of op a grid of them, and those far slower than the next.

    python -m benchmarks.shape_grid [convolution depthwise dense matmul] [--rounds 9]

Each op is timed by itself in the C++ kernels (native) and by XLA's own (portable): the median of
turns, in which each layer calls its own for some milliseconds. What a call of nothing takes is
subtracted, and no less than that is counted, since what is left of shorter calls is noise. GOP/s
count multiplications and additions by what remains.

A neighbour is one step away along one axis. A shape is flagged where it takes more than 5 times
what its work would take at the rate of a neighbour, what its bytes would take at the speed of a
large copy, and what a call of nothing takes; and does so again when it and those neighbours are
timed in turns, by which both see the same machine. What lies beyond a cliff is as slow as its own
neighbours and is not flagged. Shapes of less than 1 MOP, which the call bounds, and of more than 4
GOP, which would take most of the run, are left out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import click
import jax.numpy as jnp

from qir import api
from qir.arrays import random_inputs
from qir.cli.per_op import measured_limits, operations
from qir.ir import Func
from qir.targets.native.library import library
from qir.targets.xla.compile import build

from . import measure
from .grid_kinds import KINDS, Kind, Shape, dense, neighbours, shapes_of

TITLE = "Cliffs among shapes"
TIMES_BELOW = 5
LEAST, MOST = 10**6, 4 * 10**9
"""Operations of the shapes that are timed."""

CALLS_OF_NOTHING = 8

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
    """A shape far below some neighbours: by axis and shape, how many times.

    is_bound: its bytes or the call explain that.
    """

    kind: str
    layer: str
    shape: Shape
    timed: Timed
    above: dict[tuple[str, Shape], float]
    is_bound: bool


def layers() -> dict[str, Callable[[Func], Callable]]:
    """What compiles a legalized function, by layer; portable alone where no kernels were built."""
    portable = partial(build, native=False)
    return {"native": build, "portable": portable} if library() else {"portable": portable}


def compiled(func: Func) -> dict[str, Callable]:
    """A legalized function by layer, as a call on random inputs."""
    given = [jnp.asarray(x) for x in random_inputs(func, "shape grid").values()]
    return {name: partial(compile(func), *given) for name, compile in layers().items()}


def measured_bounds(rounds: int) -> Bounds:
    """What bounds small ops here; the least of several medians, for it is subtracted from all."""
    empty = compiled(api.legalized(dense(8, 8, 8), "xla"))
    several = [measure.in_turns(empty, rounds) for _ in range(CALLS_OF_NOTHING)]
    call = {name: min(each[name] for each in several) for name in empty}
    return Bounds(call, measured_limits(build, rounds).moved)


def timed(kind: Kind, shapes: Iterable[Shape], call: dict[str, float],
          rounds: int) -> dict[Shape, Timed]:  # fmt: skip
    """The times of shapes, taken in turns, but of those with too little work or too much."""
    funcs = {shape: api.legalized(kind.build(*shape), "xla") for shape in shapes}
    work = {shape: sum(map(operations, func.ops)) for shape, func in funcs.items()}
    funcs = {shape: func for shape, func in funcs.items() if LEAST <= work[shape] <= MOST}
    runs = {(shape, name): run for shape, func in funcs.items()
            for name, run in compiled(func).items()}  # fmt: skip
    spent = measure.in_turns(runs, rounds)
    net = {shape: {name: max(spent[shape, name] - each, each) for name, each in call.items()}
           for shape in funcs}  # fmt: skip
    return {shape: Timed(work[shape], _moved(funcs[shape]), net[shape]) for shape in funcs}


def _moved(func: Func) -> int:
    held = [op for op in func.ops if op.is_const or op.kind == "parameter"]
    return sum(op.type.size * op.dtype.numpy.itemsize for op in (*held, *func.results))


def measured(kind: Kind, call: dict[str, float], rounds: int) -> dict[Shape, Timed]:
    """The times of the shapes of a kind, each told when it is known."""
    times = {}
    for shape in shapes_of(kind):
        found = timed(kind, [shape], call, rounds)
        for each in found.values():
            rates = (f"{name} {_giga(each.rate(name))} GOP/s" for name in call)
            click.echo(f"{described(kind, shape)}: {', '.join(rates)}")
        times |= found
    return times


def cliffs(name: str, times: dict[Shape, Timed], bounds: Bounds) -> list[Cliff]:
    """The shapes that are more than TIMES_BELOW times below a neighbour, by layer."""
    found = []
    for layer, call in bounds.call.items():
        for shape, each in times.items():
            beside = {key: times[key[1]].rate(layer) / each.rate(layer)
                      for key in neighbours(KINDS[name], shape) if key[1] in times}  # fmt: skip
            above = {key: ratio for key, ratio in beside.items() if ratio > TIMES_BELOW}
            least = max(each.moved / bounds.moved, call)
            if above:
                is_bound = each.seconds[layer] <= TIMES_BELOW * least
                found.append(Cliff(name, layer, shape, each, above, is_bound))
    return found


def confirmed(name: str, times: dict[Shape, Timed], bounds: Bounds, rounds: int) -> list[Cliff]:
    """The cliffs among times: those that are bound, and those that are there a second time."""
    first = cliffs(name, times, bounds)
    beside: dict[Shape, set[Shape]] = {}
    for each in first:
        if not each.is_bound:
            beside.setdefault(each.shape, set()).update(shape for _, shape in each.above)
    again = []
    for shape, others in beside.items():
        found = cliffs(name, timed(KINDS[name], [shape, *others], bounds.call, rounds), bounds)
        again += [each for each in found if each.shape == shape]
    kept = [each for each in first if each.is_bound]
    return sorted(kept + again, key=lambda each: each.layer)


def described(kind: Kind, shape: Shape) -> str:
    """A shape by its axes."""
    return ", ".join(f"{axis} {value}" for axis, value in zip(kind.axes, shape, strict=True))


def _giga(rate: float) -> str:
    return f"{rate / 1e9:.3g}"


def flagged_rows(found: Iterable[Cliff]) -> list[tuple]:
    """A table of the flagged shapes, each with the neighbours that it is below."""
    rows = [("kind", "layer", "shape", "MOP", "GOP/s", "times below", "neighbours, GOP/s")]
    for each in found:
        kind, rate = KINDS[each.kind], each.timed.rate(each.layer)
        names = [f"{axis} {other[list(kind.axes).index(axis)]}: {_giga(rate * ratio)}"
                 for (axis, other), ratio in each.above.items()]  # fmt: skip
        rows.append((each.kind, each.layer, described(kind, each.shape),
                     f"{each.timed.work / 1e6:.1f}", _giga(rate),
                     f"{max(each.above.values()):.1f}", "; ".join(names)))  # fmt: skip
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
             "## Flagged", *verdict(found, measure.markdown)]  # fmt: skip
    for name, each in times.items():
        parts += [f"## {name}", table(KINDS[name], each)]
    return parts


def verdict(found: Sequence[Cliff], laid_out: Callable[[list], str]) -> list[str]:
    """The flagged shapes as a table, or that there is none; how many more are bound."""
    flagged = [each for each in found if not each.is_bound]
    told = (laid_out(flagged_rows(flagged)) if flagged
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
    found = [cliff for name, each in times.items()
             for cliff in confirmed(name, each, bounds, rounds)]  # fmt: skip
    click.echo("\n" + "\n".join(verdict(found, measure.columns)))
    if not kinds:
        path = measure.write_results("shape_grid", TITLE, page(times, found, bounds))
        click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
