"""Store the weights of ops in float as the schemes of these ops say."""

from collections.abc import Mapping
from typing import Literal

from qir.graph_pass import graph_pass
from qir.ir import Func
from qir.registry import passes
from qir.schemes import scheme_of
from qir.selectors import Selector

LEAST_HALF = 2
"""Single numbers are not worth a reader of their own, as in `half_weights`."""


@graph_pass("mixed -> stored")
def store_weights(
    func: Func,
    *,
    min_elements: int = 1,
    block: Literal[32, 64, 128, 256] | None = None,
    granularity: Literal["per_channel", "per_tensor"] = "per_channel",
    clip: Literal["minmax", "mse", "octav"] = "minmax",
) -> Func:
    """Do to ops of the schemes dynamic_range, weight_only and float16 what these say.

    Each is done by the pass that does it to whole functions, quantize_dynamic, quantize_weights or
    half_weights, here to the ops of the scheme alone. min_elements, block, granularity and clip
    are theirs.
    """
    integers = {"min_elements": min_elements, "granularity": granularity, "clip": clip}
    halves = {"min_elements": max(min_elements, LEAST_HALF)}
    work: Mapping[str, tuple[str, dict]] = {
        "dynamic_range": ("quantize_dynamic", {"min_elements": min_elements,
                                               "weights": granularity}),
        **{f"weight_only_i{bits}": ("quantize_weights", {**integers, "block": block, "bits": bits})
           for bits in (8, 4, 2)},
        "float16": ("half_weights", {**halves, "to": "f16"}),
        "bfloat16": ("half_weights", {**halves, "to": "bf16"}),
    }  # fmt: skip
    present = set(map(scheme_of, func.ops))
    for scheme, (step, options) in work.items():
        if scheme in present:  # by name, as in a pipeline, since passes do not import each other
            func = passes()[step](func, where=Selector("scheme", (scheme,)), **options)
    return func
