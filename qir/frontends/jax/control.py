"""Control flow: loops are written out step by step, branches are computed and chosen from."""

from qir.dialects import lax

from ...errors import Declined
from ...ir import const
from ..loops import STEPS, at_most, part, stacked
from ..values import MISSING, Known, Missing, Value, located


def scan(importer, equation, operands: list[Value], location) -> list[Value]:
    """Each step on its slices of the sequences, the carry going from one to the next."""
    p = equation.params
    at_most(p["length"])
    consts, carry = p["num_consts"], p["num_carry"]
    fixed, state = operands[:consts], operands[consts : consts + carry]
    sequences, where = operands[consts + carry :], str(location)
    steps = range(p["length"])[::-1] if p["reverse"] else range(p["length"])
    rows: list[list[Value]] = []
    for index in steps:
        slices = [part(each, index, where) for each in sequences]
        results = _body(importer, p["jaxpr"], [*fixed, *state, *slices], location)
        state = results[:carry]
        rows.append(results[carry:])
    rows = rows[::-1] if p["reverse"] else rows
    if not rows:
        raise Declined("a loop without steps")
    columns = zip(*rows, strict=True)
    return [*state, *(stacked(column, importer.made, where) for column in columns)]


def while_(importer, equation, operands: list[Value], location) -> list[Value]:
    """Steps as long as the condition holds, which no input may reach."""
    p = equation.params
    first, second = p["cond_nconsts"], p["body_nconsts"]
    asked, fixed = operands[:first], operands[first : first + second]
    state = operands[first + second :]
    for _ in range(STEPS + 1):
        (goes_on,) = _body(importer, p["cond_jaxpr"], [*asked, *state], location)
        if not isinstance(goes_on, Known):
            raise Declined("how often a loop runs depends on an input")
        if not goes_on.array:
            return state
        state = _body(importer, p["body_jaxpr"], [*fixed, *state], location)
    raise Declined(f"a loop of more than {STEPS} steps")


def cond(importer, equation, operands: list[Value], location) -> list[Value]:
    """All branches, and of each result the one that is asked for."""
    which, *arguments = operands
    made = [_body(importer, branch, arguments, location)
            for branch in equation.params["branches"]]  # fmt: skip
    if any(isinstance(value, Missing) for results in made for value in results):
        return [MISSING] * len(equation.outvars)
    index = importer.op(which, location)
    chosen = []
    for cases in zip(*made, strict=True):
        ops = [importer.op(case, location) for case in cases]
        found = ops[0]
        for number, case in enumerate(ops[1:], start=1):
            here = index if index.dtype.name == "bool" else lax.ge(
                index, const(index.dtype.numpy.type(number)))  # fmt: skip
            found = lax.select(here, case, found)
        located([found], [index, *ops], str(location))
        chosen.append(found)
    return chosen


def _body(importer, jaxpr, arguments, location) -> list[Value]:
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    return importer.program(jaxpr, arguments, importer.where.inside(location, inner))


CONTROL = {"scan": scan, "while": while_, "cond": cond}
"""By primitive: `(importer, equation, operands, location) -> values`."""
