"""Weights in `.safetensors` files beside the text: written atomically, read when needed."""

import glob
import json
import math
import os
import struct
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import QirError
from ..ir import Resource

# What safetensors calls each numpy dtype; bf16 is stored as its bits under BF16.
_CODES = {
    "int8": "I8", "uint8": "U8", "int16": "I16", "uint16": "U16", "int32": "I32", "uint32": "U32",
    "int64": "I64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
    "bool": "BOOL",
}  # fmt: skip

PARTIAL = ".partial"
ABANDONED = 3600
"""Seconds after which a partial file has no writer any more."""


def open_weights(path: Path) -> dict[str, Resource]:
    """The arrays of a weights file by name, none of them read yet.

    The header is checked against the file's size, so that a truncated file is an error here and
    not when some weight is first used.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            header = _header(file, size, path)
    except OSError as error:
        help = "the text names this file; keep the two together"
        raise QirError(f"cannot read the weights: {error.strerror}", at=str(path),
                       help=help) from None  # fmt: skip
    return {
        name: Resource(name, partial(_read, path, offset, entry), entry["kind"], entry["shape"])
        for name, (offset, entry) in header.items()
    }


def _header(file, size: int, path: Path) -> dict[str, tuple[int, dict]]:
    broken = QirError("this is no whole weights file, it is truncated or damaged", at=str(path),
                      help="write the model again")  # fmt: skip
    start = file.read(8)
    if len(start) < 8:
        raise broken
    (length,) = struct.unpack("<Q", start)
    if length > size - 8:
        raise broken
    try:
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        available = size - 8 - length
        found = {name: (8 + length, _checked(entry, available)) for name, entry in header.items()}
        if max((entry["data_offsets"][1] for entry in header.values()), default=0) != available:
            raise broken
        return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise broken from None


def _checked(entry: dict, available: int) -> dict:
    (begin, end), shape = entry["data_offsets"], entry["shape"]
    if not all(type(n) is int and n >= 0 for n in (begin, end, *shape)):
        raise ValueError
    kind = _numpy({code: name for name, code in _CODES.items()}[entry["dtype"]])
    if not begin <= end <= available or math.prod(shape) * kind.itemsize != end - begin:
        raise ValueError
    return {"kind": kind, "shape": tuple(shape), "begin": begin}


def _numpy(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def _read(path: Path, start: int, entry: dict) -> np.ndarray:
    shape = entry["shape"]
    if 0 in shape:
        return np.zeros(shape, entry["kind"])
    try:
        mapped = np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise QirError(f"cannot read the weights: {error.strerror}", at=str(path)) from None
    count = int(np.prod(shape, dtype=np.int64))
    begin = start + entry["begin"]
    part = mapped[begin : begin + count * entry["kind"].itemsize]
    return part.view(entry["kind"]).reshape(shape)


def weights_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A safetensors file holding the arrays, the same bytes for the same arrays every time."""
    header, chunks, offset = {}, [], 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        data = array.tobytes()
        header[name] = {
            "dtype": _CODES[array.dtype.name],
            "shape": list(np.shape(arrays[name])),
            "data_offsets": [offset, offset + len(data)],
        }
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(chunks)


def write_atomically(path: str | Path, data: bytes | str) -> None:
    """Write a file under a temporary name in its folder, then rename it over the old one."""
    path = Path(path)
    content = data.encode() if isinstance(data, str) else data
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.",
                                         suffix=PARTIAL, delete=False) as file:  # fmt: skip
            temporary = file.name
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise QirError(f"cannot write: {error.strerror}", at=str(path),
                       help="choose a folder that exists and can be written") from None  # fmt: skip
    finally:
        if temporary is not None:
            os.unlink(temporary)


def sweep(path: Path) -> None:
    """Remove what writers of this path left that were killed: partial files an hour old.

    A younger one may belong to a writer that is at work.
    """
    latest = time.time() - ABANDONED
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{PARTIAL}"):
        with suppress(OSError):  # another one sweeps, or it is not ours to remove
            if left.stat().st_mtime < latest:
                left.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
