"""From records to graphs: values are looked up, ops built and typed, types compared."""

import math
import zlib
from dataclasses import replace

import numpy as np

from ..attributes import Call
from ..dialect import definition
from ..errors import QirError, require
from ..garbage import paused
from ..ir import OPS, Func, Module, Op, Resource, const, item, parameter
from ..types import LARGEST, Element, Grid, TupleType, Type, dtype
from .scan import scan_module
from .syntax import (
    CallText,
    FuncText,
    GridText,
    MappingText,
    OpText,
    Ref,
    Source,
    TypeText,
    depth_checked,
    parse_module,
)
from .weights import open_weights, unpacked_as

WRITTEN = 2**24
"""Elements of the largest constant that a text makes of a number or of the word `random`."""


@paused()
def read_module(text: str, file: str = "<text>", first_line: int = 1, lines=False,
                names: dict[Op, str] | None = None) -> Module:  # fmt: skip
    """The module a text holds; a weights file it names, if not inside it, is beside `file`.

    lines: what has no location gets the one of its line, `file:3`. names: a dict to enter the
    values' names in the text into, `%x`. Raises QirError with file, line, column and a caret.
    """
    source = Source(text, file, first_line)
    with depth_checked(file):
        calls, functions = scan_module(source) or parse_module(source)
        return _module(calls, functions, source, lines, names)


def _module(calls, functions, source: Source, lines: bool, names) -> Module:
    weights, headers = _headers(calls, source)
    if lines:
        functions = tuple(_at_lines(record, source) for record in functions)
    resources = open_weights(weights, source.file) if weights else {}
    found: dict[str, Func] = {}
    for record in functions:
        if record.name in found:
            raise QirError(f"@{record.name} is defined twice", at=source.place(record.offset))
        reader = _Reader(source, resources)
        found[record.name] = reader.func(record)
        if names is not None:
            names.update((op, f"%{name}") for name, op in reversed(reader.values.items()))
    return Module(tuple(found.values()), headers)


def _headers(calls: tuple[CallText, ...], source: Source):
    """The weights file that a text names, and its other headers by name."""
    weights, found = None, {}
    for call in calls:
        at = source.place(call.offset, len(call.name))
        if call.name in found:
            raise QirError(f"the header {call.name}(...) stands here twice", at=at)
        if call.repeated:
            raise QirError(f"'{call.repeated}' is given twice", at=at)
        if call.name == "weights":
            named = len(call.args) == 1 and isinstance(call.args[0], str) and not call.kwargs
            if not named or "\0" in call.args[0]:
                raise QirError('weights are written weights("file.safetensors")', at=at)
            weights = str(call.args[0])
        elif call.args:
            raise QirError(f"the arguments of {call.name} are given by name", at=at)
        found[call.name] = {key: read_value(v, source) for key, v in call.kwargs.items()}
    found.pop("weights", None)
    return weights, found


def _at_lines(record: FuncText, source: Source) -> FuncText:
    """The function with its own lines as the locations of what has none."""

    def line(offset: int) -> tuple[str]:
        return (f"{source.file}:{source.place(offset).line}",)

    parameters = tuple((name, type, location or line(type.offset))
                       for name, type, location in record.parameters)  # fmt: skip
    ops = tuple(replace(op, location=op.location or line(op.offset)) for op in record.ops)
    return replace(record, parameters=parameters, ops=ops)


def read_value(value, source: Source, resources=None):
    """An attribute or option value: words to str, lists to tuples, types and calls elaborated."""
    return _Reader(source, resources or {}).value(value)


class _Reader:
    """The names in scope while one function is read."""

    def __init__(self, source: Source, resources):
        self.source, self.resources = source, resources
        self.values: dict[str, Op] = {}
        self.types: dict[str, Type] = {}  # by their texts
        self.known: dict[tuple, tuple] = {}  # attributes and type by form and operand types
        self.arrays: dict[str, np.ndarray] = {}  # of constants by form
        self.func_name = ""

    def fail(self, message: str, offset: int, width: int = 1, help: str | None = None):
        raise QirError(message, at=self.source.place(offset, width), help=help)

    def func(self, record: FuncText) -> Func:
        self.func_name = record.name
        parameters = []
        for name, type, location in record.parameters:
            node = parameter(name, self.type(type), location)
            self.define(name, node, type.offset)
            parameters.append(node)
        for op in record.ops:
            self.define(op.target, self.op(op), op.offset)
        results = tuple(self.lookup(ref) for ref in record.results)
        names = self.declared(record, results)
        return Func(record.name, tuple(parameters), results, names)

    def declared(self, record: FuncText, results) -> tuple[str, ...]:
        if record.declared is None:
            return ()
        if len(record.declared) != len(results):
            self.fail(f"@{record.name} declares {len(record.declared)} results and returns "
                      f"{len(results)}", record.offset)  # fmt: skip
        for (_, type), result in zip(record.declared, results, strict=True):
            if self.type(type) != result.type:
                self.fail(f"the result is declared {self.type(type)} and is {result.type}",
                          type.offset)  # fmt: skip
        names = tuple(name or "" for name, _ in record.declared)
        return names if any(names) else ()

    def define(self, name: str, node: Op, offset: int) -> None:
        if name in self.values:
            self.fail(f"%{name} is defined twice", offset, len(name) + 1)
        self.values[name] = node

    def lookup(self, ref) -> Op:
        if not isinstance(ref, Ref) or ref.mark != "%":
            self.fail(f"expected a value such as %x, found {ref!r}", getattr(ref, "offset", 0))
        if ref.name not in self.values:
            self.fail(f"%{ref.name} is not defined here", ref.offset, len(ref.name) + 1,
                      help="a value must stand above its first use")  # fmt: skip
        return self.values[ref.name]

    def op(self, record: OpText) -> Op:
        """The op of a record; of those of one form, on operands of equal types, one is built."""
        operands = [None]
        if record.form:
            operands = [self.values.get(ref.name) for ref in record.call.args]
        if None in operands:  # unknown values too: they are told where other mistakes are
            return self.checked(record)
        key = (record.form, *[id(o.type) for o in operands])
        if key not in self.known:
            node = self.checked(record)
            if node.kind not in OPS:
                return node
            self.known[key] = node.attributes, self.types[record.type.text]
        attributes, type = self.known[key]
        return Op(record.call.name, tuple(operands), attributes, type, record.location)

    def checked(self, record: OpText) -> Op:
        call = record.call
        if call.repeated:
            self.fail(f"'{call.repeated}' is given twice", call.keyword_offsets[call.repeated])
        node = self.build(record)
        written = record.type
        if written is not None and call.name != "const":
            expected = self.any_type(written)
            if expected != node.type:
                offset = written.offset if isinstance(written, TypeText) else record.offset
                self.fail(f"{call.name} gives {node.type}, written is {expected}", offset)
        return node

    def build(self, record: OpText) -> Op:
        call = record.call
        if call.name == "const":
            return self.const(record)
        if call.name == "item":
            return self.item(call)
        if call.name not in OPS:
            try:
                definition(call.name)
            except QirError as error:
                self.fail(error.message, call.offset, len(call.name), error.help)
        operands = tuple(self.lookup(a) for a in call.args)
        attributes = {key: self.value(v) for key, v in call.kwargs.items()}
        try:
            return OPS[call.name].build(operands, attributes, location=record.location)
        except QirError as error:
            wrong = next((k for k in call.kwargs if f"'{k}'" in error.message), None)
            if wrong is None:
                return self.fail(error.message, call.offset, len(call.name), error.help)
            message, _, help = error.message.partition("; ")
            return self.fail(message, call.keyword_offsets[wrong], len(wrong), help or error.help)

    def item(self, call: CallText) -> Op:
        index = call.kwargs.get("index")
        if len(call.args) != 1 or set(call.kwargs) != {"index"} or type(index) is not int:
            self.fail("one of several results is written item(%t, index=0)", call.offset, 4)
        try:
            return item(self.lookup(call.args[0]), index)
        except QirError as error:
            return self.fail(error.message, call.offset, 4, error.help)

    def const(self, record: OpText) -> Op:
        call = record.call
        value = call.kwargs.get("value")
        if value is None or call.args or call.kwargs.keys() - {"value", "trained"}:
            self.fail("a constant is written const(value=...)", call.offset)
        if record.type is None:
            self.fail("a constant needs its type", call.offset, len(call.name))
        type = self.type(record.type)
        trained = self.trained(call, type)
        try:
            if isinstance(value, Ref):
                held = unpacked_as(type, self.resource(value))
                return const(held, type, None, record.location, trained)
            array = self.arrays.get(record.form)
            if array is None:
                array = self.array(value, type, record.target)
            node = const(array, type, record.target, record.location, trained)
        except (ValueError, TypeError, OverflowError) as error:
            return self.fail(f"no constant of {type}: {error}", call.offset, len(call.name))
        if record.form and value != "random":  # that one depends on the name
            self.arrays[record.form] = node.value
        return node

    def trained(self, call: CallText, type: Type) -> Element | None:
        """The grid that training rounded a constant to."""
        if "trained" not in call.kwargs:
            return None
        element, offset = self.value(call.kwargs["trained"]), call.keyword_offsets["trained"]
        grid = element.grid if isinstance(element, Element) else None
        fits = grid is not None and not grid.dynamic and grid.block is None and type.is_float
        if not fits or element.dtype.kind != "int":
            self.fail("'trained' is the grid of reals, such as i8<0.05:0>", offset, len("trained"))
        if grid.axis is not None and [*type.shape[grid.axis :]][:1] != [grid.scale.size]:
            self.fail(f"{type} takes no {grid.scale.size} scales along axis {grid.axis}", offset,
                      len("trained"))  # fmt: skip
        return element

    def array(self, value, type: Type, name: str) -> np.ndarray:
        if type.size > WRITTEN:
            raise ValueError(f"of more than {WRITTEN:,} elements, it belongs in a weights file")
        if str(value) == "random":
            return random_array(type, f"{self.func_name}.{name}")
        array = np.asarray(value)
        if array.ndim == 0:
            array = np.broadcast_to(array, type.shape)
        if array.size == 0:
            array = array.reshape(type.shape)
        if array.dtype.kind not in "biuf" or array.shape != type.shape:
            raise ValueError(f"found {value!r}")
        if type.dtype.kind == "int" and array.size:
            low, high = array.min(), array.max()
            if array.dtype.kind == "f" or low < type.dtype.lo or high > type.dtype.hi:
                raise ValueError(f"a value does not fit in {type.dtype}")
        return array.astype(type.dtype.numpy)

    def resource(self, ref: Ref) -> Resource:
        if ref.mark != "#":
            self.fail(f"expected a resource such as #w, found {ref.mark}{ref.name}", ref.offset)
        if ref.name not in self.resources:
            self.fail(f"no resource #{ref.name}", ref.offset, len(ref.name) + 1,
                      help="the text's weights(...) line names the file that holds it")  # fmt: skip
        return self.resources[ref.name]

    def value(self, value):
        if isinstance(value, str):
            return str(value)
        if isinstance(value, list):
            return tuple(self.value(v) for v in value)
        if isinstance(value, MappingText):
            if value.repeated:
                self.fail(f"'{value.repeated}' is given twice", value.offset)
            return {key: self.value(v) for key, v in value.entries.items()}
        if isinstance(value, TypeText):
            return self.type_part(value)
        if isinstance(value, CallText):
            kwargs = {key: self.value(v) for key, v in value.kwargs.items()}
            return Call(value.name, tuple(self.value(v) for v in value.args), kwargs)
        if isinstance(value, Ref) and value.mark == "#":
            return self.resource(value).array
        if isinstance(value, Ref) and value.mark == "@":
            return value.name
        if isinstance(value, Ref):
            return self.fail(f"{value.mark}{value.name} cannot stand here", value.offset)
        return value

    def type_part(self, record: TypeText) -> Element:
        try:
            return Element(dtype(record.dtype), self.grid(record.grid))
        except QirError as error:
            return self.fail(error.message, record.offset, len(record.dtype), error.help)

    def type(self, record) -> Type:
        if not isinstance(record, TypeText):
            raise QirError("expected one tensor type, found several", at=self.source.file)
        if record.text is None:
            return self.new_type(record)
        if record.text not in self.types:
            self.types[record.text] = self.new_type(record)
        return self.types[record.text]

    def new_type(self, record: TypeText) -> Type:
        element = self.type_part(record)
        if not all(isinstance(n, int) and n >= 0 for n in record.shape):
            self.fail(f"{list(record.shape)} is no shape", record.offset)
        if math.prod(record.shape) > LARGEST or max(record.shape, default=0) > LARGEST:
            self.fail(f"a tensor of {list(record.shape)} has more than {LARGEST:,} elements",
                      record.offset)  # fmt: skip
        self.check_grid(element.grid, record)
        return element[record.shape]

    def check_grid(self, grid: Grid | None, record: TypeText) -> None:
        if grid is None or grid.axis is None:
            return
        if not grid.axis < len(record.shape):
            self.fail(f"a grid along axis {grid.axis} of a rank {len(record.shape)} tensor",
                      record.offset)  # fmt: skip
        extent = record.shape[grid.axis] // (grid.block or 1)
        along = grid.scale.shape[grid.axis if grid.block else 0]
        if along != extent:
            self.fail(f"{along} scales along an axis of {extent}", record.offset)

    def any_type(self, record) -> Type | TupleType:
        if isinstance(record, tuple):
            return TupleType(tuple(self.type(r) for r in record))
        return self.type(record)

    def grid(self, record: GridText | None) -> Grid | None:
        if record is None:
            return None
        scale, zero = self.value(record.scale), self.value(record.zero)
        try:
            return Grid(scale, zero, record.axis, record.block, record.narrow, record.dynamic)
        except (ValueError, OverflowError) as error:
            raise QirError(f"no grid: {error}") from None


def random_array(type: Type, seed: str) -> np.ndarray:
    """An array a seed's text determines: normal for floats, all stored values for integers."""
    generator = np.random.default_rng(zlib.crc32(seed.encode()))
    if type.is_float:
        return generator.standard_normal(type.shape).astype(type.dtype.numpy)
    require(type.dtype.bits <= 64, "no random numbers that wide")
    low, high = type.lo, type.hi
    if type.dtype.bits > 16:
        low, high = max(low, -1000), 1000
    return generator.integers(low, high, type.shape, endpoint=True).astype(type.dtype.numpy)
