"""`--verify-diagnostics`: what a case says is wrong against what its comments announce.

`// expected-error {{text}}` announces an error at its line whose message contains the text, and
`expected-warning` a warning; `@+2`, `@-1`, `@above` and `@below` announce it at another line (the
last two skip comments that announce), `@unknown` where it has no line in the file. In
`expected-error-re {{a {{[0-9]+}} b}}` the inner braces hold a regular expression. Every error and
warning has to be announced, and every one that is announced has to come. The help of an error may
be announced as `expected-note`, and need not be. So it is in MLIR, whose notes must be.

A graph as text has no locations, so that most errors of passes have no line. Where one is missing,
the case is run again with every op placed at its line, and both ways to announce it are right.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePath

from ..errors import Place, QirError

KINDS = ("error", "warning", "note")

_BEGUN = re.compile(r"//\s*expected-(?=[a-z])")
_COMMENT = re.compile(
    r"//\s*expected-(?P<kind>[a-z]+)(?P<re>-re)?\s*(@(?P<where>[^\s{]+))?"
    r"\s*\{\{(?P<text>.*)\}\}\s*$"
)
_LOCATED = re.compile(r"(?:.* \()?(?P<file>.*):(?P<line>\d+)\)?")


@dataclass(frozen=True)
class Announced:
    """A comment: the kind it announces, the text, the line (None for unknown), where it stands."""

    kind: str
    text: str
    pattern: re.Pattern
    line: int | None
    place: Place


@dataclass(frozen=True)
class Said:
    """An error, a warning or a note; lines: those of the file that are right for it."""

    kind: str
    message: str
    at: object
    lines: tuple[int | None, ...]


def verify(text: str, file: str, first_line: int, run: Callable) -> tuple[object, list[QirError]]:
    """What `run` gives, None after an error, and what differs from what the text announces.

    run: runs the case; `run(lines=True)` does with every op placed at its line, and says nothing.
    """
    try:
        announced = announcements(text, file, first_line)
    except QirError as error:
        return None, [error]
    module, said = _said(run, file)
    wrong = _differences(announced, said)
    if wrong and any(each.lines == (None,) for each in said):
        _, again = _said(lambda: run(lines=True), file)
        wrong = _differences(announced, _placed(said, again, file))
    return module, wrong


def announcements(text: str, file: str, first_line: int = 1) -> list[Announced]:
    """The comments that announce something; QirError for one that cannot be read."""
    rows = list(enumerate(text.split("\n"), first_line))
    plain = [number for number, row in rows if not _BEGUN.match(row.strip())]
    found = []
    for number, row in rows:
        begun = _BEGUN.search(row)
        if begun is not None:
            place = Place(file, number, begun.start() + 1, row, len(row) - begun.start())
            found.append(_announced(row, place, plain))
    return found


def _announced(row: str, place: Place, plain: list[int]) -> Announced:
    comment = _COMMENT.search(row, place.column - 1)
    if comment is None or comment["kind"] not in KINDS:
        raise QirError("this announces nothing", at=place, help="// expected-error {{text}}; "
                       "error, warning or note, at another line with @+1, @-1, @above, @below, "
                       "@unknown")  # fmt: skip
    line = _line(comment["where"], place, plain)
    return Announced(comment["kind"], comment["text"], _pattern(comment, place), line, place)


def _line(where: str | None, place: Place, plain: list[int]) -> int | None:
    """The line that a comment speaks of."""
    here = place.line
    if where == "unknown":
        return None
    if where is None:
        line = here
    elif where == "above":
        line = max((n for n in plain if n < here), default=0)
    elif where == "below":
        line = min((n for n in plain if n > here), default=0)
    elif re.fullmatch(r"[+-]\d+", where):
        line = here + int(where)
    else:
        raise QirError(f"'@{where}' is no line", at=place,
                       help="@+1, @-1, @above, @below or @unknown")  # fmt: skip
    if line < 1:
        raise QirError(f"there is no line '@{where}' here", at=place)
    return line


def _pattern(comment: re.Match, place: Place) -> re.Pattern:
    text = comment["text"]
    if not comment["re"]:
        return re.compile(re.escape(text))
    parts = re.split(r"\{\{(.*?)\}\}", text)
    try:
        return re.compile("".join(f"(?:{part})" if i % 2 else re.escape(part)
                                  for i, part in enumerate(parts)))  # fmt: skip
    except re.error as error:
        raise QirError(f"'{text}' holds no regular expression: {error.msg}", at=place) from None


def _said(run: Callable, file: str) -> tuple[object, list[Said]]:
    """What a run gives, None after an error, and its warnings, its error and the error's help."""
    module, said = None, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            module = run()
        except QirError as error:
            lines = (_line_in(file, error.at),)
            said.append(Said("error", error.message, error.at, lines))
            if error.help:
                said.append(Said("note", error.help, error.at, lines))
    theirs = [each for each in caught if not issubclass(each.category, UserWarning)]
    for each in theirs:  # of Python and of libraries: they are told as ever
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    places = [(each, getattr(each.message, "at", None)) for each in caught if each not in theirs]
    told = [Said("warning", str(each.message), at, (_line_in(file, at),)) for each, at in places]
    return module, [*told, *said]


def _line_in(file: str, at: object) -> int | None:
    """The line of the file that a place or a location speaks of."""
    if isinstance(at, Place):
        return at.line if at.file == file else None
    located = _LOCATED.fullmatch(str(at or ""))
    return int(located["line"]) if located and located["file"] == file else None


def _placed(said: list[Said], again: list[Said], file: str) -> list[Said]:
    """What was said, with the lines it has when every op is placed, where it is the same."""
    layer = re.compile(rf"{re.escape(PurePath(file).name)}:\d+/")  # it shows in observers' names
    if [each.kind for each in said] != [each.kind for each in again]:
        return said
    found = []
    for first, second in zip(said, again, strict=True):
        head, head_again = (each.message.partition("\n")[0] for each in (first, second))
        same = first.kind == "warning" or head == layer.sub("", head_again)
        if same and first.lines == (None,) != second.lines:
            first = replace(first, at=second.at, lines=(None, *second.lines))
        found.append(first)
    return found


def _differences(announced: list[Announced], said: list[Said]) -> list[QirError]:
    """What was said unannounced, and what was announced and not said, by lines."""
    open_, wrong = list(announced), []
    for each in said:
        found = next((a for a in open_ if _fits(a, each)), None)
        if found is not None:
            open_.remove(found)
        elif each.kind != "note":
            hint = f"it has no line here: // expected-{each.kind}@unknown {{{{...}}}}"
            wrong.append(QirError(f"unexpected {each.kind}: {each.message}", at=each.at,
                                  help=hint if each.lines == (None,) else None))  # fmt: skip
    missing = [QirError(f'expected {a.kind} "{a.text}" was not produced', at=a.place)
               for a in open_]  # fmt: skip
    return wrong + missing


def _fits(announced: Announced, said: Said) -> bool:
    same = announced.kind == said.kind and announced.line in said.lines
    return same and announced.pattern.search(said.message) is not None
