"""Constants of half their size: f16 or bf16 in place of f32."""

import warnings
from dataclasses import replace
from typing import Literal

import numpy as np

from qir.errors import QirError, QirWarning
from qir.graph_pass import graph_pass
from qir.ir import Func, Op, const, derived, kept, place_of, transform
from qir.rewrite import selected
from qir.selectors import Selector, chooser
from qir.timing import count
from qir.types import DTYPES, DType, Element

from ..dialects import lax, quant

F32 = DTYPES["f32"]


@graph_pass("float -> mixed", scheme="weight_only_{to}")
def half_weights(
    func: Func,
    *,
    to: Literal["f16", "bf16"] = "f16",
    compute: Literal["f32", "half"] = "f32",
    min_elements: int = 2,
    where: Selector | None = None,
) -> Func:
    """Store the f32 constants of at least `min_elements` elements as f16 or bf16.

    They are read through `quant.widen`, and computed with in f32; or, with `compute=half`, all that
    is f32 becomes half: inputs are converted once, results back, single numbers too are halves.
    What is beyond the largest half is clamped to it, and a warning says so. where: the ops whose
    constants are stored as halves, others that read the same read them as they were; `half` is of
    all or none.
    """
    if min_elements < 1:
        raise QirError(f"half_weights: 'min_elements' is at least 1, found {min_elements}")
    half = DTYPES[to]
    if compute == "half" and where is not None:
        raise QirError("half_weights: compute=half is of all ops, it takes no 'where'",
                       help="compute=f32 stores constants of some ops as halves")  # fmt: skip
    if compute == "half":
        return _in_halves(func, half)
    chosen = chooser(func, where)
    read = {o for op in func.ops if chosen(op) for o in op.operands} if where else set(func.ops)
    halved = {op: _halved(op, half) for op in func.ops if op.is_const and op.dtype == F32
              and op.type.size >= min_elements and selected(op) and op in read}  # fmt: skip
    _warn(halved, half)
    count("constants halved", len(halved))
    wide = {op: derived(quant.widen(made, location=op.location), op) for op, made in halved.items()}

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if where is None:
            return wide[op] if op in wide else kept(op, operands)
        if chosen(op):
            pairs = zip(op.operands, operands, strict=True)
            operands = tuple(wide.get(old, now) for old, now in pairs)
        return kept(op, operands)

    return transform(func, change)


def _halved(op: Op, half: DType) -> Op:
    """A constant in halves; infinities stay what they are."""
    clamped = np.where(np.isinf(op.value), op.value, np.clip(op.value, half.lo, half.hi))
    stored = clamped.astype(half.numpy)
    return derived(const(stored, Element(half)[op.shape], op.attributes["name"], op.location), op)


def _warn(halved: dict[Op, Op], half: DType) -> None:
    beyond = {op: int((np.isfinite(op.value) & (np.abs(op.value) > half.hi)).sum())
              for op in halved}  # fmt: skip
    found = [op for op, number in beyond.items() if number]
    if found:
        text = (f"{sum(beyond.values())} elements of {len(found)} constants lie beyond "
                f"{half.hi:g}, the largest {half}, and were clamped to it")  # fmt: skip
        warnings.warn(QirWarning(text, at=place_of(found[0])), stacklevel=3)


def _in_halves(func: Func, half: DType) -> Func:
    """The function with halves for all that is f32 between its inputs and its results."""
    element = Element(half)
    halved = {op: _halved(op, half) for op in func.ops if op.is_const and op.dtype == F32}
    _warn(halved, half)
    count("constants halved", len(halved))

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op in halved:
            return halved[op]
        if op.kind == "parameter":
            return _converted(op, element) if op.dtype == F32 else op
        attributes = {name: element if value == Element(F32) else value
                      for name, value in op.attributes.items()}  # fmt: skip
        if op.kind == "item" or operands == op.operands and attributes == op.attributes:
            return kept(op, operands)
        return derived(_rebuilt(op, operands, attributes, half), op)

    new = replace(transform(func, change), parameters=func.parameters)
    ends = zip(new.results, func.results, strict=True)
    return new.with_results(_converted(now, old.type.element) for now, old in ends)


def _converted(op: Op, to: Element) -> Op:
    if op.type.element == to:
        return op
    return derived(lax.convert(op, to=to, location=op.location), op)


def _rebuilt(op: Op, operands: tuple[Op, ...], attributes: dict, half: DType) -> Op:
    try:
        return op.with_operands(*operands, **attributes)
    except QirError as error:
        help = f"this op does not compute in {half}; use compute=f32"
        raise QirError(f"compute=half: {error.message}", at=place_of(op), help=help) from None
