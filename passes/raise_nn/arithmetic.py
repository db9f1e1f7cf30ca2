"""Arithmetic and reductions of floats."""

import numpy as np

from qir.errors import require
from qir.pattern import C, V, either
from qir.rewrite import rule

from ...dialects import lax, nn
from .build import aligned, computes_floats, number, transposed

BINARY = {
    "lax.add": nn.add, "lax.sub": nn.sub, "lax.mul": nn.mul, "lax.div": nn.div,
    "lax.max": nn.maximum, "lax.min": nn.minimum,
}  # fmt: skip
REDUCTIONS = {
    "lax.reduce_sum": nn.sum, "lax.reduce_max": nn.reduce_max, "lax.reduce_min": nn.reduce_min,
}  # fmt: skip


@rule(either(lax.div, nn.div)(V.x, C.k) @ "op")
def division_by_constant_is_multiplication(op, x, k):
    """x / k is x * (1 / k), to the last bit or so of a float."""
    computes_floats(op)
    with np.errstate(all="ignore"):
        reciprocal = (np.float64(1) / k.astype(np.float64)).astype(k.dtype)
    usable = np.isfinite(reciprocal) & (reciprocal != 0)
    require(usable.all(), f"a divisor in {np.unique(k)[:3]} has no reciprocal")
    return nn.mul(x, reciprocal, clamp=op.attributes.get("clamp"))


@rule(either(lax.add, lax.sub, lax.mul, lax.div, lax.max, lax.min)(V.a, V.b) @ "op")
def arithmetic_of_floats(op, a, b):
    """Arithmetic of floats is the same in both dialects."""
    computes_floats(op)
    return BINARY[op.kind](a, b)


@rule(lax.clamp(V.lo, V.x, V.hi) @ "op")
def clamp_is_minimum_and_maximum(op, lo, x, hi):
    """A clamp is max(lo, min(x, hi))."""
    computes_floats(op)
    return nn.maximum(nn.minimum(x, hi), lo)


@rule(either(lax.reduce_sum, lax.reduce_max, lax.reduce_min)(V.x) @ "op")
def reduction_of_floats(op, x):
    """Reductions of floats are the same in both dialects."""
    computes_floats(op)
    return REDUCTIONS[op.kind](x, axes=sorted(a % x.type.rank for a in op.attributes["axes"]))


@rule(lax.reshape(
    either(nn.mean, nn.sum, nn.reduce_max, nn.reduce_min)(V.x, keepdims=False).once() @ "reduced"
) @ "op")  # fmt: skip
def reshape_keeps_reduced_axes(op, reduced, x):
    """A reshape that puts back reduced axes with extent 1 belongs to the reduction.

    Where it puts them elsewhere, a transpose does that.
    """
    gone = sorted(a % x.type.rank for a in reduced.attributes["axes"])
    left = [i for i in range(x.type.rank) if i not in gone]
    sources = aligned(reduced.shape, op.shape)
    whole = sources is not None and sources.count(None) == len(gone)
    require(whole and op.type.rank == x.type.rank,
            f"{list(op.shape)} is not {list(reduced.shape)} and the reduced axes")  # fmt: skip
    kept = reduced.rebuild(keepdims=True)
    if kept.shape == op.shape:
        return kept
    back = iter(gone)
    return transposed(kept, [next(back) if s is None else left[s] for s in sources])


@rule(nn.mul(nn.sum(V.x) @ "total", C.k) @ "op")
def sum_over_count_is_mean(op, total, x, k):
    """A sum divided by the count of what is summed is the mean."""
    count = x.type.size / max(1, total.type.size)
    require(abs(number(k) * count - 1) < 1e-6, f"{number(k):g} is not 1/{count:g}")
    require(op.attributes["clamp"] is None, "the product is clamped")
    require(op.shape == total.shape, f"{total.type} broadcasts to {op.type}")
    return nn.mean(x, axes=total.attributes["axes"], keepdims=total.attributes["keepdims"])


@rule(lax.pow(V.x, C.k))
def power_by_constant_is_product_or_root(x, k):
    """x to the power of a small whole number is a product, of a half a root."""
    power = number(k)
    require(k.size == 1 and x.type.is_float, f"exponents {list(k.shape)} of {x.type}")
    if abs(power) == 0.5:
        return lax.sqrt(x) if power > 0 else lax.rsqrt(x)
    require(power in (-2, -1, 2, 3, 4), f"the power {power:g}")
    return lax.integer_pow(x, y=int(power))


@rule(nn.div(C.one, lax.sqrt(V.x), clamp=None))
def one_over_root_is_rsqrt(x, one):
    """1 / sqrt(x) is rsqrt(x)."""
    require(number(one) == 1 and one.size == 1, f"{number(one):g} over a root")
    return lax.rsqrt(x)


@rule(lax.integer_pow(lax.sqrt(V.x), y=-1))
def inverse_of_root_is_rsqrt(x):
    """The inverse of sqrt(x) is rsqrt(x)."""
    return lax.rsqrt(x)


@rule(nn.mean(nn.mean(V.x, keepdims=False).once() @ "inner", keepdims=False) @ "op")
def means_of_means_are_one(op, inner, x):
    """The mean over some axes of means over others is the mean over all of them."""
    gone = {a % x.type.rank for a in inner.attributes["axes"]}
    left = [i for i in range(x.type.rank) if i not in gone]
    outer = {left[a % inner.type.rank] for a in op.attributes["axes"]}
    return nn.mean(x, axes=sorted(gone | outer))


RULES = (
    division_by_constant_is_multiplication, arithmetic_of_floats, clamp_is_minimum_and_maximum,
    reduction_of_floats, reshape_keeps_reduced_axes, sum_over_count_is_mean,
    power_by_constant_is_product_or_root, one_over_root_is_rsqrt,
    inverse_of_root_is_rsqrt, means_of_means_are_one,
)  # fmt: skip
