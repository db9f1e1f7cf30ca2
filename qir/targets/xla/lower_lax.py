"""lax ops on XLA: the JAX primitive each is named after."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from .table import lowers


def wide(x):
    """Half-precision floats as f32, so that they are rounded once; anything else as it is."""
    return x.astype(jnp.float32) if x.dtype in (jnp.float16, jnp.bfloat16) else jnp.asarray(x)


def _elementwise(function):
    """A lowering that broadcasts its operands as numpy does."""

    def lowering(op, *xs):
        shape = np.broadcast_shapes(*(x.shape for x in xs))
        return function(*(jnp.broadcast_to(wide(x), shape) for x in xs))

    return lowering


_ELEMENTWISE = {
    "abs": jnp.abs, "neg": lax.neg, "exp": lax.exp, "exp2": lax.exp2, "log": lax.log,
    "log1p": lax.log1p, "expm1": lax.expm1, "tanh": lax.tanh, "logistic": lax.logistic,
    "sin": lax.sin, "cos": lax.cos, "tan": lax.tan, "asin": lax.asin, "acos": lax.acos,
    "atan": lax.atan, "sinh": lax.sinh, "cosh": lax.cosh, "asinh": lax.asinh, "acosh": lax.acosh,
    "atanh": lax.atanh, "erf": lax.erf, "erfc": lax.erfc, "sqrt": lax.sqrt, "rsqrt": lax.rsqrt,
    "cbrt": lax.cbrt, "sign": jnp.sign, "floor": lax.floor, "ceil": lax.ceil,
    "square": lax.square, "is_finite": lax.is_finite, "not": lax.bitwise_not,
    "add": lax.add, "sub": lax.sub, "mul": lax.mul, "div": lax.div, "rem": lax.rem,
    "atan2": lax.atan2, "pow": lax.pow, "max": lax.max, "min": lax.min,
    "and": lax.bitwise_and, "or": lax.bitwise_or, "xor": lax.bitwise_xor,
    "eq": lax.eq, "ne": lax.ne, "lt": lax.lt, "le": lax.le, "gt": lax.gt, "ge": lax.ge,
    "select": lax.select, "clamp": lambda lo, x, hi: lax.max(lo, lax.min(x, hi)),
}  # fmt: skip

for _name, _function in _ELEMENTWISE.items():
    lowers(f"lax.{_name}")(_elementwise(_function))


@lowers("lax.round")
def _(op, x):
    even, away = lax.RoundingMethod.TO_NEAREST_EVEN, lax.RoundingMethod.AWAY_FROM_ZERO
    return lax.round(wide(x), even if op.attributes["method"] == "half_even" else away)


@lowers("lax.integer_pow")
def _(op, x):
    return lax.integer_pow(wide(x), op.attributes["y"])


@lowers("lax.convert")
def _(op, x):
    return lax.convert_element_type(x, op.dtype.numpy)


@lowers("lax.reshape")
def _(op, x):
    return jnp.reshape(x, op.shape)


@lowers("lax.transpose")
def _(op, x):
    return lax.transpose(x, op.attributes["permutation"])


@lowers("lax.broadcast")
def _(op, x):
    return lax.broadcast_in_dim(x, op.shape, op.attributes["axes"])


@lowers("lax.concatenate")
def _(op, *xs):
    return lax.concatenate(xs, op.attributes["axis"] % op.type.rank)


@lowers("lax.pad")
def _(op, x):
    low, high = op.attributes["low"], op.attributes["high"]
    inner = op.attributes["interior"] or (0,) * op.type.rank
    fill = stored(op.attributes["value"], op.type)
    return lax.pad(x, fill, tuple(zip(low, high, inner, strict=True)))


def stored(value: float, type):
    """A real number as one element of this type, as lax.pad means its `value`."""
    if type.dtype.kind != "float":
        real = value if type.grid is None else np.rint(np.float64(value) / type.scale) + type.zero
        value = np.clip(real, type.lo, type.hi)
    return np.asarray(value).astype(type.dtype.numpy)


@lowers("lax.slice")
def _(op, x):
    limits = tuple(
        n if b == -1 else b for b, n in zip(op.attributes["limit"], x.shape, strict=True)
    )
    return lax.slice(x, op.attributes["start"], limits, op.attributes["strides"])


@lowers("lax.split")
def _(op, x):
    axis, sizes = op.attributes["axis"] % x.ndim, op.attributes["sizes"]
    ends = np.cumsum(sizes).tolist()
    return tuple(lax.slice_in_dim(x, end - size, end, axis=axis)
                 for size, end in zip(sizes, ends, strict=True))  # fmt: skip


@lowers("lax.reverse")
def _(op, x):
    return lax.rev(x, tuple(axis % x.ndim for axis in op.attributes["axes"]))


@lowers("lax.take")
def _(op, x, indices):
    return jnp.take(x, indices, axis=op.attributes["axis"], mode="clip")


@lowers("lax.dynamic_slice")
def _(op, x, *starts):
    return lax.dynamic_slice(x, _inside(x.shape, starts, op.shape), op.shape)


@lowers("lax.dynamic_update_slice")
def _(op, x, update, *starts):
    return lax.dynamic_update_slice(x, update, _inside(x.shape, starts, update.shape))


def _inside(shape, starts, sizes):
    # JAX's functions count negative starts from the end, the primitives move them inside.
    extents = zip(starts, shape, sizes, strict=True)
    return [jnp.clip(jnp.asarray(s, jnp.int32), 0, n - k) for s, n, k in extents]


@lowers("lax.gather")
def _(op, x, indices):
    a = op.attributes
    numbers = lax.GatherDimensionNumbers(
        a["offset_dims"], a["collapsed_slice_dims"], a["start_index_map"],
        a["operand_batching_dims"], a["start_indices_batching_dims"],
    )  # fmt: skip
    if a["mode"] == "clip":
        return lax.gather(x, indices, numbers, a["slice_sizes"], mode="clip")
    if a["value"] is not None:
        fill = stored(a["value"], op.type).item()
        return lax.gather(x, indices, numbers, a["slice_sizes"], mode="fill", fill_value=fill)
    fill = np.nan if op.type.is_float else op.type.lo if op.type.lo < 0 else op.type.hi
    fill = fill if op.type.grid is None else int(op.type.zero)
    return lax.gather(x, indices, numbers, a["slice_sizes"], mode="fill", fill_value=fill)


_REDUCTIONS = {
    "reduce_sum": lambda x, axes: jnp.sum(x, axes, dtype=x.dtype),
    "reduce_prod": lambda x, axes: jnp.prod(x, axes, dtype=x.dtype),
    "reduce_max": jnp.max, "reduce_min": jnp.min, "reduce_and": jnp.all, "reduce_or": jnp.any,
}  # fmt: skip


def _reduction(function):
    return lambda op, x: function(wide(x), op.attributes["axes"])


for _name, _function in _REDUCTIONS.items():
    lowers(f"lax.{_name}")(_reduction(_function))


@lowers("lax.argmax")
def _(op, x):
    return lax.argmax(jnp.asarray(x), op.attributes["axis"] % x.ndim, op.dtype.numpy)


@lowers("lax.argmin")
def _(op, x):
    return lax.argmin(jnp.asarray(x), op.attributes["axis"] % x.ndim, op.dtype.numpy)


_RUNNING = {"cumsum": lax.cumsum, "cumprod": lax.cumprod, "cummax": lax.cummax,
            "cummin": lax.cummin, "cumlogsumexp": lax.cumlogsumexp}  # fmt: skip


def _running(function):
    return lambda op, x: function(wide(x), op.attributes["axis"] % x.ndim,
                                  reverse=op.attributes["reverse"])  # fmt: skip


for _name, _function in _RUNNING.items():
    lowers(f"lax.{_name}")(_running(_function))


def _reduce_window(combine, extremum):
    def lowering(op, x):
        a, x = op.attributes, wide(x)
        half = len(a["padding"]) // 2
        pads = tuple(zip(a["padding"][:half], a["padding"][half:], strict=True))
        start = np.asarray(_start(op.type, extremum)).astype(x.dtype)
        return lax.reduce_window(x, start, combine, a["window"], a["strides"], pads,
                                 a["base_dilation"], a["window_dilation"])  # fmt: skip

    return lowering


def _start(type, extremum):
    if extremum is None:
        return 0
    if type.is_float:
        return -np.inf if extremum == "lo" else np.inf
    return getattr(type, extremum)


lowers("lax.reduce_window_sum")(_reduce_window(lax.add, None))
lowers("lax.reduce_window_max")(_reduce_window(lax.max, "lo"))
lowers("lax.reduce_window_min")(_reduce_window(lax.min, "hi"))


@lowers("lax.dot_general")
def _(op, a, b):
    at, result = op.attributes, op.dtype.numpy
    numbers = ((at["contract_a"], at["contract_b"]), (at["batch_a"], at["batch_b"]))
    if a.dtype == bool:
        sums = lax.dot_general(a.astype(np.int32), b.astype(np.int32), numbers)
        return sums > 0
    if a.dtype != b.dtype or op.dtype.kind != op.operands[0].dtype.kind:
        a, b = a.astype(result), b.astype(result)
    return lax.dot_general(a, b, numbers, preferred_element_type=result)


@lowers("lax.conv_general_dilated")
def _(op, x, w):
    a = op.attributes
    half = len(a["padding"]) // 2
    numbers = lax.ConvDimensionNumbers(a["lhs_spec"], a["rhs_spec"], a["out_spec"])
    return lax.conv_general_dilated(
        wide(x), wide(w), a["strides"],
        tuple(zip(a["padding"][:half], a["padding"][half:], strict=True)),
        a["lhs_dilation"], a["rhs_dilation"], numbers, a["groups"], a["batch_groups"],
    )  # fmt: skip


@lowers("lax.sort")
def _(op, *xs):
    a = op.attributes
    parts = lax.sort(xs, dimension=a["axis"] % xs[0].ndim, is_stable=True, num_keys=a["keys"])
    return parts[0] if len(xs) == 1 else tuple(parts)


@lowers("lax.top_k")
def _(op, x):
    return tuple(lax.top_k(x, op.attributes["k"]))
