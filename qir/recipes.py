"""Recipes: which scheme each op gets, as an ordered list of selectors.

`[last: float, kind(nn.dense): weight_only_i8]`. Of the lines that mean an op the first holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .attributes import Call, declare_kind
from .errors import Place, QirError, require, suggestion
from .ir import Func, Op, place_of
from .schemes import SCHEMES
from .selectors import FORM, Selector, expression, matched, read_selector


@dataclass(frozen=True, repr=False)
class Recipe:
    """Lines of a selector and the name of a scheme, in the order in which they are asked."""

    lines: tuple[tuple[Selector, str], ...] = ()

    def __repr__(self) -> str:
        """The text that reads back as this."""
        return f"[{', '.join(f'{selector!r}: {scheme}' for selector, scheme in self.lines)}]"


@dataclass(frozen=True)
class Choice:
    """What one selector of a step means: its option, or its line of a recipe, and the ops."""

    text: str
    ops: tuple[Op, ...]


def read_recipe(value) -> Recipe:
    """A recipe from its text, from what the notation gives, or from pairs and mappings of Python.

    Declined says what is wrong.
    """
    if isinstance(value, Recipe):
        return value
    if isinstance(value, str):
        return read_recipe(expression(value))
    if isinstance(value, Mapping):
        value = tuple(value.items())
    listed = isinstance(value, (list, tuple))
    require(listed, f"expected a recipe, found {value!r}; it is written [last: float]")
    return Recipe(tuple(map(_line, value)))


def _line(value) -> tuple[Selector, str]:
    parts = value.args if isinstance(value, Call) and value.name == ":" else value
    pair = isinstance(parts, (list, tuple)) and len(parts) == 2
    require(pair, f"a line of a recipe is a selector and a scheme, found {value!r}; {FORM}: float")
    selector, scheme = parts
    require(scheme in SCHEMES if isinstance(scheme, str) else False,
            f"there is no scheme '{scheme}'; {suggestion(str(scheme), SCHEMES)}")  # fmt: skip
    return read_selector(selector), scheme


def assigned(recipe: Recipe, func: Func) -> dict[Op, str]:
    """The scheme of each op that a line of a recipe means.

    QirError for a line that means no op, or none that lines above it leave.
    """
    found: dict[Op, str] = {}
    for choice, (_, scheme) in zip(_lines(recipe, func), recipe.lines, strict=True):
        found |= dict.fromkeys(choice.ops, scheme)
    return found


def _lines(recipe: Recipe, func: Func) -> list[Choice]:
    """What each line of a recipe is left with by those above it."""
    taken: dict[Op, int] = {}
    choices = []
    for number, (selector, scheme) in enumerate(recipe.lines, 1):
        text = f"line {number}, {selector!r}: {scheme}"
        try:
            ops = matched(selector, func)
        except QirError as error:
            raise QirError(f"{text}: {error.message}", help=error.help) from None
        left = tuple(op for op in ops if op not in taken)
        if not left:
            above = sorted({taken[op] for op in ops})
            lines = ", ".join(f"line {n}, {recipe.lines[n - 1][0]!r}" for n in above)
            raise QirError(f"{text}: it is wholly shadowed, what it means is taken by {lines}",
                           at=place_of(ops[0]),
                           help="of the lines that mean an op the first holds: move this one up, "
                                "or leave it out")  # fmt: skip
        taken |= dict.fromkeys(left, number)
        choices.append(Choice(text, left))
    return choices


def choices(step: str, options: Mapping[str, object], func: Func,
            place: Place | None = None) -> list[Choice]:  # fmt: skip
    """What the selectors and recipes among the options of a step mean in a function.

    QirError, at the place of the step, for one that means nothing.
    """
    found = []
    for name, value in options.items():
        try:
            if isinstance(value, Selector):
                found.append(Choice(f"{step}: {name}={value!r}", matched(value, func)))
            elif isinstance(value, Recipe):
                found += [Choice(f"{step}: {each.text}", each.ops) for each in _lines(value, func)]
        except QirError as error:
            raise QirError(f"{step}: {error.message}", at=place or error.at,
                           help=error.help) from None  # fmt: skip
    return found


declare_kind(Recipe, read_recipe)
