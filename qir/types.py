"""Types: how numbers are stored (dtype, shape) and what they stand for (the quantization grid).

`real = scale * (stored - zero)`. Storage and grid are separate: an `i8` tensor without a grid
holds plain integers, one with a grid holds quantized reals.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .errors import QirError, suggestion

LARGEST = 2**40
"""Elements of the largest tensor: more than any memory holds, few enough to count in 64 bits."""


@dataclass(frozen=True)
class DType:
    """A storage type: its name in the text, its width, its kind ('int', 'float', 'bool')."""

    name: str
    bits: int
    kind: str
    lo: int | float
    hi: int | float

    @cached_property
    def numpy(self) -> np.dtype:
        """The numpy dtype that holds it; 4- and 2-bit integers live one to a byte."""
        if self.name == "bf16":
            import ml_dtypes  # 40 ms, and only bf16 models need it

            return np.dtype(ml_dtypes.bfloat16)
        return np.dtype(_NUMPY[self.name])

    def __str__(self) -> str:
        return self.name

    def __reduce__(self):
        return dtype, (self.name,)


_NUMPY = {
    "i2": "int8", "i4": "int8", "i8": "int8", "u8": "uint8", "i16": "int16", "u16": "uint16",
    "i32": "int32", "u32": "uint32", "i64": "int64", "f16": "float16", "f32": "float32",
    "f64": "float64", "bool": "bool",
}  # fmt: skip


def _integer(name: str) -> DType:
    bits, signed = int(name[1:]), name[0] == "i"
    low = -(2 ** (bits - 1)) if signed else 0
    return DType(name, bits, "int", low, low + 2**bits - 1)


DTYPES: dict[str, DType] = {
    name: _integer(name)
    for name in ("i2", "i4", "i8", "u8", "i16", "u16", "i32", "u32", "i64")
} | {
    "f16": DType("f16", 16, "float", -65504.0, 65504.0),
    "bf16": DType("bf16", 16, "float", -3.3895314e38, 3.3895314e38),
    "f32": DType("f32", 32, "float", -3.4028235e38, 3.4028235e38),
    "f64": DType("f64", 64, "float", -1.7976931348623157e308, 1.7976931348623157e308),
    "bool": DType("bool", 1, "bool", 0, 1),
}
_BY_NUMPY = {np.dtype(n): DTYPES[name] for name, n in _NUMPY.items() if name not in ("i2", "i4")}


def dtype(name: str) -> DType:
    """The storage type of that name; QirError with a suggestion for an unknown one."""
    if name not in DTYPES:
        raise QirError(f"unknown type '{name}'", help=suggestion(name, DTYPES))
    return DTYPES[name]


def dtype_of(array) -> DType:
    """The storage type that holds a numpy array's elements."""
    found = np.asarray(array).dtype
    if found in _BY_NUMPY:
        return _BY_NUMPY[found]
    if found.name == "bfloat16":
        return DTYPES["bf16"]
    raise QirError(f"arrays of dtype {found} have no type here", help=suggestion("", DTYPES))


def _frozen(values, kind) -> np.ndarray:
    array = np.array(values, dtype=kind)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Grid:
    """What the integers of a tensor stand for: `real = scale * (stored - zero)`.

    scale: f32, 0-d (per tensor), 1-d (one per index of `axis`), or of the tensor's rank with
    `axis` divided by `block` (blockwise). zero: i32, 0-d or of scale's shape. narrow: the lowest
    stored value is left out ([-127, 127] for i8). dynamic: scale and zero are known at run time.
    """

    scale: np.ndarray
    zero: np.ndarray
    axis: int | None = None
    block: int | None = None
    narrow: bool = False
    dynamic: bool = False

    def __post_init__(self):
        object.__setattr__(self, "scale", _frozen(self.scale, np.float32))
        object.__setattr__(self, "zero", _frozen(self.zero, np.int32))
        if self.dynamic:
            return
        if not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise QirError(f"a scale must be positive and finite, found {self.scale}")
        if self.zero.ndim and self.zero.shape != self.scale.shape:
            raise QirError(f"{self.scale.size} scales but {self.zero.size} zero points")
        if (self.axis is None) != (self.scale.ndim == 0):
            raise QirError(f"{self.scale.size} scales need one axis, found axis {self.axis}")

    @cached_property
    def _key(self):
        return (self.scale.shape, self.scale.tobytes(), self.zero.shape, self.zero.tobytes(),
                self.axis, self.block, self.narrow, self.dynamic)  # fmt: skip

    def __eq__(self, other) -> bool:
        return self is other or (isinstance(other, Grid) and self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def per_tensor(self) -> bool:
        return self.axis is None and not self.dynamic

    def expanded(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """Scale and zero point shaped to broadcast against a tensor of that rank."""
        return self._expand(self.scale, rank), self._expand(self.zero, rank)

    def _expand(self, values: np.ndarray, rank: int) -> np.ndarray:
        if values.ndim == 0:
            return values
        if self.block is not None:
            return np.repeat(values, self.block, axis=self.axis)
        shape = [1] * rank
        shape[self.axis] = values.size
        return values.reshape(shape)


def per_tensor(scale: float, zero: int = 0, narrow: bool = False) -> Grid:
    """One scale and one zero point for a whole tensor."""
    return Grid(scale, zero, narrow=narrow)


DYNAMIC = Grid(1.0, 0, dynamic=True)


@dataclass(frozen=True)
class Element:
    """What one element of a tensor is: storage and grid, a type without its shape."""

    dtype: DType
    grid: Grid | None = None

    @property
    def lo(self) -> int:
        """Lowest stored value."""
        return self.dtype.lo + (1 if self.grid is not None and self.grid.narrow else 0)

    @property
    def hi(self) -> int:
        """Highest stored value."""
        return self.dtype.hi

    def __getitem__(self, shape) -> "Type":
        return Type(self.dtype, tuple(shape), self.grid)

    def __str__(self) -> str:
        return f"{self.dtype.name}{grid_text(self.grid)}"


@dataclass(frozen=True)
class Type:
    """The type of a tensor: storage, shape, and the grid its integers stand on, if any."""

    dtype: DType
    shape: tuple[int, ...]
    grid: Grid | None = None

    @property
    def element(self) -> Element:
        return Element(self.dtype, self.grid)

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for extent in self.shape:
            size *= extent
        return size

    @property
    def is_float(self) -> bool:
        return self.dtype.kind == "float"

    @property
    def lo(self) -> int:
        return self.element.lo

    @property
    def hi(self) -> int:
        return self.dtype.hi

    @property
    def scale(self) -> np.ndarray:
        """The grid's scales, f32."""
        return self.grid.scale

    @property
    def zero(self) -> np.ndarray:
        """The grid's zero points, i32; 0 for integers without a grid."""
        return self.grid.zero if self.grid is not None else np.int32(0)

    def with_shape(self, shape) -> "Type":
        return Type(self.dtype, tuple(int(n) for n in shape), self.grid)

    def __str__(self) -> str:
        extents = ",".join(map(str, self.shape))
        return f"{self.dtype.name}{grid_text(self.grid)}[{extents}]"


@dataclass(frozen=True)
class TupleType:
    """The type of an op with several results."""

    items: tuple[Type, ...]

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.items))})"


def tensor(name: str, shape=(), grid: Grid | None = None) -> Type:
    """A tensor type by the name of its storage: `tensor("f32", (1, 8, 8, 3))`."""
    return Type(dtype(name), tuple(int(n) for n in shape), grid)


def type_of(array) -> Type:
    """The type of a numpy array, without a grid."""
    array = np.asarray(array)
    return Type(dtype_of(array), array.shape)


def scale_text(scale) -> str:
    """An f32 in its shortest form that reads back as the same f32."""
    return str(np.float32(scale))


def grid_text(grid: Grid | None, scale_name: str | None = None, zero_name: str | None = None):
    """A grid as the text has it, `<0.06:-128>`; names stand for long lists kept elsewhere."""
    if grid is None:
        return ""
    if grid.dynamic:
        return "<?>"
    scale = f"#{scale_name}" if scale_name else _list_text(grid.scale, scale_text)
    zero = f"#{zero_name}" if zero_name else _list_text(grid.zero, str)
    axis = "" if grid.axis is None else f" @{grid.axis}"
    block = "" if grid.block is None else f"/{grid.block}"
    return f"<{scale}:{zero}{axis}{block}{' narrow' if grid.narrow else ''}>"


def _list_text(values: np.ndarray, text) -> str:
    if values.ndim == 0:
        return text(values[()])
    return f"[{','.join(_list_text(v, text) for v in values)}]"
