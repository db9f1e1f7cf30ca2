"""The reference interpreter: every op by its numpy meaning, one after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from .errors import QirError
from .ir import OPS, Func, Op, place_of
from .types import TupleType, Type

Evaluator = Callable[[Func, Sequence[np.ndarray]], tuple[np.ndarray, ...]]
"""Runs a function on arrays; the numpy one is `evaluate`, the XLA target brings another."""


def evaluate(func: Func, inputs: Sequence[np.ndarray] | Mapping[str, np.ndarray]):
    """The results of a function on numpy arrays (in parameter order, or by name), as a tuple.

    Quantized values go in and come out as stored integers. QirError names the op that fails.
    """
    wanted = set(func.results)
    arrays = checked_inputs(func, inputs)
    found = {op: value for op, value in each_value(func, arrays) if op in wanted}
    return tuple(found[r] for r in func.results)


def each_value(func: Func, arrays: Sequence[np.ndarray]) -> Iterator[tuple[Op, np.ndarray]]:
    """Every op with its value, operands before users; a value is let go after its last use."""
    values: dict[Op, np.ndarray] = dict(zip(func.parameters, arrays, strict=True))
    left = dict(func.uses)
    for op in func.ops:
        if op.kind != "parameter":
            values[op] = evaluate_op(op, [values[o] for o in op.operands])
        for operand in op.operands:
            left[operand] -= 1
            if left[operand] == 0:
                del values[operand]
        yield op, values[op]


def evaluate_op(op: Op, arrays: Sequence[np.ndarray]):
    """One op on arrays; the result has the storage its type says."""
    if op.kind == "const":
        return op.value
    if op.kind == "item":
        return arrays[0][op.attributes["index"]]
    with np.errstate(all="ignore"):
        try:
            result = OPS[op.kind].evaluate(op, *arrays)
        except MemoryError:
            raise QirError(f"{op.kind} : {op.type} needs more memory than there is",
                           at=place_of(op),
                           help="is its window or its padding as large as that?") from None
        if not isinstance(op.type, TupleType):
            return _stored(op, result, op.type)
        return tuple(_stored(op, x, t) for x, t in zip(result, op.type.items, strict=True))


def _stored(op: Op, array, type: Type) -> np.ndarray:
    array = np.asarray(array)
    if array.shape != type.shape:
        raise QirError(f"the meaning of {op.kind} gave shape {array.shape} for {type}",
                       at=place_of(op))  # fmt: skip
    return array.astype(type.dtype.numpy, copy=False)


def checked_inputs(func: Func, inputs) -> list[np.ndarray]:
    """The inputs in parameter order as arrays of the declared storage and shape, else QirError."""
    names = [p.attributes["name"] for p in func.parameters]
    if isinstance(inputs, Mapping):
        if set(inputs) != set(names):
            raise QirError(f"@{func.name} takes the inputs {names}, found {sorted(inputs)}")
        inputs = [inputs[name] for name in names]
    if len(inputs) != len(names):
        raise QirError(f"@{func.name} takes {len(names)} inputs ({', '.join(names)}), "
                       f"found {len(inputs)}")  # fmt: skip
    return [checked_input(p, x) for p, x in zip(func.parameters, inputs, strict=True)]


def checked_input(parameter: Op, array) -> np.ndarray:
    """One input as an array of its declared storage and shape, else QirError."""
    name, type = parameter.attributes["name"], parameter.type
    array = as_array(name, array)
    if array.shape != type.shape:
        raise QirError(f"the input '{name}' has shape {list(array.shape)}, "
                       f"the model takes {list(type.shape)}")  # fmt: skip
    if not np.can_cast(array.dtype, type.dtype.numpy, "same_kind"):
        raise QirError(f"the input '{name}' holds {array.dtype}, the model takes {type.dtype}")
    is_safe = type.is_float or holds_all(type, array.dtype)
    if array.size and array.dtype.kind in "iu" and not is_safe:
        ends = int(array.min()), int(array.max())
        if ends[0] < type.dtype.lo or ends[1] > type.dtype.hi:
            raise QirError(f"the input '{name}' holds {ends[0]} to {ends[1]}, {type.dtype} takes "
                           f"{type.dtype.lo} to {type.dtype.hi}")  # fmt: skip
    return array.astype(type.dtype.numpy, copy=False)


def holds_all(type: Type, dtype: np.dtype) -> bool:
    """Whether a numpy dtype is a type's own, and each of its numbers one of the type's."""
    if dtype != type.dtype.numpy:
        return False
    ends = np.iinfo(dtype) if dtype.kind in "iu" else None
    return ends is None or (type.dtype.lo <= ends.min and type.dtype.hi >= ends.max)


def as_array(name: str, value) -> np.ndarray:
    """What was given for an input as an array, else QirError."""
    try:
        return np.asarray(value)
    except ValueError:  # numpy's for lists of unequal lengths
        raise QirError(f"the input '{name}' is no array: lists in it differ in length") from None
