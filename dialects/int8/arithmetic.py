"""Integer arithmetic element by element: sums, products, quotients, requantization."""

import numpy as np

from qir import shapes
from qir.attributes import Ints
from qir.errors import require
from qir.integer_forms import Wanted, integer_form
from qir.ranges import Range, Register, between, summed
from qir.rounding import Rescale, derive, derive_sum, saturate, sum_apply
from qir.types import Element, Type

from .dialect import (
    bounds,
    centred,
    centred_range,
    finished,
    finished_span,
    int8,
    is_clamp,
    is_quantized,
    is_rescale,
    real_scale,
    stored_clamp,
)


def _pair(a: Type, b: Type, to: Element, clamp) -> Type:
    is_quantized(a, "the left side")
    is_quantized(b, "the right side")
    is_clamp(clamp, to)
    return to[shapes.broadcast(a.shape, b.shape)]


@int8.op
def add(a: Type, b: Type, *, to: Element, rescale: Rescale, clamp: Ints | None = None) -> Type:
    """The sum of two tensors on different grids, by a contract for weighted sums."""
    return _pair(a, b, to, clamp)


@int8.op
def sub(a: Type, b: Type, *, to: Element, rescale: Rescale, clamp: Ints | None = None) -> Type:
    """The difference of two tensors; the contract's numbers hold the sign of the second."""
    return _pair(a, b, to, clamp)


def _sum(op, a, b):
    total = sum_apply(op.attributes["rescale"], centred(op, 0, a), centred(op, 1, b))
    return saturate(total, int(op.type.zero), *bounds(op))


def _sum_span(op, a, b):
    a, b = centred_range(op, 0, a), centred_range(op, 1, b)
    return summed(op.attributes["rescale"], a, b, op.type, bounds(op))


for _op in (add, sub):
    _op.means(_sum)
    _op.spans(_sum_span)


@int8.op
def mul(a: Type, b: Type, *, to: Element, rescale: Rescale, clamp: Ints | None = None) -> Type:
    """The product `(a - zero) * (b - zero)`, rescaled."""
    is_rescale(rescale, 1)
    return _pair(a, b, to, clamp)


@mul.means
def _(op, a, b):
    return finished(op, centred(op, 0, a) * centred(op, 1, b))


@mul.spans
def _(op, a, b):
    product = centred_range(op, 0, a) * centred_range(op, 1, b)
    return finished_span(op, Register("the product", product))


@int8.op
def div(a: Type, b: Type, *, to: Element, rescale: Rescale, clamp: Ints | None = None,
        bits: int = 16) -> Type:  # fmt: skip
    """The quotient: `((a - zero) << bits) / (b - zero)` rounded half away, rescaled.

    A divisor at its zero point stands for half a step of its grid, of the dividend's sign.
    """
    require(1 <= bits <= 20, f"bits must be 1..20, found {bits}")
    is_rescale(rescale, 1)
    return _pair(a, b, to, clamp)


@div.means
def _(op, a, b):
    a, b = centred(op, 0, a), centred(op, 1, b)
    # Twice both, so that half a step of the divisor is the integer 1.
    divisor = np.where(b == 0, 1, 2 * b)
    dividend = (2 * a) << op.attributes["bits"]
    sign = np.sign(dividend) * np.sign(divisor)
    quotient = (np.abs(dividend) + np.abs(divisor) // 2) // np.abs(divisor)
    return finished(op, (sign * quotient).astype(np.int32))


@div.spans
def _(op, a, b):
    a, b = centred_range(op, 0, a), centred_range(op, 1, b).flat()
    dividend = a * 2 ** (op.attributes["bits"] + 1)
    divisors = _divisors(b)
    ends = [_quotient(n, d) for n in (dividend.lo, dividend.hi) for d in divisors]
    largest = max(map(abs, divisors))
    rounded = largest // 2 + max(map(abs, dividend.ends))
    quotient = between(np.minimum.reduce(ends), np.maximum.reduce(ends)).unpredicted()
    return finished_span(op, Register("the quotient", quotient), intermediates=(
        Register("the dividend shifted left", dividend),
        Register("twice the divisor", between(0, largest)),
        Register("the dividend and half the divisor", between(0, rounded)),
    ))  # fmt: skip


def _divisors(b: Range) -> list[int]:
    """The ends of what divides, twice a divisor or 1, on either side of zero."""
    lo, hi = b.ends
    negative = [2 * lo, 2 * min(hi, -1)] if lo < 0 else []
    positive = [2 * max(lo, 1), 2 * hi] if hi > 0 else []
    return [*negative, *positive, *([1] if lo <= 0 <= hi else [])]


def _quotient(dividend: np.ndarray, divisor: int) -> np.ndarray:
    """Rounded half away from zero; monotone in the dividend, and in a divisor of one sign."""
    size = (np.abs(dividend) + abs(divisor) // 2) // abs(divisor)
    return np.sign(dividend) * np.sign(divisor) * size


@int8.op
def requantize(x: Type, *, to: Element, rescale: Rescale, clamp: Ints | None = None) -> Type:
    """The same reals on another grid."""
    is_quantized(x, "the input")
    is_rescale(rescale, 1)
    is_clamp(clamp, to)
    return to[x.shape]


@requantize.means
def _(op, x):
    return finished(op, centred(op, 0, x))


@requantize.spans
def _(op, x):
    return finished_span(op, Register("the input without zero point", centred_range(op, 0, x)))


def _over_8_bits(*operands) -> bool:
    return any(operand.dtype.bits > 8 for operand in operands)


@integer_form("int8.add", "nn.add")
def _(op, wanted: Wanted, a, b):
    rescale = derive_sum(wanted.rounding, a.type.scale, b.type.scale, wanted.to.grid.scale,
                         wide=_over_8_bits(a, b))  # fmt: skip
    clamp = stored_clamp(op.attributes["clamp"], wanted.to)
    return add(a, b, to=wanted.to, rescale=rescale, clamp=clamp)


@integer_form("int8.sub", "nn.sub")
def _(op, wanted: Wanted, a, b):
    rescale = derive_sum(wanted.rounding, a.type.scale, -b.type.scale, wanted.to.grid.scale,
                         wide=_over_8_bits(a, b))  # fmt: skip
    clamp = stored_clamp(op.attributes["clamp"], wanted.to)
    return sub(a, b, to=wanted.to, rescale=rescale, clamp=clamp)


@integer_form("int8.mul", "nn.mul")
def _(op, wanted: Wanted, a, b):
    rescale = derive(wanted.rounding, real_scale(a.type, b.type, to=wanted.to))
    clamp = stored_clamp(op.attributes["clamp"], wanted.to)
    return mul(a, b, to=wanted.to, rescale=rescale, clamp=clamp)


@integer_form("int8.div", "nn.div")
def _(op, wanted: Wanted, a, b):
    require(not _over_8_bits(a, b), f"a quotient of {a.type} and {b.type} is none of 32 bits",
            "8 bits for what it divides, or a constant divisor")  # fmt: skip
    bits = 16
    scale = real_scale(a.type, to=wanted.to) / np.float64(b.type.scale) / 2**bits
    clamp = stored_clamp(op.attributes["clamp"], wanted.to)
    rescale = derive(wanted.rounding, scale)
    return div(a, b, to=wanted.to, rescale=rescale, clamp=clamp, bits=bits)


@integer_form("int8.requantize", "quant.requantize")
def _(op, wanted: Wanted, x):
    return requantize(x, to=wanted.to, rescale=derive(wanted.rounding, real_scale(x.type,
                      to=wanted.to)))  # fmt: skip
