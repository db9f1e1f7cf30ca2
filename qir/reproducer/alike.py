"""When two errors are the same fault: their texts without what a smaller graph changes."""

import re
import traceback
from pathlib import PurePath

from ..errors import QirError

_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
_NAME = re.compile(r"[%@#][\w./-]+")
_NUMBER = re.compile(r"(?<!\w)-?\d+(\.\d+)?([eE][-+]?\d+)?")
_LIST = re.compile(r"\[[^\[\]]*\]|<[^<>]*>")
_MORE = re.compile(r" \(and # more\)| and # more")


def blanked(text: str) -> str:
    """A message without names, numbers, shapes and places, which differ from graph to graph."""
    text = _NAME.sub("@", _QUOTED.sub("''", text))
    while (shorter := _LIST.sub("_", text)) != text:
        text = shorter
    return _MORE.sub("", _NUMBER.sub("#", text)).strip()


def signature(error: BaseException) -> str:
    """What an error has in common with its like: the blanked message, and where a bug was met."""
    if isinstance(error, QirError):
        return f"error: {blanked(error.message)}"
    return f"{type(error).__qualname__}: {blanked(str(error))} in {raised_in(error)}"


def raised_in(error: BaseException) -> str:
    """The function that raised an error, with the name of its file."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    return f"{frames[-1].name} ({PurePath(frames[-1].filename).name})"
