"""Fixed-point arithmetic: how integers are rescaled, bit for bit, and how floats become integers.

Every op that rescales integers names a rounding contract and carries its numbers, a `Rescale`.
The contracts are in contracts.py; qir/targets/xla/rescale.py has the same arithmetic for XLA.
"""

from .clipping import CLIPS
from .contracts import CONTRACTS, OPERAND_LIMIT, contract
from .grids import (
    activation_grid,
    dequantize_array,
    quantize_array,
    real,
    symmetric_scale,
    weight_scale,
)
from .rescale import (
    Rescale,
    apply,
    derive,
    derive_sum,
    factors,
    held,
    make_rescale,
    requantize,
    saturate,
    sum_apply,
    widened,
)

__all__ = [
    "CLIPS", "CONTRACTS", "OPERAND_LIMIT", "Rescale", "activation_grid", "apply", "contract",
    "dequantize_array", "derive", "derive_sum", "factors", "held", "make_rescale",
    "quantize_array", "real", "requantize", "saturate", "sum_apply", "symmetric_scale",
    "weight_scale", "widened",
]  # fmt: skip
