"""Which values must share a grid, and the choice of grids that needs the fewest requantizes.

A *node* carries one grid: a value with a range of its own, an op of fixed result, or an op whose
operands and results share one grid, such as a concatenation. What such an op reads is a *transfer*
to its node; where the grids of the two nodes differ, a requantize stands between them. All other
readers take a value on the grid it comes on.

Open nodes that hand values to each other, or read one value, are a component. They may all take
the union of their ranges, at no requantize, or a fixed grid from around them, if two things hold:

- the grid covers the node's own range, to one step (TFLite's sigmoid is short of 1.0 by one);
- the grid is at most 4 times as wide as that range, if anyone but such ops reads the node. A step
  4 times as large costs 12 dB, 2 of 8 bits, for every reader; a requantize costs one op and, its
  grid being the coarse one anyway, nothing that its readers would not lose. What only such ops
  read loses nothing: they would see it on the coarse grid in any case.

A node for which the union is too coarse keeps a grid of its own, shared with the others whose
ranges have about its width. `qir.labelling` then chooses among the allowed ones.
"""

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from qir import journal
from qir.decisions import GridsChosen, Range
from qir.ir import Func, Op
from qir.labelling import Transfer, assign
from qir.quantizable import FloatKept, inside_chain, is_real, takes_part
from qir.roles import Role, Roles
from qir.types import Element, per_tensor

from ...dialects import quant
from .constants import Storage, activation_element, extent, power_of_two_element

COARSEST = 4.0

TOO_NARROW = "does not cover its range"
TOO_COARSE = f"is more than {COARSEST:g} times as wide as its range, and ops compute with it"


@dataclass(frozen=True, eq=False)
class Seen:
    """A calibrated function with the roles and chains of its ops.

    ordinary: what activations are stored in, but those of ops and values in `storages`.
    """

    func: Func
    roles: Mapping[Op, Roles]
    chained: Mapping[Op, Op]
    ordinary: Storage
    storages: Mapping[Op, Storage] = field(default_factory=dict)

    def storage_of(self, op: Op) -> Storage:
        """What an op stores its activations in, or an observed value."""
        return self.storages.get(op, self.ordinary)

    def role(self, op: Op, index: int):
        """The role of an operand; None in an op that has no roles."""
        return self.roles[op].operands[index] if op in self.roles else None

    def made_by(self, value: Op):
        """The role in which a value was made; None for inputs and constants."""
        op = value.operands[0] if value.kind == "item" else value
        return self.roles[op].result if op in self.roles else None


@dataclass(frozen=True, eq=False)
class Constraints:
    """The nodes of a function and what is asked of them.

    node_of: the node of each value that is read on a grid. ranges: of the nodes that are open,
    fixed: the elements of the others. exposed: nodes read by others than ops of one grid. parts:
    what the range of a node unites.
    """

    node_of: dict[Op, Op] = field(default_factory=dict)
    ranges: dict[Op, Range] = field(default_factory=dict)
    fixed: dict[Op, Element] = field(default_factory=dict)
    transfers: list[Transfer] = field(default_factory=list)
    exposed: set[Op] = field(default_factory=set)
    parts: dict[Op, list[tuple[Op, Range]]] = field(default_factory=dict)

    def is_node(self, op: Op) -> bool:
        return op in self.ranges or op in self.fixed


def bare(value: Op) -> Op:
    """A value without the stats around it."""
    while value.kind == quant.stats.name:
        value = value.operands[0]
    return value


def gather(seen: Seen) -> Constraints:
    """The nodes of a function, their ranges, and the transfers between them."""
    found = Constraints()
    observed = {bare(op) for op in seen.func.ops if op.kind == quant.stats.name}
    observed |= {op.operands[0] for op in observed if op.kind == "item"}
    for op in seen.func.ops:
        if op.kind == quant.stats.name:
            _add_stats(op, seen, found)
        elif op.kind == "item" and is_real(op.type) and found.is_node(op.operands[0]):
            found.node_of[op] = op.operands[0]
        elif op in seen.roles:
            _add_op(op, seen, found, op in observed)
    _add_reads(seen, found)
    return found


def _add_stats(op: Op, seen: Seen, found: Constraints) -> None:
    (value,) = op.operands
    span = (min(op.attributes["lo"], 0.0), max(op.attributes["hi"], 0.0))
    if value in found.node_of:
        node = found.node_of[op] = found.node_of[value]
        if node in found.ranges:
            found.ranges[node] = _union(found.ranges[node], span)
            found.parts[node].append((op, span))
    elif op.attributes["exact"] and _useful(op, seen):
        found.node_of[op] = op
        found.fixed[op] = activation_element(*span, seen.storage_of(op))
    elif (role := _read_as_power_of_two(op, seen)) is not None:
        found.node_of[op] = op
        found.fixed[op] = power_of_two_element(span, role)
    elif _useful(op, seen):
        found.node_of[op] = op
        found.ranges[op] = span


def _read_as_power_of_two(stats: Op, seen: Seen) -> Role | None:
    """The role of a value that is read as the state of a cell, which has a grid of its own kind."""
    roles = (seen.role(user, i) for user in seen.func.users[stats] if user in seen.roles
             for i, o in enumerate(user.operands) if o is stats)  # fmt: skip
    return next((role for role in roles if role.kind == "power_of_two"), None)


def _useful(stats: Op, seen: Seen) -> bool:
    """Whether a value is made or read by an op that takes part in quantization."""
    made = seen.made_by(bare(stats))
    return made is not None and takes_part(made) or any(
        o is stats and takes_part(seen.role(user, i))
        for user in seen.func.users[stats]
        if user in seen.roles
        for i, o in enumerate(user.operands)
    )


def _add_op(op: Op, seen: Seen, found: Constraints, observed: bool) -> None:
    result, dtype = seen.roles[op].result, seen.storage_of(op).activation
    if result.kind == "fixed" and dtype.name in result.grids:
        scale, zero = result.grids[dtype.name]
        found.fixed[op] = Element(dtype, per_tensor(scale, zero))
    elif result.kind == "same":
        parts = _shared_ranges(op, seen, found, observed)
        if parts is None:
            return
        found.parts[op] = parts
        found.ranges[op] = _united(span for _, span in parts)
    else:
        return
    if is_real(op.type):
        found.node_of[op] = op


def _shared_ranges(op: Op, seen: Seen, found: Constraints, observed: bool):
    """The ranges of all that meets in an op of one grid; None if not all of it is on a grid.

    Constants that are moved about belong to it. In an op that compares, its result's range says
    what matters of them, where it has one: min(x, 1e9) is as good on the grid of x.
    """
    reals = [o for o, role in zip(op.operands, seen.roles[op].operands, strict=True)
             if role.kind == "same"]  # fmt: skip
    left = next((o for o in reals if not o.is_const and o not in found.node_of), None)
    if left is not None:
        reason = f"{op.kind} takes one grid for all, and {left.kind} stands on none"
        journal.note(FloatKept, op, reason, f"a grid for the {left.kind} that it reads")
        return None
    if not observed and all(o.is_const for o in reals):
        return None
    parts = []
    for operand in reals:
        if not operand.is_const:
            parts.append((operand, range_of(found.node_of[operand], found)))
        elif op.definition.moves or not observed:
            parts.append((operand, extent(operand.value)))
    return parts


def range_of(node: Op, found: Constraints) -> Range:
    """The reals a node's values may take."""
    if node in found.ranges:
        return found.ranges[node]
    return _covered(found.fixed[node])


def _covered(element: Element) -> Range:
    scale, zero = float(element.grid.scale), int(element.grid.zero)
    return (element.lo - zero) * scale, (element.hi - zero) * scale


def _union(a: Range, b: Range) -> Range:
    return min(a[0], b[0]), max(a[1], b[1])


def _united(spans: Iterable[Range]) -> Range:
    """The range of all of some, zero included."""
    whole = (0.0, 0.0)
    for span in spans:
        whole = _union(whole, span)
    return whole


def _add_reads(seen: Seen, found: Constraints) -> None:
    """Who reads what: transfers to ops of one grid, exposure to all others."""
    consumers: dict[tuple[Op, Op], dict[Op, None]] = {}
    for op in seen.func.ops:
        if op not in seen.roles:
            continue
        for i, operand in enumerate(op.operands):
            if operand not in found.node_of or inside_chain(op, operand, seen.chained):
                continue
            node = found.node_of[operand]
            alike = seen.storage_of(op) == seen.storage_of(node)
            if seen.role(op, i).kind == "same" and found.is_node(op) and alike:
                consumers.setdefault((bare(operand), node), {})[op] = None
            else:
                found.exposed.add(found.node_of[operand])
    found.exposed.update(found.node_of[r] for r in seen.func.results if r in found.node_of)
    for (_, node), readers in consumers.items():
        found.transfers.append(Transfer(node, tuple(readers)))


def choose(found: Constraints, seen: Seen) -> dict[Op, Element]:
    """An element for every node, such that few requantizes are needed."""
    spans: dict[Hashable, Range] = {}
    verdicts: dict[Op, dict[Hashable, str | None]] = {}
    for number, (members, elements) in enumerate(_components(found)):
        offered = _offered(number, members, elements, found)
        spans |= {label: span for label, (span, _) in offered.items()}
        verdicts |= {node: _verdicts(node, offered, found) for node in members}
    allowed: dict[Op, tuple] = {node: (element,) for node, element in found.fixed.items()}
    for node, said in verdicts.items():
        allowed[node] = tuple(label for label, why_not in said.items() if why_not is None)
    labels = assign(allowed, found.transfers)
    used: dict[Hashable, Range] = {}
    storage: dict[Hashable, Storage] = {}  # a component is of one
    for node in found.ranges:
        label = labels[node]
        storage[label] = seen.storage_of(node)
        used[label] = _union(used.get(label, (0.0, 0.0)), found.ranges[node])
    grids = {
        label: label if isinstance(label, Element) else activation_element(*span, storage[label])
        for label, span in used.items()
    }
    elements = {node: grids.get(label, label) for node, label in labels.items()}
    journal.note(GridsChosen, found.node_of, found.ranges, found.fixed, found.exposed,
                 found.transfers, found.parts, spans, verdicts, labels, elements)  # fmt: skip
    return elements


def _components(found: Constraints) -> Iterator[tuple[list[Op], list[Element]]]:
    """Open nodes that hang together, and the elements of the fixed nodes whose values they read."""
    around: dict[Op, list[Transfer]] = {}
    for transfer in found.transfers:
        for node in dict.fromkeys((transfer.producer, *transfer.consumers)):
            if node in found.ranges:
                around.setdefault(node, []).append(transfer)
    seen: set[Op] = set()
    walked: set[int] = set()
    for start in found.ranges:
        if start in seen:
            continue
        seen.add(start)
        members, elements = [start], {}
        for node in members:  # grows while it is walked
            for transfer in around.get(node, ()):
                if id(transfer) in walked:
                    continue
                walked.add(id(transfer))
                for other in (transfer.producer, *transfer.consumers):
                    if other in found.fixed:
                        elements[found.fixed[other]] = None
                    elif other not in seen:
                        seen.add(other)
                        members.append(other)
        yield members, list(elements)


def _offered(
    number: int, members: list[Op], elements: list[Element], found: Constraints
) -> dict[Hashable, tuple[Range, float]]:
    """The labels of a component, the finest first, each with its range and its slack.

    A label is a fixed element or (component, level): level 0 is the union of all ranges, and at
    level n are those of exposed nodes between 2^n and 2^(n+1) times narrower, from n = 2 on. The
    union of such is at most 4 times as wide as any of them.
    """
    whole = _united(found.ranges[node] for node in members)
    spans: dict[object, Range] = {}
    for node in members:
        level = _level(whole, found.ranges[node]) if node in found.exposed else 0
        spans[number, level] = _union(spans.get((number, level), (0.0, 0.0)), found.ranges[node])
    spans[number, 0] = whole
    slack = dict.fromkeys(spans, 0.0)
    for element in elements:
        spans[element], slack[element] = _covered(element), float(element.grid.scale)
    ordered = sorted(spans, key=lambda label: _width(spans[label]))
    return {label: (spans[label], slack[label]) for label in ordered}


def _verdicts(node: Op, offered: Mapping, found: Constraints) -> dict[Hashable, str | None]:
    """For each label why a node may not carry it, None where it may; in the order given."""
    own, said = found.ranges[node], {}
    for label, (span, slack) in offered.items():
        said[label] = None if _covers(span, own, slack) else TOO_NARROW
        if said[label] is None and node in found.exposed and not _fine(span, own):
            said[label] = TOO_COARSE
    return said


def _width(span: Range) -> float:
    return span[1] - span[0]


def _covers(outer: Range, inner: Range, slack: float) -> bool:
    return outer[0] - slack <= inner[0] and inner[1] <= outer[1] + slack


def _fine(grid: Range, own: Range) -> bool:
    """Whether a value keeps its precision on a grid; one that is always zero does on any."""
    return _width(own) == 0 or _width(grid) <= COARSEST * _width(own)


def _level(whole: Range, own: Range) -> int:
    if _fine(whole, own):
        return 0
    return max(2, math.floor(math.log2(_width(whole)) - math.log2(_width(own))))
