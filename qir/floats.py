"""The ops of a lowered graph that still compute in float: why each does, and what would change it.

Nothing is kept while the passes run. The roles of an op (`qir.quantizable`) are looked at once
more, and `lower_int8` tries again: what it says then is the reason.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from . import registry
from .ir import OPS, Func, Op, place_of
from .journal import recorded, unheard
from .quantizable import FloatKept, chains, is_real, roles_in
from .rewrite import Firing
from .types import TupleType

SKIPPED = ("parameter", "const", "item", "quant.quantize", "quant.dequantize", "tfl.quantize",
           "tfl.dequantize")  # fmt: skip
"""What does not count: casts at the boundary of integers, and what computes nothing."""

ANOTHER = "another op in the model, or an integer form of this one"


@dataclass(frozen=True, eq=False)
class FloatLeft:
    """An op that computes in float: why it does, and what would make integers of it."""

    op: Op
    reason: str
    fix: str


def float_ops(func: Func) -> list[Op]:
    """The ops that compute in float; casts at the boundary and constants do not count."""
    return [op for op in func.ops if op.kind not in SKIPPED and _in_float(op)]


def is_lowered(func: Func) -> bool:
    """Whether anything of a function was made integers."""
    return any(op.kind.startswith(("int8.", "xla.", "quant.dequantize")) for op in func.ops)


def floats_left(func: Func, ops: Iterable[Op] | None = None) -> list[FloatLeft]:
    """The float ops of a lowered function, or those given, each with its reason."""
    left = float_ops(func) if ops is None else list(ops)
    if not left:
        return []
    with unheard(), recorded(FloatKept, Firing) as log:
        registry.pass_named("lower_int8")(func)
        chained = chains(func)
        for op in left:
            if op.kind in OPS:
                roles_in(op, chained)
    kept = {each.op: each for each in log if isinstance(each, FloatKept)}
    refused: dict[Op, dict[str, Firing]] = {}
    for each in log:
        if isinstance(each, Firing) and not each.fired and each.op.operands:
            refused.setdefault(_node(each.op.operands[0]), {})[each.rule] = each
    return [FloatLeft(op, *_why(func, op, kept, refused)) for op in left]


def float_lines(left: Iterable[FloatLeft]) -> Iterator[str]:
    """What is told of float ops: which, where, why, and what would change it."""
    for each in left:
        yield named(each.op)
        yield f"    {each.reason}"
        yield f"    to change that: {each.fix}"


def named(op: Op) -> str:
    """An op and its place, as a line of a list."""
    return f"  {op.kind} : {op.type}  at {place_of(op) or 'an unknown place'}"


def _why(func: Func, op: Op, kept: Mapping[Op, FloatKept],
         refused: Mapping[Op, Mapping[str, Firing]]) -> tuple[str, str]:  # fmt: skip
    """The reason, and what would change it."""
    types = [t for o in (op, *op.operands) for t in _types(o)]
    other = next((t.dtype.name for t in types if t.is_float and t.dtype.name != "f32"), None)
    if other is not None:
        return f"{other} is not quantized, only f32 is", "f32 in its place"
    if op in kept:
        return kept[op].reason, kept[op].needed
    if op in refused:
        return _refusal(op, refused[op])
    end = _chain_end(func, op, refused)
    if end is not None:
        reason, fix = _refusal(end, refused[end])
        return f"it is part of the function that ends in {end.kind}: {reason}", fix
    if OPS[op.kind].on_storage:
        return _moved(func, op)
    if not any(map(is_real, _types(op))):
        return f"{op.kind} has no integer form", ANOTHER
    return ("no grid was chosen for its result, or its operands",
            "insert_observers, calibrate, propagate_types over it and what reads it")  # fmt: skip


def _refusal(op: Op, refused: Mapping[str, Firing]) -> tuple[str, str]:
    """What the rules of lower_int8 said of an op whose result is quantized: the one that counts."""
    by_form = refused.get("integer_form")
    form = f"{op.kind} has no integer form"
    if by_form is not None and by_form.reason != form:
        return by_form.reason, by_form.fix or ANOTHER
    if OPS[op.kind].on_storage and "move_onto_storage" in refused:
        move = refused["move_onto_storage"]
        return move.reason, move.fix or ANOTHER
    table = refused.get("tabulate")
    if OPS[op.kind].pointwise and table is not None:
        return f"{form} and is no table: {table.reason}", table.fix or ANOTHER
    return form, ANOTHER


def _chain_end(func: Func, op: Op, refused: Mapping[Op, object]) -> Op | None:
    """The op whose result is quantized that a pointwise function goes on to."""
    queue, seen = [op], {op}
    for each in queue:  # grows while it is walked
        if each in refused:
            return each
        if _pointwise(each):
            fresh = [user for user in func.users[each] if _pointwise(user) and user not in seen]
            queue += fresh
            seen.update(fresh)
    return None


def _moved(func: Func, op: Op) -> tuple[str, str]:
    """Why an op that means the same on stored integers has none to move."""
    nodes = [_node(o) for o in op.operands if not o.is_const]
    maker = next((n for n in nodes if n.kind not in SKIPPED and _in_float(n)), None)
    if maker is not None:
        return f"it reads {maker.kind}, which is float", f"integers from {maker.kind}"
    reader = next((u for u in func.users[op] if u.kind not in SKIPPED and _in_float(u)), None)
    if reader is not None:
        return f"it is read by {reader.kind}, which is float", f"{reader.kind} on integers"
    return "nothing computes with what it moves", "the same outside the model"


def _pointwise(op: Op) -> bool:
    return op.kind in OPS and OPS[op.kind].pointwise


def _node(value: Op) -> Op:
    return value.operands[0] if value.kind == "item" else value


def _types(op: Op):
    return op.type.items if isinstance(op.type, TupleType) else (op.type,)


def _in_float(op: Op) -> bool:
    return any(t.is_float for o in (op, *op.operands) for t in _types(o))
