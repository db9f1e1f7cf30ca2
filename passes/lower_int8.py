"""Lower quantized float ops to integer ops.

An op between dequantize and quantize becomes its integer form (`qir.integer_forms`), an op that
means the same on stored integers moves onto them, and any chain of pointwise ops over one value of
up to 16 bits becomes a table of all its values.
"""

import numpy as np

from qir.errors import Declined, QirError, require
from qir.graph_pass import graph_pass
from qir.integer_forms import INTEGER_FORMS, Wanted
from qir.ir import OPS, Func, Op, const, item
from qir.pattern import V, either
from qir.quantizable import in_integers
from qir.registry import target_named
from qir.rewrite import Rule, rewrite, rule
from qir.rounding import contract, quantize_array
from qir.schemes import scheme_of
from qir.timing import count
from qir.types import Element, Type

from ..dialects import int8, lax, quant

CASTS = (quant.quantize.name, quant.dequantize.name)


@graph_pass("qdq -> mixed")
def lower_int8(func: Func, *, target: str = "xla", rounding: str | None = None) -> Func:
    """Replace quantized float ops by integer ops, with the rounding contracts of the target.

    rounding: a contract for every op, in place of the target's own choice.
    """
    if rounding is not None:
        contract(rounding, operands=1)  # an unknown name is an error here, not where it is needed
    roundings = {"": rounding} if rounding else target_named(target).roundings
    func = rewrite(func, move_onto_storage, place_on_storage, tabulate, *integer_rules(roundings))
    count("casts left", sum(op.kind in CASTS for op in func.ops))
    return func


@rule(quant.quantize(V.y) @ "cast")
def move_onto_storage(cast, y):
    """Movement, maxima and the like mean the same on stored integers of one grid."""
    op = y.operands[0] if y.kind == "item" else y
    require(op.kind in OPS and OPS[op.kind].on_storage, f"{op.kind} computes with real values")
    _may_be_integer(op)
    stored = [_stored(o, op) for o in op.operands]
    moved = [s for s, o in zip(stored, op.operands, strict=True) if s is not o]
    to = cast.attributes["to"]
    for operand in moved:
        require(operand.type.element == to,
                f"an operand is {operand.type.element}, the result {to}",
                "one grid for both, as propagate_types and requantize give it")  # fmt: skip
    built = op.with_operands(*stored)
    return item(built, y.attributes["index"]) if y.kind == "item" else built


@rule(either(lax.argmax, lax.argmin)(quant.dequantize(V.x)) @ "op")
def place_on_storage(op, x):
    """The first greatest of reals on one grid is the first greatest of the stored integers."""
    _may_be_integer(op)
    require(x.type.grid.per_tensor, f"it compares values of several scales, {x.type}",
            "one scale for what it reads")  # fmt: skip
    return op.with_operands(x)


@rule(quant.quantize(V.y) @ "cast")
def tabulate(cast, y):
    """A chain of pointwise ops over one value is a table of all that it may store."""
    chain = _chain(y)
    sources = {o for op in chain for o in op.operands if o.kind == "quant.dequantize"}
    require(len(sources) == 1, f"the chain reads {len(sources)} quantized values, a table takes 1",
            "functions of one value, put together by ops that have integer forms")  # fmt: skip
    (source,) = sources
    x = source.operands[0]
    require(not x.is_const and x.type.grid.per_tensor, "the chain reads no per-tensor activation",
            "one scale for what it reads")  # fmt: skip
    require(x.dtype.bits <= 16, f"a table of {x.dtype} would be too long",
            "16 bits at most for what it reads")  # fmt: skip
    require(cast.shape == x.shape, f"the chain broadcasts {x.type} to {list(cast.shape)}",
            "the function first, then its result broadcast")  # fmt: skip
    to = cast.attributes["to"]
    require(to.grid.per_tensor, "a table gives one grid", "one scale for its result")
    values = _tabulated(chain, source, to)
    return int8.table(x, const(values, Type(to.dtype, values.shape, to.grid), name="table"), to=to)


def integer_rules(roundings) -> tuple[Rule, ...]:
    """The rules that apply the table of integer forms, under rounding contracts by int8 op."""

    @rule(quant.quantize(V.y) @ "cast")
    def integer_form(cast, y):
        """A float op between dequantize and quantize is computed on integers."""
        form = INTEGER_FORMS.get(y.kind)
        _may_be_integer(y)
        require(form is not None, f"{y.kind} has no integer form",
                "another op in the model, or an integer form of this one")  # fmt: skip
        contract = roundings.get(form.produces, roundings[""])
        wanted = Wanted(cast.attributes["to"], contract)
        require(wanted.to.grid.per_tensor, "results have one scale and zero point",
                "one scale for its result")  # fmt: skip
        roles = y.definition.roles(y).operands
        parts = zip(y.operands, roles, strict=True)
        operands = [o if role.kind in ("folded", "index") else _quantized(o, y)
                    for o, role in parts]  # fmt: skip
        try:
            return form.build(y, wanted, *operands)
        except QirError as error:  # a contract that cannot hold this ratio of scales, for one
            raise Declined(error.message, "another contract, lower_int8(rounding=...), or ranges "
                           "of operands and result that lie nearer together") from None  # fmt: skip

    @rule(quant.requantize(V.x) @ "cast")
    def integer_requantize(cast, x):
        """A change of grid is integer arithmetic."""
        one_grid = x.type.grid.per_tensor and cast.type.grid.per_tensor
        require(one_grid, f"{x.type} to {cast.type} takes one scale and zero point each")
        form = INTEGER_FORMS["quant.requantize"]
        contract = roundings.get(form.produces, roundings[""])
        return form.build(cast, Wanted(cast.attributes["to"], contract), x)

    return (integer_form, integer_requantize)


def _may_be_integer(op: Op) -> None:
    require(in_integers(op), f"the scheme of {op.kind} is '{scheme_of(op)}'",
            "int8 for it in the recipe")  # fmt: skip


def _stored(operand: Op, reader: Op) -> Op:
    """The stored integers under a dequantize; operands that are no reals stay what they are."""
    if operand.kind == "quant.dequantize":
        return operand.operands[0]
    require(not operand.type.is_float, f"{reader.kind} reads {operand.kind}, which is float",
            f"integers from {operand.kind}")  # fmt: skip
    return operand


def _quantized(operand: Op, reader: Op) -> Op:
    require(operand.kind == "quant.dequantize",
            f"{reader.kind} reads {operand.kind}, which is not quantized",
            f"integers from {operand.kind}")  # fmt: skip
    return operand.operands[0]


def _chain(y: Op) -> list[Op]:
    """The pointwise ops from the quantized values and constants up to y, operands first."""
    require(y.kind in OPS and OPS[y.kind].pointwise, f"{y.kind} is no pointwise op")
    chain, stack, seen = [], [(y, False)], set()
    while stack:
        op, ready = stack.pop()
        if ready:
            chain.append(op)
            continue
        if op in seen or op.kind == "quant.dequantize" and not op.operands[0].is_const:
            continue
        seen.add(op)
        if op.is_const:
            require(op.type.size == 1, f"a constant of {op.type} differs from element to element",
                    "one number for all elements, or an op with an integer form")  # fmt: skip
            continue
        require(op.kind in OPS and OPS[op.kind].pointwise, f"the chain reads {op.kind}",
                f"integers from {op.kind}")  # fmt: skip
        _may_be_integer(op)
        stack.append((op, True))
        stack.extend((o, False) for o in op.operands)
    return chain


def _tabulated(chain: list[Op], source: Op, to: Element) -> np.ndarray:
    """The stored results of a chain for every stored value of its source, lowest first."""
    x = source.operands[0].type
    stored = np.arange(x.dtype.lo, x.dtype.hi + 1, dtype=np.int32)
    reals = (stored - x.zero).astype(np.float32) * x.scale
    values = {source: reals}
    for op in chain:
        arrays = [values[o] if o in values else o.value.reshape(()) for o in op.operands]
        with np.errstate(all="ignore"):
            values[op] = OPS[op.kind].evaluate(op, *arrays)
    result = np.broadcast_to(values[chain[-1]], stored.shape).astype(np.float32)
    result = np.nan_to_num(result, posinf=np.inf, neginf=-np.inf)
    return quantize_array(result, to.grid.scale, to.grid.zero, to.lo, to.hi)
