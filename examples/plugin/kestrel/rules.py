"""Legalization: what Kestrel has no unit for, as what it has. The meaning stays, bit for bit."""

from dataclasses import replace

from qir.dialects import int8, lax
from qir.errors import require
from qir.ir import Op, const
from qir.rewrite import Rule, rule
from qir.types import Type


def rules() -> tuple[Rule, ...]:
    """The rules that `legalize(target=kestrel)` applies; `TARGET` names this function."""
    return (difference_is_sum, dense_is_pointwise_convolution)


@rule(int8.sub(...) @ "op")
def difference_is_sum(op):
    """A difference is a sum: its contract's numbers hold the sign of the second operand."""
    return int8.add(*op.operands, **op.attributes)


@rule(int8.dense(...) @ "op")
def dense_is_pointwise_convolution(op):
    """A dense layer is a convolution of images of one pixel by a window of one."""
    x, w, *b = op.operands
    require(w.is_const, f"the weight is computed by {w.kind}")
    require(op.type.size, f"{op.type} has no elements, so -1 below would stand for any extent")
    # -1 stands for the extent that follows from the others: the graph serves any batch.
    pixels = lax.reshape(x, shape=(-1, 1, 1, x.shape[-1]))
    y = int8.conv2d(pixels, _as_window(w), *b, **op.attributes)
    return lax.reshape(y, shape=(-1, *op.shape[1:]))


def _as_window(w: Op) -> Op:
    """A weight [inputs, outputs] as a window [1,1,inputs,outputs], its scales along the outputs."""
    grid = w.type.grid
    if grid.axis is not None:
        grid = replace(grid, axis=3)
    values = w.value[None, None]
    return const(values, Type(w.dtype, values.shape, grid), name=w.attributes["name"])
