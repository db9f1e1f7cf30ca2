"""Leave in float what loses most by quantization, until the whole loses no more than allowed.

Of every op that is to be quantized and that no recipe speaks of it is measured what it loses alone
(`qir.sensitivity`). Then the worst are given the scheme `float`, as few of them as will do.
Measured is what `propagate_types` and `store_weights` make of the function, in reals that are
rounded where integers will be.
"""

import warnings
from collections.abc import Mapping
from functools import partial
from itertools import islice
from typing import Literal

import numpy as np

from qir import journal
from qir.arrays import read_arrays
from qir.attributes import ReadFile
from qir.errors import QirError, QirWarning
from qir.evaluate import evaluate
from qir.graph_pass import Run, Samples, graph_pass
from qir.ir import OPS, Func, Op, derived, kept, transform
from qir.quantizable import chains, inside_chain, roles_in, takes_part
from qir.registry import passes
from qir.samples import batches as cut
from qir.samples import filled_batches
from qir.schemes import SCHEMES, scheme_of, with_scheme
from qir.sensitivity import Bounds, Ranking, judge, raised_until, ranked
from qir.timing import count, span, timed

from ..dialects import quant


def bounds_asked(func: Func, *, max_drop: float | None = None, min_snr: float | None = None,
                 batches: int = 8, **others) -> Bounds:  # fmt: skip
    """What may be lost, as the options say; QirError for what is no bound."""
    if max_drop is not None and not 0 <= max_drop <= 1:
        raise QirError(f"max_drop is a share of rows between 0 and 1, found {max_drop:g}",
                       help="0.01 lets one row in 100 have another largest element")  # fmt: skip
    if batches < 1:
        raise QirError(f"'batches' is at least 1, found {batches}")
    return Bounds(max_drop, min_snr)


def schemes_asked(options: Mapping[str, object]) -> tuple[str, ...]:
    """What it may ask of a target, where anything is bounded."""
    asks = SCHEMES[options["to"]].asks
    bounded = options["max_drop"] is not None or options["min_snr"] is not None
    return (asks,) if bounded and asks is not None else ()


@graph_pass("calibrated -> calibrated", bounds_asked,
            schemes_asked, needed_by={"samples": ("max_drop", "min_snr")})  # fmt: skip
def raise_worst(
    func: Func,
    *,
    max_drop: float | None = None,
    min_snr: float | None = None,
    to: Literal["float", "int16x8"] = "float",
    batches: int = 8,
    labels: ReadFile | None = None,
    weights: Literal["per_channel", "per_tensor"] = "per_channel",
    min_elements: int = 1,
    block: Literal[32, 64, 128, 256] | None = None,
    clip: Literal["minmax", "mse", "octav"] = "minmax",
    samples: Samples | None = None,
    run: Run = evaluate,
) -> Func:
    """Give the ops that lose most another scheme, until the function loses no more than this.

    max_drop: the share of rows, over all samples, whose largest element is another than that of
    the function in reals; of results that are integers, the share of elements that differ. min_snr:
    the signal-to-noise ratio of each result in dB. With neither nothing is done. to: the scheme,
    reals or activations of 16 bits. batches: how many
    of the samples are run, the first ones, once for each op. labels: an `.npz` or `.npy` file with
    the class of each row of the samples, beside inputs if need be; `max_drop` is then the share of
    them by which fewer are right. Ops that have a scheme keep it.
    QirError where that is not enough with all others in float. weights, min_elements, block and
    clip: as `propagate_types` and `store_weights` are to have them.
    """
    bounds = bounds_asked(func, max_drop=max_drop, min_snr=min_snr, batches=batches)
    if bounds == Bounds():
        return func
    stored = {"min_elements": min_elements, "block": block, "granularity": weights, "clip": clip}
    quantized = partial(_quantized, weights=weights, stored=stored)
    data = _data(func, samples, batches, labels)
    classes = None if labels is None else _classes(func, labels, data)
    measure = judge(_bare(func), data, timed("evaluation", run), classes)
    if max_drop is not None and not measure.has_rows:
        of = "two elements" if classes is None else f"classes for {classes[0].size} labels"
        raise QirError("max_drop is about the largest element of each row, and no result of "
                       f"@{func.name} has rows of {of}",
                       help="min_snr=30 bounds the noise of any result")  # fmt: skip
    units = _units(func)
    with span("ranking"), journal.unheard(), warnings.catch_warnings():
        warnings.simplefilter("ignore", QirWarning)  # told once, of what is made in the end
        rows = ranked(units, lambda unit: quantized(_without(func, units, unit)), measure)
        number, before, after = raised_until(
            rows, lambda ops: quantized(_raised(func, ops, to)), measure, bounds)  # fmt: skip
    if number > len(rows):
        raise QirError(f"{bounds} cannot be reached: {before} as it is, and {after} with all "
                       f"{len(rows)} in {to} that may be raised",
                       help=_advice(to))
    count("ops ranked", len(rows))
    count("ops raised", number)
    journal.note(Ranking, func, bounds, rows, number, to, before, after)
    ops = [op for row in rows[:number] for op in row.ops]
    return _raised(func, ops, to) if number else func


def _advice(to: str) -> str:
    decided = "by ops that a recipe has given a scheme: give them another one, or ask for less"
    if to == "float":
        return f"what is lost then is lost {decided}"
    return f"what is lost then is lost by weights of 8 bits, or {decided}"


def _data(func: Func, samples, count: int, labels: str | None) -> list:
    """The first samples, cut into the traced batch; with labels none of them is filled up."""
    if labels is None:
        return list(islice(filled_batches(func, samples, "calibration"), count))
    found = list(islice(cut(func, samples), count))
    odd = next((each for each in found if each.func is not func), None)
    if odd is not None:
        raise QirError(f"sample {odd.sample} does not fill the traced batch, and its labels are "
                       "lost among those of the next", at=labels,
                       help="items that are a multiple of the batch, a model traced with batch 1, "
                            "or fewer `batches`")  # fmt: skip
    return [each.arrays for each in found]


def _classes(func: Func, path: str, data: list) -> list[np.ndarray]:
    """The labels of each of the samples that are run."""
    names = [p.attributes["name"] for p in func.parameters]
    found = {name: array for name, array in read_arrays(path).items() if name not in names}
    whole = next(iter(found.values()), np.zeros(0))
    if len(found) != 1 or whole.ndim != 1 or whole.dtype.kind not in "iu":
        shown = ", ".join(f"{n or 'an array'}: {a.dtype}{list(a.shape)}" for n, a in found.items())
        raise QirError(f"labels are one array of integers beside the inputs, found "
                       f"{shown or 'none'}", at=path)  # fmt: skip
    rows = func.parameters[0].shape[0] if func.parameters and func.parameters[0].type.rank else 1
    if len(whole) < rows * len(data):
        raise QirError(f"{len(whole)} labels for {rows * len(data)} rows of samples", at=path,
                       help="a label for each row, in order, or fewer `batches`")  # fmt: skip
    return [whole[i * rows : (i + 1) * rows] for i in range(len(data))]


def _bare(func: Func) -> Func:
    """The function in reals, without the ranges around its values."""
    return transform(func, lambda op, operands: operands[0] if op.kind == quant.stats.name
                     else kept(op, operands))  # fmt: skip


def _quantized(func: Func, weights: str, stored: dict) -> Func:
    """What later passes make of the function, by name, since passes do not import each other."""
    quantized = passes()["propagate_types"](func, weights=weights)
    return passes()["store_weights"](quantized, **stored)


def _raised(func: Func, ops, to: str) -> Func:
    """The function with another scheme for these ops."""
    chosen = set(ops)

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        node = kept(op, operands)
        return derived(with_scheme(node, to), op) if op in chosen else node

    return transform(func, change)


def _without(func: Func, units: list[tuple[Op, ...]], one: tuple[Op, ...]) -> Func:
    """The function with all in reals but one unit; what a recipe has decided is in reals too."""
    decided = [op for op in func.ops if op.kind in OPS and scheme_of(op) is not None]
    others = [op for unit in units if unit is not one for op in unit]
    return _raised(func, others + decided, "float")


def _units(func: Func) -> list[tuple[Op, ...]]:
    """The ops that are to be quantized and have no scheme, those together that go together.

    A chain of pointwise ops is one table, and what only moves a value goes with what makes it.
    """
    chained = chains(func)
    unit_of: dict[Op, list[Op]] = {}
    for op in func.ops:
        if not _to_be_quantized(op, chained):
            continue
        joined = [o for o in op.operands if inside_chain(op, o, chained)]
        if op.definition.moves and sum(not o.is_const for o in op.operands) == 1:
            joined += [_maker(o) for o in op.operands]
        unit: list[Op] = []
        for other in {id(found): found for found in map(unit_of.get, joined) if found}.values():
            unit += other
        unit.append(op)
        unit_of |= dict.fromkeys(unit, unit)
    return [tuple(unit) for unit in {id(unit): unit for unit in unit_of.values()}.values()]


def _to_be_quantized(op: Op, chained) -> bool:
    if op.kind not in OPS or op.kind == quant.stats.name or scheme_of(op) is not None:
        return False
    roles = roles_in(op, chained)
    return any(map(takes_part, (*roles.operands, roles.result)))


def _maker(value: Op) -> Op:
    while value.kind in ("item", quant.stats.name):
        value = value.operands[0]
    return value
