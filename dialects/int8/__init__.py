"""Integer-only ops: what a quantized graph becomes when nothing of it computes in float."""

from .affine import conv2d, dense, depthwise_conv2d, matmul, transposed_conv2d
from .arithmetic import add, div, mul, requantize, sub
from .dialect import int8
from .normalize import layer_norm, rms_norm, softmax
from .pooling import avg_pool, mean, sum_
from .recurrent import gru
from .storage import flip_sign, reinterpret
from .tables import pair_table, table
from .tflite_cells import lstm
from .tflite_norms import l2_norm, log_softmax_f32, log_softmax_gemmlowp
from .tflite_reductions import prod, threshold_sum
from .tflite_softmax import softmax_f32, softmax_gemmlowp, softmax_interpolated

__all__ = [
    "add", "avg_pool", "conv2d", "dense", "depthwise_conv2d", "div", "flip_sign", "gru", "int8",
    "l2_norm", "layer_norm", "log_softmax_f32", "log_softmax_gemmlowp", "lstm", "matmul", "mean",
    "mul", "pair_table", "prod", "reinterpret", "requantize", "rms_norm", "softmax", "softmax_f32",
    "softmax_gemmlowp", "softmax_interpolated", "sub", "sum_", "table", "threshold_sum",
    "transposed_conv2d",
]  # fmt: skip
