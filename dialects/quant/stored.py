"""Weights that stay as they are stored, and the float ops that read them so.

What is stored are integers on a grid, or halves (f16, bf16).
"""

import numpy as np

from qir import shapes
from qir.attributes import Floats
from qir.errors import require
from qir.types import DTYPES, Type

from .casts import reals
from .dialect import quant, takes_f32

HALVES = ("f16", "bf16")


@quant.op
def widen(x: Type) -> Type:
    """Halves as the f32 that they are; a constant stays half as large."""
    require(x.dtype.name in HALVES, f"takes f16 or bf16, found {x}")
    return Type(DTYPES["f32"], x.shape)


@widen.means
def _(op, x):
    return x.astype(np.float32)


def is_stored(x: Type) -> None:
    """Decline what is neither integers on a grid nor halves."""
    on_grid = x.grid is not None and not x.grid.dynamic
    require(on_grid or x.dtype.name in HALVES,
            f"takes integers on a grid, f16 or bf16, found {x}")  # fmt: skip


@quant.op
def dense(x: Type, w: Type, b: Type | None = None, *, clamp: Floats | None = None) -> Type:
    """`nn.dense` by the reals that w[K,N] stands for, which are made anew each time, part by part.

    So that the weight takes no more memory than it is stored in.
    """
    takes_f32(x)
    is_stored(w)
    shape = shapes.dense(x, w)
    if b is not None:
        takes_f32(b)
        require(b.shape == shape[-1:], f"the bias must be f32[{shape[-1]}], found {b}")
    require(clamp is None or len(clamp) == 2 and clamp[0] <= clamp[1],
            f"a clamp is a lower and an upper bound, found {clamp}")  # fmt: skip
    return x.with_shape(shape)


@dense.means
def _(op, x, w, b=0):
    y = np.matmul(x, stored_reals(op.operands[1].type, w)) + b
    clamp = op.attributes["clamp"]
    return y if clamp is None else np.clip(y, *np.asarray(clamp, np.float32))


@quant.op
def take(x: Type, indices: Type, *, axis: int) -> Type:
    """`lax.take` of the reals that x stands for: only the slices taken are made real.

    An index outside reads the nearest end.
    """
    is_stored(x)
    require(indices.dtype.kind == "int" and indices.grid is None,
            f"indices are integers, found {indices}")  # fmt: skip
    require(0 <= axis < x.rank and x.shape[axis], f"nothing to take from {x} along axis {axis}")
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return Type(DTYPES["f32"], shape)


@take.means
def _(op, x, indices):
    table = stored_reals(op.operands[0].type, x)
    return np.take(table, indices, axis=op.attributes["axis"], mode="clip")


def stored_reals(type: Type, stored: np.ndarray) -> np.ndarray:
    """What is stored as f32."""
    return (stored if type.grid is None else reals(type, stored)).astype(np.float32)
