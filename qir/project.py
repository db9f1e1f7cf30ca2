"""Pipelines of a project: the table `[tool.qir.pipelines]` of the nearest pyproject.toml.

    [tool.qir.pipelines]
    ours = "ptq_int8(method=percentile, keep=0.999), report"
    edge = "(method=minmax) = ptq_int8(method=$method, weights=per_tensor)"
    phone = "config/phone.pipe"

A value is the steps, or parameters and steps as they stand behind a pipeline's name in a `.pipe`
file, or the path of such a file, beside the pyproject.toml, that defines the pipeline.
"""

import tomllib
from functools import cache
from pathlib import Path

from .errors import QirError
from .text.syntax import PipelineText, Source, parse_pipelines

Named = dict[str, tuple[PipelineText, Source]]
"""Pipelines by name, each with the text it stands in."""


def project_pipelines(folder: Path) -> Named:
    """The pipelines of the project that a folder belongs to; QirError for what is none."""
    for each in (folder, *folder.parents):
        file = each / "pyproject.toml"
        if file.is_file():
            found = file.stat()
            return _read(file, found.st_mtime_ns, found.st_size)
    return {}


@cache
def _read(file: Path, changed: int, size: int) -> Named:
    """changed, size: of the file; with another of them it is read anew."""
    try:
        tool = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise QirError(f"cannot read the project's pipelines: {error}", at=str(file)) from None
    table = tool.get("qir", {}).get("pipelines", {}) if isinstance(tool.get("qir", {}), dict) else 0
    if not isinstance(table, dict):
        raise QirError("[tool.qir.pipelines] is a table of pipelines by name", at=str(file))
    return {name: _pipeline(file, name, value) for name, value in table.items()}


def _pipeline(file: Path, name: str, value) -> tuple[PipelineText, Source]:
    place = f"{file}: tool.qir.pipelines.{name}"
    if not isinstance(value, str):
        raise QirError(f"a pipeline is a text, found {type(value).__name__}", at=place,
                       help=f'{name} = "canonicalize, cse"')  # fmt: skip
    if not name.isidentifier():
        raise QirError(f"'{name}' is no name of a pipeline", at=place, help="it is one word")
    text = value.strip()
    if text.endswith(".pipe"):
        return _from_file(file.parent / text, name, place)
    start = "" if text.startswith(("(", "=")) else "= "
    source = Source(f"pipeline {name}{start and ' '}{start}{text}", place)
    (record,) = parse_pipelines(source)
    return record, source


def _from_file(path: Path, name: str, place: str) -> tuple[PipelineText, Source]:
    try:
        source = Source(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or "it is not text"
        raise QirError(f"cannot read {path}: {said}", at=place) from None
    found = [record for record in parse_pipelines(source) if record.name == name]
    if not found:
        raise QirError(f"{path} defines no pipeline '{name}'", at=place)
    return found[0], source
