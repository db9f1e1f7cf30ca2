"""What a target takes of each operator, as data, and which of its conditions an op breaks.

A file is JSON: `sources` says where its facts are from, `values` holds of every value, `operators`
lists by name what there is, each with its conditions. The conditions are a closed set, below; a
new target of the kind is a file, and edits nothing.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources

from .ir import Op
from .types import TupleType, Type


@dataclass(frozen=True, eq=False)
class Capabilities:
    """A capability file, read: conditions of every value, and of each operator by its name."""

    sources: tuple[str, ...]
    values: Mapping[str, object]
    operators: Mapping[str, Mapping[str, object]]


def read_capabilities(package: str, file: str = "capabilities.json") -> Capabilities:
    """The capability file of a package; TypeError for a condition that there is not."""
    found = json.loads(resources.files(package).joinpath(file).read_text(encoding="utf-8"))
    read = Capabilities(tuple(found["sources"]), found.get("values", {}), found["operators"])
    for name, asked in (("values", read.values), *read.operators.items()):
        unknown = asked.keys() - CONDITIONS.keys()
        if unknown:
            raise TypeError(f"{package}: {name} has the unknown conditions {sorted(unknown)}")
    return read


def refusal(capabilities: Capabilities, op: Op) -> str | None:
    """Why a target does not take an op, None where it does."""
    operator = op.kind.partition(".")[2].upper()
    if operator not in capabilities.operators:
        return f"it has no {operator}"
    for asked in (capabilities.operators[operator], capabilities.values):
        for name, wanted in asked.items():
            reason = CONDITIONS[name](op, wanted)
            if reason is not None:
                return reason
    return None


def data_of(op: Op) -> Iterator[Type]:
    """The types of the first operand and of the results, as far as they stand for reals."""
    results = op.type.items if isinstance(op.type, TupleType) else (op.type,)
    first = [op.operands[0].type] if op.operands else []
    return (type for type in (*first, *results) if type.is_float or type.grid is not None)


def _named(op: Op) -> dict[str, Op]:
    names = (*op.definition.required, *op.definition.optional)
    return dict(zip(names, op.operands, strict=False))


def _axes(op: Op, name: str) -> list[int]:
    """The axes that an attribute names, counted from the front."""
    held = op.attributes[name]
    rank = op.operands[0].type.rank
    return [axis % rank for axis in (held if isinstance(held, tuple) else (held,))]


def storages(op: Op, wanted) -> str | None:
    """The storages of its first operand and results, where they are reals or on grids."""
    wrong = next((t for t in data_of(op) if t.dtype.name not in wanted), None)
    return wrong and f"it takes {', '.join(wanted)}, here it is {wrong.dtype}"


def operands(op: Op, wanted) -> str | None:
    """The storages of operands by name."""
    for name, operand in _named(op).items():
        if name in wanted and operand.dtype.name not in wanted[name]:
            return f"'{name}' may be {', '.join(wanted[name])}, it is {operand.dtype}"
    return None


def casts(op: Op, wanted) -> str | None:
    """From which storage to which it casts."""
    found = [op.operands[0].dtype.name, op.dtype.name]
    return None if found in wanted else f"it casts no {found[0]} to {found[1]}"


def constant(op: Op, wanted) -> str | None:
    """Operands that must be constants."""
    wrong = next((n for n, o in _named(op).items() if n in wanted and not o.is_const), None)
    return wrong and f"'{wrong}' must be a constant"


def attributes(op: Op, wanted) -> str | None:
    """Which values attributes may have."""
    for name, choices in wanted.items():
        if op.attributes[name] not in choices:
            known = " or ".join(map(str, choices))
            return f"{name} must be {known}, it is {op.attributes[name]}"
    return None


def equal(op: Op, wanted) -> str | None:
    """Attributes that must be equal."""
    found = {name: op.attributes[name] for name in wanted}
    if len(set(found.values())) == 1:
        return None
    return " and ".join(f"{k}={v}" for k, v in found.items()) + " must be equal"


def all_of(op: Op, wanted) -> str | None:
    """Attributes, lists of numbers that must all be the same."""
    for name, number in wanted.items():
        if any(n != number for n in op.attributes[name]):
            return f"{name} must all be {number}, they are {list(op.attributes[name])}"
    return None


def ranks(op: Op, wanted) -> str | None:
    """How many axes its first operand may have."""
    found = op.operands[0].type.rank
    known = " or ".join(map(str, wanted))
    return None if found in wanted else f"it takes {known} axes, not {found}"


def most_axes(op: Op, wanted) -> str | None:
    """How many axes a value may have."""
    worst = max((t.rank for t in data_of(op)), default=0)
    return None if worst <= wanted else f"a value of {worst} axes, the most is {wanted}"


def most_operands(op: Op, wanted) -> str | None:
    """How many operands it may have."""
    found = len(op.operands)
    return None if found <= wanted else f"it has {found} operands, the most is {wanted}"


def inner_axes(op: Op, wanted) -> str | None:
    """Only so many axes, the innermost, may be longer than 1, constants apart."""
    for type in (() if op.operands and op.operands[0].is_const else data_of(op)):
        if any(n > 1 for n in type.shape[: max(type.rank - wanted, 0)]):
            return f"only the {wanted} innermost axes may be longer than 1, here it is {type}"
    return None


def vector(op: Op, wanted) -> str | None:
    """At most one axis of the result is longer than 1; how many elements, where that is limited."""
    if sum(n > 1 for n in op.shape) > 1:
        return f"its result may have one axis longer than 1, here it is {list(op.shape)}"
    fits = wanted is None or op.type.size <= wanted
    return None if fits else f"{op.type.size} elements, the most is {wanted}"


def not_batch(op: Op, wanted) -> str | None:
    """An attribute that names axes, of which the first of several is none."""
    first = 0 in _axes(op, wanted) and op.operands[0].type.rank > 1
    return "not along the first axis, the batch" if first else None


def unpadded_batch(op: Op, wanted) -> str | None:
    """Paddings, pairs in a row, that leave the first axis as it is."""
    return "no padding of the first axis, the batch" if any(op.attributes[wanted][:2]) else None


def last_axis_multiple(op: Op, wanted) -> str | None:
    """Where it reduces the last axis, that axis is a multiple of a number."""
    x = op.operands[0].type
    if x.rank - 1 not in _axes(op, "axis") or x.shape[-1] % wanted == 0:
        return None
    return f"where it reduces the last axis its extent must be a multiple of {wanted}"


def innermost(op: Op, wanted) -> str | None:
    """Operands by name that only vary along the last axis."""
    for name, operand in _named(op).items():
        if name in wanted and any(n > 1 for n in operand.shape[:-1]):
            return f"'{name}' may only vary along the last axis, it is {list(operand.shape)}"
    return None


def constants_are_padding(op: Op, wanted) -> str | None:
    """A constant among its operands is zero, and one of two."""
    held = [o for o in op.operands if o.is_const]
    zero = all((o.value == o.type.zero).all() for o in held)
    return None if not held or zero and len(op.operands) == 2 else "its constants must be padding"


def broadcasts(op: Op, wanted) -> str | None:
    """Its operands have as many axes, or one has at most 1, or they are 3 and 4 of a batch of 1."""
    short, long = sorted((o.shape for o in op.operands[:2]), key=len)
    one_image = len(long) == 4 and long[0] == 1 and (len(short) == 3 or short == (1, 1))
    if len(short) in (0, 1, len(long)) or one_image:
        return None
    return f"it does not broadcast {list(short)} to {list(long)}"


def whole_or_number(op: Op, wanted) -> str | None:
    """Operands by name that are as large as the result, or one number."""
    for name, operand in _named(op).items():
        if name in wanted and operand.shape != op.shape and operand.type.size != 1:
            return f"'{name}' must be as large as the result or one number, it is {operand.type}"
    return None


CONDITIONS: dict[str, Callable[[Op, object], str | None]] = {
    function.__name__: function
    for function in (
        storages, operands, casts, constant, attributes, equal, all_of, ranks, most_axes,
        most_operands, inner_axes, vector, not_batch, unpadded_batch, last_axis_multiple, innermost,
        constants_are_padding, broadcasts, whole_or_number,
    )
}  # fmt: skip
"""By the name that files have for it: from an op and what the file asks to why it is not so."""
