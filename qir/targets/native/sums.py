"""Sums with a shortcut, added up where the convolution before them writes its result."""

import numpy as np

from ...ir import Func, Op, count_uses
from . import calls
from .library import is_called

CONTRACTS = ("fixed15", "xnnpack_add")
LAYERS = ("xla.conv", "xla.dot")


def fused_sums(func: Func) -> dict[Op, Op]:
    """The sums that a kernel computes with the layer whose result they alone read, by the sum.

    None outside of `native_calls`, or for a function without such sums.
    """
    if not is_called():
        return {}
    found, uses = {}, count_uses(func.ops, func.results)
    for op in func.ops:
        if not _is_taken(op):
            continue
        layers = [x for x in op.operands if x.kind in LAYERS and uses[x] == 1 and calls.serves(x)]
        if layers:
            found[op] = layers[-1]  # either would do, if both are layers
    return found


def _is_taken(op: Op) -> bool:
    """Whether the epilogue adds so: both sides of one shape and 8 bits, two weights and a shift."""
    return (
        op.kind in ("int8.add", "int8.sub")
        and op.attributes["rescale"].rounding in CONTRACTS
        and all(each.shape == op.shape and each.dtype.name in calls.BYTES
                for each in (*op.operands, op))
    )  # fmt: skip


def layer_and_sum(op: Op, layer: Op, x, other):
    """What the sum gives: x is the input of the layer, `other` the other side."""
    first = op.operands[0] is layer
    mine, theirs = op.operands if first else op.operands[::-1]
    numbers = op.attributes["rescale"].fields()
    weights = [int(each) for each in np.asarray(numbers["multiplier"])]
    low, high = op.attributes["clamp"] or (op.type.lo, op.type.hi)
    total = [*(weights if first else weights[::-1]), int(numbers["shift"]), int(theirs.type.zero),
             int(mine.dtype.name == "i8"), int(op.type.zero), low, high]  # fmt: skip
    build = calls.dot if layer.kind == "xla.dot" else calls.conv
    return build(layer, x, calls.Sum(other, np.array(total, np.int64), op.dtype.numpy))
