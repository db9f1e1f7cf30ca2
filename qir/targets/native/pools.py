"""Pools of 8-bit values as calls of the C++ kernels."""

import jax
import numpy as np
from jax import ffi

from ... import shapes
from ...ir import Op
from .calls import BYTES
from .library import is_called


def serves(op: Op) -> bool:
    """Whether the C++ kernels compute this pool; the portable ones compute every other."""
    return is_called() and op.operands[0].dtype.name in BYTES and op.type.size > 0


def pool(op: Op, x):
    """An `nn.max_pool` of stored values, or an `int8.avg_pool`."""
    a = op.attributes
    pads = shapes.pads_of(op.operands[0].type, a["window"], a["strides"], a["padding"])
    windows = (*a["window"], *a["strides"], 1, 1, pads[0][0], pads[1][0], *op.shape[1:],
               x.shape[3])  # fmt: skip
    low, high = a.get("clamp") or (op.type.lo, op.type.hi)
    call = ffi.ffi_call("qir_pool", jax.ShapeDtypeStruct(op.shape, op.dtype.numpy))
    return call(x, windows=np.array(windows, np.int64),
                pool=np.array((op.kind == "nn.max_pool", low, high), np.int64))  # fmt: skip
