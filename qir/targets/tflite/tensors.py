"""Tensors of a file and types of the graph: storage, shape, grid, and the bytes of constants."""

import numpy as np

from ...errors import QirError
from ...packing import is_packed, packed, packed_size, unpacked
from ...types import DTYPES, DType, Grid, Type

STORED = {"FLOAT32": "f32", "FLOAT16": "f16", "INT32": "i32", "UINT8": "u8", "INT64": "i64",
          "BOOL": "bool", "INT16": "i16", "INT8": "i8", "FLOAT64": "f64", "UINT32": "u32",
          "UINT16": "u16", "INT4": "i4", "BFLOAT16": "bf16", "INT2": "i2"}  # fmt: skip
"""Our storage by TensorType; what is not here is no tensor of numbers that qir knows."""
NAMED = {ours: theirs for theirs, ours in STORED.items()}


def type_of(tensor: dict) -> Type:
    """The type of a tensor of a file; QirError where there is none."""
    if tensor["sparsity"] is not None:
        raise QirError("it is sparse, which qir does not read")
    if tensor["type"] not in STORED:
        raise QirError(f"it holds {tensor['type']}, expected {', '.join(STORED)}")
    shape = tuple(int(n) for n in _given(tensor["shape"]))
    if any(n < 0 for n in shape):
        raise QirError(f"its shape {list(shape)} is unknown in part")
    dtype = DTYPES[STORED[tensor["type"]]]
    return Type(dtype, shape, _grid(tensor["quantization"], dtype, shape))


def _given(vector) -> np.ndarray:
    return vector if vector is not None else np.zeros(0, np.int32)


def _grid(quantization: dict | None, dtype: DType, shape) -> Grid | None:
    if quantization is None:
        return None
    if quantization["details"] is not None:
        raise QirError(f"its quantization is a {quantization['details'][0]}, "
                       "expected scales and zero points")  # fmt: skip
    scale, zero = _given(quantization["scale"]), _given(quantization["zero_point"])
    if scale.size == 0 or (scale.size == 1 and scale[0] == 0):  # a tensor that is not quantized
        return None
    if dtype.kind != "int":
        return None
    if zero.size not in (1, scale.size):
        zero = np.zeros(1, np.int64) if zero.size == 0 else _refuse_zeros(scale, zero)
    if (np.abs(zero) > 2**31 - 1).any():
        raise QirError(f"a zero point of {zero[np.argmax(np.abs(zero))]} is beyond 32 bits")
    if scale.size == 1:
        return Grid(scale[0], zero[0])
    axis = quantization["quantized_dimension"]
    if not 0 <= axis < len(shape) or shape[axis] != scale.size:
        raise QirError(f"it has {scale.size} scales along axis {axis} of the shape {list(shape)}")
    return Grid(scale, zero if (zero != zero[0]).any() else zero[0], axis)


def _refuse_zeros(scale, zero):
    raise QirError(f"it has {scale.size} scales and {zero.size} zero points")


def array_of(type: Type, data: np.ndarray) -> np.ndarray:
    """The bytes of a constant as an array; QirError where they are too few or too many."""
    small = is_packed(type.dtype)
    expected = (packed_size(type.size, type.dtype.bits) if small
                else type.size * type.dtype.numpy.itemsize)  # fmt: skip
    if data.size != expected:
        raise QirError(f"its buffer has {data.size} bytes, {type} takes {expected}")
    if small:
        return unpacked(data, type.dtype.bits, type.size).reshape(type.shape)
    return np.frombuffer(data.tobytes(), type.dtype.numpy).reshape(type.shape)


def bytes_of(type: Type, array: np.ndarray) -> bytes:
    """An array as the bytes of a constant, little-endian, small integers packed low bits first."""
    if is_packed(type.dtype):
        return packed(array, type.dtype.bits).tobytes()
    return np.ascontiguousarray(array, type.dtype.numpy).tobytes()


def quantization_of(type: Type) -> dict | None:
    """The quantization parameters of a tensor of this type."""
    grid = type.grid
    if grid is None:
        return None
    if grid.dynamic or grid.block is not None:
        raise QirError(f"a .tflite file states scales per tensor or per axis, found {type}")
    scale = np.atleast_1d(grid.scale)
    zero = np.broadcast_to(np.atleast_1d(grid.zero), scale.shape)
    return {"scale": scale, "zero_point": zero.astype(np.int64),
            "quantized_dimension": grid.axis or 0}  # fmt: skip
