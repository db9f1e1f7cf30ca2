"""Reading a flatbuffer by its schema, every offset checked before it is followed.

A table becomes a dict with all its fields, a vector of scalars a numpy view of the file, a union
`(member, dict)`, an enum the name of its value. What two places refer to is read once, so that no
file, however it points into itself, takes more than its own size again and again.
"""

import struct

import numpy as np

from ...errors import QirError
from .schema import SCALARS, Enum, Field, schema

MOST_TABLES = 2**22
"""Tables in one file; a model of a million ops has about as many."""


def unpack(data: bytes, root: str = "Model", identifier: bytes = b"TFL3") -> dict:
    """The root table of a flatbuffer; QirError where the bytes are no such file."""
    if len(data) < 8 or data[4:8] != identifier:
        found = bytes(data[4:8])
        raise QirError(f"this is no TensorFlow Lite model: expected {identifier!r} at byte 4, "
                       f"found {found!r}")  # fmt: skip
    reader = _Reader(data)
    return reader.table(root, reader.offset(0))


class _Reader:
    """The bytes, and what has been read of them by place and kind."""

    def __init__(self, data: bytes):
        self.data, self.schema = memoryview(data), schema()
        self.known: dict[tuple[int, str], object] = {}

    def scalar(self, code: str, at: int):
        if not 0 <= at <= len(self.data) - struct.calcsize("<" + code):
            raise damaged(f"it ends before byte {at}, which it refers to")
        return struct.unpack_from("<" + code, self.data, at)[0]

    def offset(self, at: int) -> int:
        """Where the reference at this place leads."""
        return at + self.scalar("I", at)

    def once(self, kind: str, at: int, read):
        key = (at, kind)
        if key not in self.known:
            if len(self.known) > MOST_TABLES:
                raise damaged(f"it has more than {MOST_TABLES} tables")
            self.known[key] = read(kind, at)
        return self.known[key]

    def table(self, kind: str, at: int) -> dict:
        return self.once(kind, at, self._table)

    def _table(self, kind: str, at: int) -> dict:
        vtable = at - self.scalar("i", at)
        size = self.scalar("H", vtable)
        if size < 4 or size % 2:
            raise damaged(f"the table at byte {at} has a vtable of {size} bytes")
        return {f.name: self.field(f, at, vtable, size) for f in self.schema.tables[kind]}

    def place(self, slot: int, at: int, vtable: int, size: int) -> int | None:
        """Where a field is stored, None where the table leaves it out."""
        entry = 4 + 2 * slot
        offset = self.scalar("H", vtable + entry) if entry + 2 <= size else 0
        return at + offset if offset else None

    def field(self, field: Field, at: int, vtable: int, size: int):
        place = self.place(field.slot, at, vtable, size)
        if place is None:
            return field.default
        kind = field.kind
        if field.vector:
            return self.once(f"[{kind}]", self.offset(place), self._vector)
        if kind in SCALARS:
            return self.scalar(SCALARS[kind], place)
        if kind in self.schema.enums:
            return self.named(kind, self.scalar(SCALARS[self.schema.enums[kind].storage], place))
        if kind == "string":
            return self.once("string", self.offset(place), self._string)
        if kind in self.schema.unions:
            return self._union(kind, place, self.place(field.slot - 1, at, vtable, size))
        return self.table(kind, self.offset(place))

    def named(self, kind: str, number: int) -> str:
        enum: Enum = self.schema.enums[kind]
        if number not in enum.names:
            raise damaged(f"{kind} {number} is none that qir knows")
        return enum.names[number]

    def _union(self, kind: str, place: int, type_place: int | None):
        number = self.scalar("B", type_place) if type_place is not None else 0
        members = self.schema.unions[kind]
        if number == 0:
            return None
        if number > len(members):
            raise damaged(f"{kind} {number} is none that qir knows")
        member = members[number - 1]
        return member, self.table(member, self.offset(place))

    def _string(self, kind: str, at: int) -> str:
        return self._raw("u8", at).tobytes().decode("utf-8", errors="replace")

    def _vector(self, kind: str, at: int):
        kind = kind.strip("[]")
        if kind in SCALARS:
            return self._raw(kind, at)
        if kind in self.schema.enums:
            numbers = self._raw(self.schema.enums[kind].storage, at)
            return [self.named(kind, int(n)) for n in numbers]
        places = self._raw("u32", at)
        first = at + 4
        read = (lambda k, p: self.once(k, p, self._string)) if kind == "string" else self.table
        return [read(kind, first + 4 * i + int(n)) for i, n in enumerate(places)]

    def _raw(self, kind: str, at: int) -> np.ndarray:
        count, dtype = self.scalar("I", at), np.dtype("<" + SCALARS[kind])
        end = at + 4 + count * dtype.itemsize
        if end > len(self.data):
            raise damaged(f"a vector at byte {at} has {count} elements, which is beyond its end")
        return np.frombuffer(self.data, dtype, count, at + 4)


def damaged(reason: str) -> QirError:
    """The error that a file is no sound model."""
    return QirError(f"the file is damaged: {reason}")
