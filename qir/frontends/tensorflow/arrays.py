"""TensorArrays, the lists of version 1 graphs: what a flow hands on is the list itself."""

import numpy as np

from ...errors import Declined
from ..loops import at_most, part, stacked
from ..values import MISSING, Known, Missing
from .control import Items, filled


def new(importer, node, operands: list) -> list:
    """An array of so many elements that are still to be written."""
    count = _place(operands[0])
    at_most(count)
    empty = Items((None,) * count)
    return [empty, empty]


def read(importer, node, operands: list) -> list:
    """An element of an array."""
    _, place, flow = operands
    return [_element(_items(flow), _place(place))]


def write(importer, node, operands: list) -> list:
    """The array with another element in a place, which may lie behind its end."""
    _, place, value, flow = operands
    return [_written(_items(flow), {_place(place): value})]


def scatter(importer, node, operands: list) -> list:
    """The array with the slices of a tensor in places."""
    _, places, value, flow = operands
    if isinstance(value, Missing):
        return [MISSING]
    where = _places(places)
    return [_written(_items(flow), {place: part(value, i, node.name)
                                      for i, place in enumerate(where)})]  # fmt: skip


def gather(importer, node, operands: list) -> list:
    """The elements of places along a new first axis."""
    _, places, flow = operands
    values, where = filled(_items(flow)), _places(places)
    if not where:
        raise Declined("no element of an array is asked for")
    return [stacked([_element(values, place) for place in where], importer.made, node.name)]


def size(importer, node, operands: list) -> list:
    """How many elements an array has."""
    return [Known(np.int32(len(_items(operands[1]))))]


def _items(flow) -> tuple:
    if not isinstance(flow, Items):
        raise Declined("an array that could not be followed")
    return flow.values


def _place(value) -> int:
    if not isinstance(value, Known):
        raise Declined("a place in an array depends on an input")
    return int(value.array)


def _element(values: tuple, place: int):
    value = values[place] if 0 <= place < len(values) else None
    if value is None:
        raise Declined("an element of an array is read before it is written")
    return value


def _written(values: tuple, fresh: dict) -> Items:
    count = max(len(values), *(place + 1 for place in fresh), 0)
    at_most(count)
    full = [*values, *[None] * (count - len(values))]
    for place, value in fresh.items():
        full[place] = value
    return Items(tuple(full))


def _places(value) -> list[int]:
    if not isinstance(value, Known):
        raise Declined("the places in an array depend on an input")
    return [int(place) for place in np.ravel(value.array)]


ARRAYS = {
    "TensorArrayV3": new, "TensorArrayReadV3": read, "TensorArrayWriteV3": write,
    "TensorArrayScatterV3": scatter, "TensorArrayGatherV3": gather, "TensorArraySizeV3": size,
}  # fmt: skip
"""By operation: `(importer, node, operands) -> values`."""
