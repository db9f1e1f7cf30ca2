"""The schema of `.tflite` files as data: its enums, unions and tables, read from schema.txt."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

SCALARS = {"i8": "b", "u8": "B", "i16": "h", "u16": "H", "i32": "i", "u32": "I", "i64": "q",
           "u64": "Q", "f32": "f", "f64": "d", "bool": "?"}  # fmt: skip
"""By name, the code by which the struct module knows them."""


@dataclass(frozen=True)
class Enum:
    """The names of an enum's values by number; storage: the scalar that holds it."""

    storage: str
    names: dict[int, str]


@dataclass(frozen=True)
class Field:
    """A field of a table.

    kind: a scalar, `string`, or the name of an enum, a union or a table. slot: its place in the
    vtable; a union has its type in the slot before.
    """

    name: str
    kind: str
    slot: int
    vector: bool = False
    default: object = None


@dataclass(frozen=True)
class Schema:
    """Enums, unions (their members in order) and tables (their fields in order) by name."""

    enums: dict[str, Enum]
    unions: dict[str, tuple[str, ...]]
    tables: dict[str, tuple[Field, ...]]


@cache
def schema() -> Schema:
    """The schema that schema.txt states."""
    text = resources.files(__package__).joinpath("schema.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\n +", " ", "\n".join(lines))
    found = Schema({}, {}, {})
    for line in joined.splitlines():
        head, _, body = line.partition(":")
        sort, name, *storage = head.split()
        parts = [part.strip() for part in body.split(",") if part.strip()]
        if sort == "enum":
            found.enums[name] = Enum(storage[0], _numbered(parts))
        elif sort == "union":
            found.unions[name] = tuple(parts)
        else:
            found.tables[name] = tuple(_fields(parts, found))
    return found


def _numbered(parts: list[str]) -> dict[int, str]:
    names, number = {}, 0
    for part in parts:
        name, _, stated = part.partition("=")
        number = int(stated) if stated else number
        names[number] = name
        number += 1
    return names


def _fields(parts: list[str], found: Schema):
    slot = 0
    for part in parts:
        if part == "-":
            slot += 1
            continue
        name, _, kind = part.partition(" ")
        kind, _, default = kind.partition("=")
        vector, kind = kind.startswith("["), kind.strip("[]")
        slot += kind in found.unions
        yield Field(name, kind, slot, vector, None if vector else _default(kind, default, found))
        slot += 1


def _default(kind: str, text: str, found: Schema):
    if kind in found.enums:
        return text or found.enums[kind].names[0]
    if kind == "bool":
        return text == "true"
    if kind in ("f32", "f64"):
        return float(text or 0)
    return int(text or 0) if kind in SCALARS else None
