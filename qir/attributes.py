"""The closed set of values that attributes and options take, and how each is read.

An annotation of a keyword-only parameter of an op, pass or pipeline is one of the kinds here, a
`Literal`, or `kind | None`. `coerce` turns what a user or the text gave into the one form kept.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Literal, NewType, Union, get_args, get_origin

import numpy as np

from .errors import Declined, suggestion
from .rounding import Rescale, make_rescale
from .types import Element, Type, dtype

Pair = NewType("Pair", tuple)
"""Two integers, height and width; one integer stands for both."""
Ints = NewType("Ints", tuple)
"""A list of integers."""
Floats = NewType("Floats", tuple)
"""A list of numbers."""
Padding = NewType("Padding", object)
"""`same`, `valid`, or ((top, bottom), (left, right))."""
Words = NewType("Words", tuple)
"""A list of names."""

Storage = Literal["float32", "int8", "uint8", "int16"]
"""How the numbers of an input or a result are stored, as TensorFlow's converter names it."""
Storages = NewType("float32|int8|uint8|int16, for all, by name, or a list", object)
"""A `Storage` for all; a list of them in order; or by name, `[logits=float32, boxes=uint8]`."""

InputStats = NewType("[mean, std], for all, by name, or a list of such", object)
"""Means, within 0 to 255, and standard deviations, above 0, of inputs that are bytes."""

ReadFile = NewType("File", str)
"""The path of a file that a pass reads."""
WrittenFile = NewType("File", str)
"""The path of a file that a pass writes."""


@dataclass(frozen=True)
class Call:
    """A value written as a call, `single(multiplier=3, shift=1)`, before it is elaborated."""

    name: str
    args: tuple
    kwargs: Mapping[str, object]


def declare_kind(kind: type, read: Callable[[object], object]) -> None:
    """Make a kind of a type from a layer above: read gives its value, or raises Declined."""
    _READERS[kind] = read


def coerce(value, kind):
    """The value in the form its kind keeps; Declined says what was expected and what was found."""
    if kind in _READERS:
        return _READERS[kind](value)
    if get_origin(kind) is Literal:
        return _choice(value, get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return None if value is None else coerce(value, _not_none(kind))
    raise TypeError(f"{kind} is no attribute kind; qir/attributes.py lists them")


def kind_text(kind) -> str:
    """A kind as help texts show it."""
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, UnionType):
        return f"{kind_text(_not_none(kind))}|none"
    return getattr(kind, "__name__", str(kind)).lower()


def is_kind(kind) -> bool:
    """Whether an annotation is one of the kinds values can have."""
    if get_origin(kind) in (Union, UnionType):
        return NoneType in get_args(kind) and is_kind(_not_none(kind))
    return kind in _READERS or get_origin(kind) is Literal


def _not_none(kind):
    (inner,) = [k for k in get_args(kind) if k is not NoneType]
    return inner


def _fail(expected: str, value):
    raise Declined(f"expected {expected}, found {value!r}")


_MOST = 2**63 - 1


def _integer(value) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        _fail("an integer", value)
    return int(value) if -_MOST <= value <= _MOST else _fail("an integer of 64 bits", value)


def _number(value) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        _fail("a number", value)
    if isinstance(value, int) and abs(value) > _MOST or math.isnan(value):
        _fail("a number", value)
    return float(value)


def _truth(value) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        _fail("true or false", value)
    return bool(value)


def _file(value) -> str:
    word = _word(value)
    return _fail("the name of a file", value) if "\0" in word else word


def _word(value) -> str:
    return value if isinstance(value, str) else _fail("a name or a text", value)


def _sequence(value, read, what):
    if not isinstance(value, (list, tuple, range, np.ndarray)):
        _fail(f"a list of {what}", value)
    return tuple(read(v) for v in value)


def _pair(value) -> tuple[int, int]:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return (int(value), int(value))
    pair = _sequence(value, _integer, "two integers")
    return pair if len(pair) == 2 else _fail("a list of two integers", value)


def _padding(value):
    if isinstance(value, str):
        low = value.lower()
        return low if low in ("same", "valid") else _fail("same, valid or two pairs", value)
    pads = _sequence(value, _pair, "two pairs")
    return pads if len(pads) == 2 else _fail("same, valid or two pairs", value)


def _element(value) -> Element:
    if isinstance(value, Element):
        return value
    if isinstance(value, Type):
        return value.element
    return Element(dtype(value)) if isinstance(value, str) else _fail("an element type", value)


def _rescale(value) -> Rescale:
    if isinstance(value, Rescale):
        return value
    if isinstance(value, Call) and not value.args:
        return make_rescale(value.name, **value.kwargs)
    return _fail("a rounding contract with its numbers", value)


def _storages(value):
    kinds = get_args(Storage)
    if isinstance(value, (list, tuple, Mapping)) and not value:
        return "float32"  # nothing was named
    if isinstance(value, Mapping):
        return {_word(name): _choice(each, kinds) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_choice(each, kinds) for each in value)
    return _choice(value, kinds)


def _input_stats(value):
    if value is None or isinstance(value, (list, tuple, Mapping)) and not len(value):
        return ()
    if isinstance(value, Mapping):
        return {_word(name): _moments(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)) and isinstance(value[0], (list, tuple)):
        return tuple(map(_moments, value))
    return _moments(value)


def _moments(value) -> tuple[float, float]:
    """A mean and a standard deviation: which byte stands for 0, and for how many 1 stands."""
    pair = _sequence(value, _number, "a mean and a standard deviation")
    if len(pair) != 2:
        _fail("a mean and a standard deviation", value)
    mean, std = pair
    if not 0 <= mean <= 255:
        _fail("a mean within 0 to 255, which stands for 0.0", mean)
    if not 0 < std < math.inf:
        _fail("a standard deviation above 0", std)
    return pair


def _choice(value, choices):
    if value in choices:
        return value
    raise Declined(f"'{value}' is none of the choices; {suggestion(str(value), map(str, choices))}")


_READERS = {
    int: _integer,
    float: _number,
    bool: _truth,
    str: _word,
    ReadFile: _file,
    WrittenFile: _file,
    Pair: _pair,
    Ints: lambda v: _sequence(v, _integer, "integers"),
    Floats: lambda v: _sequence(v, _number, "numbers"),
    Words: lambda v: _sequence(v, _word, "names"),
    Padding: _padding,
    Element: _element,
    Rescale: _rescale,
    Storages: _storages,
    InputStats: _input_stats,
}
