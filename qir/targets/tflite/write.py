"""Writing `.tflite` files: every op of the tfl dialect becomes the operator of its name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from qir.dialects.tfl.dialect import BUILTINS, PAIRED, Builtin

from ... import __version__
from ...errors import QirError
from ...ir import Func, Module, Op, item, place_of
from ...types import TupleType, Type, tensor
from . import tensors
from .pack import pack
from .schema import schema
from .versions import minimum_runtime, version_of

SIGNATURE = "serving_default"


def written(module: Module, suffix: str = "") -> bytes:
    """A module of tfl ops as the bytes of a `.tflite` file; QirError names what is no such op."""
    file = _File()
    graphs = [_graph(file, func) for func in module.funcs]
    signatures = [_signature(func, graph, i) for i, (func, graph) in
                  enumerate(zip(module.funcs, graphs, strict=True))]  # fmt: skip
    runtime = minimum_runtime(file.codes)
    metadata = [{"name": "min_runtime_version",
                 "buffer": file.buffer(runtime.encode().ljust(16, b"\0"))}]  # fmt: skip
    return pack({
        "version": 3, "description": description(module), "operator_codes": file.operator_codes(),
        "subgraphs": graphs, "buffers": file.buffers, "metadata": metadata,
        "signature_defs": signatures,
    })  # fmt: skip


def description(module: Module) -> str:
    """What made the model: qir's version and the pipeline."""
    pipeline = module.headers.get("origin", {}).get("pipeline")
    return f"qir {__version__}" + (f": {pipeline}" if pipeline else "")


@dataclass(eq=False)
class _File:
    """What all graphs of a file share: its buffers, and its operators with their versions."""

    buffers: list[dict] = field(default_factory=lambda: [{}])
    known: dict[bytes, int] = field(default_factory=dict)
    codes: dict[tuple[str, int], int] = field(default_factory=dict)

    def buffer(self, data: bytes) -> int:
        """The buffer that holds these bytes; equal ones are stored once."""
        if not data:
            return 0
        if data not in self.known:
            self.known[data] = len(self.buffers)
            self.buffers.append({"data": np.frombuffer(data, np.uint8)})
        return self.known[data]

    def code(self, operator: str, version: int) -> int:
        return self.codes.setdefault((operator, version), len(self.codes))

    def operator_codes(self) -> list[dict]:
        numbers = {name: n for n, name in schema().enums["BuiltinOperator"].names.items()}
        return [{"builtin_code": name, "version": version,
                 "deprecated_builtin_code": min(numbers[name], 127)}
                for name, version in self.codes]  # fmt: skip


@dataclass(eq=False)
class _Tensors:
    """The tensors of a graph: which one each value is, and their names."""

    file: _File
    rows: list[dict] = field(default_factory=list)
    of: dict[Op, int] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    numbers: dict[tuple, int] = field(default_factory=dict)
    constants: dict[tuple[Type, bytes], int] = field(default_factory=dict)

    def add(self, type: Type, name: str, data: bytes | None = None, **more) -> int:
        fresh, n = name, 1
        while fresh in self.names:
            fresh, n = f"{name}_{n}", n + 1
        self.names.add(fresh)
        buffer = self.file.buffer(data) if data is not None else 0
        self.rows.append({
            "shape": np.array(type.shape, np.int32), "type": tensors.NAMED[type.dtype.name],
            "buffer": buffer, "name": fresh, "quantization": tensors.quantization_of(type),
            "has_rank": True, **more,
        })  # fmt: skip
        return len(self.rows) - 1

    def value(self, op: Op) -> int:
        """The tensor of a value; that of a constant is made when it is first asked for.

        Equal constants are one tensor: a scale and a zero point a channel cost more than a small
        weight, and a cell that is written out has its weights in every step.
        """
        if op not in self.of:
            data = tensors.bytes_of(op.type, op.value)
            if (op.type, data) not in self.constants:
                name = op.attributes["name"] or (op.location[-1] if op.location else "const")
                self.constants[op.type, data] = self.add(op.type, name, data)
            self.of[op] = self.constants[op.type, data]
        return self.of[op]

    def variable(self, op: Op) -> int:
        """The tensor of a state, which the runtime sets to zero before the first call."""
        name = op.attributes["name"] or "state"
        if not op.is_const or (op.value != op.type.zero).any():
            raise QirError(f"the state '{name}' does not start at zero, as a variable does",
                           at=place_of(op))  # fmt: skip
        return self.add(op.type, name, None, is_variable=True)

    def constant(self, value, name: str) -> int:
        """An attribute as the tensor of i32 that an operator reads it from."""
        array = np.asarray(value, np.int32)
        array = array.reshape(-1, 2) if name in PAIRED else array
        key = (array.shape, array.tobytes())
        if key not in self.numbers:
            type = tensor("i32", array.shape)
            self.numbers[key] = self.add(type, name, array.tobytes())
        return self.numbers[key]


def _graph(file: _File, func: Func) -> dict:
    table = _Tensors(file)
    for each in func.parameters:
        table.of[each] = table.add(each.type, each.attributes["name"])
    operators = [_operator(table, op) for op in func.ops
                 if op.kind not in ("parameter", "const", "item")]  # fmt: skip
    return {
        "tensors": table.rows, "name": func.name, "operators": operators,
        "inputs": np.array([table.of[p] for p in func.parameters], np.int32),
        "outputs": np.array([table.value(r) for r in func.results], np.int32),
    }  # fmt: skip


def _operator(table: _Tensors, op: Op) -> dict:
    known = BUILTINS.get(op.kind)
    if known is None:
        raise QirError(f"{op.kind} is no operator of TensorFlow Lite", at=place_of(op),
                       help="a graph of tfl ops is what a .tflite file holds")  # fmt: skip
    inputs = np.array(_inputs(table, known, op), np.int32)
    several = isinstance(op.type, TupleType)
    results = [item(op, i) for i in range(len(op.type.items))] if several else [op]
    name = op.location[0] if op.location else known.operator.lower()
    for each in results:
        table.of[each] = table.add(each.type, name)
    return {
        "opcode_index": table.file.code(known.operator, version_of(op)), "inputs": inputs,
        "outputs": np.array([table.of[each] for each in results], np.int32),
        "builtin_options": _options(known, op), "intermediates": _intermediates(table, known, op),
    }  # fmt: skip


def _intermediates(table: _Tensors, known: Builtin, op: Op) -> np.ndarray | None:
    """Tensors that only say on which grid a kernel keeps something."""
    elements = [op.attributes[name] for name in known.intermediates]
    if not any(elements):
        return None
    return np.array([table.add(element[()], name) if element else -1 for element, name
                     in zip(elements, known.intermediates, strict=True)], np.int32)  # fmt: skip


def _inputs(table: _Tensors, known: Builtin, op: Op) -> list[int]:
    names = (*known.definition.required, *known.definition.optional)
    operands = dict(zip(names, op.operands, strict=False))
    indices: list[int] = []
    for number, slot in enumerate(known.slots):
        if slot.startswith("*"):
            indices += _variadic(table, known, op, op.operands[len(names) :])
        elif slot in operands:
            value = table.variable if number in known.variables else table.value
            indices.append(value(operands[slot]))
        elif op.attributes.get(slot) is not None:
            indices.append(table.constant(op.attributes[slot], slot))
        else:
            indices.append(-1)
    while indices and indices[-1] == -1:
        indices.pop()
    return indices


def _variadic(table: _Tensors, known: Builtin, op: Op, operands) -> list[int]:
    """The operands in a row, or each at the input that `present` says, -1 at the others."""
    places = op.attributes.get("present", range(len(operands)))
    found = [-1] * (max(places, default=-1) + 1)
    for number, operand in zip(places, operands, strict=True):
        value = table.variable if number in known.variables else table.value
        found[number] = value(operand)
    return found


def _options(known: Builtin, op: Op) -> tuple[str, dict] | None:
    if known.options is None:
        return None
    names = {field.name: field for field in schema().tables[known.options]}
    values: Mapping = {name: _stored(names[name], value) for name, value in op.attributes.items()
                       if name in names and value is not None}  # fmt: skip
    return known.options, dict(values)


def _stored(field, value):
    return np.array(value, np.int32) if field.vector else value


def _signature(func: Func, graph: dict, index: int) -> dict:
    inputs = [p.attributes["name"] for p in func.parameters]
    names = func.result_names or ("",) * len(func.results)
    outputs = [name or f"output_{i}" for i, name in enumerate(names)]
    maps = ([{"name": name, "tensor_index": int(t)} for name, t in zip(ns, graph[key], strict=True)]
            for ns, key in ((inputs, "inputs"), (outputs, "outputs")))  # fmt: skip
    given, made = maps
    key = SIGNATURE if index == 0 else func.name
    return {"inputs": given, "outputs": made, "signature_key": key, "subgraph_index": index}
