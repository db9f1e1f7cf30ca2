"""Weights in `.safetensors` files beside the text: written atomically, read when needed.

A text may also hold them itself, as `data:base64,` and the bytes of such a file.
"""

import base64
import glob
import io
import json
import math
import os
import struct
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import QirError
from ..ir import Resource
from ..packing import is_packed, packed_size, unpacked
from ..types import Type

# What safetensors calls each numpy dtype; bf16 is stored as its bits under BF16.
_CODES = {
    "int8": "I8", "uint8": "U8", "int16": "I16", "uint16": "U16", "int32": "I32", "uint32": "U32",
    "int64": "I64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
    "bool": "BOOL",
}  # fmt: skip

PARTIAL = ".partial"
ABANDONED = 3600
"""Seconds after which a partial file has no writer any more."""


INSIDE = "data:base64,"
"""How a name begins that is no name of a file but holds the file's bytes."""


def open_weights(name: str, text: str | Path) -> dict[str, Resource]:
    """The arrays of a weights file by name, none of them read yet.

    name: as the text has it, a file beside `text` or the bytes themselves. The header is checked
    against the size, so that a truncated file is an error here and not when some weight is first
    used.
    """
    if name.startswith(INSIDE):
        return decoded(name, text)
    path = Path(text).parent / name
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            header = _header(file, size, path)
    except OSError as error:
        help = "the text names this file; keep the two together"
        raise QirError(f"cannot read the weights: {error.strerror}", at=str(path),
                       help=help) from None  # fmt: skip
    return _resources(header, partial(_mapped, path))


def encoded(arrays: Mapping[str, np.ndarray]) -> str:
    """The arrays as a name that holds them, the same for the same arrays every time."""
    return INSIDE + base64.b64encode(weights_bytes(arrays)).decode()


def decoded(name: str, text: str | Path) -> dict[str, Resource]:
    """The arrays that `encoded` put in a name; QirError if it is damaged, at the text it is in."""
    try:
        data = base64.b64decode(name.removeprefix(INSIDE), validate=True)
    except ValueError:  # of no whole bytes, or of other characters
        raise _broken(text) from None
    header = _header(io.BytesIO(data), len(data), text)
    return _resources(header, lambda: np.frombuffer(data, np.uint8))


def _resources(header: Mapping[str, tuple[int, dict]], content: Callable) -> dict[str, Resource]:
    return {
        name: Resource(name, partial(_read, content, offset, entry), entry["kind"], entry["shape"])
        for name, (offset, entry) in header.items()
    }


def unpacked_as(type: Type, held: Resource) -> Resource:
    """An array of a weights file as one of a type: several elements lie in one byte if they fit."""
    if not is_packed(type.dtype) or held.dtype != np.uint8:
        return held
    bits = type.dtype.bits
    if held.shape != (packed_size(type.size, bits),):
        raise QirError(f"#{held.name} holds {list(held.shape)} bytes, {type} takes "
                       f"[{packed_size(type.size, bits)}]")  # fmt: skip

    def load() -> np.ndarray:
        return unpacked(held.array, bits, type.size).reshape(type.shape)

    return Resource(held.name, load, type.dtype.numpy, type.shape)


def _broken(path: str | Path) -> QirError:
    return QirError("this is no whole weights file, it is truncated or damaged", at=str(path),
                    help="write the model again")  # fmt: skip


def _header(file, size: int, path: str | Path) -> dict[str, tuple[int, dict]]:
    broken = _broken(path)
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


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise QirError(f"cannot read the weights: {error.strerror}", at=str(path)) from None


def _read(content: Callable[[], np.ndarray], start: int, entry: dict) -> np.ndarray:
    shape = entry["shape"]
    if 0 in shape:
        return np.zeros(shape, entry["kind"])
    count = int(np.prod(shape, dtype=np.int64))
    begin = start + entry["begin"]
    part = content()[begin : begin + count * entry["kind"].itemsize]
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
