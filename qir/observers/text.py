"""Statistics as text that can be read, compared line by line and edited, and read back.

    qir-statistics 1

    value "conv1/relu"
      samples 2
      elements 70
      zeros 30
      min 0.0
      max 5.5
      ...
      width 2^-9
      bins 0: 31 0*3 2
      bins 2816: 37

The values are sorted by name. A `bins` line gives the counts of up to 32 bins from the number
before the colon on, a multiple of 32: `0*3` stands for three empty bins, and what is left out is
empty. So a line says the same whatever the others say. `//` starts a line of comment. All
numbers may be edited; `min` and `max` bound what percentile, entropy and mse answer, too.
"""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np

from qir.errors import Place, QirError, suggestion
from qir.observers.statistics import BINS, FINEST, LARGEST, Statistics

HEADER = "qir-statistics 1"
_ROW = 32  # bins a line
_WHOLE = ("samples", "elements", "zeros")
_REAL = ("min", "max", "ema_min", "ema_max", "first_min", "first_max")
_KEYS = (*_WHOLE, *_REAL, "width", "bins")
_COARSEST = 128  # power of two
_MOST = 2**62  # of anything counted, so that two such counts still add in 64 bits
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')
_NUMBER = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_COUNTS = re.compile(r"([0-9]{1,19})(?:\*([0-9]{1,2}))?")


def to_text(stats: Mapping[str, Statistics]) -> str:
    """The text of statistics by name; equal statistics have equal text, `from_text` its inverse."""
    return "\n".join([HEADER + "\n"] + [_block(name, stats[name]) for name in sorted(stats)])


def from_text(text: str, file: str = "<statistics>") -> dict[str, Statistics]:
    """The statistics by name that a text gives; QirError at file and line where malformed."""
    lines = _lines(text, file)
    if not lines or lines[0].words != HEADER.split():
        first = lines[0] if lines else _Line(file, 1, "", [""])
        first.fail(0, "this is no statistics file", f"its first line must be '{HEADER}'")
    starts = [i for i, line in enumerate(lines) if line.words[0] == "value"]
    for line in lines[1 : starts[0] if starts else None]:
        line.fail(0, f"'{line.words[0]}' before the first value", 'expected: value "name"')
    found: dict[str, Statistics] = {}
    for start, stop in pairwise([*starts, len(lines)]):
        name = _name(lines[start])
        if name in found:
            lines[start].fail(1, f"a second value {lines[start].words[1]}", "names are unique")
        found[name] = _statistics(lines[start], lines[start + 1 : stop])
    return found


def save(path: str | os.PathLike, stats: Mapping[str, Statistics]) -> None:
    """Write statistics by name to a file, whole or not at all; QirError if it cannot be written."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        try:
            partial.write_bytes(to_text(stats).encode())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise QirError(
            f"cannot write the statistics: {error.strerror}", at=str(path), help="name another path"
        ) from None


def load(path: str | os.PathLike) -> dict[str, Statistics]:
    """The statistics by name in a file; QirError if it is missing, not UTF-8 or malformed."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise QirError(
            f"cannot read the statistics: {error.strerror}",
            at=str(path),
            help="save statistics there first",
        ) from None
    except UnicodeDecodeError as error:
        raise QirError(
            f"this is no statistics file: byte {error.start} is not UTF-8",
            at=str(path),
            help="name a file that was saved as statistics",
        ) from None
    return from_text(text, str(path))


def _block(name: str, stats: Statistics) -> str:
    quoted = json.dumps(name, ensure_ascii=not name.isprintable())
    if stats.elements == 0:
        return f"value {quoted}\n  samples 0\n  elements 0\n"
    lines = [f"value {quoted}"]
    lines += [f"  {key} {getattr(stats, key)}" for key in _WHOLE]
    lines += [f"  {key} {float(getattr(stats, key))!r}" for key in _REAL]
    lines += [f"  width 2^{stats.exponent}", *_rows(stats)]
    return "\n".join(lines) + "\n"


def _rows(stats: Statistics) -> list[str]:
    """The lines of a histogram."""
    lead = stats.start % _ROW
    tail = -(lead + len(stats.counts)) % _ROW
    rows = np.pad(stats.counts, (lead, tail)).reshape(-1, _ROW)
    lines = []
    for i in np.flatnonzero(rows.any(axis=1)).tolist():
        runs = [(count, len(list(run))) for count, run in groupby(rows[i].tolist())]
        if runs[-1][0] == 0:
            runs.pop()
        words = [str(count) if length == 1 else f"{count}*{length}" for count, length in runs]
        lines.append(f"  bins {stats.start - lead + i * _ROW}: {' '.join(words)}")
    return lines


@dataclass(frozen=True)
class _Line:
    """A line that is not empty, as words."""

    file: str
    number: int
    text: str
    words: list[str]

    def fail(self, word: int, message: str, help: str | None = None) -> NoReturn:
        """Raise QirError with a caret under the word of that number."""
        starts = [match.start() for match in _WORD.finditer(self.text)] or [0]
        column, width = starts[word] + 1, len(self.words[word])
        raise QirError(
            message, at=Place(self.file, self.number, column, self.text, width), help=help
        )


def _lines(text: str, file: str) -> list[_Line]:
    """The lines of a text without empty ones and comments."""
    lines = enumerate(text.split("\n"), 1)
    return [
        _Line(file, number, line.rstrip(), _WORD.findall(line))
        for number, line in lines
        if line.strip() and not line.lstrip().startswith("//")
    ]


def _name(line: _Line) -> str:
    if len(line.words) == 2 and line.words[1][0] == '"':
        try:
            return json.loads(line.words[1])
        except ValueError:
            pass
    return line.fail(len(line.words) - 1, "this is no name", 'expected: value "name"')


def _statistics(header: _Line, lines: list[_Line]) -> Statistics:
    """The statistics of one block, checked."""
    read: dict[str, int | float] = {}
    where: dict[str, _Line] = {}
    rows = []
    for line in lines:
        key = line.words[0]
        if key not in _KEYS:
            line.fail(0, f"unknown key '{key}'", suggestion(key, _KEYS))
        if key == "bins":
            rows.append(line)
            continue
        if key in read:
            line.fail(0, f"'{key}' was given before", f"keep it or line {where[key].number}")
        read[key], where[key] = _read(line), line
    if read.get("elements") == 0 and read.get("samples") == 0 and len(read) == 2 and not rows:
        return Statistics()
    for key in _KEYS:
        if key not in read and (key != "bins" or not rows):
            header.fail(1, f"value {header.words[1]} lacks '{key}'", f"it needs {', '.join(_KEYS)}")
    _check(read, where)
    start, counts = _histogram(rows, read["width"])
    total, at_zero = sum(counts), counts[-start] if 0 <= -start < len(counts) else 0
    if total != read["elements"]:
        where["elements"].fail(1, f"the bins hold {total} elements, not {read['elements']}")
    if read["zeros"] > at_zero:
        where["zeros"].fail(1, f"bin 0 holds {at_zero} elements, so not {read['zeros']} zeros")
    frozen = np.array(counts, np.int64)
    frozen.flags.writeable = False
    return Statistics(exponent=read.pop("width"), start=start, counts=frozen, **read)


def _read(line: _Line) -> int | float:
    """The value of a line of one key and one value."""
    key = line.words[0]
    if len(line.words) != 2:
        line.fail(len(line.words) - 1, f"'{key}' has {len(line.words) - 1} values, expected one")
    word = line.words[1]
    if key in _WHOLE:
        if not re.fullmatch("[0-9]{1,19}", word) or int(word) > _MOST:
            line.fail(1, f"'{word}' is no count", "expected a whole number from 0 to 2^62")
        return int(word)
    if key in _REAL:
        if not _NUMBER.fullmatch(word) or abs(float(word)) > LARGEST:
            line.fail(1, f"'{word}' is no finite number", f"expected at most {LARGEST!r}")
        return float(word)
    if not re.fullmatch("2\\^-?[0-9]{1,4}", word) or not FINEST <= int(word[2:]) <= _COARSEST:
        line.fail(1, f"'{word}' is no width", f"expected 2^{FINEST} to 2^{_COARSEST}")
    return int(word[2:])


def _check(read: dict[str, int | float], where: dict[str, _Line]) -> None:
    """Fail where two numbers of a block contradict each other."""
    if not 1 <= read["samples"] <= read["elements"]:
        where["samples"].fail(1, f"{read['elements']} elements cannot be {read['samples']} samples")
    for low, high in zip(_REAL[::2], _REAL[1::2], strict=True):
        if read[low] > read[high]:
            where[low].fail(1, f"{low} {read[low]} is above {high} {read[high]}")


def _histogram(rows: list[_Line], exponent: int) -> tuple[int, list[int]]:
    """The first bin that is not empty and the counts from there to the last."""
    bins: dict[int, int] = {}
    previous = None
    for line in rows:
        at = line.words[1] if len(line.words) > 1 else ""
        if not re.fullmatch("-?[0-9]{1,17}:", at) or int(at[:-1]) % _ROW:
            line.fail(min(1, len(line.words) - 1), "no number of a bin", "such as 'bins 64: 1 0*3'")
        first = int(at[:-1])
        if previous is not None and first <= previous:
            line.fail(1, f"bin {first} after bin {previous}", "lines of bins ascend")
        previous = first
        if abs(first) > 2**54 or math.ldexp(abs(first), exponent) > 2 * LARGEST:
            line.fail(1, f"bin {first} of width 2^{exponent} is beyond f32")
        counts = _counts(line)
        bins.update((first + i, count) for i, count in enumerate(counts) if count)
        if bins and next(reversed(bins)) - next(iter(bins)) >= BINS:
            line.fail(1, f"more than {BINS} bins from {next(iter(bins))} on", "use a greater width")
    if not bins:
        rows[0].fail(0, "all bins are empty")
    start, last = next(iter(bins)), next(reversed(bins))
    return start, [bins.get(i, 0) for i in range(start, last + 1)]


def _counts(line: _Line) -> list[int]:
    """The counts of a `bins` line, its runs written out."""
    counts: list[int] = []
    for number, word in enumerate(line.words[2:], 2):
        match = _COUNTS.fullmatch(word)
        if not match or int(match[1]) > _MOST:
            line.fail(number, f"'{word}' is no count", "expected such as '7', or '0*5' for five")
        counts += [int(match[1])] * int(match[2] or 1)
        if len(counts) > _ROW:
            line.fail(number, f"more than {_ROW} bins in a line")
    return counts
