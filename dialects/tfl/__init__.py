"""TensorFlow Lite's builtin operators, one to one with the schema of `.tflite` files."""

from .arithmetic import add, mul, sub
from .blocks import batch_to_space_nd, depth_to_space, space_to_batch_nd, space_to_depth
from .choices import (
    arg_max,
    arg_min,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    maximum,
    minimum,
    not_equal,
    reduce_max,
    reduce_min,
    select,
    select_v2,
    topk_v2,
)
from .convolutions import conv_2d, depthwise_conv_2d, transpose_conv
from .dialect import tfl
from .functions import abs_ as abs
from .functions import (
    ceil,
    cos,
    elu,
    floor,
    gelu,
    hard_swish,
    leaky_relu,
    log,
    neg,
    relu_0_to_1,
    rsqrt,
    sin,
    sqrt,
    square,
)
from .functions import round_ as round
from .movement import (
    broadcast_to,
    concatenation,
    expand_dims,
    fill,
    mirror_pad,
    pack,
    pad,
    padv2,
    reshape,
    reverse_v2,
    shape,
    squeeze,
    tile,
    transpose,
)
from .normalize import l2_normalization, log_softmax, softmax
from .pairs import div, prelu, squared_difference
from .pooling import average_pool_2d, max_pool_2d
from .products import batch_matmul, fully_connected
from .recurrent import lstm, svdf, unidirectional_sequence_lstm
from .reductions import mean, reduce_prod
from .reductions import sum_ as sum
from .resizes import resize_bilinear, resize_nearest_neighbor
from .slices import (
    dynamic_update_slice,
    embedding_lookup,
    gather,
    gather_nd,
    scatter_nd,
    split,
    split_v,
    strided_slice,
    unpack,
)
from .slices import slice_ as slice
from .unary import cast, dequantize, exp, logistic, quantize, relu, relu6, relu_n1_to_1, tanh

__all__ = [
    "abs", "add", "arg_max", "arg_min", "average_pool_2d", "batch_matmul", "batch_to_space_nd",
    "broadcast_to", "cast", "ceil", "concatenation", "conv_2d", "cos", "depth_to_space",
    "depthwise_conv_2d", "dequantize", "div", "dynamic_update_slice", "elu", "embedding_lookup",
    "equal", "exp", "expand_dims", "fill", "floor", "fully_connected", "gather", "gather_nd",
    "gelu", "greater", "greater_equal", "hard_swish", "l2_normalization", "leaky_relu", "less",
    "less_equal", "log", "log_softmax", "logistic", "lstm", "max_pool_2d", "maximum", "mean",
    "minimum", "mirror_pad", "mul", "neg", "not_equal", "pack", "pad", "padv2", "prelu",
    "quantize", "reduce_max", "reduce_min", "reduce_prod", "relu", "relu6", "relu_0_to_1",
    "relu_n1_to_1", "reshape", "resize_bilinear", "resize_nearest_neighbor", "reverse_v2",
    "round", "rsqrt", "scatter_nd", "select", "select_v2", "shape", "sin", "slice", "softmax",
    "space_to_batch_nd", "space_to_depth", "split", "split_v", "sqrt", "square",
    "squared_difference", "squeeze", "strided_slice", "sub", "sum", "svdf", "tanh", "tfl", "tile",
    "topk_v2", "transpose", "transpose_conv", "unidirectional_sequence_lstm", "unpack",
]  # fmt: skip
