"""Raise what a trace contains to layers: convolutions, dense layers, activations, norms.

Rules are written in terms of what their operands have become, which is settled first: softmax is
found over `nn.sub`, `nn.reduce_max` and `nn.sum`, not over their forms in the trace.
"""

from qir.graph_pass import graph_pass
from qir.ir import Func
from qir.rewrite import rewrite

from . import (
    activations,
    arithmetic,
    bias,
    conv,
    dot,
    group_norm,
    layout,
    masks,
    norms,
    pooling,
    sequences,
    softmax,
)

RULES = (
    *activations.RULES, *norms.RULES, *masks.RULES, *softmax.RULES, *group_norm.RULES,
    *pooling.RULES, *sequences.RULES, *conv.RULES, *dot.RULES, *bias.RULES, *arithmetic.RULES,
    *layout.RULES,
)  # fmt: skip


@graph_pass("traced -> float")
def raise_nn(func: Func) -> Func:
    """Raise traced primitives to layers, NHWC by HWIO, with transposes moved out of their way."""
    # sums over windows are left to those that find a mean in them first
    sums = pooling.window_sum_is_scaled_mean, sequences.window_sum_of_sequences_is_of_images
    return rewrite(rewrite(func, *RULES), *sums, *RULES)
