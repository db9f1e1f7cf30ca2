"""What a user of qir can do wrong, said in one message: where, what was found, what to do."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A position in a text: its file, 1-based line and column, and the line for the caret."""

    file: str
    line: int
    column: int
    text: str = ""
    width: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class QirError(Exception):
    """An error a user can act on; its string is the whole message."""

    def __init__(self, message: str, *, at: "Place | str | None" = None, help: str | None = None):
        self.message, self.at, self.help = message, at, help
        super().__init__(message)

    def __str__(self) -> str:
        lines = [f"{self.at}: error: {self.message}" if self.at else f"error: {self.message}"]
        if isinstance(self.at, Place) and self.at.text:
            caret = " " * (self.at.column - 1) + "^" * max(1, self.at.width)
            lines += ["  " + self.at.text, "  " + caret]
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)

    def __reduce__(self):
        return _rebuild, (self.message, self.at, self.help)


def _rebuild(message, at, help):
    return QirError(message, at=at, help=help)


class QirWarning(UserWarning):
    """What a user should know and can go on with; `at` is where, as it is of an error."""

    def __init__(self, message: str, *, at: "Place | str | None" = None):
        self.at = at
        super().__init__(message)


class Declined(Exception):
    """Why a typing function or a rule does not apply, and what would change that, if it is known.

    `require` raises it.
    """

    def __init__(self, reason: str, fix: str | None = None):
        super().__init__(reason)
        self.fix = fix


def require(condition: object, reason: str, fix: str | None = None) -> None:
    """Go on only if `condition` holds; in an op this is its typing rule, in a rule its guard.

    fix: what a user could do about it.
    """
    if not condition:
        raise Declined(reason, fix)


def suggestion(wrong: str, known: Iterable[str], most: int = 24) -> str:
    """`did you mean 'x'?` where a known name is near, then the known names, at most so many.

    Of more than `most` names those of the same family (`nn.` of `nn.conv2d`) are listed; the first
    ones where there is no family and none is near.
    """
    known = sorted(known)
    near = difflib.get_close_matches(wrong, known, n=1)
    start = f"did you mean '{near[0]}'? " if near else ""
    if len(known) > most:
        family = wrong.rpartition(".")[0]
        alike = [name for name in known if family and name.startswith(f"{family}.")]
        known = alike if near or alike else known
    if len(known) > most:
        known = [*known[:most], "..."]
    return (start + (f"known: {', '.join(known)}" if known else "")).strip() or "there are none"
