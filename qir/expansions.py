"""The table that `expand_tfl` reads: from an op of another system's dialect to ops of our own.

A dialect that mirrors another system states beside each op what it comes to, in float and in the
integer arithmetic of each of that system's kernel sets; that is the op's only meaning.
"""

from collections.abc import Callable

import numpy as np

from .errors import Declined, QirError
from .evaluate import evaluate
from .ir import Func, Op, item, parameter, place_of
from .tables import table
from .types import TupleType

KERNELS = ("tflite_reference", "tflite_builtin", "xnnpack")
"""TensorFlow Lite's kernel sets: BUILTIN_REF, BUILTIN_WITHOUT_DEFAULT_DELEGATES, AUTO on x86."""

EXPANSIONS: dict[str, Callable] = table(lambda build: build)
"""By the full name of the op: `(op, kernels, *operands) -> Op` of exactly the op's type.

An op of several results may become a tuple with an op for each.
"""


def expands(*definitions) -> Callable[[Callable], Callable]:
    """Declare what ops come to; their numpy meaning becomes that under the reference kernels.

    The function gets the op, the name of a kernel set and the op's new operands. It declines with
    `require` where the kernels do not take the op.
    """

    def declare(build: Callable) -> Callable:
        for definition in definitions:
            if definition.name in EXPANSIONS:
                raise TypeError(f"{definition.name} is expanded twice")
            EXPANSIONS[definition.name] = build
            definition.means(_reference_meaning)
        return build

    return declare


def expanded(op: Op, kernels: str, *operands: Op) -> Op | tuple[Op, ...]:
    """What an op comes to under a kernel set; QirError with its place where they do not take it."""
    try:
        new = EXPANSIONS[op.kind](op, kernels, *operands)
    except Declined as declined:
        raise QirError(f"{op.kind} under {kernels}: {declined}", at=place_of(op)) from None
    type = TupleType(tuple(each.type for each in new)) if isinstance(new, tuple) else new.type
    if type != op.type:
        raise QirError(f"{op.kind} : {op.type} was expanded to {type}", at=place_of(op))
    return new


def values_of(new: Op | tuple[Op, ...]) -> tuple[Op, ...]:
    """What an op or its expansion gives: a value, its items, or an op for each of them."""
    if isinstance(new, tuple):
        return new
    several = isinstance(new.type, TupleType)
    return tuple(item(new, i) for i in range(len(new.type.items))) if several else (new,)


def meaning(op: Op, kernels: str, arrays):
    """The result of an op on arrays under a kernel set; a tuple where it has several."""
    fresh = [o if o.is_const else parameter(f"x{i}", o.type) for i, o in enumerate(op.operands)]
    new = expanded(op, kernels, *fresh)
    several, results = isinstance(op.type, TupleType), values_of(new)
    given = [(p, a) for p, a in zip(fresh, arrays, strict=True) if not p.is_const]
    func = Func("main", tuple(p for p, _ in given), results)
    found = evaluate(func, [a for _, a in given])
    return tuple(found) if several else found[0]


def _reference_meaning(op: Op, *arrays: np.ndarray):
    return meaning(op, KERNELS[0], arrays)
