"""Which of XLA's kernels is fastest for each shape on this machine, written as a profile."""

import platform
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax

from qir.dialects import xla

from ...arrays import random_inputs
from ...evaluate import checked_inputs
from ...ir import Func, Op, const, parameter
from .compile import build
from .profile import Profile, alternatives, read_profile, write_profile

CLEAR = 1.1
"""How many times faster than the usual kernel another one has to be: timings differ by as much."""

Timed = Callable[..., tuple[float, ...]]
"""`(*calls) -> seconds` of each, called in turn."""


def tuner(path: str) -> Callable:
    """What adds choices to the profile at a path, which may exist: `(ops, timed, tell)`.

    ops: of legalized functions. tell: is given a line for each shape. It gives how many shapes were
    measured and how many the profile holds. QirError at once where the file is no profile.
    """
    known = dict(read_profile(path).kernels) if Path(path).exists() else {}

    def measure(ops: Sequence[Op], timed: Timed, tell: Callable[[str], None]) -> tuple[int, int]:
        found = {}
        machine = f"{platform.processor() or platform.machine()}, jax {jax.__version__}"
        for op in ops:
            key, names = alternatives(op) if op.kind in CHOICES else (None, ())
            if len(names) > 1 and key not in found:
                found[key] = _fastest(op, names, timed, tell)
                write_profile(path, Profile(machine, known | found))  # kept if the rest fails
        return len(found), len(known | found)

    return measure


CHOICES = {"xla.conv": (xla.conv, "kernel"), "xla.dot": (xla.dot, "layout")}
"""By kind: what builds the op, and the attribute that is chosen."""


def _fastest(op: Op, names: Sequence[str], timed: Timed, tell: Callable[[str], None]) -> str:
    usual = op.attributes[CHOICES[op.kind][1]]
    names = (usual, *(name for name in names if name != usual))
    x = parameter("x", op.operands[0].type)
    funcs = [Func("main", (x,), (_by(op, x, name),)) for name in names]
    arrays = checked_inputs(funcs[0], random_inputs(funcs[0], "tune"))
    seconds = timed(*(partial(build(func, native=False), *arrays) for func in funcs))
    least, best = min(zip(seconds, names, strict=True))
    best = best if least * CLEAR < seconds[0] else usual
    cells = ", ".join(f"{name} {1e3 * each:.3f}" for each, name in zip(seconds, names, strict=True))
    tell(f"{x.type} by {op.operands[1].type}: {best} (ms: {cells})")
    return best


def _by(op: Op, x: Op, name: str) -> Op:
    """The op on another input, by a kernel of that name."""
    build, choice = CHOICES[op.kind]
    weight, bias = op.operands[1:]
    if op.kind == "xla.dot" and name != op.attributes[choice]:
        turned = weight.value.T.copy()
        weight = const(turned, weight.type.with_shape(turned.shape))
    return build(x, weight, bias, **{**op.attributes, choice: name})
