"""Refuse a graph in which anything computes in float."""

from qir.errors import QirError
from qir.floats import float_lines, floats_left
from qir.graph_pass import graph_pass
from qir.ir import Func, place_of


@graph_pass("mixed -> int8")
def strict(func: Func) -> Func:
    """Leave a graph of integers as it is; QirError lists every op that computes in float, and why.

    Casts at inputs and results do not count.
    """
    left = floats_left(func)
    if not left:
        return func
    computes = "op computes" if len(left) == 1 else "ops compute"
    raise QirError("\n".join((f"{len(left)} {computes} in float:", *float_lines(left))),
                   at=place_of(left[0].op),
                   help="without 'strict' they stay in float between casts")  # fmt: skip
