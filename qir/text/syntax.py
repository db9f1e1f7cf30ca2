"""From text to plain records with positions; nothing is looked up or checked here."""

import json
import re
from bisect import bisect_left
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from ..errors import Place, QirError
from ..garbage import paused

SHOWN = 1000
"""The longest line that a message shows; one with weights in it is longer by far."""


@dataclass(frozen=True, slots=True)
class Ref:
    """`%value`, `#resource`, `@func` or `$setting`: its mark and its name."""

    mark: str
    name: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class GridText:
    """A grid as written; lists and resource names are not read yet."""

    scale: object
    zero: object
    axis: int | None = None
    block: int | None = None
    narrow: bool = False
    dynamic: bool = False


@dataclass(frozen=True, slots=True)
class TypeText:
    """A type as written; shape is None for an element type.

    text: its whole text, if that was read before: equal texts are equal types.
    """

    dtype: str
    grid: GridText | None
    shape: tuple[int, ...] | None
    offset: int
    text: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class CallText:
    """`name(args, key=value)`; offsets of the name and of the keywords, for carets.

    Operators are calls of their signs, `a & !b` is `&(a, !(b))` and a line of a recipe `:(a, b)`.
    repeated: a keyword that stands there twice.
    """

    name: str
    args: tuple
    kwargs: Mapping[str, object]
    offset: int
    keyword_offsets: Mapping[str, int] = field(default_factory=dict)
    repeated: str | None = None


@dataclass(frozen=True, slots=True)
class MappingText:
    """`[name=value, "another name"=value]`; repeated: a name that stands there twice."""

    entries: Mapping[str, object]
    repeated: str | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class OpText:
    """`%target = call : type loc(...)`.

    form: what it says beside its target, its operands and its location, where all arguments are
    operands or plain numbers and words: an op of equal form on equal types is the same.
    """

    target: str
    call: CallText
    type: object
    location: tuple[str, ...]
    offset: int
    form: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class FuncText:
    """A function as written: parameters are (name, type, location)."""

    name: str
    parameters: tuple[tuple[str, TypeText, tuple[str, ...]], ...]
    declared: tuple[tuple[str | None, TypeText], ...] | None
    ops: tuple[OpText, ...]
    results: tuple[Ref, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class PipelineText:
    """`pipeline name(settings) = steps`; a bare list of steps has no name."""

    name: str | None
    settings: Mapping[str, object]
    steps: tuple[CallText, ...]
    offset: int


@dataclass(frozen=True)
class Source:
    """A text and the file it came from; turns offsets into places."""

    text: str
    file: str = "<text>"
    first_line: int = 1

    @cached_property
    def line_ends(self) -> list[int]:
        """The offsets of all line breaks, found once: every op of a text may ask for its line."""
        return [found.start() for found in re.finditer("\n", self.text)]

    def place(self, offset: int, width: int = 1) -> Place:
        offset = min(offset, len(self.text))
        start = self.text.rfind("\n", 0, offset) + 1
        end = self.text.find("\n", offset)
        line = self.text[start:] if end < 0 else self.text[start:end]
        line = line if len(line) <= SHOWN else ""
        number = bisect_left(self.line_ends, offset) + self.first_line
        return Place(self.file, number, offset - start + 1, line, width)


def parse_module(source: Source) -> tuple[tuple[CallText, ...], tuple[FuncText, ...]]:
    """The headers of a module, such as `weights("file")`, and its functions."""
    return _parse(source, "module")


def parse_pipelines(source: Source) -> tuple[PipelineText, ...]:
    """The pipelines of a text; a bare list of steps gives one without a name."""
    return _parse(source, "pipelines")


def parse_expression(source: Source):
    """The one value of a text, such as `kind(nn.dense) & !last`."""
    return _parse(source, "expression")


def _parse(source: Source, start: str):
    try:
        with paused(), depth_checked(source.file):
            return _parser().parse(source.text, start=start)
    except UnexpectedInput as error:
        raise _syntax_error(source, error) from None
    except ValueError:  # of int(), which reads no more than 4300 digits
        raise QirError("a number has more digits than can be read", at=source.file) from None


@contextmanager
def depth_checked(file: str):
    """What is nested deeper than Python's stack inside the block is a QirError."""
    try:
        yield
    except RecursionError:
        raise QirError("nested too deeply to read", at=file) from None


@cache
def _parser() -> Lark:
    grammar = (resources.files(__package__) / "syntax.lark").read_text()
    starts = ["module", "pipelines", "expression"]
    return Lark(grammar, parser="lalr", start=starts, transformer=_Records(),
                maybe_placeholders=True)  # fmt: skip


def _syntax_error(source: Source, error: UnexpectedInput) -> QirError:
    offset = error.pos_in_stream if error.pos_in_stream is not None else len(source.text)
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        offset = len(source.text.rstrip())
        found, wanted = "the end of the text", error.accepts or error.expected
    elif isinstance(error, UnexpectedToken):
        found, wanted = f"'{error.token}'", error.accepts or error.expected
    elif isinstance(error, UnexpectedCharacters):
        found, wanted = f"'{source.text[offset]}'", error.allowed or set()
    else:
        found, wanted = "something else", set()
    names = sorted({_TOKENS.get(n, f"'{n.lower()}'") for n in wanted if n not in _OPERATORS})
    width = len(error.token) if isinstance(error, UnexpectedToken) else 1
    help = f"expected {' or '.join(names)}" if 0 < len(names) <= 9 else None
    return QirError(f"syntax error: {found} cannot stand here",
                    at=source.place(offset, max(1, width)), help=help)  # fmt: skip


_TOKENS = {
    "LPAR": "'('", "RPAR": "')'", "LSQB": "'['", "RSQB": "']'", "LBRACE": "'{'",
    "RBRACE": "'}'", "COMMA": "','", "COLON": "':'", "EQUAL": "'='", "LESSTHAN": "'<'",
    "MORETHAN": "'>'", "QMARK": "'?'", "__ANON_0": "'->'", "__ANON_1": "'func'", "PLAIN": "a type",
    "WORD": "a name", "NUMBER": "a number",
    "STRING": "a text in quotes", "VALUE": "a value such as %x", "AXIS": "an axis such as @3",
    "RESOURCE": "a resource such as #w", "FUNC": "a function such as @main",
    "SETTING": "a setting such as $x", "HEADER": "a header such as weights(...)",
    "$END": "the end of the text",
}  # fmt: skip


_OPERATORS = ("VBAR", "AMPERSAND", "BANG")
"""What may stand wherever a value may, and is hardly ever what is missing."""


def number(text: str):
    """What a NUMBER stands for: an int, or a float with a point or an exponent, or infinite."""
    return int(text) if text.lstrip("-").isdecimal() else float(text)


def unquoted(text: str) -> str:
    """What a STRING stands for."""
    return json.loads(text, strict=False) if "\\" in text else text[1:-1]


WORDS = {"true": True, "false": False, "none": None, "inf": float("inf"), "nan": float("nan")}


class _Records(Transformer):
    """Each grammar rule to its record; tokens to plain values."""

    def NUMBER(self, token):
        return number(str(token))

    def STRING(self, token):
        return unquoted(str(token))

    def VALUE(self, token):
        return Ref("%", str(token)[1:], token.start_pos)

    def RESOURCE(self, token):
        return Ref(str(token)[0], str(token)[1:], token.start_pos)

    FUNC = SETTING = RESOURCE

    def AXIS(self, token):
        return tuple(int(n) for n in str(token)[1:].split("/"))

    def word(self, children):
        text = str(children[0])
        return children[0] if text == "none" else WORDS.get(text, children[0])

    def list(self, children):
        """What was given; None is a place left empty, the word none a value."""
        return [_value(c) for c in children if not (c is None or _is(c, "COMMA"))]

    number_list = recipe = list

    def entry(self, children):
        key, value = children
        return (str(key), _value(value), getattr(key, "start_pos", 0))

    def expression(self, children):
        return _value(children[0])

    def either(self, children, sign="|"):
        offset = getattr(children[0], "offset", getattr(children[0], "start_pos", 0))
        return CallText(sign, tuple(map(_value, children)), {}, offset)

    def both(self, children):
        return self.either(children, "&")

    def negated(self, children):
        return self.either(children, "!")

    def line(self, children):
        return self.either(children, ":")

    def mapping(self, children):
        entries, repeated, offset = {}, None, 0
        for key, value, start in (c for c in children if not (c is None or _is(c, "COMMA"))):
            repeated, offset = (key, start) if key in entries else (repeated, offset)
            entries[key] = value
        return MappingText(entries, repeated, offset)

    def grid(self, children):
        return children[0]

    def dynamic(self, children):
        return GridText(1.0, 0, dynamic=True)

    def affine(self, children):
        scale, zero, axis, narrow = children
        along = axis or (None, None)
        block = along[1] if len(along) == 2 else None
        return GridText(scale, zero, along[0], block, narrow is not None)

    def type(self, children):
        if children[0].type == "PLAIN":
            return _plain_type(children[0])
        name, grid, *shape = children
        return TypeText(str(name), grid, tuple(n for n in shape if n is not None), name.start_pos)

    def element(self, children):
        return TypeText(str(children[0]), children[1], None, children[0].start_pos)

    def tuple_type(self, children):
        return tuple(children)

    def location(self, children):
        return tuple(children)

    def keyword(self, children):
        return ("=", children[0], _value(children[1]))

    setting = keyword

    def arguments(self, children):
        return self.list(children)

    settings = arguments

    def call(self, children):
        name, arguments = children
        args, kwargs, offsets, repeated = [], {}, {}, None
        for argument in arguments or ():
            if isinstance(argument, tuple) and argument and argument[0] == "=":
                key = str(argument[1])
                repeated = key if key in kwargs else repeated
                kwargs[key], offsets[key] = argument[2], argument[1].start_pos
            else:
                args.append(argument)
        return CallText(str(name), tuple(args), kwargs, name.start_pos, offsets, repeated)

    header = call

    def parameter(self, children):
        name, type, location = children
        return (name.name, type, location or ())

    def parameters(self, children):
        return tuple(children)

    declared_results = values = parameters

    def declared(self, children):
        return (None if children[0] is None else str(children[0]), children[1])

    def op(self, children):
        target, call, type, location = children
        return OpText(target.name, call, type, location or (), target.offset)

    def func(self, children):
        name, parameters, declared, *ops, results = children
        return FuncText(name.name, parameters or (), declared, tuple(ops), results or (),
                        name.offset)  # fmt: skip

    def module(self, children):
        headers = tuple(c for c in children if isinstance(c, CallText))
        return headers, tuple(children[len(headers) :])

    def steps(self, children):
        calls = (c for c in children if c is not None and not _is(c, "COMMA"))
        return tuple(c if isinstance(c, CallText) else bare(c) for c in calls)

    def definition(self, children):
        name, settings, steps = children
        named = {str(key): value for _, key, value in settings or ()}
        return PipelineText(str(name), named, steps, name.start_pos)

    def pipelines(self, children):
        if len(children) == 1 and isinstance(children[0], tuple):
            return (PipelineText(None, {}, children[0], 0),)
        return tuple(children)


def _plain_type(token: Token) -> TypeText:
    name, _, inside = token[:-1].partition("[")
    shape = tuple(map(int, inside.split(","))) if inside else ()
    return TypeText(name, None, shape, token.start_pos)


def _value(child):
    return None if _is(child, "WORD") and child == "none" else child


def _is(child, token_type: str) -> bool:
    return isinstance(child, Token) and child.type == token_type


def bare(word) -> CallText:
    """A word as a call without arguments: a step without options."""
    return CallText(str(word), (), {}, getattr(word, "start_pos", 0))
