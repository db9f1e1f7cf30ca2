"""Write onto each op what is to become of it, as a recipe says."""

from collections.abc import Mapping
from typing import Literal

from qir.graph_pass import graph_pass
from qir.ir import Func, Op, derived, kept, transform
from qir.recipes import Recipe, assigned
from qir.schemes import SCHEMES, with_scheme
from qir.selectors import Selector, matched
from qir.timing import count

from ..dialects import nn

ORDINARY = "int8"
"""What becomes of ops without a scheme, so that nothing is written onto them."""


def schemes_asked(options: Mapping[str, object]) -> tuple[str, ...]:
    """What the recipe asks of a target, beyond what the passes behind it do to all ops."""
    names = [name for _, name in (options.get("recipe") or Recipe()).lines]
    asked = (SCHEMES[name].asks for name in (*names, options.get("default", ORDINARY)))
    return tuple(dict.fromkeys(scheme for scheme in asked if scheme is not None))


@graph_pass("float -> float", scheme=schemes_asked)
def assign(
    func: Func, *, recipe: Recipe | None = None, default: Literal[tuple(SCHEMES)] = ORDINARY
) -> Func:
    """Give ops the attribute `scheme=`, which says what is to become of them.

    recipe: lines of a selector and a scheme, `[last: float, kind(nn.dense): weight_only_i8]`; of
    the lines that mean an op the first holds. default: for all other ops; with int8 nothing is
    written onto them. QirError for a line that means no op, or none that lines above it leave.
    """
    found = assigned(recipe or Recipe(), func)
    if default != ORDINARY:
        found = dict.fromkeys(matched(Selector("any"), func), default) | found
    count("ops given a scheme", len(found))
    found |= {op: found[owner] for op, owner in nn.owners(func).items() if owner in found}

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        node = kept(op, operands)
        return derived(with_scheme(node, found[op]), op) if op in found else node

    return transform(func, change) if found else func
