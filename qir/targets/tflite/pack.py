"""Writing a flatbuffer by its schema: the dicts that `unpack` gives, as bytes."""

import numpy as np

from ...errors import QirError
from .schema import SCALARS, Field, schema

LARGEST = 2**31 - 2**16
"""Bytes of the largest file: flatbuffers refer to places by 32 bits."""


def pack(value: dict, root: str = "Model", identifier: bytes = b"TFL3") -> bytes:
    """The file that holds this table; fields that it leaves out, or that are None, are absent."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    try:
        builder.Finish(_table(builder, root, value), file_identifier=identifier)
    except flatbuffers.builder.BuilderSizeError:
        raise QirError("the model is larger than 2 GiB, which a .tflite file cannot hold") from None
    return bytes(builder.Output())


def _table(builder, kind: str, value: dict) -> int:
    fields = schema().tables[kind]
    unknown = value.keys() - {field.name for field in fields}
    if unknown:
        raise ValueError(f"{kind} has no field {sorted(unknown)}")
    given = [field for field in fields if value.get(field.name) is not None]
    places = {f.name: _placed(builder, f, value[f.name]) for f in given if not _inline(f)}
    builder.StartObject(1 + max((field.slot for field in fields), default=-1))
    for field in given:
        if not _inline(field):
            _refer(builder, field, value[field.name], places[field.name])
        elif value[field.name] != field.default:
            scalar, number = _number(field.kind, value[field.name])
            _PREPEND[scalar](builder, number)
            builder.Slot(field.slot)
    return builder.EndObject()


def _inline(field: Field) -> bool:
    return not field.vector and (field.kind in SCALARS or field.kind in schema().enums)


def _refer(builder, field: Field, value, place: int) -> None:
    if field.kind in schema().unions and not field.vector:
        builder.PrependUint8(1 + schema().unions[field.kind].index(value[0]))
        builder.Slot(field.slot - 1)
    builder.PrependUOffsetTRelative(place)
    builder.Slot(field.slot)


def _placed(builder, field: Field, value) -> int:
    """Write what a field refers to, and give its place."""
    kind = field.kind
    if field.vector:
        return _vector(builder, kind, value)
    if kind == "string":
        return builder.CreateString(value)
    if kind in schema().unions:
        return _table(builder, *value)
    return _table(builder, kind, value)


def _vector(builder, kind: str, values) -> int:
    enum = schema().enums.get(kind)
    if enum is not None:
        kind, values = enum.storage, [_number(kind, each)[1] for each in values]
    if kind in SCALARS:
        return _raw(builder, np.ascontiguousarray(values, "<" + SCALARS[kind]))
    places = [builder.CreateString(v) if kind == "string" else _table(builder, kind, v)
              for v in values]  # fmt: skip
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return builder.EndVector()


def _raw(builder, array: np.ndarray) -> int:
    # Bytes are the buffers of tensors, which the runtime maps: it wants them aligned by 16.
    alignment = 16 if array.dtype.itemsize == 1 else array.dtype.itemsize
    if builder.Offset() + array.nbytes > LARGEST:
        raise QirError("the model is larger than 2 GiB, which a .tflite file cannot hold")
    builder.StartVector(array.dtype.itemsize, array.size, alignment)
    builder.head -= array.nbytes
    builder.Bytes[builder.head : builder.head + array.nbytes] = array.tobytes()
    return builder.EndVector()


def _number(kind: str, value):
    enum = schema().enums.get(kind)
    if enum is None:
        return kind, value
    numbers = {name: number for number, name in enum.names.items()}
    return enum.storage, numbers[value]


_PREPEND = {
    "i8": lambda b, v: b.PrependInt8(v), "u8": lambda b, v: b.PrependUint8(v),
    "i16": lambda b, v: b.PrependInt16(v), "u16": lambda b, v: b.PrependUint16(v),
    "i32": lambda b, v: b.PrependInt32(v), "u32": lambda b, v: b.PrependUint32(v),
    "i64": lambda b, v: b.PrependInt64(v), "u64": lambda b, v: b.PrependUint64(v),
    "f32": lambda b, v: b.PrependFloat32(v), "f64": lambda b, v: b.PrependFloat64(v),
    "bool": lambda b, v: b.PrependBool(v),
}  # fmt: skip
