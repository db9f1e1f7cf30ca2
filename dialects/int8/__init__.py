"""Integer-only ops: what a quantized graph becomes when nothing of it computes in float."""

from .affine import conv2d, dense, depthwise_conv2d, matmul, transposed_conv2d
from .arithmetic import add, div, mul, requantize, sub, table
from .dialect import int8
from .pooling import avg_pool, mean, sum_

__all__ = [
    "add", "avg_pool", "conv2d", "dense", "depthwise_conv2d", "div", "int8", "matmul", "mean",
    "mul", "requantize", "sub", "sum_", "table", "transposed_conv2d",
]  # fmt: skip
