"""`--reproducer`: what a failed run leaves behind, so that it can be run again elsewhere."""

import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

import click

BY_DEFAULT = "by default"
"""In place of a file's name: of bugs alone, in a file that is named after its content."""
SWITCH = "QIR_REPRODUCER"
"""An environment variable; `off` writes no reproducer unless one is asked for."""


def reproducer_option(command):
    """The option of every command that runs a pipeline which may fail."""
    return click.option("--reproducer", metavar="FILE.qir",
                        help="If it fails, write all that is needed to run it again; of bugs one "
                             "is written anyway.")(command)  # fmt: skip


@dataclass(eq=False)
class Failing:
    """What a run is given that a reproducer needs and the run itself does not tell.

    steps: as they are written, None where they are those that run. files: the contents of the
    files that they name, None to read them.
    """

    steps: tuple | None = None
    files: Mapping[str, bytes] | None = None


@contextmanager
def kept_when_it_fails(wishes, module, pipeline: str, note) -> Iterator[Failing]:
    """Write a reproducer if what runs inside the block raises, where the wishes ask for one.

    pipeline: the text that is run over the module, for an error that comes before it is composed.
    """
    from ..errors import QirError
    from ..progress import Progress, followed
    from ..reproducer import Drawn

    drawn, failing = Drawn(), Failing()
    progress = Progress(drawn.watched)
    with followed(progress):
        try:
            yield failing
            return
        except Exception as error:
            if not _wanted(wishes.reproducer, isinstance(error, QirError)):
                raise
            found = error
    try:
        said = _kept(found, progress, drawn, failing, wishes, module, pipeline)
    except Exception as second:  # it must not hide the first one
        reason = str(second).removeprefix("error: ")
        said = f"there is no reproducer: {reason or type(second).__name__}"
    note(said)
    raise found


def _wanted(reproducer: str | None, users_error: bool) -> bool:
    if reproducer == BY_DEFAULT:
        return not users_error and os.environ.get(SWITCH) != "off"
    return reproducer is not None


def _kept(error, progress, drawn, failing: Failing, wishes, module, pipeline: str) -> str:
    """Write the reproducer of an error; gives what to tell of it."""
    from ..reproducer import Reproducer, captured, error_text, reproducer_text

    if progress.module is None:
        record = Reproducer(error_text(error), pipeline, verify_each=wishes.verify_each,
                            settings=tuple(wishes.param))  # fmt: skip
    else:
        module, record = captured(error, progress, drawn, wishes.verify_each, failing.steps,
                                  failing.files)  # fmt: skip
    path = _written(reproducer_text(record, module), wishes.reproducer)
    again = shlex.join(["qir", "opt", path])
    if not record.again:
        return f"reproducer: {path}, but it did not fail alike when it was run again"
    return f"reproducer: {path}, run it again with: {again}"


def _written(text: str, wanted: str) -> str:
    """Write a reproducer; gives its path."""
    from ..errors import QirError
    from ..text import write_atomically

    if wanted != BY_DEFAULT:
        write_atomically(wanted, text)
        return wanted
    name = f"qir-reproducer-{hashlib.sha256(text.encode()).hexdigest()[:12]}.qir"
    try:
        write_atomically(name, text)
        return name
    except QirError:
        path = str(Path(gettempdir()) / name)
        write_atomically(path, text)
        return path
