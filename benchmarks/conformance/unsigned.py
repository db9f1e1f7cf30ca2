"""The operators on uint8, as the version 1 converter writes them: weights have a zero point too."""

from functools import partial

import numpy as np
from qir.dialects import tfl

from qir.ir import Func, Op, const, item, parameter, transform
from qir.types import DTYPES, Element, Type, per_tensor

from . import choices, elementwise, functions, moves
from .convolutions import activation

U8 = DTYPES["u8"]


def element(rng, low=1e-3, high=0.1) -> Element:
    """A u8 element of a random scale and zero point."""
    return Element(U8, per_tensor(rng.uniform(low, high), rng.integers(0, 256)))


def weight(rng, shape) -> Op:
    """A random u8 weight with one scale and one zero point."""
    grid = per_tensor(rng.uniform(1e-3, 1e-2), rng.integers(0, 256))
    return const(rng.integers(0, 256, shape).astype(np.uint8), Type(U8, tuple(shape), grid))


def bias(rng, x, w, channels: int) -> Op:
    """A random bias on the product of the scales of input and weight."""
    type = Type(DTYPES["i32"], (channels,), per_tensor(x.type.scale * w.type.scale))
    return const(rng.integers(-20000, 20000, channels).astype(np.int32), type)


def result(rng, x, w) -> Element:
    """A u8 element on which the bias agrees with input and weight, as the kernels demand."""
    return element(rng, max(1e-3, float(x.type.scale * w.type.scale) * 4), 0.2)


def conv_2d(rng: np.random.Generator) -> Func:
    """A random CONV_2D."""
    channels, outputs = (int(n) for n in rng.integers(1, 9, 2))
    height, width = rng.integers(5, 20, 2)
    x = parameter("x", element(rng)[(2, height, width, channels)])
    w = weight(rng, (outputs, *rng.integers(1, 4, 2), channels))
    y = tfl.conv_2d(
        x, w, bias(rng, x, w, outputs), padding=rng.choice(["SAME", "VALID"]).item(),
        stride_w=int(rng.integers(1, 3)), stride_h=int(rng.integers(1, 3)),
        fused_activation_function=activation(rng), to=result(rng, x, w),
    )  # fmt: skip
    return Func("main", (x,), (y,), ("y",))


def depthwise_conv_2d(rng: np.random.Generator) -> Func:
    """A random DEPTHWISE_CONV_2D, of many channels now and then."""
    channels = int(rng.integers(1, 9) if rng.integers(2) else rng.integers(8, 40))
    multiplier = int(rng.choice([1, 1, 2, 3]))
    height, width = rng.integers(5, 20, 2)
    x = parameter("x", element(rng)[(2, height, width, channels)])
    w = weight(rng, (1, *rng.integers(1, 4, 2), channels * multiplier))
    y = tfl.depthwise_conv_2d(
        x, w, bias(rng, x, w, channels * multiplier), padding=rng.choice(["SAME", "VALID"]).item(),
        stride_w=(stride := int(rng.integers(1, 3))), stride_h=stride, depth_multiplier=multiplier,
        fused_activation_function=activation(rng), to=result(rng, x, w),
    )  # fmt: skip
    return Func("main", (x,), (y,), ("y",))


def fully_connected(rng: np.random.Generator) -> Func:
    """A random FULLY_CONNECTED, of rows or of a tensor of rank 3."""
    depth, outputs, rows = (int(n) for n in rng.integers(1, 40, 3))
    keep = bool(rng.integers(2))
    x = parameter("x", element(rng)[(2, rows, depth) if keep else (rows, depth)])
    w = weight(rng, (outputs, depth))
    y = tfl.fully_connected(x, w, bias(rng, x, w, outputs), keep_num_dims=keep,
                            fused_activation_function=activation(rng),
                            to=result(rng, x, w))  # fmt: skip
    return Func("main", (x,), (y,), ("y",))


def transpose_conv(rng: np.random.Generator) -> Func:
    """A random TRANSPOSE_CONV to a shape that a convolution takes back to its input's."""
    channels, outputs = (int(n) for n in rng.integers(1, 9, 2))
    sizes, filters, strides = (rng.integers(1, high, 2) for high in (10, 5, 4))
    padding = rng.choice(["SAME", "VALID"]).item()
    whole = sizes * strides if padding == "SAME" else (sizes - 1) * strides + filters
    rest = rng.integers(0, strides)
    out = np.maximum(whole - rest, 1) if padding == "SAME" else whole + rest
    x = parameter("x", element(rng)[(2, *(int(n) for n in sizes), channels)])
    w = weight(rng, (outputs, *filters, channels))
    y = tfl.transpose_conv(
        x, w, bias(rng, x, w, outputs) if rng.integers(2) else None, padding=padding,
        output_shape=(2, *(int(n) for n in out), outputs), stride_h=int(strides[0]),
        stride_w=int(strides[1]), fused_activation_function=activation(rng), to=result(rng, x, w),
    )  # fmt: skip
    return Func("main", (x,), (y,), ("y",))


def concatenation(rng: np.random.Generator) -> Func:
    """A random CONCATENATION of operands on grids of their own."""
    shape = [int(n) for n in rng.integers(1, 9, 3)]
    axis = int(rng.integers(3))
    parts = []
    for name in "abc":
        shape[axis] = int(rng.integers(1, 9))
        parts.append(parameter(name, element(rng)[tuple(shape)]))
    to = element(rng) if rng.integers(2) else parts[0].type.element
    return Func("main", tuple(parts), (tfl.concatenation(*parts, axis=axis, to=to),), ("y",))


def unsigned(func: Func) -> Func:
    """A function of tfl ops with all that it stores as i8 stored as u8, 128 further up."""

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op.kind == "parameter":
            return parameter(op.attributes["name"], _lifted(op.type.element)[op.shape])
        if op.is_const:
            if op.dtype.name != "i8" or op.type.grid is None:
                return op
            return const((op.value.astype(np.int32) + 128).astype(np.uint8),
                         _lifted(op.type.element)[op.shape])  # fmt: skip
        if operands == op.operands:
            return op
        if op.kind == "item":
            return item(operands[0], op.attributes["index"])
        to = op.attributes.get("to")
        return op.with_operands(*operands, **({} if to is None else {"to": _lifted(to)}))

    return transform(func, change)


def _lifted(element: Element) -> Element:
    if element.dtype.name != "i8" or element.grid is None:
        return element
    return Element(U8, per_tensor(element.grid.scale, int(element.grid.zero) + 128))


def _of(case, rng: np.random.Generator) -> Func:
    return unsigned(case(rng))


CONTRACTIONS = {
    "CONV_2D": conv_2d, "DEPTHWISE_CONV_2D": depthwise_conv_2d, "FULLY_CONNECTED": fully_connected,
    "TRANSPOSE_CONV": transpose_conv, "CONCATENATION": concatenation,
}  # fmt: skip
LIFTED = (
    "ADD", "SUB", "MUL", "DIV", "PRELU", "QUANTIZE", "DEQUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1",
    "LOGISTIC", "TANH", "AVERAGE_POOL_2D", "MAX_POOL_2D", "SOFTMAX", "LOG_SOFTMAX",
    "L2_NORMALIZATION", "PAD, TRANSPOSE, CONCATENATION", "MEAN", "SUM", "GELU", "LEAKY_RELU",
    "HARD_SWISH", "RELU_0_TO_1", "MAXIMUM", "GREATER", "ARG_MAX", "REDUCE_MAX", "TOPK_V2", "SPLIT",
    "GATHER", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR",
)  # fmt: skip
"""Those of which the case on i8 is taken. No kernel computes u8 for BATCH_MATMUL, EXP, ABS, LOG,
ELU, SQRT, RSQRT, SQUARED_DIFFERENCE and REDUCE_PROD."""
_SIGNED = {name: case for family in (elementwise, functions, choices, moves)
           for name, case in family.CASES.items()}  # fmt: skip
CASES = {f"{name} u8": case for name, case in CONTRACTIONS.items()}
CASES |= {f"{name} u8": partial(_of, _SIGNED[name]) for name in LIFTED}

WRAPS = "the runtime is wrong: in blocks of values, a product beyond 16 bits wraps"
KNOWN = {("MUL u8", "tflite_builtin"): WRAPS}
"""Pairs of operator and kernel set that do not agree, with the cause."""
