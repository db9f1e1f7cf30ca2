"""The ops of the plugin: PReLU on floats, and on 8-bit integers as Kestrel's vector unit does it.

qir's own passes learn of them from here alone: `insert_observers` and `propagate_types` read the
roles that `grid=` declares, `lower_int8` finds the integer form.
"""

import numpy as np
from qir.dialect import Dialect
from qir.dialects.int8.dialect import centred, is_quantized, is_rescale, is_weight, real_scale
from qir.errors import require
from qir.integer_forms import Wanted, integer_form
from qir.roles import affine
from qir.rounding import Rescale, apply, derive, saturate
from qir.types import Element, Type

kestrel = Dialect("kestrel", "what the Kestrel accelerator has and qir has not")


@kestrel.op(grid=affine(weight=1, axis=0))
def prelu(x: Type, slope: Type) -> Type:
    """x where it is not negative, slope * x elsewhere, a slope for each channel: x[...,C].

    He et al., Delving Deep into Rectifiers (2015).
    """
    require(x.is_float and slope.dtype == x.dtype, f"takes floats, found {x} and {slope}")
    has_channels(x, slope)
    return x


@prelu.means
def _(op, x, slope):
    return np.where(x >= 0, x, slope * x)


@kestrel.op
def prelu_int8(x: Type, slope: Type, *, to: Element, rescale: Rescale, negative: Rescale) -> Type:
    """PReLU on integers: x is rescaled where it is not negative, the products x * slope elsewhere.

    The rounding contracts stand in the graph with their numbers, so that every backend that keeps
    them gives the same bits. negative: one number for all channels, or one for each.
    """
    is_quantized(x, "the input")
    is_weight(slope, axis=0)
    has_channels(x, slope)
    is_rescale(rescale, 1)
    is_rescale(negative, slope.shape[0])
    return to[x.shape]


@prelu_int8.means
def _(op, x, slope):
    x = centred(op, 0, x)
    above = apply(op.attributes["rescale"], x)
    below = apply(op.attributes["negative"], x * slope.astype(np.int32))
    return saturate(np.where(x >= 0, above, below), int(op.type.zero), op.type.lo, op.type.hi)


@integer_form("kestrel.prelu_int8", "kestrel.prelu")
def _(op, wanted: Wanted, x, slope):
    above = derive(wanted.rounding, real_scale(x.type, to=wanted.to))
    below = derive(wanted.rounding, real_scale(x.type, slope.type, to=wanted.to))
    return prelu_int8(x, slope, to=wanted.to, rescale=above, negative=below)


def has_channels(x: Type, slope: Type) -> None:
    """Require a slope for each index of the last axis."""
    require(x.rank and slope.shape == x.shape[-1:], f"{slope} has no slope for each channel of {x}")
