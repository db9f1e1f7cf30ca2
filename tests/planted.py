"""Faults planted in the middle of `ptq_int8`, for what finds them; each stands in for a pass."""

from typing import Literal

import numpy as np

from qir.graph_pass import graph_pass
from qir.ir import Func, const, kept, transform
from qir.pattern import C, V
from qir.registry import load_dialects
from qir.rewrite import rewrite, rule

load_dialects()
from qir.dialects import nn, quant  # noqa: E402
from qir.passes import fold_bn as folding  # noqa: E402
from qir.passes.propagate_types import propagate_types as right_propagation  # noqa: E402


@rule(nn.relu(nn.add(V.x, C.k, clamp=None).once() @ "shifted"))
def shift_passes_relu(shifted, x, k):
    """WRONG: max(x + k, 0) is max(x, 0) + max(k, 0), which holds for k = 0 alone."""
    return nn.add(nn.relu(x), const(np.maximum(k, np.float32(0)), location=shifted.location))


@graph_pass("float -> float")
def fold_bn(func: Func) -> Func:
    """The right pass, then the wrong rule between two of its right ones."""
    return rewrite(folding.fold_bn(func), folding.shifts_merge, shift_passes_relu,
                   folding.shift_before_layer_folds)  # fmt: skip


@graph_pass("calibrated -> qdq")
def propagate_types(
    func: Func, *, weights: Literal["per_channel", "per_tensor"] = "per_channel"
) -> Func:
    """The right pass, but one value is quantized on a grid that is far too narrow."""

    def change(op, operands):
        if op.kind == "quant.stats" and op.location[:1] == ("block_2",):
            lo, hi = op.attributes["lo"], op.attributes["hi"]
            return quant.stats(*operands, name=op.attributes["name"], lo=lo / 8, hi=hi / 8,
                               location=op.location)  # fmt: skip
        return kept(op, operands)

    return right_propagation(transform(func, change), weights=weights)


BLOCKS = 5
WRONG = 3
"""The block whose shift is not small, counted from 0."""


def network() -> str:
    """Blocks of dense, sigmoid, shift and relu; the shift of one of them alone is not near 0."""
    lines = ["func @main(%x: f32[2,8]) -> (y: f32[2,8]) {"]
    value = "%x"
    for i in range(BLOCKS):
        k = -0.4 if i == WRONG else -1e-6 * (i + 1)
        lines += [f"  %w{i} = const(value=random) : f32[8,8]",
                  f"  %d{i} = nn.dense({value}, %w{i}) loc(\"block_{i}\")",
                  f"  %s{i} = nn.sigmoid(%d{i}) loc(\"block_{i}\")",
                  f"  %k{i} = const(value={k}) : f32[]",
                  f"  %a{i} = nn.add(%s{i}, %k{i}) loc(\"block_{i}\")",
                  f"  %r{i} = nn.relu(%a{i}) loc(\"block_{i}\")"]  # fmt: skip
        value = f"%r{i}"
    return "\n".join([*lines, f"  return {value}", "}", ""])
