"""A graph as a function that JAX differentiates: roundings of training with gradients of their own.

A rounding is flat nearly everywhere, so its gradient is said to be 1 inside the range and 0 outside
(straight through: Bengio et al. 2013, and TensorFlow's fake quantization). The ends of a range that
training moves have the gradients of learned steps (LSQ: Esser et al. 2020, LSQ+: Bhalgat et al.
2020): what is clipped gives 1 to the end that it is clipped to; what is not gives its error of
rounding, in steps, to both, as far as they make the steps longer.
"""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp

from ...dialects import quant
from ...errors import QirError
from ...ir import Func, Op, place_of
from ...rounding import fake
from ...variables import VARIABLE, check_values, is_ranged, ranged, variables
from .compile import lowered_op, require_lowerings
from .lower_quant import levels, quotient
from .table import lowerings

Ranges = Mapping[str, jax.Array]
"""By the name of a fake quantization its ends, `[lo, hi]`."""


def functions(func: Func) -> tuple[Callable, Callable]:
    """`(ranges, variables by name, inputs) -> results`, and the same to the values in ranges.

    The second gives by name what each fake quantization that has a name reads. Both serve any
    batch that the graph serves.
    """
    require_lowerings(func.ops)
    made = {None: func}

    def run(ranges: Ranges, values: Mapping[str, object], inputs) -> tuple[Func, dict]:
        batch = _batch(func, inputs)
        if batch not in made:
            made[batch] = func.with_batch(batch)
        check_values(made[batch], values)
        return made[batch], _values(made[batch], ranges, values, inputs)

    def apply(ranges, values, inputs) -> tuple:
        served, found = run(ranges, values, inputs)
        return tuple(found[result] for result in served.results)

    def seen(ranges, values, inputs) -> dict[str, jax.Array]:
        served, found = run(ranges, values, inputs)
        return {name: found[op.operands[0]] for name, op in ranged(served).items()}

    return apply, seen


def _batch(func: Func, inputs) -> int | None:
    """The batch of the inputs where it is not the traced one; QirError for what does not fit."""
    if len(inputs) != len(func.parameters):
        raise QirError(f"the model takes {len(func.parameters)} inputs, found {len(inputs)}")
    shapes = [jnp.shape(x) for x in inputs]
    if shapes == [p.shape for p in func.parameters]:
        return None
    batches = set()
    for p, shape in zip(func.parameters, shapes, strict=True):
        if len(shape) != p.type.rank or shape[1:] != p.shape[1:]:
            raise QirError(f"the input '{p.attributes['name']}' has shape {list(shape)}, "
                           f"the model takes {list(p.shape)}", at=place_of(p),
                           help="only the leading extent, the batch, may differ")  # fmt: skip
        batches |= {shape[0]} if shape else set()
    if len(batches) > 1:
        raise QirError(f"the inputs differ in their leading extent, the batch: {sorted(batches)}")
    return batches.pop()


def _values(func: Func, ranges: Ranges, values: Mapping[str, object], inputs) -> dict[Op, object]:
    """Every value of a function, traced by JAX."""
    named = variables(func)
    found = dict(zip(func.parameters, map(jnp.asarray, inputs), strict=True))
    found |= {op: jnp.asarray(values[name], op.type.dtype.numpy) for name, op in named.items()}
    for op in func.ops:
        if op.kind == "parameter" or op.kind == VARIABLE:
            continue
        operands = [found[operand] for operand in op.operands]
        if op.kind == quant.fake_quant.name:
            found[op] = _fake_quant(op, ranges, *operands)
        elif op.kind in quant.FAKE:
            found[op] = _straight(op, *map(jnp.asarray, operands))
        else:
            found[op] = lowered_op(op, operands)
    return found


def _fake_quant(op: Op, ranges: Ranges, x):
    a = op.attributes
    lo, hi = a["lo"], a["hi"]
    if is_ranged(op):
        if a["name"] not in ranges:
            raise QirError(f"there is no range for '{a['name']}'", at=place_of(op),
                           help="give all ranges of qir.to_jax, changed or not")  # fmt: skip
        lo, hi = ranges[a["name"]]
    return in_range(jnp.asarray(x), jnp.float32(lo), jnp.float32(hi), a["bits"], a["narrow"])


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def in_range(x, lo, hi, bits: int, narrow: bool):
    """x on the nearest of the 2^bits levels between lo and hi, with gradients to all three."""
    return fake.onto_quotient(x, _levels(lo, hi, bits, narrow), jnp, quotient)


def _levels(lo, hi, bits: int, narrow: bool) -> fake.Levels:
    return fake.asymmetric(*fake.around_zero(lo, hi, jnp), bits, narrow, jnp, quotient)


def _forward(x, lo, hi, bits, narrow):
    y = in_range(x, lo, hi, bits, narrow)
    return y, (x, y, lo, hi)


def _backward(bits, narrow, kept, given):
    x, y, lo, hi = kept
    of = _levels(lo, hi, bits, narrow)
    below, above = x < of.least, x > of.most
    inside = ~(below | above)
    steps = 2**bits - 1 - narrow
    stretch = jnp.sum(jnp.where(inside, given * (y - x), 0)) / of.step / steps
    to_lo = jnp.sum(jnp.where(below, given, 0)) - stretch
    to_hi = jnp.sum(jnp.where(above, given, 0)) + stretch
    return jnp.where(inside, given, 0), to_lo, to_hi


in_range.defvjp(_forward, _backward)


def _straight(op: Op, x, lo, hi):
    """A rounding in ranges that are operands, which get no gradients."""

    @jax.custom_vjp
    def rounded(x, lo, hi):
        return lowerings()[op.kind](op, x, lo, hi)

    def forward(x, lo, hi):
        return rounded(x, lo, hi), (x, lo, hi)

    def backward(kept, given):
        x, lo, hi = kept
        if op.attributes.get("clamp", True):
            of = levels(op, lo, hi)
            given = jnp.where((x >= of.least) & (x <= of.most), given, 0)
        return given, jnp.zeros_like(lo), jnp.zeros_like(hi)

    rounded.defvjp(forward, backward)
    return rounded(x, lo, hi)
