"""Types and attributes in MLIR's notation.

A grid is a type of MLIR's quant dialect, whose scales are doubles: an f32 scale is written as the
double that equals it. Storage goes with it, `!quant.uniform<u8<1:255>:f32, 0.5:128>`; without a
grid signed integers are MLIR's signless ones and unsigned ones say so, `ui8`.
"""

import re
from collections.abc import Mapping

import numpy as np

from ..errors import QirError
from ..rounding import Rescale
from ..types import Element, Grid, Type, dtype_of

INLINE = 8
"""Numbers of an array that are written out; more of them are bytes in hex."""
WIDEST = 32
"""Bits of the widest storage that MLIR's quantized types have."""
_ELEMENTS = {"bool": "i1", "u8": "ui8", "u16": "ui16", "u32": "ui32"}
_BARE = re.compile(r"[A-Za-z_][\w$.]*\Z", re.ASCII)

Aliases = dict[str, str]
"""Long types by their text, to the name that stands for them."""


def type_text(type: Type, aliases: Aliases) -> str:
    """A tensor type, `tensor<1x8x!quant.uniform<i8:f32, 0.5>>`."""
    return tensor_text(type.shape, element_text(type.element, aliases))


def tensor_text(shape, element: str) -> str:
    """A tensor type of that shape, its element a text."""
    return f"tensor<{''.join(f'{n}x' for n in shape)}{element}>"


def element_text(element: Element, aliases: Aliases) -> str:
    """The type of one element; a grid of many scales gets a name that `aliases` keeps."""
    if element.grid is None:
        return _ELEMENTS.get(element.dtype.name, element.dtype.name)
    text = _quantized(element, element.grid)
    if element.grid.scale.size <= INLINE:
        return text
    return aliases.setdefault(text, f"!grid{len(aliases)}")


def _quantized(element: Element, grid: Grid) -> str:
    dtype = element.dtype
    if dtype.kind != "int" or dtype.bits > WIDEST:
        raise QirError(f"MLIR has no quantized type that stores {dtype}, as {element} would",
                       help=f"its types store integers of up to {WIDEST} bits")  # fmt: skip
    storage = f"{dtype}<{element.lo}:{element.hi}>" if grid.narrow else f"{dtype}"
    if grid.dynamic or not grid.scale.size:
        return f"!quant.any<{storage}:f32>"
    zeros = np.broadcast_to(grid.zero, grid.scale.shape)
    numbers = _steps(grid.scale, zeros)
    if grid.axis is None:
        return f"!quant.uniform<{storage}:f32, {numbers}>"
    if grid.block is None:
        return f"!quant.uniform<{storage}:f32:{grid.axis}, {numbers}>"
    outside = zeros[(zeros < dtype.lo) | (zeros > dtype.hi)]
    if outside.size:
        raise QirError(f"MLIR keeps the zero points of blocks in the storage, {dtype} takes "
                       f"{dtype.lo} to {dtype.hi}, found {outside[0]}")  # fmt: skip
    divided = (i for i, n in enumerate(grid.scale.shape) if n > 1 or i == grid.axis)
    sizes = ((i, grid.block if i == grid.axis else 1) for i in divided)
    blocks = ", ".join(f"{axis}:{size}" for axis, size in sizes)
    return f"!quant.uniform<{storage}:f32:{{{blocks}}}, {numbers}>"


def _steps(scale: np.ndarray, zero: np.ndarray) -> str:
    """Scales with the zero points that are not 0, `{0.5,0.25:-3}`."""
    if scale.ndim:
        return f"{{{', '.join(map(_steps, scale, zero))}}}"
    return float_text(float(scale)) + (f":{zero}" if zero else "")


def float_text(number) -> str:
    """A finite number as a float literal of MLIR, which has a point: `1.0e-05`."""
    text = str(number)
    return re.sub(r"^(-?\d+)(?=e|$)", r"\1.0", text)


def attribute_text(value, aliases: Aliases) -> str:
    """The value of an attribute; one that is None has no text, it is left out."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value} : i64"
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Element):
        return element_text(value, aliases)
    if isinstance(value, Rescale):
        return dictionary({"rounding": value.rounding, **value.fields()}, aliases)
    if isinstance(value, Mapping):
        return dictionary(value, aliases)
    if isinstance(value, np.ndarray):
        return dense(value) if value.ndim else f"{_number(value)} : {_element_of(value)}"
    if all(type(v) is int for v in value):
        return f"array<i64{': ' if value else ''}{', '.join(map(str, value))}>"
    return f"[{', '.join(attribute_text(v, aliases) for v in value)}]"


def dictionary(values: Mapping[str, object], aliases: Aliases) -> str:
    """Attributes by name, without those that are None: `{axis = 1 : i64}`."""
    pairs = (f"{name if _BARE.match(name) else quoted(name)} = {attribute_text(value, aliases)}"
             for name, value in values.items() if value is not None)  # fmt: skip
    return f"{{{', '.join(pairs)}}}"


def _double(value: float) -> str:
    if np.isfinite(value):
        return f"{float_text(value)} : f64"
    return f"0x{np.float64(value).view(np.uint64):016X} : f64"


def dense(array: np.ndarray, element: str | None = None) -> str:
    """An array as an attribute: a number where all have one, a short list, or its bytes in hex.

    element: the element type, where the array's dtype does not tell. Floats that are not finite are
    always in hex, and integers of less than 8 bits never, for tools differ in how they pack them.
    """
    element = element or _element_of(array)
    type = tensor_text(array.shape, element)
    if not array.size:
        return f"dense<> : {type}"
    array = np.ascontiguousarray(array).reshape(array.shape)
    bits = array.reshape(-1).view(np.uint8).reshape(array.size, -1)
    if (bits == bits[0]).all():
        array = array.reshape(-1)[0]
    with np.errstate(invalid="ignore"):  # some NaNs
        finite = array.size <= INLINE and np.isfinite(array.astype(np.float64)).all()
    if finite or element in ("i1", "i2", "i4"):
        return f"dense<{_list(array)}> : {type}"
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return f'dense<"0x{little.tobytes().hex().upper()}"> : {type}'


def _element_of(array: np.ndarray) -> str:
    return element_text(Element(dtype_of(array)), {})


def _list(array) -> str:
    return f"[{', '.join(map(_list, array))}]" if array.ndim else _number(array)


def _number(number) -> str:
    number = number[()]
    return str(number).lower() if number.dtype.kind in "iub" else float_text(number)


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def quoted(text: str) -> str:
    """A text in quotes; what cannot be printed is written as its bytes in hex."""
    return f'"{"".join(map(_character, text))}"'


def _character(c: str) -> str:
    if c in _ESCAPES or c.isprintable():
        return _ESCAPES.get(c, c)
    return "".join(f"\\{byte:02X}" for byte in c.encode("utf-8", "surrogatepass"))
