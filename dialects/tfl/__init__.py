"""TensorFlow Lite's builtin operators, one to one with the schema of `.tflite` files."""

from .arithmetic import add, mul, sub
from .convolutions import conv_2d, depthwise_conv_2d, fully_connected
from .dialect import tfl
from .movement import concatenation, pad, reshape, transpose
from .normalize import softmax
from .pooling import average_pool_2d, max_pool_2d
from .reductions import mean
from .unary import (
    dequantize,
    exp,
    logistic,
    quantize,
    relu,
    relu6,
    relu_n1_to_1,
    tanh,
)

__all__ = [
    "add", "average_pool_2d", "concatenation", "conv_2d", "depthwise_conv_2d", "dequantize", "exp",
    "fully_connected", "logistic", "max_pool_2d", "mean", "mul", "pad", "quantize", "relu",
    "relu6", "relu_n1_to_1", "reshape", "softmax", "sub", "tanh", "tfl", "transpose",
]  # fmt: skip
