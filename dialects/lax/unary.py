"""Elementwise functions of one operand."""

from typing import Literal

import numpy as np

from qir.errors import require
from qir.roles import free, no_part
from qir.special import erf as erf_of
from qir.special import erfc as erfc_of
from qir.types import Element, Type, tensor

from .dialect import lax, plain, wide


def _function(name: str, compute, doc: str, numbers: str = "float"):
    """An op `name(x)`; numbers: `float`, `any` (integers too), or `bits` (bool and integers)."""
    kinds = {"float": ("float",), "any": ("float", "int"), "bits": ("bool", "int")}[numbers]

    def typing(x: Type) -> Type:
        plain(x)
        require(x.dtype.kind in kinds, f"takes {' or '.join(kinds)} elements, found {x}")
        return x

    typing.__doc__ = doc
    op = lax.op(typing, name=name, grid=free(), pointwise=True)
    op.means(lambda op, x: compute(wide(x)))
    return op


abs_ = _function("abs", np.abs, "Absolute value.", "any")
neg = _function("neg", np.negative, "The negative of each element.", "any")
exp = _function("exp", np.exp, "e to the power of each element.")
exp2 = _function("exp2", np.exp2, "2 to the power of each element.")
log = _function("log", np.log, "Natural logarithm.")
log1p = _function("log1p", np.log1p, "log(1 + x), accurate near zero.")
expm1 = _function("expm1", np.expm1, "exp(x) - 1, accurate near zero.")
tanh = _function("tanh", np.tanh, "Hyperbolic tangent.")
logistic = _function("logistic", lambda x: 1 / (1 + np.exp(-x)), "1 / (1 + exp(-x)).")
sin = _function("sin", np.sin, "Sine.")
cos = _function("cos", np.cos, "Cosine.")
tan = _function("tan", np.tan, "Tangent.")
asin = _function("asin", np.arcsin, "Inverse sine.")
acos = _function("acos", np.arccos, "Inverse cosine.")
atan = _function("atan", np.arctan, "Inverse tangent.")
sinh = _function("sinh", np.sinh, "Hyperbolic sine.")
cosh = _function("cosh", np.cosh, "Hyperbolic cosine.")
asinh = _function("asinh", np.arcsinh, "Inverse hyperbolic sine.")
acosh = _function("acosh", np.arccosh, "Inverse hyperbolic cosine.")
atanh = _function("atanh", np.arctanh, "Inverse hyperbolic tangent.")
erf = _function("erf", erf_of, "The error function.")
erfc = _function("erfc", erfc_of, "1 - erf(x), accurate where erf(x) is near 1.")
sqrt = _function("sqrt", np.sqrt, "Square root.")
rsqrt = _function("rsqrt", lambda x: 1 / np.sqrt(x), "1 / sqrt(x).")
cbrt = _function("cbrt", np.cbrt, "Cube root.")
sign = _function("sign", np.sign, "-1, 0 or 1.", "any")
floor = _function("floor", np.floor, "The integer at or below.")
ceil = _function("ceil", np.ceil, "The integer at or above.")
square = _function("square", np.square, "x times x.", "any")
not_ = _function("not", np.invert, "Logical not of bool, bitwise not of integers.", "bits")


@lax.op(name="round", grid=free(), pointwise=True)
def round_(x: Type, *, method: Literal["half_even", "half_away"] = "half_even") -> Type:
    """The nearest integer; `method` says where halves go."""
    plain(x)
    require(x.is_float, f"takes float elements, found {x}")
    return x


@round_.means
def _(op, x):
    x = wide(x)
    if op.attributes["method"] == "half_even":
        return np.rint(x)
    whole = np.trunc(x)
    return whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0).astype(x.dtype)


@lax.op(grid=free(), pointwise=True)
def integer_pow(x: Type, *, y: int) -> Type:
    """x to the power of the integer y."""
    plain(x)
    require(
        x.is_float or (x.dtype.kind == "int" and y >= 0),
        f"takes floats, or integers to a power of at least 0, found {x} to the power {y}",
    )
    return x


@integer_pow.means
def _(op, x):
    x, y = wide(x), op.attributes["y"]
    return x**y if y >= 0 else 1 / x**-y


@lax.op(grid=no_part, pointwise=True)
def is_finite(x: Type) -> Type:
    """Whether each element is neither infinite nor NaN."""
    plain(x)
    require(x.is_float, f"takes float elements, found {x}")
    return tensor("bool", x.shape)


@is_finite.means
def _(op, x):
    return np.isfinite(wide(x))


@lax.op(grid=free(), pointwise=True)
def convert(x: Type, *, to: Element) -> Type:
    """Each element in another storage type.

    Floats become integers toward zero, clamped to the range of the type, NaN becomes 0; integers
    that do not fit wrap; anything but zero is true.
    """
    plain(x)
    require(to.grid is None, f"converts to plain numbers, found {to}; see quant.quantize")
    return to[x.shape]


@convert.means
def _(op, x):
    to = op.type.dtype
    if to.kind == "bool":
        return x != 0
    if to.kind != "int" or x.dtype.kind in "iub":
        return x
    whole = np.nan_to_num(np.trunc(x.astype(np.float64)), posinf=to.hi, neginf=to.lo)
    # i64's highest value is no double: clamp to the double below it
    return np.clip(whole, to.lo, min(to.hi, 2**63 - 1024))
