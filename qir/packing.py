"""Integers of fewer than 8 bits as bytes: several to one, the first in the low bits.

The same in a weights file of qir and in a `.tflite` file.
"""

import numpy as np

from .types import DType


def is_packed(dtype: DType) -> bool:
    """Whether files hold several elements of this storage in one byte."""
    return dtype.kind == "int" and dtype.bits < 8


def packed_size(size: int, bits: int) -> int:
    """How many bytes so many elements take."""
    return -(-size * bits // 8)


def packed(array: np.ndarray, bits: int) -> np.ndarray:
    """Integers one to a byte, in row-major order, as bytes that hold several."""
    per = 8 // bits
    fields = np.zeros(packed_size(array.size, bits) * per, np.uint8)
    fields[: array.size] = array.reshape(-1).astype(np.uint8) & (2**bits - 1)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return np.bitwise_or.reduce(fields.reshape(-1, per) << shifts, 1).astype(np.uint8)


def unpacked(data: np.ndarray, bits: int, size: int) -> np.ndarray:
    """So many signed integers out of bytes that hold several, one to a byte."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    fields = ((data[:, None] >> shifts) & (2**bits - 1)).ravel()[:size].astype(np.int8)
    return fields - ((fields >> (bits - 1)) << bits).astype(np.int8)
