"""Selectors as they are written: read into a tree, printed back from it."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..attributes import Call, declare_kind
from ..errors import Declined, QirError, require, suggestion
from ..ir import OPS, Op
from ..schemes import SCHEMES
from ..tables import table
from ..text.read import read_value
from ..text.syntax import Source, depth_checked, parse_expression
from ..text.write import option_text

OPERATORS = {"|": 0, "&": 1, "!": 2}
"""How tightly an operator binds."""


@dataclass(frozen=True, repr=False)
class Selector:
    """A set of ops as it is written: an operator or a word, and what it is about.

    word: `|`, `&`, `!`, or a name of `WORDS`. parts: selectors, texts and numbers.
    """

    word: str
    parts: tuple = ()

    def __repr__(self) -> str:
        """The text that reads back as this."""
        if self.word == "!":
            return f"!{_inside(self.parts[0], OPERATORS['!'])}"
        if self.word in OPERATORS:
            level = OPERATORS[self.word]
            left, right = self.parts
            return f"{_inside(left, level)} {self.word} {_inside(right, level + 1)}"
        inside = ", ".join(map(option_text, self.parts))
        return f"{self.word}({inside})" if inside else self.word


def _inside(part: Selector, level: int) -> str:
    return f"({part!r})" if OPERATORS.get(part.word, level) < level else repr(part)


@dataclass(frozen=True)
class Word:
    """A word of the language: its help, how its parts are read, and what it finds in a graph.

    find: `(seen, parts) -> ops`, where `seen` is a function as `qir.selectors.match` sees it.
    """

    doc: str
    read: Callable[[tuple], tuple]
    find: Callable[[object, tuple], Iterable[Op]]


WORDS: dict[str, Word] = table(lambda word: word.find)
"""The words of the language beside its operators."""


def word(name: str, doc: str, read: Callable[[tuple], tuple]):
    """Declare a word of the language by what it finds."""

    def declare(find):
        WORDS[name] = Word(doc, read, find)
        return find

    return declare


def read_selector(value) -> Selector:
    """A selector from its text or from what the notation gives; Declined says what is wrong."""
    if isinstance(value, Selector):
        return value
    if isinstance(value, str) and value in WORDS:
        return Selector(value, WORDS[value].read(()))
    if isinstance(value, str):
        found = expression(value)
        if isinstance(found, str) and found not in WORDS:
            raise Declined(f"'{found}' is no selector; {_suggested(found)}")
        return read_selector(found)
    require(isinstance(value, Call), f"expected a selector, found {value!r}; {FORM}")
    if value.name in OPERATORS:
        return Selector(value.name, tuple(map(read_selector, value.args)))
    require(value.name in WORDS, f"'{value.name}' is no selector; {_suggested(value.name)}")
    require(not value.kwargs, f"{value.name} has no '{next(iter(value.kwargs), '')}'; {FORM}")
    return Selector(value.name, WORDS[value.name].read(value.args))


FORM = 'it is written kind(nn.conv2d) & loc("encoder/.*") & !last'


def _suggested(word: str) -> str:
    return f"write kind({word})" if "." in word else suggestion(word, WORDS)


def expression(text: str):
    """What a text of the notation says, a word, a number, a list or a call of operators.

    Declined says what is wrong with it.
    """
    source = Source(text, "<selector>")
    try:
        with depth_checked(source.file):
            return read_value(parse_expression(source), source)
    except QirError as error:
        help = f"; {error.help}" if error.help else ""
        raise Declined(f"'{text}' cannot be read: {error.message}{help}") from None


def texts(word: str, what: str):
    """A reader of one text or more."""

    def read(parts: tuple) -> tuple:
        fit = parts and all(isinstance(part, str) for part in parts)
        require(fit, f"{word} takes {what}, found {', '.join(map(repr, parts)) or 'nothing'}")
        return parts

    return read


def kinds(parts: tuple) -> tuple:
    """Read kinds of ops, of which there are some."""
    for kind in texts("kind", 'kinds of ops such as nn.conv2d or "nn.*"')(parts):
        require(any(fnmatchcase(name, kind) for name in OPS),
                f"there is no op '{kind}'; {suggestion(kind, OPS)}")  # fmt: skip
    return parts


def expressions(parts: tuple) -> tuple:
    """Read regular expressions."""
    for text in texts("loc", 'regular expressions such as "encoder/.*"')(parts):
        try:
            re.compile(text)
        except re.error as error:
            raise Declined(f"'{text}' is no regular expression: {error}") from None
    return parts


def schemes(parts: tuple) -> tuple:
    """Read names of schemes."""
    for name in texts("scheme", "schemes such as float")(parts):
        require(name in SCHEMES, f"there is no scheme '{name}'; {suggestion(name, SCHEMES)}")
    return parts


def _operand(part) -> Selector:
    """A selector inside of a word, where the kind of an op may stand by itself."""
    if isinstance(part, str) and part not in WORDS and re.fullmatch(r"[\w.*?\[\]-]+", part):
        return Selector("kind", kinds((part,)))
    return read_selector(part)


def several(word: str):
    """A reader of selectors and kinds of ops."""
    def read(parts: tuple) -> tuple:
        require(parts, f"{word} takes selectors or kinds of ops, such as {word}(nn.softmax)")
        return tuple(map(_operand, parts))

    return read


def ordered(word: str):
    """A reader of `first`, `first(2)`, `first(nn.softmax)`, `first(nn.softmax, 2)`."""

    def read(parts: tuple) -> tuple:
        *of, count = parts if parts and isinstance(parts[-1], int) else (*parts, None)
        fit = len(of) <= 1 and (count is None or count is not True and count > 0)
        require(fit, f"{word} takes a selector, and how many, at least 1; found "
                     f"{', '.join(map(repr, parts))}")  # fmt: skip
        return (*map(_operand, of), *([] if count is None else [count]))

    return read


def nothing(word: str):
    """A reader of no parts at all."""
    def read(parts: tuple) -> tuple:
        require(not parts, f"{word} takes nothing")
        return ()

    return read


declare_kind(Selector, read_selector)
