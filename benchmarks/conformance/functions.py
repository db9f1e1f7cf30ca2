"""Random functions of one value that stand on grids of their own."""

from functools import partial

import numpy as np
from qir.dialects import tfl

from qir.ir import Func, parameter
from qir.types import DTYPES, Element, per_tensor

from .convolutions import element
from .elementwise import single, unary


def positive(op, low: float, high: float, rng: np.random.Generator) -> Func:
    """A function of values that are not negative, which the runtime takes no others of."""
    of = Element(DTYPES["i8"], per_tensor(rng.uniform(1e-3, 0.1), -128))
    x = parameter("x", of[(int(rng.integers(300, 4000)),)])
    return single(op(x, to=element(rng, low, high)), x)


def hard_swish(rng: np.random.Generator) -> Func:
    """A random HARD_SWISH, onto steps no finer than 1/128 of those it comes from."""
    of = element(rng)
    x = parameter("x", of[(int(rng.integers(300, 4000)),)])
    low = float(of.grid.scale) / 100
    return single(tfl.hard_swish(x, to=element(rng, low, max(0.1, 2 * low))), x)


def leaky_relu(rng: np.random.Generator) -> Func:
    """A random LEAKY_RELU."""
    x = parameter("x", element(rng)[(int(rng.integers(300, 4000)),)])
    alpha = float(rng.choice([0.01, 0.1, 0.3, 0.9, 1.5, -0.2, 0.0, 0.001]))
    return single(tfl.leaky_relu(x, alpha=alpha, to=element(rng)), x)


def gelu(rng: np.random.Generator) -> Func:
    """A random GELU of either form."""
    return unary(partial(tfl.gelu, approximate=bool(rng.integers(2))), rng)


CASES = {
    "ABS": partial(unary, tfl.abs), "LOG": partial(unary, tfl.log), "ELU": partial(unary, tfl.elu),
    "RELU_0_TO_1": partial(unary, tfl.relu_0_to_1), "GELU": gelu, "LEAKY_RELU": leaky_relu,
    "SQRT": partial(positive, tfl.sqrt, 1e-3, 0.1),
    "RSQRT": partial(positive, tfl.rsqrt, 1e-2, 1.0), "HARD_SWISH": hard_swish,
}  # fmt: skip
KNOWN = {("ELU", "tflite_reference"): "LiteRT 2.3.0 registers no reference kernel"}
"""Pairs of operator and kernel set that do not agree, with the cause."""
