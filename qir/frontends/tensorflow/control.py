"""Control flow: loops are written out, branches computed and chosen from, lists followed."""

from dataclasses import dataclass

import numpy as np

from qir.dialects import lax

from ...errors import Declined
from ...ir import Op
from ..loops import STEPS, at_most, part, stacked
from ..values import MISSING, Known, Missing, Value, located, node_of


@dataclass(frozen=True, eq=False)
class Items:
    """The values of a TensorList; None where none was put yet."""

    values: tuple[Value | None, ...]


def while_(importer, node, operands: list) -> list:
    """Steps as long as the condition holds, which no input may reach."""
    state = operands
    for _ in range(STEPS + 1):
        (goes_on,) = importer.function(node, "cond", state)
        if not isinstance(goes_on, Known):
            raise Declined("how often the loop runs depends on an input")
        if not goes_on.array:
            return state
        state = importer.function(node, "body", state)
    raise Declined(f"a loop of more than {STEPS} steps")


def if_(importer, node, operands: list) -> list:
    """The branch that is known, or both and of each result the one that is asked for."""
    which, *arguments = operands
    if isinstance(which, Known):
        return importer.function(node, "then_branch" if which.array else "else_branch", arguments)
    branches = [importer.function(node, name, arguments)
                for name in ("then_branch", "else_branch")]  # fmt: skip
    if isinstance(which, Missing) or any(not isinstance(v, Known) and not hasattr(v, "type")
                                         for results in branches for v in results):  # fmt: skip
        return [MISSING] * len(node.outputs)
    condition = node_of(which, importer.made, node.name)
    chosen = []
    for pair in zip(*branches, strict=True):
        a, b = (node_of(value, importer.made, node.name) for value in pair)
        found = lax.select(condition, a, b)
        located([found], [condition, a, b], node.name)
        chosen.append(found)
    return chosen


def reserve(importer, node, operands: list) -> list:
    """A list of so many elements that are still to be put."""
    count = _number(operands[1])
    at_most(count)
    return [Items((None,) * count)]


def from_tensor(importer, node, operands: list) -> list:
    """The slices of a tensor along its first axis."""
    value = operands[0]
    if isinstance(value, Missing):
        return [MISSING]
    count = len(value.array) if isinstance(value, Known) else value.shape[0]
    at_most(count)
    return [Items(tuple(part(value, i, node.name) for i in range(count)))]


def get_item(importer, node, operands: list) -> list:
    """An element of a list."""
    value = _items(operands[0])[_number(operands[1])]
    if value is None:
        raise Declined("an element of a list is read before it is put")
    return [value]


def set_item(importer, node, operands: list) -> list:
    """The list with another element in a place."""
    values = list(_items(operands[0]))
    values[_number(operands[1])] = operands[2]
    return [Items(tuple(values))]


def stack(importer, node, operands: list) -> list:
    """The elements of a list along a new first axis."""
    return [stacked(filled(_items(operands[0])), importer.made, node.name)]


def filled(values: tuple) -> tuple:
    """The elements of a list, zeros of their shape where none was put yet, as TensorFlow has it."""
    found = next((value for value in values if isinstance(value, (Known, Op))), None)
    if found is None and None in values:
        raise Declined("a list is read before any of its elements is put")
    if isinstance(found, Op):
        zeros = Known(np.zeros(found.shape, found.dtype.numpy))
    else:
        zeros = found and Known(np.zeros_like(found.array))
    return tuple(zeros if value is None else value for value in values)


def length(importer, node, operands: list) -> list:
    """How many elements a list has."""
    return [Known(np.int32(len(_items(operands[0]))))]


def _items(value) -> tuple:
    if not isinstance(value, Items):
        raise Declined("a list that could not be followed")
    return value.values


def _number(value) -> int:
    if not isinstance(value, Known):
        raise Declined("a place in a list depends on an input")
    return int(value.array)


CONTROL = {
    "While": while_, "StatelessWhile": while_, "If": if_, "StatelessIf": if_,
    "TensorListReserve": reserve, "TensorListFromTensor": from_tensor,
    "TensorListGetItem": get_item, "TensorListSetItem": set_item, "TensorListStack": stack,
    "TensorListLength": length,
}  # fmt: skip
"""By operation: `(importer, node, operands) -> values`."""
