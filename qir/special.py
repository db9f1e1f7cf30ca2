"""Functions numpy lacks, elementwise on arrays and accurate to the last bit or so of f32."""

import math

import numpy as np


def erf(x: np.ndarray) -> np.ndarray:
    """The error function, computed in double and rounded to the dtype of `x`."""
    return _elementwise(math.erf, x)


def erfc(x: np.ndarray) -> np.ndarray:
    """1 - erf(x), without the cancellation, in the dtype of `x`."""
    return _elementwise(math.erfc, x)


def _elementwise(function, x) -> np.ndarray:
    x = np.asarray(x)
    values = np.fromiter(map(function, x.ravel().tolist()), np.float64, x.size)
    return values.reshape(x.shape).astype(x.dtype)
