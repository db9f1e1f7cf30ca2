"""How long a failing graph of thousands of ops takes to shrink: `qir reduce` as its users call it.

Into the middle of a random network goes a pattern on which a rule of a plugin raises, and one
that another rule replaces by a wrong value. Both are reduced by commands: `qir opt` as it is,
which a warm process runs, and the same behind a shell's `;`, which starts Python each time.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import click
import numpy as np

from qir.ir import Func, Module, Op, kept, transform
from qir.registry import load_dialects
from qir.testing.sampling.networks import draw_network
from qir.text import read_module, whole_text

from .measure import columns, markdown, write_results

ROOT = Path(__file__).resolve().parent.parent
PASSES = '''"""Rules with faults."""

from qir import V, rule
from qir.dialects import nn
from qir.graph_pass import graph_pass
from qir.rewrite import rewrite


@rule(nn.relu(nn.add(nn.sigmoid(V.x), nn.elu(V.y))))
def raising(x, y):
    """A bug: an op has no items of this sort."""
    return nn.relu(x)[0]


@rule(nn.relu(nn.add(nn.sigmoid(V.x), nn.elu(V.y))))
def wrong(x, y):
    """A miscompile: the sum is not the relu of one side."""
    return nn.relu(x)


@graph_pass("float -> float")
def raises(func):
    """Raise at a pattern."""
    return rewrite(func, raising)


@graph_pass("float -> float")
def miscompiles(func):
    """Compute something else at a pattern."""
    return rewrite(func, wrong)
'''
CHECKS = {
    "a bug": '{qir} opt {} -p "canonicalize, raises"',
    "a bug, by a shell": '{qir} opt {} -p "canonicalize, raises"; exit $?',
    "a miscompile": '{qir} opt {} -p "canonicalize, miscompiles" --drift random:1 '
                    '--drift-budget "miscompiles(max=0.01)"',
}  # fmt: skip


@click.command(help=__doc__)
@click.option("--ops", default=2000, show_default=True, help="Ops of the network, at least.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(ops, write) -> None:
    rows = [("what fails", "ops", "ops left", "runs", "seconds")]
    with TemporaryDirectory() as folder:
        func = planted(ops)
        plugin(Path(folder))
        for what, check in CHECKS.items():
            rows.append((what, size(func), *shrunk(func, Path(folder), check)))
    load = os.getloadavg()[0]
    title = ("A random network with a planted fault, shrunk by qir reduce (load average "
             f"{load:.0f} at the end: it takes as many times longer as others compute beside it)")
    click.echo(f"{title}\n{columns(rows)}\n")
    if write:
        parts = [title, markdown(rows)]
        click.echo(f"written to {write_results('reduction', 'Reduction', parts)}")


def planted(ops: int, seed: int = 0) -> Func:
    """A random network of at least so many ops with the pattern in its middle."""
    load_dialects()
    from qir.dialects import nn

    steps = ops
    while size(func := draw_network(np.random.default_rng(seed), steps)) < ops:
        steps += steps // 4
    own = [op for op in func.ops if op.operands and op.kind != "item" and is_image(op)]
    middle = own[len(own) // 2]

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        new = kept(op, operands)
        if op is not middle:
            return new
        return nn.relu(nn.add(nn.sigmoid(new), nn.elu(new)))

    return transform(func, change)


def is_image(op: Op) -> bool:
    return getattr(op.type, "rank", 0) == 4 and op.type.is_float


def size(func: Func) -> int:
    """Ops without inputs, constants and items."""
    return sum(op.kind not in ("parameter", "const", "item") for op in func.ops)


def plugin(folder: Path) -> None:
    """Install the passes as a plugin in a folder that is to be on the path."""
    (folder / "faults").mkdir()
    (folder / "faults" / "__init__.py").write_text('"""Faults."""\n')
    (folder / "faults" / "passes.py").write_text(PASSES)
    info = folder / "faults-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faults\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[qir.passes]\nfaults = faults.passes\n")


def shrunk(func: Func, folder: Path, check: str,
           qir: str = f"{sys.executable} -m qir") -> tuple[int, int, str]:  # fmt: skip
    """Ops that are left, runs of the command, seconds in all."""
    (folder / "network.qir").write_text(whole_text(Module((func,))))
    paths = os.pathsep.join(map(str, (ROOT, folder)))
    command = [*qir.split(), "reduce", "network.qir", "--check", check.replace("{qir}", qir)]
    start = perf_counter()
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": paths},
                          capture_output=True, text=True)  # fmt: skip
    seconds = perf_counter() - start
    if done.returncode:
        raise click.ClickException(done.stderr)
    left = read_module((folder / "network.reduced.qir").read_text()).main
    runs = int(re.search(r"(\d+) runs", done.stderr).group(1))
    return size(left), runs, f"{seconds:.1f}"


if __name__ == "__main__":
    main()
