"""Merge ops that compute the same thing."""

import hashlib
from dataclasses import replace

import numpy as np

from qir.graph_pass import graph_pass
from qir.ir import Func, Op, derived, kept
from qir.rewrite import LOCATIONS, selected
from qir.timing import count
from qir.trained import grid_of


@graph_pass("any -> any")
def cse(func: Func) -> Func:
    """Merge ops of one kind with equal operands, attributes and types; constants by content."""
    first: dict[tuple, Op] = {}
    stands_for: dict[Op, Op] = {}
    locations: dict[Op, dict[str, None]] = {}
    for op in func.ops:
        found = op
        if op.kind != "parameter" and selected(op):
            found = first.setdefault(_key(op, stands_for), op)
        stands_for[op] = found
        locations.setdefault(found, {}).update(dict.fromkeys(op.location))
    merged = sum(op is not found for op, found in stands_for.items())
    count("ops merged", merged)
    if not merged:
        return func
    return _merged(func, stands_for, locations)


def _merged(func: Func, stands_for: dict[Op, Op], locations: dict[Op, dict[str, None]]) -> Func:
    """Every op replaced by what stands for it, at the places of all that it stands for."""
    new: dict[Op, Op] = {}
    for op in func.ops:
        found = stands_for[op]
        if found is not op:
            new[op] = derived(new[found], op)
            continue
        node = kept(op, tuple(new[o] for o in op.operands))
        places = tuple(locations[op])[:LOCATIONS]
        node = node if op.kind == "item" or places == op.location else node.located(places)
        new[op] = node if node is op else derived(node, op)
    return replace(func, results=tuple(new[r] for r in func.results))


def _key(op: Op, stands_for: dict[Op, Op]) -> tuple:
    if op.is_const:
        return ("const", op.type, grid_of(op), _digest(op.value))
    attributes = tuple((name, _exact(value)) for name, value in op.attributes.items())
    return (op.kind, tuple(stands_for[o] for o in op.operands), attributes, op.type)


def _digest(array: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()


def _exact(value):
    """A value that equals only its like: 0.0 and -0.0 are two, and so are 1 and 1.0 and true."""
    if isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, tuple):
        return tuple(map(_exact, value))
    return value
