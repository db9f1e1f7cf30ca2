"""Evaluate a function many times, as calibration does: in pieces, on numpy and then on XLA.

A jitted graph with an output for every observer compiles in quadratic time (60 small ops took
0.46 s, 120 took 1.2 s, 500 took 16 s), so a graph runs in pieces of SIZE ops. Pieces of one shape
share one program, constants being its arguments: a repetitive network compiles in no time.

Compiling costs 8 ms an op where numpy takes 20 us, so it pays for large tensors or many samples
alone. A function runs on numpy until that has cost, by estimate, what compiling it will:
at most twice what the better choice would have taken is spent. The estimate knows no clock, so that
the same calls give the same bits again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from weakref import WeakKeyDictionary

import numpy as np

from ... import segments
from ...evaluate import checked_inputs, evaluate_op
from ...evaluate import evaluate as evaluate_in_numpy
from ...ir import Func, Op, const, kept, parameter, transform
from ...types import TupleType

SIZE = 48
"""Ops a piece."""
PLAN_SECONDS, COMPILE_SECONDS = 1e-4, 8e-3
"""What one op takes to be cut and compared, and to be compiled in a piece of that size."""
OP_SECONDS, ELEMENT_SECONDS, PRODUCT_SECONDS = 20e-6, 1e-9, 2e-10
"""What numpy takes for any op, for each element read or written and each multiply-add."""


@dataclass(frozen=True)
class Shape:
    """A piece whose constants are its last parameters; equal where nothing but names differ."""

    key: object
    func: Func = field(compare=False)


@dataclass(frozen=True, eq=False)
class Part:
    """A piece as a shape and its constants."""

    shape: Shape
    constants: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """A function in pieces.

    pieces: of the function without observers. parts: by the function of their piece. price: seconds
    for compiling every shape once, by estimate. ready: programs and constants on the device.
    """

    pieces: segments.Segments
    parts: Mapping[Func, Part]
    price: float
    ready: dict[Part, tuple[Callable, list]] = field(default_factory=dict)


@dataclass(eq=False)
class History:
    """What one evaluation of a function costs on numpy, what all have cost, the plan once made."""

    cost: float
    ops: int
    spent: float = 0.0
    plan: Plan | None = None


_WEIGHTED = frozenset(("conv2d", "depthwise_conv2d", "transposed_conv2d", "conv_general_dilated",
                       "dense", "conv", "depthwise", "transposed_conv", "dot"))  # fmt: skip

_HISTORIES: WeakKeyDictionary[Func, History] = WeakKeyDictionary()


def evaluate(func: Func, inputs: Sequence[np.ndarray] | Mapping[str, np.ndarray]):
    """The results of a function on numpy arrays (in parameter order, or by name), as a tuple.

    What is compiled is kept as long as the function is: evaluate the same one again and again.
    """
    history = _HISTORIES.get(func)
    if history is None:
        ops = [op for op in func.ops if op.kind not in ("parameter", "const")]
        history = _HISTORIES[func] = History(sum(map(_seconds, ops)), len(ops))
    if history.plan is None and history.spent >= PLAN_SECONDS * history.ops:
        history.plan = planned(func)
    if history.plan is None or history.spent < history.plan.price:
        history.spent += history.cost
        return evaluate_in_numpy(func, inputs)
    return _on_xla(history.plan, checked_inputs(func, inputs))


def _on_xla(plan: Plan, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    def run(piece: Func, values):
        part = plan.parts[piece]
        if part not in plan.ready:
            plan.ready[part] = _compiled(part.shape), _on_device(part.constants)
        program, constants = plan.ready[part]
        return program(*values, *constants)

    found = dict(segments.run(plan.pieces, arrays, run))
    return tuple(found[result] for result in plan.pieces.func.results)


def planned(func: Func) -> Plan:
    """The plan for a function: observers out, constants evaluated, cut in pieces."""
    pieces, parts = segments.cut(_bare(func), SIZE), {}
    for piece in pieces.pieces:
        lifted, constants = _lifted(piece.func)
        parts[piece.func] = Part(_shape(lifted), constants)
    shapes = {part.shape for part in parts.values()}
    ops = sum(op.kind != "parameter" for shape in shapes for op in shape.func.ops)
    return Plan(pieces, parts, COMPILE_SECONDS * ops)


def _bare(func: Func) -> Func:
    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op.kind in ("quant.observe", "quant.stats"):
            return operands[0]
        if operands and all(o.is_const for o in operands) and not isinstance(op.type, TupleType):
            return const(evaluate_op(op, [o.value for o in operands]), op.type)
        return kept(op, operands)

    return transform(func, change)


def _lifted(func: Func) -> tuple[Func, tuple[np.ndarray, ...]]:
    """The function with its constants as further parameters, and their values.

    Kernels of the xla dialect lay out their weights when they are traced, so they keep them.
    """
    packed = {o for op in func.ops if op.kind.startswith("xla.") for o in op.operands}
    new: dict[Op, Op] = {}
    constants = [op for op in func.ops if op.is_const and op not in packed]
    for i, op in enumerate(constants):
        new[op] = parameter(f"constant{i}", op.type)
    parameters = (*func.parameters, *new.values())
    for op in func.ops:
        if op not in new:
            new[op] = kept(op, tuple(new[operand] for operand in op.operands))
    results = tuple(new[result] for result in func.results)
    return Func(func.name, parameters, results), tuple(op.value for op in constants)


def _shape(func: Func) -> Shape:
    number = {op: i for i, op in enumerate(func.ops)}
    rows = [_row(op, number) for op in func.ops]
    ends = tuple(number[op] for op in (*func.parameters, *func.results))
    try:
        hash(key := (*rows, ends))
    except TypeError:  # an attribute of a plugin's op: then it equals no other
        key = func
    return Shape(key, func)


def _row(op: Op, number: Mapping[Op, int]):
    if op.is_const:
        return op
    if op.kind == "parameter":
        return op.type
    return op.kind, op.type, tuple(number[o] for o in op.operands), *op.attributes.items()


@lru_cache(maxsize=256)
def _compiled(shape: Shape) -> Callable:
    # jax takes half a second to load, which small calibrations do without.
    from .compile import build
    from .table import lowerings

    func, known = shape.func, {*lowerings(), "parameter", "const", "item"}
    if all(op.kind in known for op in func.ops):
        return build(func)
    return lambda *arrays: evaluate_in_numpy(func, arrays)


def _on_device(constants) -> list:
    import jax

    # Without 64-bit types jax would narrow what is i64 or f64; those stay numpy's.
    return [c if c.dtype.itemsize == 8 else jax.device_put(c) for c in constants]


def _seconds(op: Op) -> float:
    """What numpy takes for an op, roughly."""
    elements = sum(map(_size, op.operands)) + _size(op)
    return OP_SECONDS + ELEMENT_SECONDS * elements + PRODUCT_SECONDS * _products(op)


def _size(op: Op) -> int:
    types = op.type.items if isinstance(op.type, TupleType) else (op.type,)
    return sum(type.size for type in types)


def _products(op: Op) -> int:
    """Multiply-adds of the ops that sum up products, in any dialect."""
    name = op.kind.rpartition(".")[2]
    if name in ("matmul", "batch_dot"):
        return op.type.size * (op.operands[0].type.size // max(1, prod(op.shape[:-1])))
    if name == "dot_general":
        a = op.operands[0].shape
        return op.type.size * prod(a[axis] for axis in op.attributes["contract_a"])
    if name in _WEIGHTED:
        channel = op.attributes.get("out_spec", (0, -1))[1]
        return op.type.size * op.operands[1].type.size // max(1, op.shape[channel])
    return 0
