"""From graphs to text: what `read` reads back as the same graph."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import QirError
from ..ir import Func, Module, Op
from ..packing import is_packed, packed
from ..rounding import Rescale
from ..types import Element, Grid, TupleType, Type, grid_text
from .read import read_module
from .weights import encoded, sweep, weights_bytes, write_atomically

INLINE = 8
_WORD = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
_RESERVED = {"true", "false", "none", "inf", "nan", "narrow"}


def print_func(func: Func, locations: bool = False) -> str:
    """The text of a function; arrays of more than 8 elements are named, not shown."""
    return _Printer(locations).func(func)


def print_module(module: Module, locations: bool = False) -> str:
    """The text of a module, as `print_func` prints each function; without its headers."""
    printer = _Printer(locations)
    return "\n".join(printer.func(func) for func in module.funcs)


def value_names(func: Func) -> dict[Op, str]:
    """The name of every value as `print_func` has it: `%x` for a parameter, `%0` and on."""
    names, number = {p: f"%{p.attributes['name']}" for p in func.parameters}, 0
    taken = set(names.values())
    for op in func.ops:
        if op in names:
            continue
        while f"%{number}" in taken:
            number += 1
        names[op] = f"%{number}"
        number += 1
    return names


def op_printer(func: Func) -> Callable[[Op], str]:
    """What prints single ops of a function, by the names that they have in its text."""
    printer = _Printer(locations=False)
    printer.func(func)
    return printer.op


def header_text(name: str, fields: Mapping[str, object]) -> str:
    """A line that a text begins with: `origin(version="0.1.0")`."""
    printer = _Printer(locations=False)
    inside = ", ".join(f"{key}={printer.value(value)}" for key, value in fields.items())
    return f"{name}({inside})\n"


def save_module(module: Module, path: str | Path, locations: bool = True) -> None:
    """Write the text to `path` and its weights to a `.safetensors` file beside it.

    The weights file carries a hash of its content in its name and the text is renamed into place
    last: whoever reads at any moment sees the old pair or the new one. A writer that is killed may
    leave a partial file, which a later save to the same path removes, or new weights that no text
    names.
    """
    path = Path(path)
    if path.is_dir():  # told before weights are written for a text that never comes
        raise QirError("cannot write: this is a folder", at=str(path), help="name a file in it")
    printer = _Printer(locations)
    said = "".join(header_text(name, fields) for name, fields in module.headers.items())
    body = said + "\n".join(printer.func(func) for func in module.funcs)
    old = _named_weights(path)
    name = None
    if printer.arrays:
        data = weights_bytes(printer.arrays)
        name = f"{path.name}.{hashlib.sha256(data).hexdigest()[:12]}.safetensors"
        write_atomically(path.parent / name, data)
        body = f"weights({_quoted(name)})\n{body}"
    write_atomically(path, body)
    if old is not None and old != name:
        (path.parent / old).unlink(missing_ok=True)
    sweep(path)


def content_hash(module: Module) -> str:
    """What a module is, as `sha256:...`: its text and its arrays, without locations and headers."""
    printer = _Printer(locations=False)
    found = hashlib.sha256("\n".join(printer.func(func) for func in module.funcs).encode())
    found.update(weights_bytes(printer.arrays))
    return f"sha256:{found.hexdigest()}"


def whole_text(module: Module, locations: bool = True) -> str:
    """The text of a module with its weights inside, so that it is all in one file.

    A constant whose elements are all one number is written as that number.
    """
    printer = _Printer(locations, splats=True)
    funcs = "\n".join(printer.func(func) for func in module.funcs)
    said = "".join(map(header_text, module.headers, module.headers.values()))
    weights = f"weights({_quoted(encoded(printer.arrays))})\n" if printer.arrays else ""
    return f"{said}{weights}{funcs}"


def load_module(path: str | Path) -> Module:
    """Read a graph and its weights; QirError if a file is missing or not what it should be."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise QirError("this is no graph, it is not text", at=str(path)) from None
    except OSError as error:
        raise QirError(f"cannot read: {error.strerror}", at=str(path)) from None
    return read_module(text, str(path))


def lines_of(funcs: Sequence[tuple[Func, Iterable[Op]]],
             names: Sequence[Mapping[Op, str]]) -> list[list[str]]:  # fmt: skip
    """The lines of functions, each with its ops in a given order and its values under given names.

    Equal arrays have one name in all of them, others another.
    """
    printer, found = _Printer(locations=False), []
    for (func, ops), printer.names in zip(funcs, names, strict=True):
        lines = [f"  {printer.op(op)}" for op in ops if op.kind != "parameter"]
        found.append([printer.head(func), *lines, printer.end(func), "}"])
    return found


def option_text(value) -> str:
    """An attribute or option value as the text has it."""
    return _Printer(locations=False).value(value)


def _named_weights(path: Path) -> str | None:
    """The weights file an older save of this text made, if it is one of ours."""
    try:
        with open(path, encoding="utf-8") as file:
            first = file.readline(4096)
    except (OSError, UnicodeDecodeError):
        return None
    pattern = rf'weights\("({re.escape(path.name)}\.[0-9a-f]{{12}}\.safetensors)"\)\s*$'
    found = re.match(pattern, first)
    return found.group(1) if found else None


class _Printer:
    """The names given so far: values within a function, resources across the module."""

    def __init__(self, locations: bool, splats: bool = False):
        self.locations, self.splats = locations, splats
        self.arrays: dict[str, np.ndarray] = {}
        self.array_names: dict[tuple, str] = {}
        self.taken: dict[str, int] = {}
        self.names: dict[Op, str] = {}
        self.types: dict[tuple, str] = {}
        self.places: dict[tuple[str, ...], str] = {}

    def func(self, func: Func) -> str:
        self.names = value_names(func)
        lines = [self.head(func)]
        lines += [f"  {self.op(op)}" for op in func.ops if op.kind != "parameter"]
        lines += [self.end(func), "}", ""]
        return "\n".join(lines)

    def head(self, func: Func) -> str:
        inputs = ", ".join(f"{self.names[p]}: {self.type(p.type)}{self.loc(p)}"
                           for p in func.parameters)  # fmt: skip
        names = [f"{name}: " if name else "" for name in func.result_names]
        names = names or [""] * len(func.results)
        results = ", ".join(f"{name}{self.type(r.type)}"
                            for name, r in zip(names, func.results, strict=True))  # fmt: skip
        return f"func @{func.name}({inputs}) -> ({results}) {{"

    def end(self, func: Func) -> str:
        return f"  return {', '.join(self.names[r] for r in func.results)}".rstrip()

    def op(self, op: Op) -> str:
        if op.kind == "parameter":
            return f"{self.names[op]}: {self.type(op.type)}"
        inside = [self.names[o] for o in op.operands]
        if op.kind == "const":
            inside.append(f"value={self.constant(op)}")
            if op.attributes.get("trained") is not None:
                inside.append(f"trained={self.value(op.attributes['trained'])}")
        elif op.kind == "item":
            inside.append(f"index={op.attributes['index']}")
        else:
            own = op.definition.attributes
            defaults = {key: own[key][1] if key in own else None for key in op.attributes}
            inside += [
                f"{key}={self.value(value, f'{key}')}"
                for key, value in op.attributes.items()
                if value is not defaults[key] and not _equal(value, defaults[key])
            ]
        call = f"{op.kind}({', '.join(inside)})"
        return f"{self.names[op]} = {call} : {self.type(op.type)}{self.loc(op)}"

    def loc(self, op: Op) -> str:
        if not self.locations or not op.location:
            return ""
        if op.location not in self.places:
            texts = ", ".join(map(_quoted, op.location))
            self.places[op.location] = f" loc({texts})"
        return self.places[op.location]

    def constant(self, op: Op) -> str:
        if op.type.size > INLINE and self.splats and _is_splat(op.value):
            return self.field(op.value.flat[0], "c")
        if op.type.size > INLINE:
            value = packed(op.value, op.dtype.bits) if is_packed(op.dtype) else op.value
            return f"#{self.resource(value, op.attributes['name'] or 'c')}"
        return self.field(op.value, "c")

    def resource(self, array: np.ndarray, name: str) -> str:
        """The name under which an array is kept; equal arrays share one."""
        array = np.asarray(array)
        digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()
        key = (array.dtype.str, array.shape, digest)
        if key not in self.array_names:
            name = re.sub(r"[^\w./-]", "_", name) or "c"
            count = self.taken.get(name, 0)
            self.taken[name] = count + 1
            unique = f"{name}.{count}" if count else name
            while unique in self.arrays:
                count += 1
                self.taken[name], unique = count + 1, f"{name}.{count}"
            self.array_names[key] = unique
            self.arrays[unique] = array
        return self.array_names[key]

    def type(self, type: Type | TupleType) -> str:
        if isinstance(type, TupleType):
            return f"({', '.join(self.type(t) for t in type.items)})"
        key = (type.dtype.name, type.grid, type.shape)
        if key not in self.types:
            extents = ",".join(map(str, type.shape))
            self.types[key] = f"{type.dtype.name}{self.grid(type.grid)}[{extents}]"
        return self.types[key]

    def grid(self, grid: Grid | None) -> str:
        if grid is None:
            return ""
        scale = self.resource(grid.scale, "scale") if grid.scale.size > INLINE else None
        zero = self.resource(grid.zero, "zero") if grid.zero.size > INLINE else None
        return grid_text(grid, scale, zero)

    def value(self, value, name: str = "c") -> str:
        if isinstance(value, bool) or value is None:
            return str(value).lower()
        if isinstance(value, str):
            plain = _WORD.match(value) and value not in _RESERVED
            return value if plain else _quoted(value)
        if isinstance(value, (tuple, list)):
            return f"[{', '.join(self.value(v) for v in value)}]"
        if isinstance(value, Mapping):
            return f"[{', '.join(f'{self.value(k)}={self.value(v)}' for k, v in value.items())}]"
        if isinstance(value, Element):
            return f"{value.dtype.name}{self.grid(value.grid)}"
        if isinstance(value, Rescale):
            inside = (f"{k}={self.field(v, k)}" for k, v in value.fields().items())
            return f"{value.rounding}({', '.join(inside)})"
        return repr(value)

    def field(self, array: np.ndarray, name: str) -> str:
        if array.size > INLINE:
            return f"#{self.resource(array, name)}"
        if array.dtype.kind == "f" and array.dtype != np.float64:
            return _floats(array)
        return self.value(array.tolist())


def _is_splat(array: np.ndarray) -> bool:
    """Whether all elements are of the same bits: 0.0 and -0.0 are not."""
    rows = np.ascontiguousarray(array).reshape(-1, 1).view(np.uint8)
    return bool((rows == rows[0]).all())


def _floats(array: np.ndarray) -> str:
    if array.ndim == 0:
        return str(array[()])
    return f"[{', '.join(_floats(a) for a in array)}]"


def _quoted(text: str) -> str:
    lone = any("\ud800" <= c <= "\udfff" for c in text)  # half a pair, UTF-8 has no bytes for it
    return json.dumps(text, ensure_ascii=lone)


def _equal(a, b) -> bool:
    return type(a) is type(b) and a == b
