"""Smaller shapes: an extent made less wherever it stands, every type inferred anew."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..errors import QirError
from ..ir import Func, Op, const, item, parameter
from ..rounding import Rescale, make_rescale
from ..types import Element, Grid, Type


def extents(func: Func) -> list[int]:
    """The extents above 1 of parameters and constants, the largest first."""
    ends = (op for op in func.ops if op.kind in ("parameter", "const"))
    return sorted({n for op in ends for n in op.shape if n > 1}, reverse=True)


def resized(func: Func, old: int, new: int, attributes: bool = True) -> Func:
    """The function with the extent `old` of parameters and constants made `new` everywhere.

    attributes: whether numbers in attributes, such as the shape of a reshape, follow. QirError
    where the types do not fit.
    """
    made: dict[Op, Op] = {}
    sizes = {old: new}
    for op in func.ops:
        operands = tuple(made[o] for o in op.operands)
        if op.kind == "parameter":
            made[op] = parameter(op.attributes["name"], resized_type(op.type, sizes), op.location)
        elif op.is_const:
            array = cut(op.value, tuple(sizes.get(n, n) for n in op.shape))
            made[op] = const(array, resized_type(op.type, sizes), op.attributes["name"],
                             op.location)  # fmt: skip
        elif op.kind == "item":
            made[op] = item(operands[0], op.attributes["index"])
        else:
            changed = {k: _value(v, sizes, attributes) for k, v in op.attributes.items()}
            made[op] = op.with_operands(*operands, **changed)
    return Func(func.name, tuple(made[p] for p in func.parameters),
                tuple(made[r] for r in func.results), func.result_names)  # fmt: skip


def with_extent(func: Func, which: Op, axis: int, extent: int) -> Func:
    """The function with one extent of one parameter or constant changed, types inferred anew."""
    made: dict[Op, Op] = {}
    for op in func.ops:
        operands = tuple(made[o] for o in op.operands)
        if op is which:
            shape = (*op.shape[:axis], extent, *op.shape[axis + 1 :])
            type = op.type.with_shape(shape)
            if op.type.grid is not None and op.type.grid.axis == axis:
                raise QirError("a grid stands along this axis")
            made[op] = (parameter(op.attributes["name"], type, op.location)
                        if op.kind == "parameter"
                        else const(cut(op.value, shape), type, op.attributes["name"],
                                   op.location))  # fmt: skip
        elif op.kind == "item":
            made[op] = item(operands[0], op.attributes["index"])
        elif all(a is b for a, b in zip(operands, op.operands, strict=True)):
            made[op] = op
        else:
            made[op] = op.with_operands(*operands)
    return Func(func.name, tuple(made[p] for p in func.parameters),
                tuple(made[r] for r in func.results), func.result_names)  # fmt: skip


def cut(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The first elements along each axis."""
    return np.ascontiguousarray(array[tuple(slice(n) for n in shape)]).reshape(shape)


def resized_type(type: Type, sizes: Mapping[int, int]) -> Type:
    """A type with other extents, the grid's scales cut along with the axis they stand on."""
    shape = tuple(sizes.get(n, n) for n in type.shape)
    return Type(type.dtype, shape, _grid(type.grid, sizes))


def _grid(grid: Grid | None, sizes: Mapping[int, int]) -> Grid | None:
    if grid is None or grid.axis is None or grid.block is not None:
        return grid
    count = sizes.get(grid.scale.size, grid.scale.size)
    return replace(grid, scale=grid.scale[:count], zero=grid.zero[:count] if grid.zero.ndim else
                   grid.zero)  # fmt: skip


def _value(value, sizes: Mapping[int, int], numbers: bool):
    if isinstance(value, tuple):
        return tuple(_value(v, sizes, numbers) for v in value)
    if isinstance(value, int) and not isinstance(value, bool) and numbers:
        return sizes.get(value, value)
    if isinstance(value, Element):
        return replace(value, grid=_grid(value.grid, sizes))
    if isinstance(value, Rescale):
        fields = {name: _array(array, sizes) for name, array in value.fields().items()}
        return make_rescale(value.rounding, **fields)
    return value


def _array(array, sizes: Mapping[int, int]):
    array = np.asarray(array)
    return array[: sizes.get(array.size, array.size)] if array.ndim == 1 else array
