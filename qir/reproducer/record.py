"""What a reproducer says above its graph: error, pipeline, samples, files; to text and back."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .. import __version__
from ..errors import QirError
from ..ir import Module
from ..text import decoded, encoded, option_text, whole_text

HEADER = "reproducer"
_BYTES = "data:base64,"
_TOP = """\
// Run it again:      qir opt FILE
// Make it smaller:   qir reduce FILE
"""
_UNSURE = "// Run again in this form it did not fail alike: the cause may lie outside of it.\n"


@dataclass(frozen=True)
class Reproducer:
    """A pipeline that fails over a graph, and all it needs besides.

    error: what was raised. pipeline: steps, every named pipeline and setting written out. samples:
    calibration items, None where there are none. files: the contents of the files that options
    name, by the name. version: of qir. verify_each: types are checked after each pass. settings:
    parameters for a pipeline that could not be composed. again: whether it failed again.
    """

    error: str
    pipeline: str
    samples: tuple | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    version: str = __version__
    verify_each: bool = False
    settings: tuple[str, ...] = ()
    again: bool = True


def reproducer_text(record: Reproducer, module: Module, locations: bool = True) -> str:
    """The text of a module under its reproducer; what a reader wants to see first stands first."""
    fields: dict[str, object] = {
        "error": record.error,
        "pipeline": record.pipeline,
        "version": record.version,
    }
    if record.settings:
        fields["settings"] = record.settings
    if record.verify_each:
        fields["verify_each"] = True
    if not record.again:
        fields["again"] = False
    if record.files:
        fields["files"] = tuple((name, _content(data)) for name, data in record.files.items())
    if record.samples is not None:
        fields["samples"] = encoded(_arrays(record.samples))
    lines = "".join(f"  {key}={option_text(value)},\n" for key, value in fields.items())
    body = whole_text(Module(module.funcs, _others(module)), locations)
    return f"{_TOP}{'' if record.again else _UNSURE}{HEADER}(\n{lines})\n{body}"


def _others(module: Module):
    return {name: given for name, given in module.headers.items() if name != HEADER}


def record_of(module: Module, file: str) -> Reproducer | None:
    """The reproducer that a module's text begins with, None if it is none.

    QirError where a field is not what it should be.
    """
    if HEADER not in module.headers:
        return None
    given = module.headers[HEADER]
    samples = _field(given, "samples", str, None, file)
    files = _field(given, "files", tuple, (), file)
    pairs = all(isinstance(each, tuple) and len(each) == 2 for each in files)
    if not pairs or not all(isinstance(text, str) for each in files for text in each):
        raise QirError(f"{HEADER}: files are written [[\"name\", \"content\"]]", at=file)
    return Reproducer(
        _field(given, "error", str, "", file),
        _field(given, "pipeline", str, None, file) or "",
        None if samples is None else _items(samples, file),
        {name: _bytes(text, file) for name, text in files},
        _field(given, "version", str, "", file),
        _field(given, "verify_each", bool, False, file),
        _field(given, "settings", tuple, (), file),
        _field(given, "again", bool, True, file),
    )


def _field(given: Mapping[str, object], key: str, kind: type, default, file: str):
    value = given.get(key, default)
    if value is not default and not isinstance(value, kind):
        what = {str: "a text in quotes", tuple: "a list", bool: "true or false"}[kind]
        raise QirError(f"{HEADER}: {key} is {what}, found {option_text(value)}", at=file)
    return value


def _content(data: bytes) -> str:
    """A file's content as text where it is text, so that it can be read and edited in place."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = _BYTES
    return text if not text.startswith(_BYTES) else _BYTES + base64.b64encode(data).decode()


def _bytes(text: str, file: str) -> bytes:
    if not text.startswith(_BYTES):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_BYTES), validate=True)
    except ValueError:
        raise QirError(f"{HEADER}: the content of a file is damaged", at=file) from None


def _arrays(items) -> dict[str, np.ndarray]:
    """The arrays of calibration items by names that tell the item and how it held them.

    `3` is item 3, a lone array; `3#1` the second array of a list; `3/x` the one called x of a dict.
    """
    found = {}
    for number, item in enumerate(items):
        if isinstance(item, Mapping):
            found |= {f"{number}/{name}": np.asarray(value) for name, value in item.items()}
        elif isinstance(item, (list, tuple)):
            found |= {f"{number}#{i}": np.asarray(value) for i, value in enumerate(item)}
        else:
            found[f"{number}"] = np.asarray(item)
    return found


def _items(text: str, file: str) -> tuple:
    """The calibration items of which `_arrays` made a text."""
    found: dict[int, object] = {}
    for key, held in decoded(text, file).items():
        number = key.split("/")[0].split("#")[0]
        rest = key[len(number) :]
        if not number.isdecimal() or (rest.startswith("#") and not rest[1:].isdecimal()):
            raise QirError(f"{HEADER}: '{key}' is no name of a sample", at=file)
        if not rest:
            found[int(number)] = held.array
        else:
            part = int(rest[1:]) if rest[0] == "#" else rest[1:]
            found.setdefault(int(number), {})[part] = held.array
    return tuple(_item(found[number]) for number in sorted(found))


def _item(held):
    if isinstance(held, dict) and all(isinstance(key, int) for key in held):
        return [held[i] for i in sorted(held)]
    return held
