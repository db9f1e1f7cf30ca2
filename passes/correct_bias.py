"""Take off the biases what quantization adds to the mean of each channel.

Nagel, van Baalen, Blankevoort and Welling, Data-Free Quantization through Weight Equalization and
Bias Correction (2019), section 4.2, with the mean errors measured on calibration data (its
appendix D). Rounded weights and inputs shift the results of a layer by something that does not
average out; what is left of it after one layer goes through the next. So layers are corrected in
order, each in the quantized function whose earlier layers are corrected already.

Both functions run side by side in pieces that end at a layer, all samples through one piece before
the next: each layer runs once, and what is kept between two pieces is what the next one reads.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from qir import journal, segments
from qir.errors import QirError, QirWarning
from qir.evaluate import evaluate
from qir.graph_pass import Run, Samples, graph_pass
from qir.ir import Derived, Func, Op, const, derived, kept, parameter, place_of, transform
from qir.registry import passes
from qir.rounding import quantize_array, real
from qir.samples import filled_batches
from qir.selectors import Selector, chooser
from qir.timing import count, span, timed
from qir.types import DTYPES

from ..dialects import nn, quant
from ..dialects.nn.channels import LAYER_KINDS

ROOM = 2**30
"""Bytes of values that may be kept between two layers, over all samples together."""


@graph_pass("calibrated -> corrected")
def correct_bias(
    func: Func,
    *,
    weights: Literal["per_channel", "per_tensor"] = "per_channel",
    where: Selector | None = None,
    samples: Samples,
    run: Run = evaluate,
) -> Func:
    """Correct the bias of each layer by the mean error of its channels over sample data.

    weights: as `propagate_types` is to have it. Layers without a bias get one. Compared is what a
    layer gives before its clamp, in this function and in what `propagate_types` makes of it.
    where: the layers it may correct.
    """
    quantized, twin = _quantized(func, weights)
    chosen = chooser(func, where)
    layers = [op for op in func.ops if chosen(op) and _is_corrected(op, twin.get(op, op))]
    if not layers:
        return func
    pair = _opened(func, layers), _opened(quantized, [twin[op] for op in layers])
    old = {op: _bias(twin[op]) for op in layers}
    data = _kept_batches(func, pair, samples)
    found = _corrected(pair, old, data, timed("evaluation", run))
    count("biases corrected", len(found))

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        return _with_bias(op, operands, found[op]) if op in found else kept(op, operands)

    return transform(func, change)


def _quantized(func: Func, weights: str) -> tuple[Func, dict[Op, Op]]:
    """The function as it will be quantized, and which of its ops stands for each of the old.

    By the pass itself, so that grids are those that will be; it is looked up by name, as in a
    pipeline, since passes do not import each other.
    """
    with span("quantization"), journal.unheard(), journal.recorded(Derived) as log:
        quantized = passes()["propagate_types"](func, weights=weights)
    pairs = [(old, entry.op) for entry in log for old in entry.olds]
    return quantized, {old: new for old, new in pairs if new.kind == old.kind}


def _is_corrected(op: Op, twin: Op) -> bool:
    """Whether an op is a quantized layer that gives something, its bias a constant or none."""
    if op.kind not in LAYER_KINDS or not op.type.size:
        return False
    read = twin.operands[1]
    on_grid = read.kind == quant.dequantize.name and read.operands[0].is_const
    return on_grid and all(o.is_const for o in op.operands[1:])


@dataclass(frozen=True, eq=False)
class _Bias:
    """The bias of a quantized layer as its integers say it, and the step between two of them."""

    value: np.ndarray
    step: np.ndarray

    def grown(self, error: np.ndarray) -> np.ndarray:
        """What the stored bias becomes larger by when the error is added to it."""
        i32 = DTYPES["i32"]
        stored = quantize_array(self.value + error, self.step, 0, i32.lo, i32.hi)
        return (self.step * stored - self.value).astype(np.float32)


def _bias(layer: Op) -> _Bias:
    """The bias of a quantized layer, 0 for one without; its step is what it reads by its weight."""
    x, w, *old = (o.operands[0] for o in layer.operands)
    each = np.reshape(np.float64(x.type.scale) * w.type.scale, -1)
    # depthwise: several results share the scale of a channel
    step = np.repeat(each, layer.shape[-1] // each.size)
    value = real(old[0].type, old[0].value) if old else np.zeros(step.size)
    return _Bias(value.astype(np.float64), step)


@dataclass(frozen=True, eq=False)
class _Opened:
    """A function that gives what its layers do before their clamps, with a shift for each.

    pieces: one a layer, which it ends. shifts: the parameters that the later pieces add.
    """

    pieces: segments.Segments
    shifts: tuple[Op, ...]

    def result(self, number: int, values: dict[Op, np.ndarray], run) -> np.ndarray:
        """What the layer of that number gives, from the values that the pieces before it made."""
        made = segments.advance(self.pieces.pieces[number], values, run)
        return dict(made)[self.pieces.func.results[number]]


def _opened(func: Func, layers: Sequence[Op]) -> _Opened:
    bare: dict[Op, Op] = {}
    shifts = {op: parameter(f"shift{i}", op.type.with_shape(op.shape[-1:]))
              for i, op in enumerate(layers)}  # fmt: skip

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        node = kept(op, operands)
        if op not in shifts:
            return node
        bare[op] = node.rebuild(clamp=None)
        return nn.add(bare[op], shifts[op], clamp=op.attributes["clamp"])

    with journal.unheard():
        parameters = transform(func, change).parameters
    results = tuple(bare[op] for op in layers)
    whole = Func(func.name, (*parameters, *shifts.values()), results)
    return _Opened(segments.cut(whole, len(whole.ops), results), tuple(shifts.values()))


def _kept_batches(func: Func, pair: Sequence[_Opened], samples) -> list[tuple[np.ndarray, ...]]:
    """The sample data, as much of it as there is room for."""
    most = max(1, ROOM // max(1, sum(segments.held(each.pieces) for each in pair)))
    data = filled_batches(func, samples, "calibration")
    found = list(islice(data, most))
    if next(data, None) is not None:
        warnings.warn(QirWarning(f"biases are corrected on the first {most} batches: the values "
                                 "between two layers of more would take over 1 GiB"),
                      stacklevel=2)  # fmt: skip
    return found


def _corrected(pair: Sequence[_Opened], old: dict[Op, _Bias], data, run) -> dict[Op, np.ndarray]:
    """The bias that each layer should have, all layers before it corrected."""
    floats, integers = ([dict(zip(each.pieces.func.parameters, arrays, strict=False))
                     for arrays in data] for each in pair)  # fmt: skip
    found = {}
    for number, (layer, bias) in enumerate(old.items()):
        errors = []
        for batch in zip(floats, integers, strict=True):
            x, y = (each.result(number, values, run)
                    for each, values in zip(pair, batch, strict=True))  # fmt: skip
            errors.append((x.astype(np.float64) - y).reshape(-1, x.shape[-1]).mean(axis=0))
        error = np.mean(errors, axis=0)
        if not np.isfinite(error).all():
            raise QirError(f"the mean error of {layer.kind} is no number", at=place_of(layer),
                           help="it overflows on these samples, in float or quantized; do they "
                                "lie within the ranges of calibration?")  # fmt: skip
        found[layer] = bias.value + error
        grown = bias.grown(error)
        for each, batches, shift in zip(pair, (floats, integers), (0 * grown, grown), strict=True):
            for values in batches:
                values[each.shifts[number]] = shift
    return found


def _with_bias(op: Op, operands: tuple[Op, ...], bias: np.ndarray) -> Op:
    """A layer with another bias, under the name of its old one."""
    x, w, *old = operands
    type = op.type.with_shape(bias.shape)
    name, location = (old[0].attributes["name"], old[0].location) if old else (None, ())
    new = const(bias.astype(type.dtype.numpy), type, name, location)
    return op.with_operands(x, w, derived(new, *old))
