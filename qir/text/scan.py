"""A quick reader of texts as they are usually written, into the records that the grammar gives.

It follows the grammar's rules for a module and takes the tokens from the grammar's own file. Where
it finds anything else, be it an error or only a comment within an op, it gives up: then lark reads
the text by the grammar, which stays the one definition of the notation.
"""

import re
from collections.abc import Callable
from importlib import resources

from .syntax import (
    WORDS,
    CallText,
    FuncText,
    GridText,
    OpText,
    Ref,
    Source,
    TypeText,
    number,
    unquoted,
)  # fmt: skip


def scan_module(source: Source) -> tuple[tuple[CallText, ...], tuple[FuncText, ...]] | None:
    """What `parse_module` gives for the text, or None if that has to be asked."""
    try:
        return _Scanner(source.text).module()
    except (_Unusual, RecursionError, ValueError):  # ValueError: more digits than an int may have
        return None


class _Unusual(Exception):
    """What only the grammar can read, or refuse."""


def _token(definition: str) -> str:
    """The pattern of a token from its line in the grammar: `/regex/`, or `"one" | "another"`."""
    if definition.startswith('"'):
        return "|".join(re.escape(word) for word in re.findall(r'"(.*?)"', definition))
    return re.sub(r"(\\.)|\((?!\?)", lambda m: m[1] or "(?:", definition[1:-1])  # nothing captured


_GRAMMAR = (resources.files(__package__) / "syntax.lark").read_text()
_PIECES = {
    name: _token(definition)
    for name, definition in re.findall(r"^([A-Z]+)(?:\.\d+)?: (.*)$", _GRAMMAR, re.M)
} | {
    "_": r"[ \t\f\r\n]*",
    "__": r"(?:[ \t\f\r\n]+|//[^\n]*)*",
    "PLACELESS": r'[^()<>#@$%"/]*',  # arguments none of which knows its place, nor is a text
    "TYPE": r"[A-Za-z_][\w.]*(?:<[^<>#/]*>)?\[[\d,]*\]",
}


def _compiled(template: str) -> re.Pattern:
    """The pattern that pieces make, NAMES standing for tokens, which are matched as a lexer does.

    The blanks between pieces mean nothing.
    """
    pieces = (f"(?>{_PIECES[p]})" if p in _PIECES else p for p in template.split())
    return re.compile("".join(pieces))


_VALUES = r"(?: VALUE (?:,\x20 VALUE )* )?"

_HEADER = _compiled(r"__ ( HEADER ) _ \(").match
_FUNC = _compiled(r"__ func _ ( FUNC ) _ \(").match
_PARAMETER = _compiled(r"__ ( VALUE ) _ :").match
_NAME = _compiled(r"__ ( WORD ) _ :").match
_OP = _compiled(
    rf"__ ( VALUE ) _ = _ ( WORD ) _ \( ( {_VALUES} ) ( PLACELESS )(?: \) _ : _ ( TYPE ))?"
).match
_RETURN = _compiled(rf"__ return _ ( {_VALUES} ) __ \}}").match
_END = _compiled(r"__ \Z").match
_TYPE = _compiled("_ ( TYPE )").match
_ELEMENT = _compiled("_ ( WORD )").match
_SHAPE = _compiled(r"\[((?:\d+(?:,\d+)*)?)\]").match
_REST_OF_GRID = _compiled("_ ( AXIS )? _ ( NARROW )? _ >").match
_STRINGS = _compiled("STRING")
_LOCATION = _compiled(r"_ loc _ \( _ ( STRING (?: _ , _ STRING )* ) _ \)").match
_MARK = _compiled("_ ([][()<>{}:,=?]|->)").match
_TOKEN = _compiled(
    "_ (?:(?P<NUMBER> NUMBER )|(?P<STRING> STRING )|(?P<WORD> WORD )"
    "|(?P<REF> VALUE | RESOURCE | FUNC )|(?P<MARK>[][)]))"
).match


class _Scanner:
    """The text, and what equal pieces of it were read as.

    Methods are named after what they read at a place; they give it and the place behind it.
    """

    def __init__(self, text: str):
        self.text = text
        self.arguments: dict[str, tuple] = {}
        self.types: dict[str, TypeText] = {}
        self.locations: dict[str, tuple[str, ...]] = {}

    def module(self):
        headers, funcs, at = [], [], 0
        while found := _HEADER(self.text, at):
            call, at = self.call(found[1], found.start(1), found.end())
            headers.append(call)
        while found := _FUNC(self.text, at):
            func, at = self.func(found)
            funcs.append(func)
        self.find(_END, at)
        return tuple(headers), tuple(funcs)

    def func(self, head: re.Match) -> tuple[FuncText, int]:
        parameters, at = self.listed(self.parameter, head.end())
        declared, ops = None, []
        if self.mark(at)[0] == "->":
            at = self.expect("(", self.expect("->", at))
            declared, at = self.listed(self.declared, at)
        at = self.expect("{", at)
        while found := _OP(self.text, at):
            op, at = self.op(found)
            ops.append(op)
        found = self.find(_RETURN, at)
        results = self.refs(found[1], found.start(1))
        return FuncText(head[1][1:], parameters, declared or None, tuple(ops), results,
                        head.start(1)), found.end()  # fmt: skip

    def parameter(self, at: int):
        found = self.find(_PARAMETER, at)
        type, at = self.type(found.end())
        location, at = self.location(at)
        return (found[1][1:], type, location), at

    def declared(self, at: int):
        found = _NAME(self.text, at)
        type, at = self.type(found.end() if found else at)
        return (found and found[1], type), at

    def op(self, found: re.Match) -> tuple[OpText, int]:
        target, name, operands, arguments, written = found.groups()
        refs, form = self.refs(operands, found.start(3)), None
        if written:
            call = self.known_call(name, found.start(2), refs, arguments, found.start(4))
            type, at = self.known_type(written, found.start(5)), found.end()
            form = name + self.text[found.end(3) : at] if len(call.args) == len(refs) else None
        else:
            call, at = self.call(name, found.start(2), found.end(3), refs)
            mark, after = self.mark(at)
            type, at = self.any_type(after) if mark == ":" else (None, at)
        location, at = self.location(at)
        return OpText(target[1:], call, type, location, found.start(1), form), at

    def known_call(self, name, offset, refs, written: str, at: int) -> CallText:
        """A call of `refs` and other arguments as written at `at`, up to its parenthesis."""
        if not written:
            return CallText(name, refs, {}, offset, {})
        key = f"%{written}" if refs else written
        if key not in self.arguments:
            call, _ = self.call(name, offset, at, refs)
            places = [(k, place - at) for k, place in call.keyword_offsets.items()]
            self.arguments[key] = call.args[len(refs) :], call.kwargs, places, call.repeated
        args, kwargs, places, repeated = self.arguments[key]
        return CallText(name, refs + args, kwargs, offset, {k: at + n for k, n in places}, repeated)

    def call(self, name, offset, at: int, refs=()) -> tuple[CallText, int]:
        """A call whose arguments are `refs`, read already, and those that stand behind them."""
        args, kwargs, offsets, repeated = list(refs), {}, {}, None
        more, at = self.separated(")", at) if refs else (True, at)
        while more:
            token = self.token(at)
            if token["MARK"] == ")":
                at = token.end()
                break
            if token.lastgroup == "WORD" and self.text.startswith("=", token.end()):
                key = token["WORD"]
                repeated = key if key in kwargs else repeated
                kwargs[key], at = self.expression(self.token(token.end() + 1))
                offsets[key] = token.start("WORD")
            else:
                value, at = self.present(token)
                args.append(value)
            more, at = self.separated(")", at)
        return CallText(name, tuple(args), kwargs, offset, offsets, repeated), at

    def list(self, at: int):
        items, more = [], True
        while more:
            token = self.token(at)
            if token["MARK"] == "]":
                return items, token.end()
            value, at = self.present(token)
            items.append(value)
            more, at = self.separated("]", at)
        return items, at

    def present(self, token: re.Match):
        """An expression that is not `none`, which the grammar leaves out of a list."""
        value, at = self.expression(token)
        if value is None:
            raise _Unusual
        return value, at

    def expression(self, token: re.Match):
        kind, at = token.lastgroup, token.end()
        written, offset = token[kind], token.start(kind)
        if kind == "NUMBER":
            return number(written), at
        if kind == "STRING":
            return unquoted(written), at
        if kind == "REF":
            return Ref(written[0], written[1:], offset), at
        if written == "[":
            return self.list(at)
        if kind == "MARK":
            raise _Unusual
        if self.text.startswith("(", at):
            return self.call(written, offset, at + 1)
        if self.text.startswith("<", at):
            grid, at = self.grid(at + 1)
            return TypeText(written, grid, None, offset), at
        return WORDS.get(written, written), at

    def any_type(self, at: int):
        mark, after = self.mark(at)
        if mark != "(":
            return self.type(at)
        types, at = self.listed(self.type, after)
        if not types:
            raise _Unusual
        return types, at

    def type(self, at: int) -> tuple[TypeText, int]:
        found = _TYPE(self.text, at)
        if not found:
            return self.new_type(at)
        return self.known_type(found[1], found.start(1)), found.end()

    def known_type(self, written: str, at: int) -> TypeText:
        if written not in self.types:
            self.types[written] = self.new_type(at)[0]
        same = self.types[written]
        return TypeText(same.dtype, same.grid, same.shape, at, written)

    def new_type(self, at: int) -> tuple[TypeText, int]:
        name, grid = self.find(_ELEMENT, at), None
        at = name.end()
        if self.text.startswith("<", at):
            grid, at = self.grid(at + 1)
        shape = self.find(_SHAPE, at)
        extents = tuple(map(int, shape[1].split(","))) if shape[1] else ()
        return TypeText(name[1], grid, extents, name.start(1)), shape.end()

    def grid(self, at: int) -> tuple[GridText, int]:
        if self.text.startswith("?>", at):
            return GridText(1.0, 0, dynamic=True), at + 2
        scale, at = self.numbers(at)
        zero, at = self.numbers(self.expect(":", at))
        rest = self.find(_REST_OF_GRID, at)
        along = [int(n) for n in rest[1][1:].split("/")] if rest[1] else [None]
        block = along[1] if len(along) == 2 else None
        return GridText(scale, zero, along[0], block, rest[2] is not None), rest.end()

    def numbers(self, at: int):
        token = self.token(at)
        written = token[token.lastgroup]
        if token.lastgroup == "NUMBER" or written[0] == "#":
            return self.expression(token)
        if written != "[":
            raise _Unusual
        items, at, more = [], token.end(), True
        while more:
            item, at = self.numbers(at)
            items.append(item)
            more, at = self.separated("]", at)
        return items, at

    def location(self, at: int) -> tuple[tuple[str, ...], int]:
        found = _LOCATION(self.text, at)
        if not found:
            return (), at
        if found[1] not in self.locations:
            texts = _STRINGS.findall(found[1])
            self.locations[found[1]] = tuple(map(unquoted, texts))
        return self.locations[found[1]], found.end()

    def refs(self, written: str, at: int) -> tuple[Ref, ...]:
        """Values with a comma and a blank between each two, as they are written at `at`."""
        if not written:
            return ()
        found = []
        for value in written.split(", "):
            found.append(Ref("%", value[1:], at))
            at += len(value) + 2
        return tuple(found)

    def listed(self, read: Callable, at: int) -> tuple[tuple, int]:
        """What `read` gives up to a closing parenthesis, several with commas between or none."""
        items, (mark, after) = [], self.mark(at)
        if mark == ")":
            return (), after
        more = True
        while more:
            item, at = read(at)
            items.append(item)
            more, at = self.separated(")", at)
        return tuple(items), at

    def separated(self, end: str, at: int) -> tuple[bool, int]:
        """Whether a comma stands there, rather than the mark that ends a list."""
        mark, after = self.mark(at)
        if mark != "," and mark != end:
            raise _Unusual
        return mark == ",", after

    def expect(self, wanted: str, at: int) -> int:
        mark, after = self.mark(at)
        if mark != wanted:
            raise _Unusual
        return after

    def mark(self, at: int) -> tuple[str | None, int]:
        found = _MARK(self.text, at)
        return (found[1], found.end()) if found else (None, at)

    def token(self, at: int) -> re.Match:
        return self.find(_TOKEN, at)

    def find(self, match: Callable, at: int) -> re.Match:
        found = match(self.text, at)
        if not found:
            raise _Unusual
        return found
