"""Roll recurrent cells that a trace has written out step by step into one op over the sequence.

An op over the whole sequence keeps its states in 16 bits, and is one operator of TensorFlow Lite;
of ops for each step every value would be rounded to 8 bits at each of them.
"""

from dataclasses import replace

from qir.graph_pass import graph_pass
from qir.ir import Func, Op, derived, kept
from qir.timing import count

from . import gru, lstm
from .chains import Roll, rolls


@graph_pass("float -> float")
def roll_cells(func: Func) -> Func:
    """Make one nn.lstm or nn.gru of the steps of a cell, from a constant first state.

    The steps must have the same weights. Of a cell whose inner state is read by others, as where a
    layer returns it, or whose gates are made otherwise, the steps stay.
    """
    for cell in (lstm.CELL, gru.CELL):
        while (roll := next(rolls(func, cell), None)) is not None:
            count("cells rolled")
            func = _rolled(func, roll)
    return func


def _rolled(func: Func, roll: Roll) -> Func:
    """The function with the states of one chain of steps read from the op over the sequence."""
    replaced = dict(zip(roll.states, roll.rows, strict=True))
    new: dict[Op, Op] = {}
    stack = [*reversed((*func.parameters, *func.results))]
    while stack:
        op = stack[-1]
        needs = (replaced[op],) if op in replaced else op.operands
        missing = [o for o in needs if o not in new]
        if op in new or not missing:
            stack.pop()
            new.setdefault(op, _again(op, replaced, new))
        else:
            stack.extend(reversed(missing))
    return replace(func, results=tuple(new[r] for r in func.results))


def _again(op: Op, replaced: dict[Op, Op], new: dict[Op, Op]) -> Op:
    if op in replaced:
        return derived(new[replaced[op]], op)
    node = kept(op, tuple(new[o] for o in op.operands))
    return node if node is op else derived(node, op)
