"""The table of imports: from a TensorFlow operation to the function that builds its value here."""

from collections.abc import Callable

import numpy as np

from ...errors import require
from ...ir import Op
from ...tables import table
from ...types import dtype_of

QUANTIZED = {"qint8": "i8", "quint8": "u8", "qint16": "i16", "quint16": "u16", "qint32": "i32"}
"""TensorFlow's types of quantized integers, and the integers they are stored as."""

IMPORTS: dict[str, Callable] = table(lambda build: build)
"""By the operation's type; `(node, *operands) -> op`, a tuple of ops where it has several results.

An import declines with `require`. The files of this folder fill the table.
"""


def imports(*types: str) -> Callable[[Callable], Callable]:
    """Declare the import of operations: `@imports("Exp")` over `(node, *operands) -> op`."""

    def declare(build: Callable) -> Callable:
        for name in types:
            if name in IMPORTS:
                raise TypeError(f"the operation {name} has two imports")
            IMPORTS[name] = build
        return build

    return declare


def storage(kind) -> str:
    """The name of the storage type that holds a type of TensorFlow."""
    if kind.name in QUANTIZED:
        return QUANTIZED[kind.name]
    return dtype_of(np.empty((), kind.as_numpy_dtype)).name


def attribute(node, name: str):
    """An attribute of an operation: bytes as text, lists as tuples."""
    value = node.get_attr(name)
    if isinstance(value, bytes):
        return value.decode()
    return tuple(value) if isinstance(value, list) else value


def numbers(operand: Op, what: str) -> tuple[int, ...]:
    """An operand that must be known, as integers: axes, a shape, sizes."""
    require(operand.is_const, f"the {what} are computed from an input")
    return tuple(int(n) for n in np.ravel(operand.value))


def number(operand: Op, what: str) -> int:
    """An operand that must be known, as one integer."""
    found = numbers(operand, what)
    require(len(found) == 1, f"{what} is one integer, found {list(found)}")
    return found[0]
