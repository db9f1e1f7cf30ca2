"""Times the integer kernels of the XLA target against each other and against XLA's own operations.

    python -m benchmarks.kernels [convolution dot depthwise ...] [--rounds 15] [--save]

A line for each typical shape of ResNet-50, MobileNetV2 and BERT-base: ms of every candidate, their
calls interleaved and the median taken, the best marked `*` and what qir/targets/xla/choice.py
takes in brackets. Products end in a requantization to i8, as they do in a model. The thresholds in
choice.py come from here: measure on a quiet machine, and trust ratios above 1.2 alone.
"""

from functools import partial

import click
import jax
import jax.numpy as jnp

from benchmarks.kernel_cases import SUBJECTS, Case
from benchmarks.measure import in_turns, machine, write_results


def milliseconds(case: Case, rounds: int) -> dict[str, float]:
    """Median milliseconds of each candidate, called in turn."""
    arguments = [jnp.asarray(a) for a in case.arguments]
    runs = {name: partial(jax.jit(run), *arguments) for name, run in case.candidates.items()}
    return {name: 1e3 * seconds for name, seconds in in_turns(runs, rounds).items()}


def line(case: Case, times: dict[str, float]) -> str:
    """The case, its candidates and the rate of the chosen one."""
    best = min(times.values())
    cells = []
    for name, ms in times.items():
        label = f"[{name}]" if name == case.chosen else name
        cells.append(f"{label} {ms:.3f}{'*' * (ms == best)}")
    rate = case.work / times[case.chosen] / 1e6
    return f"{case.name:<44} {rate:>6.1f} G/s  {'  '.join(cells)}"


@click.command(help=__doc__.split("\n")[0])
@click.argument("subjects", nargs=-1, type=click.Choice(list(SUBJECTS)))
@click.option("--rounds", default=15, show_default=True, help="Measurements of each candidate.")
@click.option("--save", is_flag=True, help="Write benchmarks/results/kernels.md too.")
def main(subjects: tuple[str, ...], rounds: int, save: bool) -> None:
    """Print a table for each subject."""
    click.echo(machine())
    tables = []
    for subject in subjects or SUBJECTS:
        build, cases = SUBJECTS[subject]
        click.echo(f"\n{subject}")
        lines = []
        for shape in cases:
            case = build(*shape)
            lines.append(line(case, milliseconds(case, rounds)))
            click.echo(lines[-1])
        tables.append("\n".join([f"## {subject}", "```", *lines, "```"]))
    if save:
        write_results("kernels", "Integer kernels on XLA, ms", tables)


if __name__ == "__main__":
    main()
