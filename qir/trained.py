"""The grid that training rounded a constant to, kept while the constant is moved and scaled.

A constant of reals may say `trained=i8<0.01:0 narrow>`: its values are those of integers on that
grid. It changes no value; `propagate_types` obeys it where a slot can hold such a grid. What makes
one constant of another says here what becomes of the grid, or leaves it out.
"""

from collections.abc import Callable

import numpy as np

from .ir import Op, const
from .types import Element, Grid


def grid_of(op: Op) -> Element | None:
    """What training rounded a constant to, None where it did not or where that was lost."""
    return op.attributes.get("trained")


def moved(op: Op, move: Callable[[np.ndarray], np.ndarray]) -> Op:
    """A constant whose elements a function moves about, its grid moved along."""
    value = np.asarray(move(op.value))
    value = np.ascontiguousarray(value).reshape(value.shape)  # which makes a number an array
    return _like(op, value, grid_moved(op, move))


def grid_moved(op: Op, move: Callable[[np.ndarray], np.ndarray]) -> Element | None:
    """The grid of a constant whose elements are moved; None if it then varies along two axes."""
    element = grid_of(op)
    if element is None:
        return None
    parts = element.grid.expanded(op.type.rank)
    return _along_an_axis(element, *(move(np.broadcast_to(part, op.shape)) for part in parts))


def scaled(op: Op, value: np.ndarray, by: np.ndarray) -> Op:
    """A constant that was multiplied by another one: the products, and its grid multiplied along.

    By 0 all values are 0, which any grid holds. A negative factor turns the integers round.
    """
    return _like(op, value.astype(op.type.dtype.numpy, copy=False), grid_scaled(op, by))


def grid_scaled(op: Op, by: np.ndarray) -> Element | None:
    """The grid of a constant multiplied by another; None if it then varies along two axes."""
    element = grid_of(op)
    if element is None:
        return None
    scale, zero = element.grid.expanded(op.type.rank)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        product = (scale * np.abs(np.asarray(by, np.float64))).astype(np.float32)
    product = np.where(np.isfinite(product) & (product > 0), product, scale)
    turned = -zero if element.grid.narrow else -1 - zero
    zero = np.where(np.asarray(by) < 0, turned, zero)
    shape = np.broadcast_shapes(op.shape, np.shape(by))
    return _along_an_axis(element, *(np.broadcast_to(each, shape) for each in (product, zero)))


def _along_an_axis(element: Element, scale: np.ndarray, zero: np.ndarray) -> Element | None:
    """The element whose grid has these scales and zero points, if one axis tells them apart."""
    if not scale.size or not (scale > 0).all():
        return None
    axes = [axis for axis in range(scale.ndim)
            if any((part != part.take([0], axis)).any() for part in (scale, zero))]  # fmt: skip
    if len(axes) > 1:
        return None
    axis = axes[0] if axes else None
    first = tuple(slice(None) if i == axis else 0 for i in range(scale.ndim))
    grid = with_one_zero(scale[first], zero[first], axis, element.grid.narrow)
    return Element(element.dtype, grid)


def with_one_zero(scale: np.ndarray, zero: np.ndarray, axis: int | None, narrow: bool) -> Grid:
    """A grid with one zero point where all are the same."""
    alike = zero.size and (zero == zero.flat[0]).all()
    return Grid(scale, zero.flat[0] if alike else zero, axis, narrow=narrow)


def _like(op: Op, value: np.ndarray, trained: Element | None) -> Op:
    type = op.type.with_shape(value.shape)
    return const(value, type, op.attributes["name"], op.location, trained)
