"""What a selector means in a function: its ops, or an error that names what is near."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import QirError, suggestion
from ..ir import OPS, Func, Op
from ..rewrite import selected
from ..schemes import scheme_of
from .language import OPERATORS, WORDS, Selector

MARKS = ("quant.observe", "quant.stats", "quant.variable")
"""Ops that say something of a value and compute nothing; selectors look through them."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A function as selectors see it: its ops without inputs, constants and marks, in order."""

    func: Func
    ops: tuple[Op, ...]
    readers: dict[Op, list[Op]]

    def made_by(self, value: Op) -> Op | None:
        """The op that makes a value, None for an input or a constant."""
        while value.kind == "item" or value.kind in MARKS:
            value = value.operands[0]
        return value if value.kind in OPS else None

    def found(self, selector: Selector) -> set[Op]:
        """The ops that a selector means."""
        if selector.word == "!":
            return set(self.ops) - self.found(selector.parts[0])
        if selector.word in OPERATORS:
            left, right = map(self.found, selector.parts)
            return left & right if selector.word == "&" else left | right
        return set(WORDS[selector.word].find(self, selector.parts))


def matched(selector: Selector, func: Func) -> tuple[Op, ...]:
    """The ops of a function that a selector means, in order.

    QirError where there are none, and for a name that the function does not have.
    """
    seen = _seen(func)
    found = seen.found(selector)
    if not found:
        raise QirError(f"{selector} matches no op of @{func.name}", help=_near(selector, seen))
    return tuple(op for op in seen.ops if op in found)


def chooser(func: Func, where: Selector | None) -> Callable[[Op], bool]:
    """Whether a pass may touch an op of a function: all that `where` means, within an `only`."""
    if where is None:
        return selected
    chosen = set(matched(where, func))
    return lambda op: op in chosen and selected(op)


def names_in(seen: Seen) -> dict[str, list[Op]]:
    """The ops by the names of what they read and make."""
    names: dict[str, list[Op]] = {}
    for op in seen.func.ops:
        if op.kind in ("parameter", "const") and op.attributes["name"]:
            names.setdefault(op.attributes["name"], []).extend(seen.readers[op])
    for name, result in zip(seen.func.result_names, seen.func.results, strict=False):
        maker = seen.made_by(result)
        if name:
            names.setdefault(name, []).extend([] if maker is None else [maker])
    return names


def _seen(func: Func) -> Seen:
    ops = tuple(op for op in func.ops if op.kind in OPS and op.kind not in MARKS)
    seen = Seen(func, ops, {})
    through: dict[Op, list[Op]] = {}  # marks and items stand for the ops that read them
    for op in reversed(func.ops):
        readers = [r for user in func.users[op] for r in through.get(user, [user])]
        readers = list(dict.fromkeys(readers))
        if op.kind == "item" or op.kind in MARKS:
            through[op] = readers
        else:
            seen.readers[op] = readers
    return seen


def _near(selector: Selector, seen: Seen) -> str | None:
    """What there is, near to what was looked for: for the first part that matches nothing."""
    for part in _leaves(selector):
        if seen.found(part):
            continue
        if part.word == "kind":
            return suggestion(str(part.parts[0]), {op.kind for op in seen.ops})
        if part.word == "loc":
            places = {text for op in seen.ops for text in op.location}
            return suggestion(str(part.parts[0]), places, most=8) if places else (
                "no op of it has a location")  # fmt: skip
        if part.word == "name":
            return suggestion(str(part.parts[0]), names_in(seen))
        if part.word == "scheme":
            return suggestion(str(part.parts[0]), set(map(scheme_of, seen.ops)) - {None})
    return "each of its parts matches some, all of them together none" if (
        selector.word in OPERATORS) else None  # fmt: skip


def _leaves(selector: Selector) -> Iterator[Selector]:
    below = [part for part in selector.parts if isinstance(part, Selector)]
    for part in below:
        yield from _leaves(part)
    if selector.word not in OPERATORS:
        yield selector
