"""Ops that move elements."""

from qir.dialects import lax, tfl

from ....errors import require
from ....pattern import V
from ....rewrite import rule


@rule(lax.reshape(V.x) @ "op")
def new_shape(op, x):
    """An extent of -1 stays one."""
    return tfl.reshape(x, new_shape=op.attributes["shape"])


@rule(lax.transpose(V.x) @ "op")
def permuted(op, x):
    """Axes in another order."""
    return tfl.transpose(x, perm=op.attributes["permutation"])


@rule(lax.pad(V.x) @ "op")
def padded_by_zeros(op, x):
    """Zeros at the sides."""
    low, high = op.attributes["low"], op.attributes["high"]
    plain = min(*low, *high, 0) == 0 and not any(op.attributes["interior"] or ())
    require(plain and op.attributes["value"] == 0, "it is no padding by zeros at the sides")
    return tfl.pad(x, paddings=[n for pair in zip(low, high, strict=True) for n in pair])


@rule(lax.concatenate(...) @ "op")
def joined(op):
    """One after the other."""
    return tfl.concatenation(*op.operands, axis=op.attributes["axis"])


RULES = (new_shape, permuted, padded_by_zeros, joined)
