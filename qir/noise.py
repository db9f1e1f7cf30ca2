"""Where in a graph the noise of a step enters, for steps that are no rewrites.

Such a step says of no op what it became. Values before and after it are paired by what they share,
and compared: noise enters where a value has more of it than all that it is computed from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

import numpy as np

from .drift import Error, Probe, Results, errors
from .ir import Func, Op
from .rounding import real
from .samples import filled_batches
from .types import TupleType


@dataclass(frozen=True, eq=False)
class Entry:
    """A value at which noise enters.

    before, after: it, and what stands for it after the step; error: how far they are apart.
    was, now: their lowest and highest elements, as reals.
    """

    before: Op
    after: Op
    error: Error
    was: tuple[float, float]
    now: tuple[float, float]


def entries(probe: Probe, before: Func, after: Func, most: int = 3) -> list[Entry]:
    """The values at which the most noise of a step enters, the noisiest first.

    The noise of a value is counted in parts of its own signal, less that of the noisiest value it
    is computed from. All values of one sample are held at a time.
    """
    twins = paired(before, after)
    sides = before.with_results(twins), after.with_results(twins.values())
    (found,) = errors(probe, Results(sides[1]), Results(sides[0]))
    by_op = dict(zip(twins, found, strict=True))
    ranked = sorted(_entering(before, by_op).items(), key=lambda item: -item[1])
    ops = [op for op, noise in ranked[:most] if noise > 0]
    if not ops:
        return []
    ends = (_ends(probe, before, ops), _ends(probe, after, [twins[op] for op in ops]))
    return [Entry(op, twins[op], by_op[op], *spans)
            for op, *spans in zip(ops, *ends, strict=True)]  # fmt: skip


def paired(before: Func, after: Func) -> dict[Op, Op]:
    """What stands for the values of one graph in another, in order, as far as that can be told.

    The same node stands for itself. Others are paired in order where as many of one kind, place and
    shape are on either side, or of one place and shape. A twin whose only reader is a new op of one
    operand, place and shape is a value on its way through casts: the last of them is taken.
    """
    kept = set(after.ops)
    twins = {op: op for op in before.ops if op in kept and _counts(op)}
    for key in (_kind_and_place, _place):
        olds = _grouped((op for op in before.ops if op not in twins), key)
        taken = set(twins.values())
        news = _grouped((op for op in after.ops if op not in taken), key)
        for name, ops in olds.items():
            if len(ops) == len(news.get(name, ())):
                twins.update(zip(ops, news[name], strict=True))
    taken = set(twins.values())
    return {op: _at_last(after, twins[op], taken) for op in before.ops if op in twins}


def _counts(op: Op) -> bool:
    return op.kind not in ("parameter", "const") and not isinstance(op.type, TupleType)


def _kind_and_place(op: Op):
    return op.kind, *_place(op)


def _place(op: Op):
    return op.location[:1], op.shape


def _grouped(ops, key: Callable[[Op], object]) -> dict[object, list[Op]]:
    found: dict[object, list[Op]] = {}
    for op in ops:
        if _counts(op):
            found.setdefault(key(op), []).append(op)
    return found


def _at_last(func: Func, op: Op, taken: set[Op]) -> Op:
    while func.uses[op] == len(func.users[op]) == 1:
        (reader,) = func.users[op]
        if reader in taken or len(reader.operands) > 1 or not _counts(reader):
            break
        if _place(reader) != _place(op):
            break
        op = reader
    return op


def _entering(func: Func, found: Mapping[Op, Error]) -> dict[Op, float]:
    """The noise of each value of an error above that of the values it is computed from."""
    noise: dict[Op, float] = {}
    entering: dict[Op, float] = {}
    for op in func.ops:
        above = max((noise[o] for o in op.operands), default=0.0)
        noise[op] = above
        if op in found and (found[op].signal or found[op].strange):
            noise[op] = found[op].noise / (found[op].signal or 1.0)
            entering[op] = 0.0 if above == inf else noise[op] - above
    return entering


def _ends(probe: Probe, func: Func, ops: list[Op]) -> list[tuple[float, float]]:
    """The lowest and the highest element of each value over all samples."""
    results, ends = Results(func.with_results(ops)), [(inf, -inf)] * len(ops)
    for number, inputs in enumerate(filled_batches(probe.original, probe.samples, "comparison")):
        arrays = results.on(number, inputs, probe)
        for i, (op, array) in enumerate(zip(ops, arrays, strict=True)):
            reals = np.asarray(real(op.type, array), np.float64)
            lo, hi = reals.min(initial=inf), reals.max(initial=-inf)
            ends[i] = min(ends[i][0], float(lo)), max(ends[i][1], float(hi))
    return ends
