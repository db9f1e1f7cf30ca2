"""Variables: arrays that training goes on changing, and what is computed from them alone.

A trace that keeps a model's parameters as variables (`quant.variable` around a constant of their
present value) can be folded and rounded as ops, so that training sees what the integers will be.
Passes that ask what is constant look at the function with its variables `held`.
"""

from collections.abc import Callable, Mapping

import numpy as np

from .errors import QirError, suggestion
from .evaluate import evaluate_op
from .ir import Func, Op, const, kept, place_of, transform

VARIABLE, FAKE_QUANT = "quant.variable", "quant.fake_quant"
STEPS = 256
"""How many ops of an expression are looked at."""


def variables(func: Func) -> dict[str, Op]:
    """The variables of a function by name."""
    return {op.attributes["name"]: op for op in func.ops if op.kind == VARIABLE}


def is_ranged(op: Op) -> bool:
    """Whether an op rounds in a range that training moves."""
    return op.kind == FAKE_QUANT and bool(op.attributes["name"])


def ranged(func: Func) -> dict[str, Op]:
    """The fake quantizations whose ranges training moves, by name."""
    found: dict[str, Op] = {}
    for op in func.ops:
        if is_ranged(op):
            if op.attributes["name"] in found:
                raise QirError(f"two fake quantizations are called '{op.attributes['name']}'",
                               help="a name stands for one range")  # fmt: skip
            found[op.attributes["name"]] = op
    return found


def is_fixed(value: Op) -> bool:
    """Whether a value is constant once training is over: variables reach it, inputs do not.

    Rules ask for every operand, so that of a long expression, unknown, is said no.
    """
    if value.is_const:
        return True
    seen, stack, varies = {value}, [value], False
    while stack:
        op = stack.pop()
        if op.kind == "parameter" or len(seen) > STEPS:
            return False
        varies |= op.kind == VARIABLE
        fresh = [o for o in op.operands if o not in seen]
        seen.update(fresh)
        stack += fresh
    return varies


def held(func: Func) -> tuple[Func, Callable[[Func], Func]]:
    """A function with constants in place of what its variables alone come to; how to go back.

    The second result puts the ops again where their constants still stand.
    """
    values: dict[Op, np.ndarray] = {}
    made: dict[Op, Op] = {}
    moving = _moving(func)

    def hold(op: Op, operands: tuple[Op, ...]) -> Op:
        if op not in moving:
            return kept(op, operands)
        arrays = [o.value if o.is_const else values[o] for o in op.operands]
        values[op] = evaluate_op(op, arrays)
        if isinstance(values[op], tuple):
            return kept(op, operands)
        constant = const(values[op], op.type, location=op.location)
        made[constant] = op
        return constant

    def put_back(changed: Func) -> Func:
        return transform(changed, lambda op, operands: made.get(op) or kept(op, operands))

    return transform(func, hold), put_back


def _moving(func: Func) -> set[Op]:
    """What variables reach and inputs do not."""
    given: set[Op] = set()
    moving: set[Op] = set()
    for op in func.ops:
        if op.kind == "parameter" or any(o in given for o in op.operands):
            given.add(op)
        elif op.kind == VARIABLE or any(o in moving for o in op.operands):
            moving.add(op)
    return moving


def check_values(func: Func, values: Mapping[str, object]) -> None:
    """QirError for a variable that is given nothing or another shape.

    A tree may hold more: what the function does not use is none of its variables.
    """
    for name, op in variables(func).items():
        if name not in values:
            raise QirError(f"nothing is given for the variable '{name}'", at=place_of(op),
                           help=suggestion(name, values))  # fmt: skip
        shape = np.shape(values[name])
        if shape != op.shape:
            raise QirError(f"the variable '{name}' is {op.type}, found the shape {list(shape)}",
                           at=place_of(op))  # fmt: skip


def bound(func: Func, values: Mapping[str, object]) -> Func:
    """The function with arrays in place of its variables, as constants; all are to be given."""
    check_values(func, values)

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op.kind != VARIABLE:
            return kept(op, operands)
        name = op.attributes["name"]
        value = np.asarray(values[name]).astype(op.type.dtype.numpy)
        return const(value, op.type, name, op.location)

    return transform(func, change)


def refuse_variables(func: Func) -> None:
    """QirError where a function still has variables: integers are made of constants."""
    found = variables(func)
    if not found:
        return
    name, op = next(iter(found.items()))
    raise QirError(f"@{func.name} still has variables, '{name}' first of {len(found)}",
                   at=place_of(op), help="give their values: qir.bind(module, params)")  # fmt: skip
