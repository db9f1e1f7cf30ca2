"""A module in MLIR's generic form, for mlir-opt and every other tool that reads MLIR.

Ops stand as `"nn.conv2d"(%x, %w) {strides = ...} : (types) -> type`; tools that do not know them
need --allow-unregistered-dialect. Every attribute is written, defaults too, since nobody but qir
knows them; one that is none is left out. MLIR has a `quant` dialect of its own: casts between f32
and a grid are its `quant.qcast` and `quant.dcast`, which mean the same, and qir's other ops of that
name are written `qir.observe`, `qir.stats` and so on. Constants are `qir.const`.
"""

import re
from collections.abc import Iterator
from itertools import count

from ..errors import QirError
from ..ir import Func, Module, Op, place_of
from ..types import Element, TupleType, Type
from .mlir_types import Aliases, attribute_text, dense, dictionary, element_text, quoted, type_text

_VALUE = re.compile(r"[A-Za-z_$.-][\w$.-]*\Z", re.ASCII)
_SYMBOL = re.compile(r"[A-Za-z_][\w$.]*\Z", re.ASCII)
_IN_LAYER = re.compile(r"(.*) \((.*):(\d{1,9})\)\Z", re.DOTALL)
_LINE = re.compile(r"(.*):(\d{1,9})\Z", re.DOTALL)

Names = dict[Op, list[str]]
"""The MLIR values of each op: one, or one for each of its results."""


def mlir_text(module: Module, suffix: str = "") -> str:
    """The module as MLIR's generic form.

    Types of more than 8 scales are named at the top. QirError for a grid on storage that MLIR's
    quantized types do not have.
    """
    aliases: Aliases = {}
    funcs = [_func(func, aliases) for func in module.funcs]
    named = [f"{name} = {text}\n" for text, name in aliases.items()]
    headers = {f"qir.{name}": values for name, values in module.headers.items()}
    attributes = f"attributes {attribute_text(headers, {})} " if headers else ""
    return "".join([*named, f"module {attributes}{{\n", *funcs, "}\n"])


def _func(func: Func, aliases: Aliases) -> str:
    names, number = _parameter_names(func), count()
    inputs = ", ".join(
        f"{names[p][0]}: {_type(p, p.type, aliases)} {{qir.name = {quoted(p.attributes['name'])}}}"
        f"{_location(p)}"
        for p in func.parameters
    )
    symbol = func.name if _SYMBOL.match(func.name) else quoted(func.name)
    results = ", ".join(_results(func, aliases))
    arrow = f" -> ({results})" if results else ""
    lines = [f"  func.func @{symbol}({inputs}){arrow} {{"]
    for op in func.ops:
        if op.kind == "item":
            names[op] = [names[op.operands[0]][op.attributes["index"]]]
        elif op.kind != "parameter":
            lines.append(f"    {_op(op, names, number, aliases)}")
    returned = ", ".join(name for r in func.results for name in names[r])
    types = ", ".join(_type(r, t, aliases) for r in func.results for t in _types(r))
    lines += [f"    return {returned} : {types}" if types else "    return", "  }", ""]
    return "\n".join(lines)


def _parameter_names(func: Func) -> Names:
    """The parameters under their own names, if MLIR takes all of them."""
    names = [p.attributes["name"] for p in func.parameters]
    if not all(map(_VALUE.match, names)):
        names = [f"arg{i}" for i in range(len(names))]
    return {p: [f"%{name}"] for p, name in zip(func.parameters, names, strict=True)}


def _results(func: Func, aliases: Aliases) -> list[str]:
    names = func.result_names or [""] * len(func.results)
    return [
        _type(r, type, aliases) + (f" {{qir.name = {quoted(name)}}}" if name else "")
        for name, r in zip(names, func.results, strict=True)
        for type in _types(r)
    ]


def _op(op: Op, names: Names, number: Iterator[int], aliases: Aliases) -> str:
    """One op as a line; enters its values into `names`."""
    types, name = _types(op), f"%{next(number)}"
    several = isinstance(op.type, TupleType)
    names[op] = [f"{name}#{i}" for i in range(len(types))] if several else [name]
    made = (f"{name}:{len(types)} = " if several else f"{name} = ") if types else ""
    operands = [name for o in op.operands for name in names[o]]
    taken = ", ".join(_type(o, t, aliases) for o in op.operands for t in _types(o))
    given = ", ".join(_type(op, t, aliases) for t in types)
    given = f"({given})" if len(types) != 1 else given
    attributes = _attributes(op, aliases)
    attributes = f" {attributes}" if attributes != "{}" else ""
    call = f'"{_name(op)}"({", ".join(operands)}){attributes}'
    return f"{made}{call} : ({taken}) -> {given}{_location(op)}"


def _name(op: Op) -> str:
    """The op's name in MLIR."""
    if op.is_const:
        return "qir.const"
    if op.kind == "quant.quantize" and op.operands[0].dtype.name == "f32":
        return "quant.qcast"
    if op.kind == "quant.dequantize":
        return "quant.dcast"
    return re.sub(r"^quant\.", "qir.", op.kind)


def _attributes(op: Op, aliases: Aliases) -> str:
    if not op.is_const:
        shown = dict(op.attributes)
        if _name(op) == "quant.qcast":
            del shown["to"]  # the result's type says it
        return dictionary(shown, aliases)
    storage = element_text(Element(op.dtype), aliases)
    name = op.attributes["name"]
    named = f"name = {quoted(name)}, " if name else ""
    return f"{{{named}value = {dense(op.value, storage)}}}"


def _types(op: Op) -> tuple[Type, ...]:
    return op.type.items if isinstance(op.type, TupleType) else (op.type,)


def _type(op: Op, type: Type, aliases: Aliases) -> str:
    try:
        return type_text(type, aliases)
    except QirError as error:
        raise QirError(error.message, at=place_of(op), help=error.help) from None


def _location(op: Op) -> str:
    if not op.location:
        return ""
    places = [_place(text) for text in op.location]
    return f" loc({places[0]})" if len(places) == 1 else f" loc(fused[{', '.join(places)}])"


def _place(text: str) -> str:
    """`layer (file:12)` as a name at a line, `file:12` as the line, all else as a name."""
    layer, line = _IN_LAYER.match(text), _LINE.match(text)
    if layer is not None:
        return f"{quoted(layer[1])}({quoted(layer[2])}:{layer[3]}:0)"
    return f"{quoted(line[1])}:{line[2]}:0" if line is not None else quoted(text)
