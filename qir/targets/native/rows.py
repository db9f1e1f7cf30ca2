"""int8 softmax, norms and tables as calls of the C++ kernels."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import ffi

from qir.dialects.int8.normalize import FRACTION, root_factor

from ...ir import Op
from .calls import BYTES, CONTRACTS, finish_of, numbers_of
from .library import is_called


def serves(op: Op) -> bool:
    """Whether the C++ kernels compute this op; the portable ones compute every other."""
    x, a = op.operands[0], op.attributes
    return (
        is_called()
        and all(each.dtype.name in BYTES and each.type.size for each in (x, op))
        and ("axis" not in a or a["axis"] in (-1, x.type.rank - 1))
        and ("rescale" not in a or a["rescale"].rounding in CONTRACTS)
    )


def softmax(op: Op, x, exps, mask=None):
    """An `int8.softmax` along the last axis."""
    mask = jnp.zeros(0, bool) if mask is None else jnp.broadcast_to(mask, x.shape)
    return _call("qir_softmax", op)(x, jnp.asarray(exps), mask)


def norm(op: Op, x, gamma, beta=None):
    """An `int8.layer_norm`, or without beta an `int8.rms_norm`."""
    mantissa, exponent = root_factor(x.shape[-1])
    numbers = (beta is not None, int(op.operands[0].type.zero), op.attributes["epsilon"],
               mantissa, 29 - FRACTION - exponent)  # fmt: skip
    beta = jnp.zeros(x.shape[-1], jnp.int32) if beta is None else jnp.asarray(beta)
    rescale = numbers_of(op.attributes["rescale"], x.shape[-1])
    call = _call("qir_norm", op)
    return call(x, jnp.asarray(gamma), beta, *rescale, norm=np.array(numbers, np.int64),
                finish=finish_of(op))  # fmt: skip


def table(op: Op, x, values):
    """An `int8.table`: the kernel looks up by the byte, which of i8 starts at 0."""
    lowest = op.operands[0].dtype.lo
    return _call("qir_table", op)(x, jnp.roll(jnp.asarray(values), lowest))


def _call(name: str, op: Op):
    return ffi.ffi_call(name, jax.ShapeDtypeStruct(op.shape, op.dtype.numpy))
