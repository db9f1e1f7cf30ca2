"""The nn dialect: layers, activations, pooling and norms on floats."""

from .activations import elu, gelu, hard_swish, leaky_relu, relu, relu6, sigmoid, silu, tanh
from .arithmetic import add, div, maximum, minimum, mul, sub
from .dialect import nn
from .linear import conv2d, dense, depthwise_conv2d, matmul, transposed_conv2d
from .norms import layer_norm, rms_norm, softmax
from .pooling import avg_pool, max_pool, mean, reduce_max, reduce_min
from .pooling import sum_ as sum
from .recurrent import gru, lstm, lstm_cells, owners

__all__ = [
    "add", "avg_pool", "conv2d", "dense", "depthwise_conv2d", "div", "elu", "gelu", "gru",
    "hard_swish", "layer_norm", "leaky_relu", "lstm", "lstm_cells", "matmul", "max_pool",
    "maximum", "mean", "minimum", "mul", "nn", "owners", "reduce_max", "reduce_min", "relu",
    "relu6", "rms_norm", "sigmoid", "silu", "softmax", "sub", "sum", "tanh", "transposed_conv2d",
]  # fmt: skip
