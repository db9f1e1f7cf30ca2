"""Constant folding: ops on constants alone become the constants that they compute."""

from qir.evaluate import evaluate_op
from qir.ir import OPS, Func, Op, const, derived, kept, transform
from qir.rewrite import LOCATIONS, selected
from qir.timing import count, timed
from qir.trained import grid_moved, grid_of, grid_scaled
from qir.types import Element, TupleType

from ...dialects import quant

SMALL = 1024
"""Constants of up to this many elements may be larger than what they are computed from."""


def folded(func: Func) -> Func:
    """The function with its constant parts of the lax and nn dialects computed."""

    folds = 0

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        nonlocal folds
        node = kept(op, operands)
        if not operands or not _is_foldable(node):
            return node
        folds += 1
        fixed = quant.fixed(node) if node.kind in quant.FAKE else _constant(node)
        return derived(fixed, *operands)

    new = timed("constant folding", transform)(func, change)
    count("constants folded", folds)
    same = all(a is b for a, b in zip(new.results, func.results, strict=True))
    return func if same else new


def _is_foldable(op: Op) -> bool:
    for operand in op.operands:
        if operand.kind != "const":
            return False
    if op.kind in quant.FAKE:
        return selected(op)
    if op.kind.partition(".")[0] not in ("lax", "nn") or isinstance(op.type, TupleType):
        return False
    # a broadcast of one number is better kept than a large constant
    room = max(SMALL, *(o.type.size for o in op.operands))
    return op.type.size <= room and bool(OPS[op.kind].meaning) and selected(op)


def _constant(op: Op) -> Op:
    places = dict.fromkeys(op.location)
    for operand in op.operands:
        places.update(dict.fromkeys(operand.location))
    name = next((o.attributes["name"] for o in op.operands if o.attributes["name"]), None)
    value = evaluate_op(op, [o.value for o in op.operands])
    return const(value, op.type, name, tuple(places)[:LOCATIONS], _grid(op))


def _grid(op: Op) -> Element | None:
    """The grid of training that a constant keeps while it is moved or multiplied."""
    trained = [o for o in op.operands if grid_of(o) is not None]
    if len(trained) != 1 or not op.type.is_float:
        return None
    (source,) = trained
    if op.kind in ("lax.mul", "nn.mul") and op.attributes.get("clamp") is None:
        return grid_scaled(source, next(o for o in op.operands if o is not source).value)
    if not OPS[op.kind].moves or any(o is not source and o.type.is_float for o in op.operands):
        return None
    arrays = [o.value for o in op.operands]
    place = op.operands.index(source)
    return grid_moved(source, lambda a: evaluate_op(op, [*arrays[:place], a, *arrays[place + 1 :]]))
