"""Take float ops apart that a target has no op for, before they are quantized."""

from qir.graph_pass import graph_pass
from qir.ir import Func
from qir.registry import target_named
from qir.rewrite import rewrite


@graph_pass("float -> float")
def decompose(func: Func, *, target: str = "xla") -> Func:
    """Replace ops that the target has no op for by several that it has, each with its own grid."""
    return rewrite(func, *target_named(target).decomposition())
