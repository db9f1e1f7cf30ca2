"""Running a reproducer again, its files in a folder of their own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import get_args

from ..attributes import ReadFile, WrittenFile
from ..errors import Place, QirError
from ..ir import Module
from ..pipeline import Block, Listener, Step, Steps, flat, run_module


def file_options(step: Step, kind) -> Iterator[tuple[str, str]]:
    """The options of a step that name a file to read, or to write, and the names given."""
    for name, (annotation, _) in step.action.options.items():
        if kind in (annotation, *get_args(annotation)) and step.options.get(name) is not None:
            yield name, step.options[name]


def read_files(steps: Steps) -> dict[str, bytes]:
    """The contents of the files that the steps read, by name, without those that are not there."""
    found = {}
    for step in flat(steps):
        for _, name in file_options(step, ReadFile):
            if Path(name).is_file():
                found[name] = Path(name).read_bytes()
    return found


@contextmanager
def unpacked(steps: Steps, files: Mapping[str, bytes]) -> Iterator[Steps]:
    """The steps with their files in a folder that is there inside the block alone.

    What they read of `files` is unpacked there, what they write goes there. A QirError that leaves
    the block speaks of the files by the names that the steps gave them.
    """
    with TemporaryDirectory(prefix="qir-") as folder:
        places: dict[str, str] = {}
        for name, content in files.items():
            Path(_placed(name, places, folder)).write_bytes(content)
        for step in flat(steps):
            for _, name in file_options(step, WrittenFile):
                _placed(name, places, folder)
        try:
            yield tuple(_moved(step, places) for step in steps)
        except QirError as error:
            raise _renamed(error, places) from error.__cause__


def _placed(name: str, places: dict[str, str], folder: str) -> str:
    """The place of a file in the folder; each name has a folder of its own there."""
    if name not in places:
        own = Path(folder) / str(len(places))
        own.mkdir()
        places[name] = str(own / (PurePath(name).name or "file"))
    return places[name]


def _moved(step: Step | Block, places: Mapping[str, str]) -> Step | Block:
    if isinstance(step, Block):
        return replace(step, steps=tuple(_moved(inner, places) for inner in step.steps))
    names = (*file_options(step, ReadFile), *file_options(step, WrittenFile))
    options = {option: places[name] for option, name in names if name in places}
    return replace(step, options={**step.options, **options}) if options else step


def _renamed(error: QirError, places: Mapping[str, str]) -> QirError:
    def named(text):
        for name, place in places.items():
            text = text.replace(place, name) if isinstance(text, str) else text
        return text

    at = error.at
    at = replace(at, file=named(at.file)) if isinstance(at, Place) else named(at)
    return QirError(named(error.message), at=at, help=named(error.help))


def rerun(steps: Steps, module: Module, files: Mapping[str, bytes],
          resources: Mapping[str, object], listen: Listener | None = None) -> Module:  # fmt: skip
    """Run the steps of a reproducer over its module; no file outside is written."""
    with unpacked(steps, files) as moved:
        return run_module(moved, module, resources, listen)
