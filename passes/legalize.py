"""Bring a lowered graph into the form that a target runs."""

from qir.errors import QirError
from qir.forms import complaints
from qir.graph_pass import graph_pass
from qir.ir import Func, place_of
from qir.registry import target_named
from qir.rewrite import rewrite


@graph_pass("mixed -> {target}")
def legalize(func: Func, *, target: str = "xla") -> Func:
    """Apply the rules of a target; QirError lists every op that the target does not take."""
    found = target_named(target)
    func = rewrite(func, *found.legalization())
    illegal = [f"  {op.kind} : {op.type}  {reason}, at {place_of(op) or 'an unknown place'}"
               for op, reason in complaints(func, found.form)]  # fmt: skip
    if illegal:
        raise QirError(f"{len(illegal)} ops are not for the target '{target}':\n"
                       + "\n".join(illegal))  # fmt: skip
    return func
