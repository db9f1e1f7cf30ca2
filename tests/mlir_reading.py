"""MLIR texts read by other people's parsers and compared with the graphs they were written from."""

import re

import numpy as np
from jaxlib.mlir import ir, passmanager
from jaxlib.mlir.dialects import stablehlo
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, StringAttr
from xdsl.dialects.func import Func as XdslFunc
from xdsl.parser import Parser

from qir.ir import Func, Module
from qir.rounding import make_rescale
from qir.types import DYNAMIC, Element, Grid, TupleType, Type, dtype

_QUANT = re.compile(r"!quant\.(?P<what>uniform|any)<(?P<storage>[iu]\d+)(<(?P<lo>-?\d+):\d+>)?"
                    r":f32(:(?P<axes>\d+|\{[^}]*\}))?(, (?P<numbers>.*))?>$")  # fmt: skip
_RENAMED = {"quant.qcast": "quant.quantize", "quant.dcast": "quant.dequantize",
            "qir.const": "const"}  # fmt: skip
_SIGNS = {"ui8": "u8", "ui16": "u16", "ui32": "u32", "i1": "bool"}


def mlir_context() -> ir.Context:
    """A context whose quant dialect is loaded: types and casts of it are parsed and verified.

    jaxlib registers it nowhere, but a pass of StableHLO needs it, and running that loads it.
    """
    context = ir.Context()
    context.allow_unregistered_dialects = True
    stablehlo.register_dialect(context)
    stablehlo.register_stablehlo_passes()
    with context, ir.Location.unknown():
        empty = ir.Module.parse("module {}")
        passmanager.PassManager.parse("builtin.module(vhlo-legalize-to-stablehlo)").run(
            empty.operation
        )
        context.dialects["quant"]  # an error if it is not there
    return context


def read_by_mlir(text: str, context: ir.Context) -> ir.Module:
    """The module, parsed and verified by MLIR itself."""
    with context:
        module = ir.Module.parse(text)
        assert module.operation.verify()
    return module


def read_by_xdsl(text: str):
    """The module, parsed and verified by xDSL."""
    context = Context(allow_unregistered=True)
    context.load_dialect(Builtin)
    context.load_dialect(XdslFunc)
    module = Parser(context, text).parse_module()
    module.verify()
    return module


def assert_same(module: Module, read: ir.Module) -> None:
    """What MLIR read is the module: functions, ops, operands, attributes, types, locations."""
    for func, found in zip(module.funcs, read.body.operations, strict=True):
        _assert_same_func(func, found)


def _assert_same_func(func: Func, found) -> None:
    assert found.attributes["sym_name"].value == func.name
    block = found.regions[0].blocks[0]
    values = dict(zip(func.parameters, ([a] for a in block.arguments), strict=True))
    names = [a["qir.name"].value for a in found.attributes["arg_attrs"]] if values else []
    assert names == [p.attributes["name"] for p in func.parameters]
    for p, (argument,) in values.items():
        assert read_type(argument.type) == p.type
    *body, end = (o.operation for o in block.operations)
    body = iter(body)
    for op in func.ops:
        if op.kind == "item":
            values[op] = [values[op.operands[0]][op.attributes["index"]]]
        elif op.kind != "parameter":
            there = next(body)
            _assert_same_op(op, there, [v for o in op.operands for v in values[o]])
            values[op] = list(there.results)
    assert next(body, None) is None and end.name == "func.return"
    assert list(end.operands) == [v for r in func.results for v in values[r]]


def _assert_same_op(op, there, operands) -> None:
    kind = _RENAMED.get(there.name, re.sub(r"^qir\.", "quant.", there.name))
    assert kind == op.kind
    assert list(there.operands) == operands
    types = op.type.items if isinstance(op.type, TupleType) else (op.type,)
    assert [read_type(r.type) for r in there.results] == list(types)
    found = {name: there.attributes[name] for name in there.attributes}
    if op.is_const:
        assert found["name"].value == op.attributes["name"] if op.attributes["name"] else True
        assert holds(found["value"], op.value)
    else:
        wanted = {k: v for k, v in op.attributes.items() if v is not None}
        if there.name == "quant.qcast":
            assert wanted.pop("to") == op.type.element
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            assert read_value(found[name]) == value, name
    if op.location:
        said = str(there.location)
        assert all(word in said for text in op.location for word in re.findall(r"\w+", text)), said


def read_type(type) -> Type:
    """A tensor type as qir has it."""
    return read_element(type.element_type)[tuple(type.shape)]


def read_element(type) -> Element:
    """An element type as qir has it, its grid read from MLIR's own print of it."""
    text = str(type)
    if not text.startswith("!quant"):
        return Element(dtype(_SIGNS.get(text, text)))
    found = _QUANT.match(text)
    storage = dtype(found["storage"])
    narrow = found["lo"] is not None and int(found["lo"]) == storage.lo + 1
    if found["what"] == "any":
        return Element(storage, DYNAMIC)
    numbers = re.sub(r"(0x[0-9A-F]+|-?[\d.]+(?:[eE][-+]?\d+)?)(:(-?\d+))?", _pair, found["numbers"])
    pairs = np.array(eval(numbers.replace("{", "[").replace("}", "]")), np.float64)
    axes = found["axes"] or ""
    blocks = dict(map(int, pair.split(":")) for pair in axes.strip("{}").split(", ") if ":" in pair)
    axis = next((a for a, size in blocks.items() if size > 1), None) if blocks else None
    axis = int(axes) if axes.isdigit() else axis
    zero = pairs[..., 1].astype(int)
    if blocks and storage.name[0] == "u":  # MLIR prints those of blocks as signed
        zero %= 2**storage.bits
    zero = zero.flat[0] if (zero == zero.flat[0]).all() else zero
    return Element(storage, Grid(pairs[..., 0], zero, axis, blocks.get(axis), narrow))


def _pair(found) -> str:
    scale = found[1]
    if scale.startswith("0x"):
        scale = repr(float(np.uint64(int(scale, 16)).view(np.float64)))
    return f"({scale}, {found[3] or 0})"


def read_value(attribute):
    """The value of an attribute as qir has it."""
    if isinstance(attribute, ir.DictAttr):
        pairs = (attribute[i] for i in range(len(attribute)))
        fields = {pair.name: read_value(pair.attr) for pair in pairs}
        return make_rescale(fields.pop("rounding"), **fields)
    if isinstance(attribute, ir.TypeAttr):
        return read_element(attribute.value)
    if isinstance(attribute, ir.ArrayAttr):
        return tuple(map(read_value, attribute))
    if isinstance(attribute, ir.DenseI64ArrayAttr):
        return tuple(attribute)
    if isinstance(attribute, (ir.DenseIntElementsAttr, ir.DenseFPElementsAttr)):
        return read_array(attribute)
    return attribute.value


def read_array(attribute) -> np.ndarray:
    """A dense attribute as an array, of any type but bf16 and integers of less than 8 bits."""
    return np.array(attribute).reshape(tuple(attribute.type.shape))


def holds(attribute, array: np.ndarray) -> bool:
    """Whether a dense attribute is this array, bit for bit."""
    kind, bits = str(attribute.type.element_type), np.ascontiguousarray(array).reshape(-1)
    if kind == "bf16":
        with attribute.context:
            halves = bits.view(np.uint16).reshape(array.shape)
            wanted = ir.DenseElementsAttr.get(halves, type=ir.BF16Type.get(), shape=array.shape)
        return attribute == wanted
    if kind in ("i2", "i4"):  # MLIR's bindings do not give these, its print does
        op = read_by_xdsl(f'"a.b"() {{v = {attribute}}} : () -> ()').body.block.first_op
        return list(op.attributes["v"].get_values()) == bits.tolist()
    found = np.ascontiguousarray(read_array(attribute)).reshape(-1)
    return found.dtype == bits.dtype and found.tobytes() == bits.tobytes()


def xdsl_ops(module) -> list[list[tuple[str, int, tuple]]]:
    """What xDSL read of each function: of each op its name, how many operands, result shapes."""
    found = []
    for func in module.body.block.ops:
        ops = []
        for op in func.body.block.ops:
            name = op.attributes.get("op_name__", StringAttr(op.name)).data
            shapes = tuple(r.type.get_shape() for r in op.results)
            ops.append((name, len(op.operands), shapes))
        found.append(ops)
    return found
