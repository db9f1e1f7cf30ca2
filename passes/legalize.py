"""Bring a lowered graph into the form that a target runs."""

from qir.errors import QirError
from qir.forms import complaints
from qir.graph_pass import graph_pass
from qir.ir import Func, place_of
from qir.registry import target_named
from qir.rewrite import recorded, rewrite


@graph_pass("mixed -> {target}")
def legalize(func: Func, *, target: str = "xla") -> Func:
    """Apply the rules of a target; QirError lists every op that it does not take, and why."""
    found = target_named(target)
    with recorded() as firings:
        func = rewrite(func, *found.legalization())
    illegal = list(complaints(func, found.form))
    if not illegal:
        return func
    declined = {each.op: each.reason for each in firings if not each.fired}
    lines = [f"  {op.kind} : {op.type}  {declined.get(op) or reason}, "
             f"at {place_of(op) or 'an unknown place'}" for op, reason in illegal]  # fmt: skip
    raise QirError(f"{len(illegal)} ops are not for the target '{target}':\n" + "\n".join(lines),
                   at=place_of(illegal[0][0]))  # fmt: skip
