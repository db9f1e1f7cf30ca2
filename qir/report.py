"""What became of a model, in words and numbers."""

from collections import Counter

from . import registry
from .ir import OPS, Func, Op, place_of
from .journal import unheard
from .rewrite import recorded
from .types import TupleType

BYTES_OF_SCALE = 4


def weight_bytes(func: Func) -> int:
    """How many bytes the constants of a function take when packed at their bit width."""
    bits = 0
    for op in func.ops:
        if op.is_const:
            bits += op.type.size * op.dtype.bits
            bits += 0 if op.type.grid is None else op.type.grid.scale.size * 8 * BYTES_OF_SCALE
    return (bits + 7) // 8


def float_ops(func: Func) -> list[Op]:
    """The ops that compute in float; casts at the boundary and constants do not count."""
    skipped = ("parameter", "const", "item", "quant.quantize", "quant.dequantize")
    return [
        op
        for op in func.ops
        if op.kind not in skipped and any(_is_float(o) for o in (op, *op.operands))
    ]


def float_reasons(func: Func, left: list[Op]) -> dict[Op, str]:
    """Why ops of a lowered graph are still in float: what `lower_int8` says when it tries again.

    A graph that nothing was lowered in gets no reasons.
    """
    if not any(op.kind.startswith(("int8.", "xla.")) for op in func.ops):
        return {}
    with unheard(), recorded() as log:
        registry.pass_named("lower_int8")(func)
    said: dict[Op, dict[str, str]] = {}
    for firing in log:
        if firing.reason is not None and firing.op.operands:
            said.setdefault(firing.op.operands[0], {})[firing.rule] = firing.reason
    return {op: _reason(op, said.get(op, {})) for op in left}


def _reason(op: Op, declined: dict[str, str]) -> str:
    types = [t for o in (op, *op.operands) for t in getattr(o.type, "items", (o.type,))]
    other = next((t.dtype.name for t in types if t.is_float and t.dtype.name != "f32"), None)
    if other is not None:
        return f"{other} is not quantized, only f32 is"
    if not declined:
        return "no grid was chosen for its result, or its operands"
    form = f"{op.kind} has no integer form"
    if declined.get("integer_form", form) != form:
        return declined["integer_form"]
    if OPS[op.kind].on_storage:
        return declined["move_onto_storage"]
    if OPS[op.kind].pointwise and "tabulate" in declined:
        return f"{form} and is no table: {declined['tabulate']}"
    return form


def report_text(func: Func, before: Func | None = None, final: Func | None = None) -> str:
    """Ops by kind, float ops left with place and reason, sizes of weights before and after."""
    lines = [f"@{func.name}: {len(func.ops)} ops"]
    size = weight_bytes(func)
    if before is not None:
        original = weight_bytes(before)
        ratio = f", {original / size:.2f} times smaller" if 0 < size < original else ""
        lines.append(f"weights: {_size(original)} -> {_size(size)}{ratio}")
    else:
        lines.append(f"weights: {_size(size)}")
    left = float_ops(func)
    lines.append(f"float ops left: {len(left)}")
    reasons = float_reasons(func, left)
    for op in left:
        lines.append(f"  {op.kind} : {op.type}  at {place_of(op) or 'an unknown place'}")
        lines += [f"    {reasons[op]}"] if op in reasons else []
    lines += _counts("ops", func)
    if final is not None and final is not func:
        lines += _counts("kernels", final)
    return "\n".join(lines)


def _counts(title: str, func: Func) -> list[str]:
    counted = Counter(op.kind for op in func.ops if op.kind not in ("parameter", "const", "item"))
    width = max(map(len, counted), default=0)
    return [f"{title}:", *(f"  {kind:<{width}}  {n}" for kind, n in sorted(counted.items()))]


def _is_float(op: Op) -> bool:
    types = op.type.items if isinstance(op.type, TupleType) else (op.type,)
    return any(t.is_float for t in types)


def _size(count: int) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"
