"""How the command line tells what went wrong: as text, or as JSON for a build system.

With `--diagnostics json` every error and warning is one JSON object on one line of stderr:

    {"severity": "error", "message": "...", "help": "...", "place": "net.qir:3:8",
     "file": "net.qir", "line": 3, "column": 8, "width": 5}

severity: error, warning or internal (a bug in qir, with its `traceback`). help, place, file, line,
column, width: only where they are known. Exit status: 0, 1 after an error, 2 after an internal one.
"""

import json
import re
import traceback
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import click

from ..errors import Place, QirError, QirWarning

FORMATS = ("text", "json")
_LINE = re.compile(r"(?:.* \()?(?P<file>[^()]+):(?P<line>\d+)\)?")

diagnostics_option = click.Option(
    ["--diagnostics"], type=click.Choice(FORMATS), default="text", expose_value=False,
    help="Errors and warnings as text, or as JSON objects, one a line.",
)  # fmt: skip


def wanted_format(arguments: Sequence[str]) -> str:
    """The format that the words of a command ask for, also where the command itself is wrong."""
    words = list(arguments)
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word == "--diagnostics=json" or (word, after) == ("--diagnostics", "json"):
            return "json"
    return "text"


_FORMAT: ContextVar[str] = ContextVar("format of diagnostics", default="text")


def tell(error: Exception | Warning, severity: str = "error") -> None:
    """An error or a warning on stderr, in the format that was asked for."""
    if _FORMAT.get() == "json":
        text = json.dumps(_record(error, severity))
    elif severity == "warning":
        at = getattr(error, "at", None)
        text = f"{at}: warning: {error}" if at else f"warning: {error}"
    elif severity == "internal":
        text = "".join(traceback.format_exception(error)) + f"error: {_bug(error)}"
    else:
        text = str(error)
    click.echo(text, err=True)


@contextmanager
def told_as(form: str):
    """Inside the block errors are told in this format, and warnings of qir as errors are."""
    python_shows = warnings.showwarning

    def show(message, category, *place, **more):
        if form == "json" or issubclass(category, QirWarning):
            tell(message, "warning")
        else:
            python_shows(message, category, *place, **more)

    token = _FORMAT.set(form)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            yield
    finally:
        _FORMAT.reset(token)


def _bug(error: Exception) -> str:
    from ..reproducer import raised_in

    return (f"this is a bug in qir, {type(error).__name__} in {raised_in(error)}; please report it "
            "with the lines above")  # fmt: skip


def _record(error: Exception, severity: str) -> dict[str, object]:
    if severity == "internal":
        lines = "".join(traceback.format_exception(error)).splitlines()
        said = f"{type(error).__name__}: {error}"
        return {"severity": severity, "message": said, "help": _bug(error), "traceback": lines}
    if isinstance(error, click.ClickException):
        message = error.format_message()
    else:
        message = error.message if isinstance(error, QirError) else str(error)
    found = {"severity": severity, "message": message, "help": getattr(error, "help", None)}
    found |= _where(getattr(error, "at", None))
    return {key: value for key, value in found.items() if value is not None}


def _where(at: Place | str | None) -> dict[str, object]:
    if at is None:
        return {}
    if isinstance(at, Place):
        return {"place": str(at), "file": at.file, "line": at.line, "column": at.column,
                "width": at.width}  # fmt: skip
    found = _LINE.fullmatch(at)
    if found is None:
        return {"place": at, "file": at}
    return {"place": at, "file": found["file"], "line": int(found["line"])}
