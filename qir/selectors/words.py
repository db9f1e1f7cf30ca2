"""The words of the selector language: kinds, locations, names, schemes, positions."""

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

from ..errors import QirError, suggestion
from ..ir import OPS, Op
from ..schemes import scheme_of
from .language import (
    Selector,
    expressions,
    kinds,
    nothing,
    ordered,
    schemes,
    several,
    texts,
    word,
)  # fmt: skip
from .match import Seen, names_in


@word("any", "every op", nothing("any"))
def _any(seen: Seen, parts: tuple) -> Iterable[Op]:
    return seen.ops


@word("kind", "ops of these kinds, `*` and `?` standing for any letters", kinds)
def _of_kind(seen: Seen, parts: tuple) -> Iterable[Op]:
    return (op for op in seen.ops if any(fnmatchcase(op.kind, kind) for kind in parts))


@word("loc", "ops one of whose locations has a match of these regular expressions", expressions)
def _located(seen: Seen, parts: tuple) -> Iterable[Op]:
    patterns = [re.compile(text) for text in parts]
    return (op for op in seen.ops if any(p.search(t) for p in patterns for t in op.location))


@word("name", "ops that make the result, or read the input or constant, of this name",
       texts("name", "names of inputs, results and constants"))  # fmt: skip
def _named(seen: Seen, parts: tuple) -> Iterable[Op]:
    names = names_in(seen)
    for part in parts:
        found = [op for name, ops in names.items() if fnmatchcase(name, part) for op in ops]
        if part not in names and not found:
            raise QirError(f"@{seen.func.name} has no input, result or constant '{part}'",
                           help=suggestion(part, names))  # fmt: skip
        yield from found


@word("scheme", "ops that a recipe has given one of these schemes", schemes)
def _of_scheme(seen: Seen, parts: tuple) -> Iterable[Op]:
    return (op for op in seen.ops if scheme_of(op) in parts)


@word("first", "the first layers, or the first of what a selector means", ordered("first"))
def _first(seen: Seen, parts: tuple) -> Iterable[Op]:
    found, count = _in_order(seen, parts)
    return found[:count]


@word("last", "the last layers, or the last of what a selector means", ordered("last"))
def _last(seen: Seen, parts: tuple) -> Iterable[Op]:
    found, count = _in_order(seen, parts)
    return found[-count:]


def _in_order(seen: Seen, parts: tuple) -> tuple[list[Op], int]:
    """The ops in order of the function, and how many of them; layers are ops that have a weight."""
    count = parts[-1] if parts and isinstance(parts[-1], int) else 1
    if parts and isinstance(parts[0], Selector):
        chosen = seen.found(parts[0])
        return [op for op in seen.ops if op in chosen], count
    return [op for op in seen.ops if any(role.kind == "weight" for role in _roles(op))], count


def _roles(op: Op):
    return op.definition.roles(op).operands


@word("before", "ops whose results what is meant reads; what only moves them is one of these too",
       several("before"))  # fmt: skip
def _before(seen: Seen, parts: tuple) -> Iterable[Op]:
    ends = {op for part in parts for op in seen.found(part)}
    return _reached(ends, lambda op: [seen.made_by(o) for o in op.operands])


@word("after", "ops that read what is meant makes; what only moves it is one of these too",
       several("after"))  # fmt: skip
def _after(seen: Seen, parts: tuple) -> Iterable[Op]:
    ends = {op for part in parts for op in seen.found(part)}
    return _reached(ends, lambda op: seen.readers[op])


def _reached(ends: Iterable[Op], around: Callable[[Op], list]) -> Iterator[Op]:
    """What stands around some ops, and what stands around those of it that only move elements."""
    stack, seen = list(ends), set()
    while stack:
        for op in around(stack.pop()):
            if op is not None and op not in seen and op.kind in OPS:
                seen.add(op)
                yield op
                if op.definition.moves:
                    stack.append(op)
