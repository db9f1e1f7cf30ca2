"""The quant dialect: observers, ranges, casts, stored weights, roundings of training."""

from .casts import dequantize, observe, quantize, requantize, stats
from .dialect import quant
from .fake import fake_quant, fake_quant_per_channel, quantize_and_dequantize
from .stored import HALVES, dense, stored_reals, take, widen
from .trained import FAKE, ends, fixed, on_levels
from .variable import variable

__all__ = [
    "FAKE", "HALVES", "dense", "dequantize", "ends", "fake_quant", "fake_quant_per_channel",
    "fixed", "observe", "on_levels", "quant", "quantize", "quantize_and_dequantize", "requantize",
    "stats", "stored_reals", "take", "variable", "widen",
]  # fmt: skip
