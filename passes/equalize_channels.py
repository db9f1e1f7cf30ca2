"""Even out the ranges of channels between layers, so that one grid serves all of them.

Nagel, van Baalen, Blankevoort and Welling, Data-Free Quantization through Weight Equalization and
Bias Correction (2019), section 4.1. A layer divides channel c of its result by s, and the layers
that read it multiply by s. With s = sqrt(r1 / r2), where r1 and r2 are the largest magnitudes of
the channel's weights in the one and in the others, both become sqrt(r1 * r2). Pairs that share a
layer disturb each other, so they take turns until all are even.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from qir import journal
from qir.errors import Declined, require
from qir.graph_pass import graph_pass
from qir.ir import Func, Op, kept, transform
from qir.rewrite import Firing
from qir.selectors import Selector, chooser
from qir.timing import count

from ..dialects import nn
from ..dialects.nn import channels
from ..dialects.nn.channels import LAYER_KINDS, Spread

ROUNDS = 100
SETTLED = 1e-3
"""Factors this near to 1, as powers of 2, change nothing worth a round."""
HEAVY = 8.0
"""How many times more a channel's bias may outweigh its filter than the median channel's does."""


@graph_pass("float -> float")
def equalize_channels(func: Func, *, relu6: Literal["keep", "relu"] = "keep",
                      where: Selector | None = None) -> Func:  # fmt: skip
    """Scale channels between layers so that their weights span equal ranges on both sides.

    relu6: what becomes of a relu6 between two layers. No factor passes it, so with `keep` such
    layers are left alone; with `relu` it becomes one, as the paper has it, which changes results
    beyond 6. All else computes what it did, up to rounding. where: the layers it may touch.
    """
    pairs = _pairs(func, relu6 == "relu", chooser(func, where))
    layers = {layer for source, found in pairs.items() for layer in _layers(source, found)}
    factors = _Factors(
        {layer: channels.magnitudes(layer) for layer in layers},
        {layer: np.ones(layer.operands[0].shape[-1]) for layer in layers},
        {layer: np.ones(layer.shape[-1]) for layer in layers},
    )
    rounds = _even_out(pairs, factors)
    if rounds < 2:  # in the first nothing had to change
        return func
    count("layers whose channels are scaled", len(pairs))
    count("rounds", rounds)
    bounded = {op for found in pairs.values() for op in found.bounded}

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op in layers:
            node = channels.rescaled(op, operands[0], factors.inputs[op], 1 / factors.results[op])
            return node.rebuild(clamp=(0.0, np.inf)) if op in bounded else node
        return nn.relu(*operands, location=op.location) if op in bounded else kept(op, operands)

    return transform(func, change)


@dataclass(frozen=True, eq=False)
class _Factors:
    """By layer: its weights' magnitudes, what multiplies its inputs and divides its results."""

    magnitudes: dict[Op, np.ndarray]
    inputs: dict[Op, np.ndarray]
    results: dict[Op, np.ndarray]

    def magnitude(self, layer: Op) -> np.ndarray:
        """The weights' magnitudes under the factors that there are so far."""
        into = channels.along_inputs(layer, self.inputs[layer])
        return self.magnitudes[layer] * into / channels.along_results(layer, self.results[layer])


def _pairs(func: Func, relu6_passes: bool, chosen) -> dict[Op, Spread]:
    """The layers whose channels only layers read, each with these."""
    found = {}
    for op in func.ops:
        if op.kind not in LAYER_KINDS or not chosen(op):
            continue
        try:
            channels.can_be_rescaled(op)
            reached = channels.spread(func, op, relu6_passes)
            outside = [r.layer for r in reached.readers if not chosen(r.layer)]
            require(not outside, "a layer that reads it is not to be touched")
            found[op] = reached
        except Declined as declined:
            journal.note(Firing, "channels_are_equalized", op, str(declined))
    return found


def _layers(source: Op, found: Spread) -> list[Op]:
    return [source, *(reader.layer for reader in found.readers)]


def _even_out(pairs: dict[Op, Spread], factors: _Factors) -> int:
    """Choose factors for one layer after the other until none changes; how many rounds it took."""
    for number in range(1, ROUNDS + 1):
        settled = True
        for source, found in pairs.items():
            scale = _scale(source, found, factors)
            if np.abs(np.log2(scale)).max(initial=0.0) < SETTLED:
                continue
            settled = False
            factors.results[source] *= scale
            for reader in found.readers:
                factors.inputs[reader.layer] *= np.append(1.0, scale)[reader.channels]
        if settled:
            return number
    return ROUNDS


def _scale(source: Op, found: Spread, factors: _Factors) -> np.ndarray:
    """By what the channels of a layer are divided; 1 for one that is zero on either side."""
    given = channels.largest_by_result(source, factors.magnitude(source))
    given = _with_bias(source, given, factors.results[source])
    read = np.zeros(source.shape[-1] + 1)
    for reader in found.readers:
        layer = reader.layer
        most = channels.largest_by_input(layer, factors.magnitude(layer))
        np.maximum.at(read, reader.channels, most)
    read = read[1:]
    alive = (given > 0) & (read > 0)
    return np.sqrt(np.divide(given, read, where=alive, out=np.ones_like(read)))


def _with_bias(source: Op, given: np.ndarray, divided: np.ndarray) -> np.ndarray:
    """The magnitudes of channels, raised where next to nothing but a bias is left of one.

    Training leaves such channels behind. Made as large as the others, they would come out as one
    huge number each, and the grid of the result would have to span it.
    """
    if len(source.operands) < 3:
        return given
    bias = np.abs(source.operands[2].value.astype(np.float64)) / divided
    both = (given > 0) & (bias > 0)
    if not both.any():
        return given
    return np.maximum(given, bias / (HEAVY * np.median(bias[both] / given[both])))
