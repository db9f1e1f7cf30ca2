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
    while True:
        before = func
        func = rewrite(folded(func), *RULES)
        if func is before:
            return func
