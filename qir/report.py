"""What became of a model, in words and numbers."""

from collections import Counter

from .floats import float_lines, float_ops, floats_left, is_lowered, named
from .ir import Func, Op, place_of
from .schemes import scheme_of

BYTES_OF_SCALE = 4
CASTS = ("quant.quantize", "quant.dequantize")


def weight_bytes(func: Func) -> int:
    """How many bytes the constants of a function take when packed at their bit width."""
    bits = 0
    for op in func.ops:
        if op.is_const:
            bits += op.type.size * op.dtype.bits
            bits += 0 if op.type.grid is None else op.type.grid.scale.size * 8 * BYTES_OF_SCALE
    return (bits + 7) // 8


def report_text(func: Func, before: Func | None = None, final: Func | None = None) -> str:
    """Ops by kind, float ops left (where, why, what to do), sizes of weights before and after."""
    lines = [f"@{func.name}: {len(func.ops)} ops"]
    size = weight_bytes(func)
    if before is not None:
        original = weight_bytes(before)
        ratio = f", {original / size:.2f} times smaller" if 0 < size < original else ""
        lines.append(f"weights: {_size(original)} -> {_size(size)}{ratio}")
    else:
        lines.append(f"weights: {_size(size)}")
    left = float_ops(func)
    lines += _floats(func, left, before is not None)
    lines += _schemes(func)
    lines += _counts("ops", func)
    if final is not None and final is not func:
        lines += _counts("kernels", final)
    return "\n".join(lines)


def _floats(func: Func, left: list[Op], quantized: bool) -> list[str]:
    """How many ops compute in float, and which; why, where they were to be integers."""
    by_integers = sum(op.kind.startswith("hybrid.") for op in left)
    chosen = any(map(scheme_of, func.ops))  # op by op, so that each has a reason of its own
    if by_integers and not chosen:  # the scheme leaves all results in float
        return [f"float ops left: {len(left)}, {by_integers} of them by integer weights"]
    if _weights_alone(func) and not chosen:
        return [f"float ops left: {len(left)}, weights alone are stored in fewer bits"]
    told = quantized or is_lowered(func)  # of a graph in reals there is nothing to say
    lines = float_lines(floats_left(func, left)) if told else map(named, left)
    return [f"float ops left: {len(left)}", *lines]


def _schemes(func: Func) -> list[str]:
    """The schemes that ops were given, as far as they are not integers now, and the casts between.

    A cast counts where it stands between two ops, at an input or a result it belongs to these.
    """
    given = Counter(name for name in map(scheme_of, func.ops) if name is not None)
    if not given:
        return []
    casts = [(op, maker, reader) for op in func.ops if op.kind in CASTS
             for maker in [_node(op.operands[0])] if maker.kind not in ("parameter", "const")
             for reader in func.users[op]]  # fmt: skip
    named = ", ".join(f"{name} of {count} ops" for name, count in sorted(given.items()))
    lines = [f"schemes given: {named}", f"casts between schemes: {len({c for c, *_ in casts})}"]
    return lines + [f"  {op.kind} : {op.type}  from {maker.kind} to {reader.kind}, at "
                    f"{place_of(op) or place_of(reader) or 'an unknown place'}"
                    for op, maker, reader in casts]  # fmt: skip


def _node(value: Op) -> Op:
    return value.operands[0] if value.kind == "item" else value


def _weights_alone(func: Func) -> bool:
    """Whether constants are stored in fewer bits than all that is computed."""
    integers = any(op.kind.startswith(("int8.", "xla.")) for op in func.ops)
    readers = (op for op in func.ops if op.kind.startswith("quant."))
    return not integers and any(o.is_const for op in readers for o in op.operands)


def _counts(title: str, func: Func) -> list[str]:
    counted = Counter(op.kind for op in func.ops if op.kind not in ("parameter", "const", "item"))
    width = max(map(len, counted), default=0)
    return [f"{title}:", *(f"  {kind:<{width}}  {n}" for kind, n in sorted(counted.items()))]


def _size(count: int) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"
