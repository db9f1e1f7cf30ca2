"""Reading `.tflite` files: every operator becomes the op of the tfl dialect of its name."""

from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

from qir.dialects.tfl.dialect import BUILTINS, Builtin

from ...attributes import Ints, coerce
from ...errors import Declined, QirError
from ...expansions import meaning
from ...ir import Func, Module, Op, const, item, parameter
from ...types import Element, TupleType, Type
from . import tensors
from .unpack import damaged, unpack

VERSION = 3
"""The version of the schema."""
LARGEST = 2**24
"""Elements of a variable, which a file says without holding them."""
MOST = 1024
"""Elements of a value that is computed while a file is read."""


def read(path: str | Path) -> Module:
    """The model in a file, in the tfl dialect; QirError with its place where it cannot be read."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise QirError(f"cannot be read: {error.strerror}", at=str(path)) from None
    return read_bytes(data, str(path))


def read_bytes(data: bytes, path: str = "model.tflite") -> Module:
    """The model in the bytes of a file."""
    try:
        return _module(unpack(data))
    except QirError as error:
        at = f"{path}: {error.at}" if error.at else path
        raise QirError(error.message, at=at, help=error.help) from None


def _module(model: dict) -> Module:
    if model["version"] != VERSION:
        raise QirError(f"the schema's version is {model['version']}, expected {VERSION}")
    graphs = model["subgraphs"] or []
    if not graphs:
        raise damaged("it holds no graph")
    _refuse_unknown(model, graphs)
    names = _names(graphs)
    signatures = {s["subgraph_index"]: s for s in model["signature_defs"] or ()}
    named = enumerate(zip(graphs, names, strict=True))
    return Module(tuple(_Graph(model, graph).func(name, signatures.get(i))
                        for i, (graph, name) in named))  # fmt: skip


def _names(graphs: list[dict]) -> list[str]:
    names: list[str] = []
    for i, graph in enumerate(graphs):
        text = "main" if i == 0 else graph["name"] or f"graph_{i}"
        text = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in text)
        names.append(text if text not in names and not text[0].isdigit() else f"graph_{i}")
    return names


def operator_name(model: dict, operator: dict) -> str:
    """The BuiltinOperator of an operator, or what is there in its place."""
    codes = model["operator_codes"] or []
    code = _entry(codes, operator["opcode_index"], "operator codes")
    old = unpack_code(code["deprecated_builtin_code"])
    name = code["builtin_code"] if code["builtin_code"] != "ADD" else old
    return f"CUSTOM {code['custom_code']}" if name == "CUSTOM" else name


def unpack_code(number: int) -> str:
    """The name of an operator that a file states in the field for the first 127 of them."""
    from .schema import schema

    names = schema().enums["BuiltinOperator"].names
    if number not in names:
        raise damaged(f"BuiltinOperator {number} is none that qir knows")
    return names[number]


def _refuse_unknown(model: dict, graphs: list[dict]) -> None:
    """QirError with every operator that has no op here, each with the tensor that it makes."""
    lines = []
    for graph in graphs:
        for operator in graph["operators"] or ():
            name = operator_name(model, operator)
            if f"tfl.{name.lower()}" not in BUILTINS:
                lines.append(f"  {name}, which makes '{_made(graph, operator)}'")
    if lines:
        raise QirError(f"{len(lines)} operators cannot be read:\n" + "\n".join(lines))


def _made(graph: dict, operator: dict) -> str:
    outputs = operator["outputs"]
    if outputs is None or not outputs.size:
        return "nothing"
    tensor = _entry(graph["tensors"] or [], int(outputs[0]), "tensors")
    return tensor["name"] or f"tensor {outputs[0]}"


def _entry(entries, index: int, what: str):
    if not 0 <= index < len(entries):
        raise damaged(f"it refers to entry {index} of {len(entries)} {what}")
    return entries[index]


class _Graph:
    """One graph of a file on its way to a function: its tensors and the values made so far."""

    def __init__(self, model: dict, graph: dict):
        self.model, self.graph = model, graph
        self.tensors = graph["tensors"] or []
        self.values: dict[int, Op] = {}
        self.types: dict[int, Type] = {}

    def func(self, name: str, signature: dict | None) -> Func:
        inputs, outputs = ([int(i) for i in _listed(self.graph[key])]
                           for key in ("inputs", "outputs"))  # fmt: skip
        given = dict(self.signed(signature, "inputs"))
        names = _distinct([given.get(i) or self.name(i) for i in inputs])
        for index, text in zip(inputs, names, strict=True):
            self.values[index] = parameter(text, self.type(index), (self.name(index),))
        parameters = tuple(self.values[i] for i in inputs)
        for operator in self.graph["operators"] or ():
            self.add(operator)
        made = dict(self.signed(signature, "outputs"))
        results = _distinct([made.get(i) or self.name(i) for i in outputs])
        return Func(name, parameters, tuple(self.value(i) for i in outputs), tuple(results))

    def signed(self, signature: dict | None, key: str) -> Iterator[tuple[int, str]]:
        for entry in (signature or {}).get(key) or ():
            yield entry["tensor_index"], entry["name"]

    def name(self, index: int) -> str:
        return _entry(self.tensors, index, "tensors")["name"] or f"tensor_{index}"

    def type(self, index: int) -> Type:
        if index not in self.types:
            tensor = _entry(self.tensors, index, "tensors")
            try:
                self.types[index] = tensors.type_of(tensor)
            except QirError as error:
                raise self.refused(index, error.message) from None
        return self.types[index]

    def refused(self, index: int, reason: str) -> QirError:
        return QirError(f"the tensor '{self.name(index)}' cannot be read: {reason}")

    def value(self, index: int) -> Op:
        """The value of a tensor: what an operator made, else the constant in its buffer."""
        if index not in self.values:
            self.values[index] = self.const(index)
        return self.values[index]

    def const(self, index: int) -> Op:
        type, tensor = self.type(index), self.tensors[index]
        data = self.buffer(tensor)
        if data is None and tensor["is_variable"]:  # as it is before the first call
            if prod(n or 1 for n in type.shape) > LARGEST:  # numpy has none of [0, 2**60] either
                raise self.refused(index, f"a variable {type}, of {LARGEST} elements at most")
            zero = np.broadcast_to(type.zero.astype(type.dtype.numpy), type.shape)
            return const(zero, type, self.name(index), (self.name(index),))
        if data is None and type.size:
            raise self.refused(index, "an operator reads it before any makes it")
        try:
            array = tensors.array_of(type, data if data is not None else np.zeros(0, np.uint8))
        except QirError as error:
            raise self.refused(index, error.message) from None
        return const(array, type, self.name(index), (self.name(index),))

    def buffer(self, tensor: dict) -> np.ndarray | None:
        if tensor["external_buffer"]:
            raise QirError(f"the tensor '{tensor['name']}' lies in another file, expected all "
                           "constants in this one")  # fmt: skip
        buffer = _entry(self.model["buffers"] or [], tensor["buffer"], "buffers")
        if buffer["offset"] > 1:
            raise QirError("buffers behind the flatbuffer, as files above 2 GiB have, are not read")
        return buffer["data"] if tensor["buffer"] else None

    def add(self, operator: dict) -> None:
        """Build the op of an operator, and enter its results."""
        known = BUILTINS[f"tfl.{operator_name(self.model, operator).lower()}"]
        outputs = [int(i) for i in _listed(operator["outputs"])]
        place = self.name(outputs[0]) if outputs else None
        try:
            operands, attributes = self.operands(known, operator)
            attributes = _options(known, operator["builtin_options"]) | attributes
            attributes |= self.intermediates(known, operator)
            if "to" in known.definition.attributes and outputs:
                attributes["to"] = self.stated(operands, self.type(outputs[0]).element)
            op = known.definition.build(tuple(operands), attributes, location=(place,))
        except (Declined, QirError) as error:
            message = error.message if isinstance(error, QirError) else str(error)
            raise QirError(f"{known.operator}: {message}", at=place) from None
        self.enter(op, outputs, known.operator)

    def intermediates(self, known: Builtin, operator: dict) -> dict:
        """The elements of what a kernel keeps, under the names of the attributes they are."""
        found = zip(known.intermediates, _listed(operator["intermediates"]), strict=False)
        return {name: self.type(int(index)).element for name, index in found if index >= 0}

    def stated(self, operands: list[Op], element: Element) -> Element | None:
        same = bool(operands) and operands[0].type.element == element
        return None if same else element

    def operands(self, known: Builtin, operator: dict) -> tuple[list[Op], dict]:
        indices = [int(i) for i in _listed(operator["inputs"])]
        slots = list(known.slots)
        if slots and slots[-1].startswith("*"):
            slots[-1:] = [slots[-1]] * max(0, len(indices) - len(slots) + 1)
        if len(indices) > len(slots):
            raise QirError(f"takes {len(slots)} inputs, found {len(indices)}")
        attributes: dict[str, object] = {}
        by_name: dict[str, list[Op]] = {}
        present = []
        for number, (slot, index) in enumerate(zip(slots, indices, strict=False)):
            if index < 0:  # left out
                continue
            if slot in known.definition.attributes:
                attributes[slot] = self.numbers(index, known.definition.attributes[slot][0])
            else:
                by_name.setdefault(slot, []).append(self.value(index))
                present.append(number)
        if "present" in known.definition.attributes:
            attributes["present"] = tuple(present)
        names = (*known.definition.required, *known.definition.optional)
        names = (*names, f"*{known.definition.variadic}")
        return [op for name in names for op in by_name.get(name, ())], attributes

    def numbers(self, index: int, kind):
        """A constant tensor as the attribute that stands for it."""
        found = known(self.value(index))
        if found is None:
            raise QirError(f"reads '{self.name(index)}', which is computed from an input; qir "
                           "takes constants there")  # fmt: skip
        flat = found.ravel().tolist()
        if kind == Ints or len(flat) != 1:
            return tuple(flat)
        return flat[0]

    def enter(self, op: Op, outputs: list[int], operator: str) -> None:
        several = isinstance(op.type, TupleType)
        types = op.type.items if several else (op.type,)
        if len(outputs) != len(types):
            raise QirError(f"{operator}: has {len(types)} results, the file {len(outputs)}",
                           at=op.location[0])  # fmt: skip
        for i, (index, type) in enumerate(zip(outputs, types, strict=True)):
            stated, unknown = self.type(index), self.unknown(index)
            alike = stated.element == type.element and (unknown or stated.shape == type.shape)
            if not alike:
                raise QirError(f"{operator}: gives {type}, the file says {stated}",
                               at=self.name(index))  # fmt: skip
            self.values[index] = item(op, i) if several else op

    def unknown(self, index: int) -> bool:
        """Whether a file leaves the shape of a tensor to the runtime."""
        tensor = self.tensors[index]
        signature = tensor["shape_signature"]
        if signature is not None and (signature < 0).any():
            return True
        return tensor["shape"] is None or not tensor["shape"].size


def known(op: Op) -> np.ndarray | None:
    """The plain integers of a value that no input takes part in; converters compute shapes so."""
    if op.is_const:
        return op.value
    if op.kind == "item":
        found = known(op.operands[0])
        return None if found is None else found[op.attributes["index"]]
    types = op.type.items if isinstance(op.type, TupleType) else (op.type,)
    if op.kind == "parameter" or any(t.dtype.kind != "int" or t.size > MOST for t in types):
        return None
    if op.kind == "tfl.shape":  # of any value: types are static
        return np.array(op.operands[0].shape, op.dtype.numpy)
    given = [known(operand) for operand in op.operands]
    if any(each is None for each in given):
        return None
    return meaning(op, "tflite_reference", given)


def _options(known: Builtin, union) -> dict:
    """The options of an operator that the op has attributes for; others must have no effect."""
    if union is None:
        return {}
    table, options = union
    if table != known.options:
        raise QirError(f"has {table}, expected {known.options}")
    found = {}
    for name, value in options.items():
        if name in known.definition.attributes:
            kind, _ = known.definition.attributes[name]
            found |= {name: coerce(_plain(value), kind)} if value is not None else {}
        elif not _is_default(table, name, value):
            raise QirError(f"the option {name} is {value}, which qir does not know")
    return found


def _plain(value):
    return tuple(value.tolist()) if isinstance(value, np.ndarray) else value


def _is_default(table: str, name: str, value) -> bool:
    from .schema import schema

    default = next(f.default for f in schema().tables[table] if f.name == name)
    return value is None or value == default


def _listed(vector) -> np.ndarray:
    return vector if vector is not None else np.zeros(0, np.int32)


def _distinct(names: list[str]) -> list[str]:
    """Names with a number behind those that come again."""
    found: list[str] = []
    for name in names:
        fresh, n = name, 1
        while fresh in found:
            fresh, n = f"{name}_{n}", n + 1
        found.append(fresh)
    return found


