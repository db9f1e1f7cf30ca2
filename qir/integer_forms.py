"""The table that `lower_int8` reads: from a float op to its integer form.

A dialect of integer ops registers a form beside the op it builds, so that a new quantizable op
edits no pass.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .ir import Op
from .tables import table
from .types import Element

INTEGER_FORMS: dict[str, "IntegerForm"] = table(lambda form: form.build)
"""By the full name of the float op."""


@dataclass(frozen=True)
class Wanted:
    """What an integer form has to produce: the result's element and the rounding contract."""

    to: Element
    rounding: str


@dataclass(frozen=True)
class IntegerForm:
    """How a float op is computed on integers.

    build: `(op, wanted, *operands) -> Op`: the float op for its attributes and types, the operands
    as stored integers (folded ones as float constants). It declines with `require`. produces: the
    int8 op whose rounding contract the target is asked for.
    """

    produces: str
    build: Callable[..., Op]


def integer_form(produces: str, *kinds: str) -> Callable[[Callable], Callable]:
    """Register the integer form of the float ops of these kinds."""

    def declare(build: Callable) -> Callable:
        for kind in kinds:
            if kind in INTEGER_FORMS:
                raise TypeError(f"{kind} has two integer forms")
            INTEGER_FORMS[kind] = IntegerForm(produces, build)
        return build

    return declare
