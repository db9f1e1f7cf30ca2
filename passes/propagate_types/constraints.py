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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from qir.ir import Func, Op
from qir.labelling import Transfer, assign
from qir.quantizable import inside_chain, is_real, takes_part
from qir.roles import Roles
from qir.types import Element, per_tensor

from ...dialects import quant
from .constants import Storage, activation_element, extent

COARSEST = 4.0

Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Seen:
    """A calibrated function with the roles and chains of its ops."""

    func: Func
    roles: Mapping[Op, Roles]
    chained: Mapping[Op, Op]
    storage: Storage

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
    fixed: the elements of the others. exposed: nodes read by others than ops of one grid.
    """

    node_of: dict[Op, Op] = field(default_factory=dict)
    ranges: dict[Op, Range] = field(default_factory=dict)
    fixed: dict[Op, Element] = field(default_factory=dict)
    transfers: list[Transfer] = field(default_factory=list)
    exposed: set[Op] = field(default_factory=set)

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
    elif _useful(op, seen):
        found.node_of[op] = op
        found.ranges[op] = span


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
    result = seen.roles[op].result
    if result.kind == "fixed" and seen.storage.activation.name in result.grids:
        scale, zero = result.grids[seen.storage.activation.name]
        found.fixed[op] = Element(seen.storage.activation, per_tensor(scale, zero))
    elif result.kind == "same":
        span = _shared_range(op, seen, found, observed)
        if span is None:
            return
        found.ranges[op] = span
    else:
        return
    if is_real(op.type):
        found.node_of[op] = op


def _shared_range(op: Op, seen: Seen, found: Constraints, observed: bool) -> Range | None:
    """The range of all that meets in an op of one grid; None if not all of it is on a grid.

    Constants that are moved about belong to it. In an op that compares, its result's range says
    what matters of them, where it has one: min(x, 1e9) is as good on the grid of x.
    """
    reals = [o for o, role in zip(op.operands, seen.roles[op].operands, strict=True)
             if role.kind == "same"]  # fmt: skip
    if any(not o.is_const and o not in found.node_of for o in reals):
        return None
    if not observed and all(o.is_const for o in reals):
        return None
    span = (0.0, 0.0)
    for operand in reals:
        if not operand.is_const:
            span = _union(span, range_of(found.node_of[operand], found))
        elif op.definition.moves or not observed:
            span = _union(span, extent(operand.value))
    return span


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


def _add_reads(seen: Seen, found: Constraints) -> None:
    """Who reads what: transfers to ops of one grid, exposure to all others."""
    consumers: dict[tuple[Op, Op], dict[Op, None]] = {}
    for op in seen.func.ops:
        if op not in seen.roles:
            continue
        for i, operand in enumerate(op.operands):
            if operand not in found.node_of or inside_chain(op, operand, seen.chained):
                continue
            if seen.role(op, i).kind == "same" and found.is_node(op):
                key = bare(operand), found.node_of[operand]
                consumers.setdefault(key, {})[op] = None
            else:
                found.exposed.add(found.node_of[operand])
    found.exposed.update(found.node_of[r] for r in seen.func.results if r in found.node_of)
    for (_, node), readers in consumers.items():
        found.transfers.append(Transfer(node, tuple(readers)))


def choose(found: Constraints, storage: Storage) -> dict[Op, Element]:
    """An element for every node, such that few requantizes are needed."""
    allowed: dict[Op, tuple] = {node: (element,) for node, element in found.fixed.items()}
    for number, (members, elements) in enumerate(_components(found)):
        allowed |= _allowed(number, members, elements, found)
    labels = assign(allowed, found.transfers)
    spans: dict[object, Range] = {}
    for node in found.ranges:
        label = labels[node]
        spans[label] = _union(spans.get(label, (0.0, 0.0)), found.ranges[node])
    grids = {
        label: label if isinstance(label, Element) else activation_element(*span, storage)
        for label, span in spans.items()
    }
    return {node: grids.get(label, label) for node, label in labels.items()}


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


def _allowed(
    number: int, members: list[Op], elements: list[Element], found: Constraints
) -> dict[Op, tuple]:
    """The labels each member of a component may carry, the finest first.

    A label is a fixed element or (component, level): level 0 is the union of all ranges, and at
    level n are those of exposed nodes between 2^n and 2^(n+1) times narrower, from n = 2 on. The
    union of such is at most 4 times as wide as any of them.
    """
    whole = (0.0, 0.0)
    for node in members:
        whole = _union(whole, found.ranges[node])
    spans: dict[object, Range] = {}
    for node in members:
        level = _level(whole, found.ranges[node]) if node in found.exposed else 0
        spans[number, level] = _union(spans.get((number, level), (0.0, 0.0)), found.ranges[node])
    spans[number, 0] = whole
    slack = dict.fromkeys(spans, 0.0)
    for element in elements:
        spans[element], slack[element] = _covered(element), float(element.grid.scale)
    ordered = sorted(spans, key=lambda label: _width(spans[label]))
    return {
        node: tuple(
            label
            for label in ordered
            if _covers(spans[label], found.ranges[node], slack[label])
            and (node not in found.exposed or _fine(spans[label], found.ranges[node]))
        )
        for node in members
    }


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
