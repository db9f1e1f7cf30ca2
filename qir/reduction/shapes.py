"""Smaller shapes: an extent is made less where it stands, and all that follows is typed anew.

What an extent is for no table says. One number takes the place of another in parameters and
constants; at each op, what its operands' extents became is what its constants' and attributes'
become, as far as typing it asks for that. So a convolution's stride, a window or a reshape in
between may lead to extents that stood nowhere before.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod

import numpy as np

from ..errors import QirError
from ..ir import Func, Op, const, item, parameter
from ..rounding import Rescale, make_rescale
from ..types import Element, Grid, TupleType, Type
from .graphs import retyped

Extents = Mapping[int, int]
"""What became of extents."""


def extents(func: Func) -> list[int]:
    """The extents above 1 of parameters and constants, the largest first."""
    ends = (op for op in func.ops if op.kind in ("parameter", "const"))
    return sorted({n for op in ends for n in op.shape if n > 1}, reverse=True)


def resized(func: Func, everywhere: Extents, shapes: Mapping[Op, tuple[int, ...]] | None = None,
            last: bool = False) -> Func:  # fmt: skip
    """The function with other extents of its parameters and constants.

    everywhere: what takes the place of an extent wherever it stands. shapes: those of single
    parameters and constants besides. last: constants keep their last elements, not the first.
    QirError where the types do not fit, and where there are no fewer elements than before.
    """
    made: dict[Op, Op] = {}
    for op in func.ops:
        operands = tuple(made[o] for o in op.operands)
        shape = (shapes or {}).get(op) or _mapped_shapes(op.type, everywhere)[0]
        if op.kind == "parameter":
            made[op] = parameter(op.attributes["name"], _resized_type(op.type, shape), op.location)
        elif op.is_const:
            made[op] = _resized_const(op, shape, last)
        elif op.kind == "item":
            made[op] = item(operands[0], op.attributes["index"])
        else:
            made[op] = _typed(op, operands, everywhere, last)
    new = Func(func.name, tuple(made[p] for p in func.parameters),
               tuple(made[r] for r in func.results), func.result_names)  # fmt: skip
    if _elements(new) >= _elements(func):
        raise QirError("it does not become smaller")
    return new


def _elements(func: Func) -> int:
    return sum(prod(shape) for op in func.ops for shape in _mapped_shapes(op.type, {}))


def _mapped_shapes(type: Type | TupleType, sizes: Extents) -> list[tuple[int, ...]]:
    types = type.items if isinstance(type, TupleType) else (type,)
    return [tuple(sizes.get(n, n) for n in each.shape) for each in types]


def _typed(op: Op, operands: tuple[Op, ...], everywhere: Extents, last: bool) -> Op:
    """The op on its new operands; of what can be typed, what has the extents that are expected."""
    sizes = _changes(op, operands, everywhere)
    if not sizes:
        return retyped(op, operands)
    wanted, first = _mapped_shapes(op.type, sizes), None
    for values, attributes in _attempts(op, operands, sizes, last):
        try:
            made = op.with_operands(*values, **attributes)
        except Exception:  # typing, a plugin's above all, may not expect such attributes
            continue
        if _mapped_shapes(made.type, {}) == wanted:
            return made
        first = first or made
    if first is None:
        raise QirError(f"{op.kind} has no type on smaller operands")
    return first


def _changes(op: Op, operands: tuple[Op, ...], everywhere: Extents) -> dict[int, int]:
    """What became of the extents of an op's operands, and of its own that change everywhere."""
    own = {n for shape in _mapped_shapes(op.type, {}) for n in shape}
    found = {n: everywhere[n] for n in own & everywhere.keys()}
    for old, new in zip(op.operands, operands, strict=True):
        if not isinstance(old.type, TupleType):
            found |= {a: b for a, b in zip(old.shape, new.shape, strict=True) if a != b}
    return found


def _attempts(op: Op, operands: tuple[Op, ...], sizes: Extents,
              last: bool) -> Iterator[tuple[tuple[Op, ...], dict]]:  # fmt: skip
    """Operands and attributes to type an op with, the likeliest first."""
    mapped = {name: _mapped(value, sizes) for name, value in op.attributes.items()}
    choices = [operands]
    shapes = [tuple(sizes.get(n, n) for n in old.shape) if old.is_const else None
              for old in op.operands]  # fmt: skip
    if all(new is None or all(n <= m for n, m in zip(new, old.shape, strict=True))
           for new, old in zip(shapes, op.operands, strict=True)):  # fmt: skip
        choices.append(tuple(new if shape is None else _resized_const(old, shape, last)
                             for old, new, shape in zip(op.operands, operands, shapes,
                                                        strict=True)))  # fmt: skip
    for values in choices:
        yield values, {}
        yield values, mapped
    if not operands or isinstance(operands[0].type, TupleType):
        return
    now, before = operands[0].type.size, op.operands[0].type.size
    for name, value in op.attributes.items():
        if not (before and isinstance(value, tuple) and all(type(n) is int for n in value)):
            continue
        for numbers in (value, mapped[name]):  # one extent takes up what the others leave
            for i, n in enumerate(numbers):
                if n * now % before == 0:
                    yield operands, {name: (*numbers[:i], n * now // before, *numbers[i + 1 :])}
        for i in range(len(value)):  # or it is the only one
            yield operands, {name: (*(1,) * i, now, *(1,) * (len(value) - i - 1))}


def part_of(array: np.ndarray, shape: tuple[int, ...], last: bool = False) -> np.ndarray:
    """The first elements along each axis, or the last ones."""
    cuts = (slice(old - new, old) if last else slice(new)
            for old, new in zip(array.shape, shape, strict=True))  # fmt: skip
    return np.ascontiguousarray(array[tuple(cuts)]).reshape(shape)


def _resized_const(op: Op, shape: tuple[int, ...], last: bool) -> Op:
    if shape == op.shape:
        return op
    array = part_of(op.value, shape, last)
    return const(array, _resized_type(op.type, shape), op.attributes["name"], op.location)


def _resized_type(type: Type, shape: tuple[int, ...]) -> Type:
    """A type with other extents, the grid's scales cut along with the axis they stand on."""
    grid = type.grid
    if grid is not None and grid.axis is not None and shape != type.shape:
        grid = _grid(grid, {type.shape[grid.axis]: shape[grid.axis]})
    return Type(type.dtype, shape, grid)


def _grid(grid: Grid, sizes: Extents) -> Grid:
    if grid.block is not None:
        raise QirError("a grid of blocks stands along this axis")
    return replace(grid, scale=_array(grid.scale, sizes), zero=_array(grid.zero, sizes))


def _mapped(value, sizes: Extents):
    """An attribute with its extents mapped, and the numbers of channels cut off that are gone."""
    if isinstance(value, tuple):
        return tuple(_mapped(v, sizes) for v in value)
    if type(value) is int:
        return sizes.get(value, value)
    if isinstance(value, Element) and value.grid is not None and value.grid.axis is not None:
        return replace(value, grid=_grid(value.grid, sizes))
    if isinstance(value, Rescale):
        fields = {name: _array(array, sizes) for name, array in value.fields().items()}
        return make_rescale(value.rounding, **fields)
    return value


def _array(array: np.ndarray, sizes: Extents) -> np.ndarray:
    return array[: sizes.get(array.size, array.size)] if array.ndim == 1 else array
