"""The lax dialect: what traces contain, one op a JAX primitive."""

from .binary import (
    add,
    and_,
    atan2,
    clamp,
    div,
    eq,
    ge,
    gt,
    le,
    lt,
    mul,
    ne,
    or_,
    rem,
    select,
    sub,
    xor,
)
from .binary import max_ as max
from .binary import min_ as min
from .binary import pow_ as pow
from .bits import (
    bitcast,
    clz,
    population_count,
    reduce_precision,
    shift_left,
    shift_right_arithmetic,
    shift_right_logical,
)
from .contractions import (
    conv_general_dilated,
    dot_general,
    reduce_window_max,
    reduce_window_min,
    reduce_window_sum,
)
from .dialect import lax
from .indexing import dynamic_slice, dynamic_update_slice, gather, take
from .movement import broadcast, concatenate, limits, pad, reshape, reverse, split, transpose
from .movement import slice_ as slice
from .reductions import (
    argmax,
    argmin,
    cumlogsumexp,
    cummax,
    cummin,
    cumprod,
    cumsum,
    reduce_and,
    reduce_max,
    reduce_min,
    reduce_or,
    reduce_prod,
    reduce_sum,
    sort,
    top_k,
)
from .scatter import scatter, scatter_add, scatter_max, scatter_min, scatter_mul
from .unary import abs_ as abs
from .unary import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    cbrt,
    ceil,
    convert,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    floor,
    integer_pow,
    is_finite,
    log,
    log1p,
    logistic,
    neg,
    not_,
    rsqrt,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    tan,
    tanh,
)
from .unary import round_ as round

__all__ = [
    "abs", "acos", "acosh", "add", "and_", "argmax", "argmin", "asin", "asinh", "atan", "atan2",
    "atanh", "bitcast", "broadcast", "cbrt", "ceil", "clamp", "clz", "concatenate",
    "conv_general_dilated", "convert", "cos", "cosh", "cumlogsumexp", "cummax", "cummin", "cumprod",
    "cumsum", "div", "dot_general", "dynamic_slice", "dynamic_update_slice", "eq", "erf", "erfc",
    "exp", "exp2", "expm1", "floor", "gather", "ge", "gt", "integer_pow", "is_finite", "lax", "le",
    "limits", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg", "not_", "or_",
    "pad", "population_count", "pow", "reduce_and", "reduce_max", "reduce_min", "reduce_or",
    "reduce_precision", "reduce_prod", "reduce_sum", "reduce_window_max", "reduce_window_min",
    "reduce_window_sum", "rem", "reshape", "reverse", "round", "rsqrt", "scatter", "scatter_add",
    "scatter_max", "scatter_min", "scatter_mul", "select", "shift_left", "shift_right_arithmetic",
    "shift_right_logical", "sign", "sin", "sinh", "slice", "sort", "split", "sqrt", "square", "sub",
    "take", "tan", "tanh", "top_k", "transpose", "xor",
]  # fmt: skip
