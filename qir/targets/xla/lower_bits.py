"""lax ops on bits, and those that write at run-time places, on XLA."""

import jax.numpy as jnp
from jax import lax

from .lower_lax import wide
from .table import lowers


def _shift(function):
    return lambda op, a, b: function(*(jnp.broadcast_to(x, op.shape) for x in (a, b)))


lowers("lax.shift_left")(_shift(lax.shift_left))
lowers("lax.shift_right_arithmetic")(_shift(lax.shift_right_arithmetic))
lowers("lax.shift_right_logical")(_shift(lax.shift_right_logical))


@lowers("lax.population_count")
def _(op, x):
    return lax.population_count(jnp.asarray(x))


@lowers("lax.clz")
def _(op, x):
    return lax.clz(jnp.asarray(x))


@lowers("lax.bitcast")
def _(op, x):
    return lax.bitcast_convert_type(x, op.dtype.numpy)


@lowers("lax.reduce_precision")
def _(op, x):
    y = lax.reduce_precision(x, op.attributes["exponent_bits"], op.attributes["mantissa_bits"])
    return jnp.where(jnp.isnan(x), x, y)  # with no bit of mantissa XLA:CPU makes nan infinite


def _scatter(function, prepared):
    def lowering(op, x, indices, updates):
        a = op.attributes
        numbers = lax.ScatterDimensionNumbers(
            a["update_window_dims"], a["inserted_window_dims"], a["scatter_dims_to_operand_dims"],
            a["operand_batching_dims"], a["scatter_indices_batching_dims"],
        )  # fmt: skip
        mode = lax.GatherScatterMode.from_any("clip" if a["mode"] == "clip" else "drop")
        return function(prepared(x), indices, prepared(updates), numbers, mode=mode)

    return lowering


lowers("lax.scatter")(_scatter(lax.scatter, jnp.asarray))
for _name in ("add", "mul", "min", "max"):
    lowers(f"lax.scatter_{_name}")(_scatter(getattr(lax, f"scatter_{_name}"), wide))
