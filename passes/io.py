"""Let inputs and results be stored integers, as the caller of the model wants them.

A lowered graph begins with casts of its inputs and ends with casts of its results. Without such a
cast the caller hands over, or gets, what is stored; the type says on which grid. `uint8` is the
grid of `int8` with all stored integers 128 further up: an op that flips the highest bit stands
where the cast was.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from qir.arrays import result_labels
from qir.attributes import Storages
from qir.errors import Declined, QirError, suggestion
from qir.graph_pass import graph_pass
from qir.ir import Func, Op, derived, kept, parameter, transform
from qir.types import DTYPES, Element

from ..dialects import int8, quant

STORED = {"int8": "i8", "uint8": "u8", "int16": "i16"}
LEFT = "leave it float32"


def names_known(func: Func, *, inputs: Storages = "float32", outputs: Storages = "float32") -> None:
    """QirError for a name that no input or result has; no step before changes any."""
    names = [p.attributes["name"] for p in func.parameters]
    _asked("input", names, func.parameters, inputs)
    _asked("result", result_labels(func), func.results, outputs)


@graph_pass("mixed -> mixed", ahead=names_known)
def io(func: Func, *, inputs: Storages = "float32", outputs: Storages = "float32") -> Func:
    """Take and give stored integers: `io(inputs=int8, outputs=[boxes=uint8])`.

    inputs, outputs: a storage for all, a list of them in order, or by name, where the others stay
    as they are. One for all leaves out what stands for no reals, such as indices. Ops in float that
    read such an input read it dequantized. QirError lists every input and result that cannot be
    stored as it is asked to be.
    """
    names = [p.attributes["name"] for p in func.parameters]
    wrong: list[str] = []
    entries: dict[Op, Op] = {}
    wanted = _asked("input", names, func.parameters, inputs)
    for op, storage in zip(func.parameters, wanted, strict=True):
        with _listed(wrong, f"the input '{op.attributes['name']}' as {storage}"):
            if storage is not None and _to_be_stored(op, storage):
                entries[op] = _entry(func, op, storage)
    func = _entered(func, entries) if entries else func
    results, labels = list(func.results), result_labels(func)
    for i, storage in enumerate(_asked("result", labels, results, outputs)):
        with _listed(wrong, f"the result '{labels[i]}' as {storage}"):
            if storage is not None and _to_be_stored(results[i], storage):
                results[i] = _left(results[i], storage)
    if wrong:
        raise QirError("\n".join(("not everything can be stored as it is asked to be:", *wrong)))
    return replace(func, results=tuple(results)) if tuple(results) != func.results else func


def _asked(what: str, names: Sequence[str], values: Sequence[Op], asked) -> list[str | None]:
    """The storage that is asked of each input or result, None for those that stay as they are.

    One for all is asked of what stands for reals; by name or in a list it is asked of any.
    """
    if isinstance(asked, str):
        return [asked if asked in STORED and _is_real(value) else None for value in values]
    if isinstance(asked, Mapping):
        unknown = next((name for name in asked if name not in names), None)
        if unknown is not None:
            raise QirError(f"there is no {what} '{unknown}'", help=suggestion(unknown, names))
        asked = [asked.get(name) for name in names]
    if len(asked) != len(names):
        raise QirError(f"{len(asked)} storages for the {what}s {', '.join(names)}")
    return [each if each in STORED else None for each in asked]


@contextmanager
def _listed(wrong: list[str], what: str) -> Iterator[None]:
    """Note why something cannot be stored as asked, and go on."""
    try:
        yield
    except Declined as declined:
        wrong += [f"  {what}: {declined}", f"    to change that: {declined.fix}"]


def _to_be_stored(value: Op, storage: str) -> bool:
    """Whether a value is float so far; one that is stored already stays as it is."""
    if value.type.is_float:
        return True
    if not _is_real(value):
        raise Declined(f"it holds {value.dtype}, which stands for no reals", "leave it as it is")
    if value.dtype.name != STORED[storage]:
        raise Declined(f"it is stored as {value.type.element} already", "leave it as it is")
    return False


def _is_real(value: Op) -> bool:
    return value.type.is_float or value.type.grid is not None


def _entry(func: Func, op: Op, storage: str) -> Op:
    """The input that takes the place of a real one."""
    casts = [user for user in func.users[op] if user.kind == quant.quantize.name]
    elements = list(dict.fromkeys(cast.attributes["to"] for cast in casts))
    if not elements:
        kinds = ", ".join(dict.fromkeys(user.kind for user in func.users[op]))
        raise Declined(f"only ops in float read it, {kinds}" if kinds else "nothing reads it", LEFT)
    if len(elements) > 1:
        raise Declined(f"it is read on several grids, {', '.join(map(str, elements))}",
                       f"one grid for all that read it, or {LEFT}")  # fmt: skip
    (element,) = elements
    _check_width(element, storage)
    plain = parameter(op.attributes["name"], element[op.shape], op.location)
    if element.dtype.name == STORED[storage]:
        return plain
    return parameter(op.attributes["name"], int8.flip_sign(plain).type, op.location)


def _entered(func: Func, entries: Mapping[Op, Op]) -> Func:
    """The function with other inputs, and without the casts of those that they replace."""
    grids = {cast.operands[0]: cast.attributes["to"] for cast in func.ops
             if cast.kind == quant.quantize.name and cast.operands[0] in entries}  # fmt: skip
    stored = {}
    for op, new in entries.items():
        same = new.type.element == grids[op]
        stored[op] = new if same else int8.flip_sign(new, location=op.location)
    reals: dict[Op, Op] = {}

    def real(op: Op) -> Op:
        if op not in reals:
            reals[op] = derived(quant.dequantize(stored[op], location=op.location), op)
        return reals[op]

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op in entries:
            return entries[op]
        if op.kind == quant.quantize.name and op.operands[0] in entries:
            return stored[op.operands[0]]
        pairs = zip(op.operands, operands, strict=True)
        return kept(op, tuple(real(old) if old in entries else new for old, new in pairs))

    new = transform(func, change)
    ends = zip(func.results, new.results, strict=True)
    return replace(new, results=tuple(real(old) if old in entries else end for old, end in ends))


def _left(value: Op, storage: str) -> Op:
    """The stored integers under the cast that makes a result real."""
    if value.kind == "parameter":
        raise Declined("it is an input as it came", f"the same storage for that, or {LEFT}")
    if value.kind != quant.dequantize.name:
        node = value.operands[0] if value.kind == "item" else value
        raise Declined(f"it is made in float, by {node.kind}",
                       f"integers from {node.kind}, or {LEFT}")  # fmt: skip
    (stored,) = value.operands
    _check_width(stored.type.element, storage)
    if stored.dtype.name == STORED[storage]:
        return stored
    return derived(int8.flip_sign(stored, location=value.location), value)


def _check_width(element: Element, storage: str) -> None:
    bits = element.dtype.bits
    if bits != DTYPES[STORED[storage]].bits:
        raise Declined(f"its grid is {element}, of {bits} bits",
                       f"a storage of {bits} bits, or {LEFT}")  # fmt: skip
