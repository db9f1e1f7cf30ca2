"""A `.qir` test file as cases: what to run, what to check."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from ..cli.opt import split_cases
from ..errors import Place, QirError

_LINE = re.compile(r"^\s*//\s*(RUN|EVAL)\b:?\s*(.*?)\s*$")
_CHECK = re.compile(r"^\s*//\s*CHECK[\w-]*(\{LITERAL\})?:")
_PIPED = re.compile(r"\s*(2>&1)?\s*\|\s*filecheck\b.*$")


@dataclass(frozen=True)
class Case:
    """One part of a test file between `// -----` lines.

    line: of the file, where the text starts. run: the words of the RUN line after the program,
    the file's own where the case has none. evaluate: the settings of its EVAL line, None without.
    """

    file: Path
    line: int
    text: str
    run: tuple[str, ...]
    evaluate: dict[str, float] | None

    @property
    def name(self) -> str:
        """The first function's name and the line: unique in the file."""
        found = re.search(r"func\s+@([\w.-]+)", self.text)
        return f"{found.group(1) if found else 'case'}:{self.line}"

    @property
    def verifies(self) -> bool:
        """Whether `expected-error` comments judge the case, beside its CHECK and EVAL lines."""
        return "--verify-diagnostics" in self.run

    @property
    def checks(self) -> list[int]:
        """Which lines of the text, from 0, are CHECK lines."""
        return [i for i, line in enumerate(self.text.splitlines()) if _CHECK.match(line)]


def is_test_file(file: Path) -> bool:
    """Whether a `.qir` file has a RUN line; others are models and data."""
    with open(file, encoding="utf-8", errors="replace") as lines:
        return any("RUN:" in line for line in lines)


def read_cases(file: Path) -> list[Case]:
    """The cases of a test file; QirError with the line of a RUN or EVAL line that is wrong."""
    cases, inherited = [], None
    for first, text in split_cases(file.read_text(encoding="utf-8")):
        found = _marked(file, first, text)
        runs, evals = found["RUN"], found["EVAL"]
        if len(runs) > 1 or len(evals) > 1:
            which = "RUN" if len(runs) > 1 else "EVAL"
            raise QirError(f"a case has one {which} line", at=found[which][1][0])
        run = _words(*runs[0]) if runs else inherited
        if not cases:
            inherited = run
        if run is None:
            raise QirError("no RUN line here and none in the file's first case",
                           at=Place(str(file), first, 1))  # fmt: skip
        cases.append(Case(file, first, text, run, _settings(*evals[0]) if evals else None))
    return cases


def _marked(file: Path, first: int, text: str) -> dict[str, list[tuple[Place, str]]]:
    """The RUN and EVAL lines; a RUN line that ends in a backslash goes on in the next one."""
    found, open_end = {"RUN": [], "EVAL": []}, False
    for number, line in enumerate(text.splitlines(), first):
        match = _LINE.match(line)
        if match is None:
            continue
        kind, rest = match.groups()
        if open_end and kind == "RUN":
            place, start = found["RUN"].pop()
            found["RUN"].append((place, f"{start} {rest.rstrip(chr(92))}"))
        else:
            place = Place(str(file), number, 1, line, len(line))
            found[kind].append((place, rest.rstrip("\\")))
        open_end = kind == "RUN" and rest.endswith("\\")
    return found


def _words(place: Place, command: str) -> tuple[str, ...]:
    try:
        words = shlex.split(_PIPED.sub("", command))
    except ValueError as error:
        raise QirError(f"the RUN line cannot be read: {error}", at=place) from None
    if words[:2] == ["qir", "opt"]:
        words[:2] = ["qir-opt"]
    if words[:1] != ["qir-opt"]:
        raise QirError("a RUN line starts with qir-opt", at=place,
                       help='// RUN: qir-opt %s -p "canonicalize"')  # fmt: skip
    return tuple(words[1:])


_EVAL = {"rtol", "atol", "low", "high", "runs"}


def _settings(place: Place, text: str) -> dict[str, float]:
    found = {}
    for word in text.replace(",", " ").split():
        key, _, value = word.partition("=")
        try:
            found[key] = float(value)
        except ValueError:
            key = None
        if key not in _EVAL:
            raise QirError(f"'{word}' is no setting of EVAL", at=place,
                           help=f"known: {', '.join(sorted(_EVAL))}, each a number")  # fmt: skip
    return found
