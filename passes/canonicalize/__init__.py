"""Give equal things one spelling and drop what changes nothing."""

from qir.graph_pass import graph_pass
from qir.ir import Func
from qir.rewrite import rewrite

from . import arithmetic, broadcasts, movement
from .folding import folded

RULES = (*movement.RULES, *arithmetic.RULES, *broadcasts.RULES)


@graph_pass("any -> any")
def canonicalize(func: Func) -> Func:
    """Fold constants, drop ops that change nothing, and let operands broadcast by themselves."""
    func = rewrite(folded(func), *RULES)
    while (again := folded(func)) is not func:  # where nothing folds no rule fires anew
        func = rewrite(again, *RULES)
    return func
