"""Take float ops apart that a target has no op for, before they are quantized."""

from typing import Literal

from qir.graph_pass import graph_pass
from qir.ir import Func
from qir.registry import target_named
from qir.rewrite import rewrite


@graph_pass("float -> float")
def decompose(
    func: Func, *, target: str = "xla", activations: Literal["int8", "int16", "uint8"] = "int8"
) -> Func:
    """Replace ops that the target has no op for by several that it has, each with its own grid.

    activations: what they will be stored in; LSTMs have whole forms for int8 alone, and are taken
    apart into steps for the others.
    """
    return rewrite(func, *target_named(target).decomposition(activations))
