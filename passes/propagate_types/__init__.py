"""Choose a grid for every value and constant, and write casts wherever the graph crosses one.

Every quantized op comes to stand between dequantize and quantize, its weights and biases as
constants of integers; where two demands meet, quantize(dequantize(x)) changes the grid, which the
pass `requantize` makes one op. Inputs and results of the function stay f32.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from qir import journal
from qir.decisions import ConstantPlaced, GridChanged
from qir.errors import QirError
from qir.graph_pass import graph_pass
from qir.ir import OPS, Func, Op, derived, kept
from qir.quantizable import chains, inside_chain, roles_in, takes_part
from qir.timing import count
from qir.trained import grid_of
from qir.types import Element
from qir.variables import refuse_variables

from ...dialects import quant
from .constants import (
    STORAGES,
    activation_element,
    affine_elements,
    on_grid,
    operand_element,
    unheld,
)
from .constraints import Constraints, Seen, bare, choose, gather, range_of
from .storages import refuse_others, storages_of


@graph_pass("calibrated -> qdq", scheme="{activations}_{weights}")
def propagate_types(
    func: Func,
    *,
    weights: Literal["per_channel", "per_tensor"] = "per_channel",
    activations: Literal["int8", "int16", "uint8"] = "int8",
) -> Func:
    """Choose a grid for every value and constant, with as few requantizes as their demands allow.

    weights: one scale for each output channel, or one for a whole weight; they have 8 bits.
    activations: their storage. Those of int16 have zero point 0, and the biases beside them 64
    bits; with uint8 weights are uint8 too, per tensor, and have zero points. An op whose scheme
    says another storage has that, and what it reads is requantized where it is stored otherwise;
    beside uint8 there is none. Constants that training rounded to a grid keep it where it can be
    theirs.
    """
    refuse_variables(func)
    if activations == "uint8" and weights == "per_channel":
        raise QirError("weights of uint8 have one scale, found weights=per_channel",
                       help="propagate_types(activations=uint8, weights=per_tensor)")  # fmt: skip
    if activations == "uint8":
        refuse_others(func, STORAGES[activations])
    chained = chains(func)
    ops = [op for op in func.ops if op.kind in OPS and op.kind != quant.stats.name]
    roles, ordinary = {op: roles_in(op, chained) for op in ops}, STORAGES[activations]
    seen = Seen(func, roles, chained, ordinary, storages_of(func, roles, ordinary))
    constraints = gather(seen)
    elements = choose(constraints, seen)
    writer = _Writer(seen, constraints, elements, weights == "per_channel")
    for op in func.ops:
        writer.write(op)
    count("values on a grid", len(constraints.node_of))
    return replace(func, results=tuple(writer.read(r) for r in func.results))


@dataclass(frozen=True, eq=False)
class _Writer:
    """The graph being written: `plain` each op's f32 result, the rest what was made of it."""

    seen: Seen
    constraints: Constraints
    elements: dict[Op, Element]
    per_channel: bool
    plain: dict[Op, Op] = field(default_factory=dict)
    reals: dict[tuple[Op, Element], Op] = field(default_factory=dict)

    def write(self, op: Op) -> None:
        if op.kind == quant.stats.name:
            self.plain[op] = self.plain[op.operands[0]]
        elif op not in self.seen.roles:
            self.keep(op, tuple(self.plain[o] for o in op.operands))
        else:
            self.keep(op, self.operands(op))

    def keep(self, op: Op, operands: tuple[Op, ...]) -> None:
        node = kept(op, operands)
        self.plain[op] = node if node is op else derived(node, op)

    def operands(self, op: Op) -> tuple[Op, ...]:
        """What an op reads: quantized values dequantized, constants on the grids it wants."""
        roles = self.seen.roles[op].operands
        whole = all(self.on_grid(op, o) for o, role in zip(op.operands, roles, strict=True)
                    if takes_part(role) and not o.is_const)  # fmt: skip
        shared = None
        if self.constraints.is_node(op) and any(role.kind == "same" for role in roles):
            shared = self.elements[op]
        constants = self.constant_elements(op, shared) if whole else {}
        read = []
        for i, operand in enumerate(op.operands):
            if i in constants:
                read.append(self.constant(operand, constants[i]))
                self.note_constant(op, i, constants, read[-1])
            elif inside_chain(op, operand, self.seen.chained):
                read.append(self.plain[operand])
            else:
                wanted = shared if roles[i].kind == "same" else self.restored(op, i)
                read.append(self.read(operand, wanted))
                self.note_change(op, operand, wanted, read[-1])
        return tuple(read)

    def on_grid(self, op: Op, operand: Op) -> bool:
        inside = inside_chain(op, operand, self.seen.chained)
        return inside or operand in self.constraints.node_of

    def constant_elements(self, op: Op, shared: Element | None) -> dict[int, Element]:
        """The elements of an op's constants by operand number."""
        roles, storage = self.seen.roles[op].operands, self.seen.storage_of(op)
        activation = partial(self.activation, op)
        found = affine_elements(op, roles, activation, self.per_channel, storage)
        for i, (operand, role) in enumerate(zip(op.operands, roles, strict=True)):
            if operand.is_const and role.kind == "same" and shared is not None:
                found[i] = shared
            elif operand.is_const and role.kind == "free":
                found[i] = activation(i)
        return found

    def activation(self, op: Op, index: int) -> Element:
        """The element of an operand that plays the part of an activation."""
        operand = op.operands[index]
        if operand.is_const:
            return operand_element(operand, self.seen.storage_of(op))
        return self.restored(op, index) or self.elements[self.constraints.node_of[operand]]

    def restored(self, op: Op, index: int) -> Element | None:
        """The element of an operand in the storage of the op, where the value has another one."""
        operand, storage = op.operands[index], self.seen.storage_of(op)
        node = self.constraints.node_of.get(operand)
        if node is None or self.seen.role(op, index).kind != "free":
            return None
        if self.elements[node].dtype == storage.activation:
            return None
        return activation_element(*range_of(node, self.constraints), storage)

    def constant(self, source: Op, element: Element) -> Op:
        """A constant on a grid, dequantized; the same one for all who want that grid."""
        if (source, element) not in self.reals:
            stored = derived(on_grid(source, element), source)
            count("constants on a grid")
            self.reals[source, element] = quant.dequantize(stored, location=source.location)
        return self.reals[source, element]

    def read(self, value: Op, element: Element | None = None) -> Op:
        """A value as it is read: dequantized from its own grid, or from the one that is wanted."""
        if value not in self.constraints.node_of:
            return self.plain[value]
        own = self.elements[self.constraints.node_of[value]]
        element = element or own
        key = bare(value), element
        if key not in self.reals:
            real = self.plain[value] if element == own else self.read(value)
            stored = derived(quant.quantize(real, to=element, location=value.location), value)
            count("requantizes placed", element != own)
            self.reals[key] = quant.dequantize(stored, location=value.location)
        return self.reals[key]

    def note_constant(self, op: Op, index: int, elements: dict[int, Element], real: Op) -> None:
        role, of = self.seen.role(op, index), ()
        if role.kind == "bias":
            x, weight = role.of
            of = self.activation(op, x), elements[weight]
        source, (stored,) = op.operands[index], real.operands
        left = None
        if role.kind == "weight" and grid_of(source) is not None:
            left = unheld(source, role.axis if self.per_channel else None,
                          self.seen.storage_of(op))  # fmt: skip
            count("weights on grids of training", left is None)
        journal.note(ConstantPlaced, source, op, role.kind, stored, of, left)

    def note_change(self, op: Op, value: Op, wanted: Element | None, real: Op) -> None:
        if wanted is None or value not in self.constraints.node_of:
            return
        own = self.elements[self.constraints.node_of[value]]
        if wanted != own:
            journal.note(GridChanged, value, op, own, wanted, real.operands[0])
