"""Which ops of a graph take part in quantization, and in which roles, once their graph is seen.

An op's own roles (`qir.roles`) speak of one node. Here they meet its surroundings: a chain of
pointwise ops over one value becomes one table, so what lies inside it has no grid; a layer whose
weight is computed, or an op that was not selected, stays in float.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from . import journal
from .ir import OPS, Func, Op
from .rewrite import selected
from .roles import FLOAT, FOLDED, FREE, INDEX, Role, Roles
from .schemes import activations_of, scheme_of
from .types import TupleType, Type

_QUANTIZABLE = frozenset(("free", "same", "fixed", "weight", "bias", "power_of_two"))
_OF_OPERANDS = frozenset(
    ("free", "same", "weight", "bias", "folded", "index", "bool", "power_of_two")
)
_CONSTANT = frozenset(("weight", "bias", "folded"))


@dataclass(frozen=True, eq=False)
class FloatKept:
    """An entry of the journal: an op stays in float, why, and what it would take to change that."""

    op: Op
    reason: str
    needed: str


def is_real(type: Type | TupleType) -> bool:
    """Whether values of this type can be quantized: f32 tensors."""
    return isinstance(type, Type) and type.dtype.name == "f32"


def takes_part(role: Role) -> bool:
    """Whether what has this role stands on a grid."""
    return role.kind in _QUANTIZABLE


def in_integers(op: Op) -> bool:
    """Whether the scheme of an op leaves its operands and result to be quantized."""
    return activations_of(op) is not None


def chains(func: Func) -> dict[Op, Op]:
    """For each op that is a pointwise function of one f32 value and of single numbers: that value.

    Such ops and all between them and the value are one table of its stored values. An op whose
    operand is itself in a chain looks through it, so that a whole expression has one source; not
    where the activations of the two are to be stored in different ways.
    """
    found: dict[Op, Op] = {}
    for op in func.ops:
        if op.kind in OPS and OPS[op.kind].pointwise and selected(op) and in_integers(op):
            source = _source(op, found)
            if source is not None:
                found[op] = source
    return found


def _source(op: Op, found: Mapping[Op, Op]) -> Op | None:
    read = {found[o] if o in found and activations_of(o) == activations_of(op) else o
            for o in op.operands if not o.is_const}  # fmt: skip
    if len(read) != 1 or any(o.type.size != 1 for o in op.operands if o.is_const):
        return None
    (source,) = read
    return source if is_real(source.type) and op.shape == source.shape else None


def inside_chain(op: Op, operand: Op, chained: Mapping[Op, Op]) -> bool:
    """Whether an op reads an operand as a part of its own chain: as it is, never rounded."""
    return op in chained and operand in chained and chained[op] is not operand


def roles_in(op: Op, chained: Mapping[Op, Op]) -> Roles:
    """The roles of a node's operands and results in its graph.

    Where any of them keeps it in float, all are `float`. In a chain constants are `folded` and
    the result is free, unless it is fixed. What is no f32 tensor is an `index`.
    """
    roles = op.definition.roles(op)
    results = op.type.items if isinstance(op.type, TupleType) else (op.type,)
    result = roles.result if any(map(is_real, results)) else INDEX
    if op in chained:
        operands = tuple(_in_chain(o) for o in op.operands)
        return Roles(operands, result if result.kind in ("fixed", "index") else FREE)
    slots = zip(op.operands, roles.operands, strict=True)
    parts = [role if is_real(o.type) else INDEX for o, role in slots]
    if result.kind == "index":  # what only compares needs no grid shared with a result
        parts = [FREE if part.kind == "same" else part for part in parts]
    why = _why_float(op, parts, result)
    if why is not None:
        journal.note(FloatKept, op, *why)
        return Roles((FLOAT,) * len(op.operands), FLOAT)
    return Roles(tuple(parts), result)


def _in_chain(operand: Op) -> Role:
    if operand.is_const:
        return FOLDED
    return FREE if is_real(operand.type) else INDEX


def _why_float(op: Op, operands: Sequence[Role], result: Role) -> tuple[str, str] | None:
    """Why an op stays in float and what would change that, None if it takes part."""
    if not selected(op):
        return "no pass was to touch it", "an `only` whose expression matches its place"
    if not in_integers(op):
        return f"its scheme is '{scheme_of(op)}'", "int8 for it in the recipe"
    if result.kind == "float":
        return (f"no scheme quantizes {op.kind}",
                "another op in the model, or roles and an integer form for this one")  # fmt: skip
    if result.kind not in ("free", "same", "fixed", "index"):
        return f"a result of the role '{result.kind}' is not quantized", "a scheme that knows it"
    if not any(takes_part(role) for role in operands):
        return f"{op.kind} reads no f32 value that can stand on a grid", "such an operand, in f32"
    found = (_misfit(op, i, role) for i, role in enumerate(operands))
    return next((why for why in found if why is not None), None)


def _misfit(op: Op, index: int, role: Role) -> tuple[str, str] | None:
    """Why an operand cannot play its role: weights are constants, numbers on a grid are finite."""
    operand = op.operands[index]
    if role.kind not in _OF_OPERANDS:
        return f"operand {index} of the role '{role.kind}' is not quantized", "a scheme for that"
    if role.kind in _CONSTANT and not operand.is_const:
        return f"operand {index}, the {role.kind}, is computed", "a constant in its place"
    if not operand.is_const or role.kind not in ("free", "same"):
        return None
    # A grid holds the nearest number to infinity, which is as good in a maximum.
    limited = role.kind == "same" and not op.definition.moves
    if limited or np.isfinite(operand.value).all():
        return None
    return f"operand {index} is a constant that holds nan or infinity", "finite numbers"
