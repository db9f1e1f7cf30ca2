"""Values that several rules build or read: transposes, reshapes, the number a constant repeats."""

import numpy as np

from qir.errors import require
from qir.ir import Op, const
from qir.shapes import open_shape
from qir.trained import moved

from ...dialects import lax


def transposed(x: Op, order) -> Op:
    """x with axis `order[i]` as axis i; nothing where that changes nothing."""
    order = tuple(order)
    if x.kind == "lax.transpose":
        first = x.attributes["permutation"]
        return transposed(x.operands[0], [first[i] for i in order])
    if order == tuple(range(len(order))):
        return x
    if x.is_const and _on_one_grid(x):
        return moved(x, lambda a: a.transpose(order))
    return lax.transpose(x, permutation=order)


def inverse(order) -> tuple[int, ...]:
    """The order that undoes an order of axes."""
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def reshaped(x: Op, shape) -> Op:
    """x in another shape; nothing where it has it already."""
    shape = tuple(shape)
    if x.kind == "lax.reshape":
        return reshaped(x.operands[0], shape)
    if shape == x.shape:
        return x
    if x.is_const and _on_one_grid(x):
        return moved(x, lambda a: a.reshape(shape))
    return lax.reshape(x, shape=open_shape(x.shape, shape))


def aligned(old, new) -> list[int | None] | None:
    """For each new axis the old one it is, None where it is inserted with extent 1.

    None for all where more than axes of extent 1 comes or goes, so that elements move.
    """
    sources, i = [], 0
    for extent in new:
        while i < len(old) and old[i] == 1 and extent != 1:
            i += 1
        if i < len(old) and old[i] == extent:
            sources.append(i)
            i += 1
        elif extent == 1:
            sources.append(None)
        else:
            return None
    return sources if all(n == 1 for n in old[i:]) else None


def like(x: Op, value: np.ndarray) -> Op:
    """A constant of another value with the name and place of the constant x."""
    value = np.ascontiguousarray(value).reshape(value.shape)  # which makes a number an array
    return const(value, x.type.with_shape(value.shape), x.attributes["name"], x.location)


def _on_one_grid(x: Op) -> bool:
    return x.type.grid is None or x.type.grid.per_tensor


def constant_of(op: Op) -> Op:
    """The constant that an op of two operands reads."""
    return next(o for o in op.operands if o.is_const)


def number(array: np.ndarray) -> float:
    """The number a constant holds, however often; Declined where it holds several."""
    require(array.size and (array == array.flat[0]).all(), "the constant holds several numbers")
    return float(str(array.flat[0]))  # 1e-05 rather than the double nearest to the f32 nearest


def is_number(array: np.ndarray, value: float) -> None:
    """Require a constant that holds this number alone, to the precision of f32."""
    found = number(array)
    near = found == value or abs(found - value) <= 1e-6 * abs(value)
    require(near, f"the constant is {found:g}, expected {value:g}")


def computes_floats(op: Op) -> None:
    """Require an op whose result and operands are floats of one type, without a grid."""
    types = [op.type, *(o.type for o in op.operands)]
    require(op.type.is_float and all(t.element == op.type.element for t in types),
            f"it computes {op.type} from {', '.join(str(t) for t in types[1:])}")  # fmt: skip
