"""Move outliers from what dense layers read into their weights.

Xiao, Lin, Seznec, Wu, Demouth and Han, SmoothQuant (2022). A few channels of what a norm gives are
often many times as large as the others, and one grid for all leaves these a few levels. Channel j
is divided by s = max|x_j|^alpha / max|w_j|^(1-alpha), w_j being what the layers that read it
multiply it by, and these layers multiply by s, which their grids take better. All layers that read
one value share its factors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qir import journal, segments
from qir.errors import Declined, QirError, require
from qir.evaluate import evaluate
from qir.graph_pass import Run, Samples, graph_pass
from qir.ir import Func, Op, const, derived, kept, place_of, transform
from qir.observers import first_bad
from qir.rewrite import Firing, selected
from qir.samples import filled_batches
from qir.selectors import Selector, chooser
from qir.timing import count, timed

from ..dialects import nn
from ..dialects.nn import channels
from ..dialects.nn.channels import Reader

NORMS = (nn.layer_norm.name, nn.rms_norm.name)


@graph_pass("float -> float")
def smooth_quant(
    func: Func,
    *,
    alpha: float = 0.5,
    insert: bool = False,
    where: Selector | None = None,
    samples: Samples,
    run: Run = evaluate,
) -> Func:
    """Divide the channels that dense layers read by factors, and multiply their weights by them.

    alpha: how much of the outliers moves into the weights, from 0 to 1. The factors fold into a
    norm or dense layer in front, if only layers read it. insert: where nothing can take them, a
    multiplication does; it helps where the value is on no grid before it. where: the layers whose
    inputs are smoothed; all that read one norm, or none. The function stays the same, up to
    rounding.
    """
    if not 0 <= alpha <= 1:
        raise QirError(f"alpha is a share between 0 and 1, found {alpha:g}",
                       help="0.5 moves half of the outliers into the weights")  # fmt: skip
    chosen = chooser(func, where)
    groups = _folding(func, chosen)
    inserted = _inserting(func, groups, chosen) if insert else []
    found = [*groups, *inserted]
    if not found:
        return func
    largest = _largest(func, found, samples, timed("evaluation", run))
    factors = {group: _factors(group, largest, alpha) for group in found}
    count("values smoothed", len(found))
    count("multiplications inserted", len(inserted))
    return _smoothed(func, factors)


@dataclass(frozen=True, eq=False)
class _Group:
    """Layers that read the channels of one value.

    folds: whether the op that makes the value takes the factors; else a multiplication does.
    """

    value: Op
    readers: tuple[Reader, ...]
    folds: bool = True


def _folding(func: Func, chosen) -> list[_Group]:
    """The norms and dense layers whose results dense layers read, and no more than layers."""
    found = []
    for op in func.ops:
        if op.kind not in (*NORMS, nn.dense.name) or not selected(op):
            continue
        try:
            _takes_factors(op)
            readers = channels.spread(func, op).readers
            require(any(r.layer.kind == nn.dense.name for r in readers), "no dense layer reads it")
            outside = [r.layer for r in readers if not chosen(r.layer)]
            require(not outside, "a layer that reads it is not to be touched")
            found.append(_Group(op, readers))
        except Declined as declined:
            journal.note(Firing, "channels_are_smoothed", op, str(declined))
    return found


def _takes_factors(op: Op) -> None:
    if op.kind == nn.dense.name:
        channels.can_be_rescaled(op)
    require(all(o.is_const for o in op.operands[1:]), f"a constant of {op.kind} is computed")


def _inserting(func: Func, groups: Sequence[_Group], chosen) -> list[_Group]:
    """The values that the other dense layers read, each with these."""
    taken = {reader.layer for group in groups for reader in group.readers}
    read: dict[Op, list[Reader]] = {}
    for op in func.ops:
        if op.kind != nn.dense.name or op in taken or not chosen(op):
            continue
        try:
            channels.can_be_rescaled(op)
        except Declined as declined:
            journal.note(Firing, "channels_are_smoothed", op, str(declined))
            continue
        x = op.operands[0]
        read.setdefault(x, []).append(Reader(op, np.arange(1, x.shape[-1] + 1)))
    return [_Group(value, tuple(readers), False) for value, readers in read.items()]


def _largest(func: Func, groups: Sequence[_Group], samples, run) -> dict[Op, np.ndarray]:
    """For each value that a layer of the groups reads: its largest magnitudes by channel."""
    read = dict.fromkeys(r.layer.operands[0] for group in groups for r in group.readers)
    found = {value: np.zeros(value.shape[-1]) for value in read}
    plan = segments.cut(func.with_results(read))
    for sample, arrays in enumerate(filled_batches(func, samples, "calibration")):
        count("batches run")
        for value, array in segments.run(plan, arrays, run):
            bad = first_bad(array)
            if bad is not None:
                raise QirError(f"batch {sample}: the result of {value.kind}, which a dense layer "
                               f"reads, holds {bad[1]} at index {list(bad[0])}",
                               at=place_of(value), help="smoothing needs finite values")
            axes = tuple(range(array.ndim - 1))
            largest = np.abs(array).max(axis=axes, initial=0.0)
            found[value] = np.maximum(found[value], largest)
    return found


def _factors(group: _Group, largest: dict[Op, np.ndarray], alpha: float) -> np.ndarray:
    """By what the channels of a group's value are divided; 1 for one that is zero on a side."""
    given, read = np.zeros((2, group.value.shape[-1] + 1))
    for layer, numbers in ((r.layer, r.channels) for r in group.readers):
        np.maximum.at(given, numbers, largest[layer.operands[0]])
        most = channels.largest_by_input(layer, channels.magnitudes(layer))
        np.maximum.at(read, numbers, most)
    given, read = given[1:], read[1:]
    alive = (given > 0) & (read > 0)
    return np.where(alive, given, 1.0) ** alpha / np.where(alive, read, 1.0) ** (1 - alpha)


def _smoothed(func: Func, factors: dict[_Group, np.ndarray]) -> Func:
    """The function with its factors: what is divided, and what multiplies."""
    divided = {group.value: by for group, by in factors.items() if group.folds}
    scaled: dict[Op, tuple[_Group, np.ndarray]] = {}
    for group, by in factors.items():
        for reader in group.readers:
            scaled[reader.layer] = group, np.append(1.0, by)[reader.channels]
    products: dict[_Group, Op] = {}

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op.kind in NORMS and op in divided:
            x, *constants = operands
            return op.with_operands(x, *(_divided(k, divided[op]) for k in constants))
        if op not in scaled and op not in divided:
            return kept(op, operands)
        x, by_input = operands[0], np.ones(op.operands[0].shape[-1])
        if op in scaled:
            group, by_input = scaled[op]
            if not group.folds:
                x = products.setdefault(group, _product(x, factors[group], op))
        return channels.rescaled(op, x, by_input, 1 / divided.get(op, np.ones(op.shape[-1])))

    return transform(func, change)


def _divided(old: Op, by: np.ndarray) -> Op:
    """A constant of a norm, one number a channel, divided by the factors."""
    value = (old.value / by).astype(old.type.dtype.numpy)
    return derived(const(value, old.type, old.attributes["name"], old.location), old)


def _product(x: Op, by: np.ndarray, reader: Op) -> Op:
    type = x.type.with_shape(by.shape)
    return nn.mul(x, const(1 / by, type, "smoothing"), location=reader.location)
