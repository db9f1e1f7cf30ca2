"""Random ops element by element, pools, reshapes and softmax."""

from functools import partial

import numpy as np
from qir.dialects import tfl

from qir.ir import Func, const, parameter
from qir.types import DTYPES, Element, Type, per_tensor

from .convolutions import activation, element


def some_shape(rng) -> tuple[int, ...]:
    """One to four random extents."""
    return tuple(int(n) for n in rng.integers(1, 12, rng.integers(1, 5)))


def single(op, *inputs) -> Func:
    """The function of one result."""
    return Func("main", inputs, (op,), ("y",))


def binary(op, rng: np.random.Generator) -> Func:
    """A random op of two operands, one of them broadcast now and then."""
    shape = some_shape(rng)
    other = tuple(1 if rng.integers(4) == 0 else n for n in shape)
    a, b = (parameter(name, element(rng)[each]) for name, each in (("a", shape), ("b", other)))
    return single(op(a, b, fused_activation_function=activation(rng), to=element(rng)), a, b)


def division(rng: np.random.Generator) -> Func:
    """A random DIV by what is nowhere zero, which stops the runtime."""
    shape, grid = some_shape(rng), per_tensor(rng.uniform(1e-2, 0.1), -128)
    a = parameter("a", element(rng)[shape])
    divisor = rng.integers(-127, 128, shape).astype(np.int8)
    b = const(divisor, Type(DTYPES["i8"], shape, grid))
    y = tfl.div(a, b, fused_activation_function=activation(rng), to=element(rng, 0.01, 1.0))
    return single(y, a)


def prelu(rng: np.random.Generator) -> Func:
    """A random PRELU, one slope to a channel now and then."""
    shape = some_shape(rng)
    x = parameter("x", element(rng)[shape])
    alpha = parameter("alpha", element(rng)[shape[-1:] if rng.integers(2) else shape])
    return single(tfl.prelu(x, alpha, to=element(rng)), x, alpha)


def squared_difference(rng: np.random.Generator) -> Func:
    """A random SQUARED_DIFFERENCE, one operand broadcast now and then."""
    shape = some_shape(rng)
    a, b = parameter("a", element(rng)[shape]), parameter("b", element(rng)[(1, *shape[1:])])
    return single(tfl.squared_difference(a, b, to=element(rng)), a, b)


def unary(op, rng: np.random.Generator) -> Func:
    """A random function of one value; all 256 are among the inputs more often than not."""
    x = parameter("x", element(rng)[(int(rng.integers(300, 4000)),)])
    return single(op(x, to=element(rng)), x)


def fixed(op, scale: float, zero: int, rng: np.random.Generator) -> Func:
    """A random function whose result stands on one grid."""
    x = parameter("x", element(rng)[(int(rng.integers(300, 4000)),)])
    return single(op(x, to=Element(DTYPES["i8"], per_tensor(scale, zero))), x)


def quantize(rng: np.random.Generator) -> Func:
    """A random QUANTIZE of reals, or from one grid to another."""
    shape = some_shape(rng)
    source = element(rng) if rng.integers(2) else Element(DTYPES["f32"])
    x = parameter("x", source[shape])
    return single(tfl.quantize(x, to=element(rng)), x)


def dequantize(rng: np.random.Generator) -> Func:
    """A random DEQUANTIZE."""
    x = parameter("x", element(rng)[some_shape(rng)])
    return single(tfl.dequantize(x), x)


def pool(op, rng: np.random.Generator) -> Func:
    """A random pool."""
    height, width, channels = (int(n) for n in rng.integers(4, 16, 3))
    x = parameter("x", element(rng)[(2, height, width, channels)])
    window = (int(n) for n in rng.integers(1, 5, 2))
    y = op(x, padding=rng.choice(["SAME", "VALID"]).item(), stride_w=int(rng.integers(1, 4)),
           stride_h=int(rng.integers(1, 4)), filter_width=next(window), filter_height=next(window),
           fused_activation_function=activation(rng))  # fmt: skip
    return single(y, x)


def softmax(rng: np.random.Generator) -> Func:
    """A random SOFTMAX."""
    rows, length = int(rng.integers(1, 40)), int(rng.choice([1, 2, 10, 17, 100, 300]))
    x = parameter("x", element(rng, 1e-3, 0.5)[(rows, length)])
    to = Element(DTYPES["i8"], per_tensor(1 / 256, -128))
    return single(tfl.softmax(x, beta=float(rng.choice([1.0, 1.0, 0.5, 2.0])), to=to), x)


def log_softmax(rng: np.random.Generator) -> Func:
    """A random LOG_SOFTMAX."""
    rows, length = int(rng.integers(1, 40)), int(rng.choice([1, 2, 10, 17, 100, 300]))
    x = parameter("x", element(rng, 1e-3, 0.5)[(rows, length)])
    return single(tfl.log_softmax(x, to=Element(DTYPES["i8"], per_tensor(1 / 16, 127))), x)


def l2_normalization(rng: np.random.Generator) -> Func:
    """A random L2_NORMALIZATION."""
    rows, length = int(rng.integers(1, 40)), int(rng.choice([1, 2, 10, 17, 100, 300]))
    x = parameter("x", element(rng)[(rows, length)])
    return single(tfl.l2_normalization(x, to=Element(DTYPES["i8"], per_tensor(1 / 128, 0))), x)


def reshape(rng: np.random.Generator) -> Func:
    """A random RESHAPE."""
    shape = some_shape(rng)
    x = parameter("x", element(rng)[shape])
    return single(tfl.reshape(x, new_shape=(-1, shape[-1])), x)


def moved(rng: np.random.Generator) -> Func:
    """A random PAD, TRANSPOSE and CONCATENATION."""
    shape = some_shape(rng)
    x = parameter("x", element(rng)[shape])
    y = tfl.pad(x, paddings=rng.integers(0, 3, 2 * len(shape)).tolist())
    y = tfl.transpose(y, perm=rng.permutation(len(shape)).tolist())
    return single(tfl.concatenation(y, y, axis=int(rng.integers(len(shape)))), x)


def reduction(op, rng: np.random.Generator) -> Func:
    """A random mean or sum, over height and width more often than over other axes."""
    rank = int(rng.choice([4, 4, 4, 3, 2]))
    shape = tuple(int(n) for n in rng.integers(1, 12, rank))
    x = parameter("x", element(rng)[shape])
    some = sorted(rng.choice(rank, int(rng.integers(1, rank + 1)), replace=False).tolist())
    axis = [1, 2] if rank == 4 and rng.integers(2) else some
    to = element(rng) if op is tfl.mean else element(rng, 0.1, 2.0)
    if op is tfl.reduce_prod:  # of values near 1
        x = parameter("x", element(rng, 0.01, 0.03)[shape])
    return single(op(x, axis=axis, keep_dims=bool(rng.integers(2)), to=to), x)


CASES = {
    "ADD": partial(binary, tfl.add), "SUB": partial(binary, tfl.sub),
    "MUL": partial(binary, tfl.mul), "DIV": division, "PRELU": prelu,
    "SQUARED_DIFFERENCE": squared_difference, "QUANTIZE": quantize, "DEQUANTIZE": dequantize,
    "RELU": partial(unary, tfl.relu), "RELU6": partial(unary, tfl.relu6),
    "RELU_N1_TO_1": partial(unary, tfl.relu_n1_to_1), "EXP": partial(unary, tfl.exp),
    "LOGISTIC": partial(fixed, tfl.logistic, 1 / 256, -128),
    "TANH": partial(fixed, tfl.tanh, 1 / 128, 0),
    "AVERAGE_POOL_2D": partial(pool, tfl.average_pool_2d),
    "MAX_POOL_2D": partial(pool, tfl.max_pool_2d), "SOFTMAX": softmax, "LOG_SOFTMAX": log_softmax,
    "L2_NORMALIZATION": l2_normalization, "RESHAPE": reshape,
    "PAD, TRANSPOSE, CONCATENATION": moved, "MEAN": partial(reduction, tfl.mean),
    "SUM": partial(reduction, tfl.sum), "REDUCE_PROD": partial(reduction, tfl.reduce_prod),
}  # fmt: skip

WRAPS = ("the runtime is wrong: in blocks of 16 values, a product below -32768 wraps when a zero "
         "point below 0 is added to it in 16 bits, and comes out as the highest value")
WRONG = "the runtime is wrong: its result does not depend on the input"
KNOWN = {("MUL", "tflite_builtin"): WRAPS, ("SUM", "tflite_reference"): WRONG}
"""Pairs of operator and kernel set that do not agree, with the cause."""
