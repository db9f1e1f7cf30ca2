"""`qir bench --per-op`: the time of each op of a legalized function, and how far it is from the
limits of the machine (the roofline: https://doi.org/10.1145/1498765.1498785)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from ..ir import Func, Op, const, parameter, place_of
from ..rounding import derive
from ..types import DTYPES, Element, Grid, TupleType
from .bench import interleaved

SIDE = 2048
MOVED = 1 << 27


@dataclass(frozen=True)
class OpTime:
    """What one op takes: seconds a call, its multiplications and additions, the bytes it reads and
    writes at least."""

    op: Op
    seconds: float
    operations: int
    moved: int


@dataclass(frozen=True)
class Limits:
    """What the machine was seen to do: 8-bit operations a second in one large product, bytes a
    second in one large copy, seconds of a call that computes nothing."""

    operations: float
    moved: float
    call: float


def per_op_lines(func: Func, compile: Callable, arrays: Sequence, rounds: int) -> list[str]:
    """A table, the slowest op first: `func` is legalized, `compile` takes it and gives a callable.

    Each op is compiled by itself and called with the operands it has when `func` is given
    `arrays`; what a call of nothing takes is subtracted. A compiler fuses ops, so the whole takes
    less than their sum.
    """
    limits = measured_limits(compile, rounds)
    times = sorted(op_times(func, compile, arrays, limits, rounds), key=lambda each: -each.seconds)
    total = sum(each.seconds for each in times)
    rows = [("op", "result", "ms", "share", "GOP/s", "GB/s", "of limit", "at"),
            *(_row(each, total, limits) for each in times)]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    untimed = sorted({op.kind for op in computing(func)} - {each.op.kind for each in times})
    return [
        f"by itself each op takes, {1e3 * total:.3f} ms in all; limits measured here: "
        f"{limits.operations / 1e9:.0f} GOP/s of 8-bit products, {limits.moved / 1e9:.1f} GB/s",
        *("  ".join(_aligned(row, widths)).rstrip() for row in rows),
        *([f"not timed, of several results or of constants alone: {', '.join(untimed)}"]
          if untimed else []),
    ]  # fmt: skip


def _row(each: OpTime, total: float, limits: Limits) -> tuple[str, ...]:
    op, seconds, rates = each.op, each.seconds, ("-", "-", "-")
    if seconds:  # else it takes no longer than a call of nothing
        least = max(each.operations / limits.operations, each.moved / limits.moved)
        rates = (f"{each.operations / seconds / 1e9:.0f}" if each.operations else "-",
                 f"{each.moved / seconds / 1e9:.1f}",
                 f"{100 * min(least / seconds, 1):.0f} %")  # fmt: skip
    share = f"{100 * seconds / total:.1f} %" if total else "-"
    return (op.kind, str(op.type), f"{1e3 * seconds:.3f}", share, *rates, place_of(op) or "")


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Words to the left, numbers to the right."""
    return [cell.ljust(width) if i in (0, 1, 7) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip


def computing(func: Func) -> list[Op]:
    """The ops of a function that compute something."""
    return [op for op in func.ops if op.kind not in ("parameter", "const", "item")]


def op_times(func, compile: Callable, arrays: Sequence, limits: Limits, rounds: int):
    """The time of each op of one result that reads a value, in the order of the function."""
    ops = computing(func)
    inputs = {o for op in ops for o in op.operands if not o.is_const}
    kept = [op for op in func.ops if op in inputs and not isinstance(op.type, TupleType)]
    values = dict(zip(kept, compile(func.with_results(kept))(*arrays), strict=True))
    for op in ops:
        given = list(dict.fromkeys(o for o in op.operands if not o.is_const))
        if not given or any(isinstance(each.type, TupleType) for each in (*given, op)):
            continue
        spare = {o: parameter(f"x{i}", o.type) for i, o in enumerate(given)}
        alone = op.remapped(tuple(spare.get(o, o) for o in op.operands))
        run = compile(Func("main", tuple(spare.values()), (alone,)))
        (seconds,) = interleaved(partial(run, *(values[o] for o in given)), rounds=rounds)
        moved = sum(_bytes(each.type) for each in (*op.operands, op))
        yield OpTime(op, max(seconds - limits.call, 0.0), operations(op), moved)


def _bytes(type) -> int:
    return type.size * type.dtype.numpy.itemsize


def operations(op: Op) -> int:
    """Multiplications and additions of a product of matrices or a convolution; 0 of other ops."""
    name = op.kind.rpartition(".")[2]
    if name in ("conv", "conv2d", "grouped_conv2d"):
        return 2 * op.type.size * prod(op.operands[1].shape[:3])
    if name in ("depthwise", "depthwise_conv2d"):
        return 2 * op.type.size * prod(op.operands[1].shape[:2])
    if name in ("dot", "dense"):
        return 2 * op.type.size * op.operands[0].shape[-1]
    if name == "batch_dot":
        order = op.attributes["a_axes"] or range(op.type.rank)
        return 2 * op.type.size * op.operands[0].shape[tuple(order)[-1]]
    return 0


def measured_limits(compile: Callable, rounds: int) -> Limits:
    """What one product, one copy and the smallest of products take here."""
    source = np.ones(MOVED, np.uint8)
    target = np.zeros_like(source)
    (copy,) = interleaved(lambda: np.copyto(target, source), rounds=rounds)
    call = _product_seconds(compile, 8, rounds)
    seconds = max(_product_seconds(compile, SIDE, rounds) - call, 1e-9)
    return Limits(2 * SIDE**3 / seconds, 2 * MOVED / copy, call)


def _product_seconds(compile: Callable, side: int, rounds: int) -> float:
    """A product of two square matrices of 8 bits, the second of them a constant."""
    from qir.dialects import xla

    w = np.random.default_rng(0).integers(-127, 128, (side, side)).astype(np.int8)
    element = Element(DTYPES["i8"], Grid(0.1, 0))
    x = parameter("x", element[side, side])
    scale = derive("f32_half_even", np.float64(0.5 / (127 * np.sqrt(side))))
    y = xla.dot(x, const(w), const(np.zeros(side, np.int32)), layout="nk", to=element,
                rescale=scale, clamp=None)  # fmt: skip
    (seconds,) = interleaved(partial(compile(Func("main", (x,), (y,))), w), rounds=rounds)
    return seconds
