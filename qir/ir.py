"""The graph: immutable ops, the functions they make up, and modules of functions.

An `Op` is a node and its one value. Equality is identity. A function is its parameters and its
results; dead ops do not exist because every walk starts at the results.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from . import journal
from .errors import QirError
from .tables import table
from .types import Element, TupleType, Type, dtype_of

OPS: dict[str, object] = table(lambda definition: definition.typing)
"""Every known op by its full name (`nn.conv2d`); dialects fill it when they are imported."""


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Op:
    """One node of the graph and the value it makes.

    kind: full name, `nn.conv2d`; `parameter`, `const` and `item` belong to the graph itself.
    attributes: compile-time values by name, defaults included. location: where it came from,
    nearest first, each a text such as `model.py:12` or `encoder/layer_0 (model.py:12)`. items:
    the `item` nodes made so far of an op with several results; `item` alone touches it.
    """

    kind: str
    operands: tuple["Op", ...]
    attributes: Mapping[str, object]
    type: Type | TupleType
    location: tuple[str, ...] = ()
    items: "dict[int, Op] | None" = None

    def __repr__(self) -> str:
        return f"<{self.kind} : {self.type}>"

    def __deepcopy__(self, memo) -> "Op":
        return self

    def __reduce__(self):
        return _unflatten, _flatten((self,), (), single=True)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self):
        return self.type.dtype

    @property
    def is_const(self) -> bool:
        return self.kind == "const"

    @property
    def value(self) -> np.ndarray:
        """The array of a constant, read from its file when first asked for."""
        held = self.attributes["value"]
        return held.array if isinstance(held, Resource) else held

    @property
    def definition(self):
        """The op's entry in OPS: typing, meaning, roles."""
        return OPS[self.kind]

    def with_operands(self, *operands: "Op", **changes) -> "Op":
        """The same op on other operands, its other attributes carried along, typed anew."""
        attributes = {**self.attributes, **changes}
        return self.definition.build(operands, attributes, location=self.location)

    def rebuild(self, **changes) -> "Op":
        """The same op with some attributes changed, typed anew."""
        return self.with_operands(*self.operands, **changes)

    def located(self, location: Iterable[str]) -> "Op":
        """The same op at another location."""
        return Op(self.kind, self.operands, self.attributes, self.type, tuple(location))

    def remapped(self, operands: tuple["Op", ...]) -> "Op":
        """The same op on operands of the same types; nothing is inferred."""
        return Op(self.kind, operands, self.attributes, self.type, self.location)


@dataclass(frozen=True, eq=False)
class Resource:
    """An array kept outside the text: its name, and how to load it when first needed.

    dtype, shape: what its file says that it holds, where that is known before it is loaded.
    """

    name: str
    load: object = field(repr=False)
    dtype: np.dtype | None = None
    shape: tuple[int, ...] | None = None

    @cached_property
    def array(self) -> np.ndarray:
        array = np.asarray(self.load())
        array.flags.writeable = False
        return array

    def __reduce__(self):
        array = self.array
        return _loaded, (self.name, array)


def _loaded(name, array):
    return Resource(name, lambda: array)


def parameter(name: str, type: Type, location=()) -> Op:
    """A function's input."""
    return Op("parameter", (), {"name": name}, type, tuple(location))


def const(value, type: Type | None = None, name: str | None = None, location=(),
          trained: Element | None = None) -> Op:  # fmt: skip
    """A constant: an array (float64 becomes f32), optionally on a grid, with a name for its file.

    A `Resource` in place of the array needs its `type`. trained: the grid that training rounded
    its reals to (`qir.trained`).
    """
    more = {} if trained is None else {"trained": trained}
    if isinstance(value, Resource):
        if value.dtype is not None and (value.dtype, value.shape) != (type.dtype.numpy, type.shape):
            raise QirError(f"#{value.name} holds {value.dtype}{list(value.shape)}, no {type}")
        attributes = {"value": value, "name": value.name, **more}
        return Op("const", (), attributes, type, tuple(location))
    array = np.asarray(value)
    if array.dtype == np.float64 and (type is None or type.dtype.name != "f64"):
        array = array.astype(np.float32)
    if type is None:
        type = Type(dtype_of(array), array.shape)
    if array.shape != type.shape:
        raise QirError(f"a constant of shape {array.shape} cannot have the type {type}")
    array = array.astype(type.dtype.numpy, copy=False)
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return Op("const", (), {"value": array, "name": name, **more}, type, tuple(location))


def item(op: Op, index: int) -> Op:
    """One result of an op that has several; the same node each time it is asked for."""
    if not isinstance(op.type, TupleType):
        raise QirError(f"{op.kind} has one result, it has no items", at=place_of(op))
    if not 0 <= index < len(op.type.items):
        raise QirError(f"{op.kind} has {len(op.type.items)} results, no item {index}",
                       at=place_of(op))  # fmt: skip
    if op.items is None:
        object.__setattr__(op, "items", {})
    if index not in op.items:
        op.items[index] = Op("item", (op,), {"index": index}, op.type.items[index], op.location)
    return op.items[index]


def place_of(op: Op) -> str | None:
    """Where an op came from, for messages."""
    return op.location[0] if op.location else None


def walk(results: Iterable[Op]) -> list[Op]:
    """Every op the results depend on, operands before users, in a fixed order."""
    order: dict[Op, None] = {}
    opened: set[Op] = set()  # their operands are on the stack above them, or done
    stack = list(results)[::-1]
    while stack:
        op = stack[-1]
        if op in opened or not op.operands:
            order[op] = None
            stack.pop()
            continue
        opened.add(op)
        stack.extend([operand for operand in op.operands[::-1] if operand not in order])
    return list(order)


@dataclass(frozen=True, eq=False, repr=False)
class Func:
    """A function: named parameters in, named results out.

    name: without the `@`. result_names: one a result (`""` for one without a name), or empty.
    """

    name: str
    parameters: tuple[Op, ...]
    results: tuple[Op, ...]
    result_names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<func @{self.name}: {len(self.parameters)} in, {len(self.results)} out>"

    def __reduce__(self):
        flat = _flatten(self.results, self.parameters)
        return _unflatten_func, (self.name, self.result_names, flat)

    def __str__(self) -> str:
        from .text import print_func  # the printer is a layer above; only humans need it here

        return print_func(self)

    @cached_property
    def ops(self) -> tuple[Op, ...]:
        """Every op, parameters included, operands before users."""
        return tuple(walk((*self.parameters, *self.results)))

    @cached_property
    def uses(self) -> dict[Op, int]:
        """How many operand slots and results read each op."""
        return count_uses(self.ops, self.results)

    @cached_property
    def users(self) -> dict[Op, tuple[Op, ...]]:
        """The distinct ops that read each op, in order."""
        readers: dict[Op, dict[Op, None]] = {op: {} for op in self.ops}
        for op in self.ops:
            for operand in op.operands:
                readers[operand][op] = None
        return {op: tuple(found) for op, found in readers.items()}

    def with_results(self, results: Iterable[Op]) -> "Func":
        """The same function with other results."""
        return replace(self, results=tuple(results))

    def with_batch(self, batch: int) -> "Func":
        """The same function for another batch (leading extent of every input), types inferred anew.

        QirError names the first op that holds the old batch in a way that cannot be re-inferred.
        """
        return _with_batch(self, batch)

    def to_networkx(self):
        """The graph as a networkx.DiGraph: ops as nodes, operand edges with their `index`."""
        import networkx

        graph = networkx.MultiDiGraph()
        for op in self.ops:
            graph.add_node(op, kind=op.kind, type=str(op.type))
            for index, operand in enumerate(op.operands):
                graph.add_edge(operand, op, index=index)
        return graph


@dataclass(frozen=True, eq=False)
class Module:
    """Functions by name; the first is the entry unless one is called `main`.

    headers: what a text says of itself besides, the arguments of each by its name: `origin` of
    what made it. They are of the text that was read; what a pass makes has none.
    """

    funcs: tuple[Func, ...]
    headers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Func:
        for func in self.funcs:
            if func.name == name:
                return func
        raise QirError(f"no function @{name}", help=f"there are {[f.name for f in self.funcs]}")

    @property
    def main(self) -> Func:
        """The entry function."""
        if not self.funcs:
            raise QirError("a module needs at least one function")
        return next((f for f in self.funcs if f.name == "main"), self.funcs[0])

    def __str__(self) -> str:
        return "\n".join(str(func) for func in self.funcs)


def count_uses(ops: Iterable[Op], results: Iterable[Op]) -> dict[Op, int]:
    """How many operand slots and results read each op."""
    uses = dict.fromkeys(ops, 0)
    for op in uses:
        for operand in op.operands:
            uses[operand] += 1
    for result in results:
        uses[result] += 1
    return uses


@dataclass(frozen=True, eq=False, slots=True)
class Derived:
    """An entry of the journal: an op that a pass made to stand for older ones."""

    op: Op
    olds: tuple[Op, ...]


def derived(op: Op, *olds: Op) -> Op:
    """The op itself, remembered as made from older ones where somebody listens.

    `transform` and `rewrite` remember by themselves.
    """
    journal.note(Derived, op, olds)
    return op


def transform(func: Func, change) -> Func:
    """Rebuild a function bottom up: `change(op, operands)` gives what stands for each op.

    `operands` are the new ones; returning `op` itself (with unchanged operands) shares it. For an
    op of several results `change` may give a tuple with an op for each.
    """
    new: dict[Op, Op] = {}
    parts: dict[Op, tuple[Op, ...]] = {}
    for op in func.ops:
        if op.kind == "item" and op.operands[0] in parts:
            new[op] = parts[op.operands[0]][op.attributes["index"]]
            continue
        found = change(op, tuple([new[o] for o in op.operands]))
        (parts if isinstance(found, tuple) else new)[op] = found
    links = journal.listener(Derived)
    if links is not None:
        links.extend(Derived(now, (op,)) for op, now in new.items() if now is not op)
    parameters = tuple(new[p] for p in func.parameters)
    return replace(func, parameters=parameters, results=tuple(new[r] for r in func.results))


def kept(op: Op, operands: tuple[Op, ...]) -> Op:
    """The op on its new operands, itself if they are the old ones."""
    if operands == op.operands:  # ops are equal only to themselves
        return op
    if op.kind == "item":
        return item(operands[0], op.attributes["index"])
    return op.remapped(operands)


def _with_batch(func: Func, batch: int) -> Func:
    olds = {p.shape[0] for p in func.parameters if p.type.rank}
    if len(olds) != 1:
        raise QirError(f"@{func.name} has no one batch: its inputs lead with {sorted(olds)}")
    old = olds.pop()
    help = "trace the model again with the batch you need"
    if old == 1:
        help += ", or with two rows: of one row a framework may drop the axis"

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op.kind == "parameter":
            if not op.type.rank:  # a number has no batch
                return op
            shape = (batch, *op.shape[1:])
            return parameter(op.attributes["name"], op.type.with_shape(shape), op.location)
        if operands == op.operands:
            return op
        if op.kind == "item":
            return item(operands[0], op.attributes["index"])
        try:
            return op.with_operands(*operands)
        except QirError as error:
            message = f"this graph serves batch {old} only: {error.message}"
            raise QirError(message, at=error.at, help=help) from error

    new = transform(func, change)
    for before, after in zip(func.results, new.results, strict=True):
        shape = before.shape
        if shape and after.shape[0] * old != shape[0] * batch or after.shape[1:] != shape[1:]:
            raise QirError(f"this graph serves batch {old} only: a result of {before.type} would "
                           f"become {after.type} at batch {batch}", at=place_of(before),
                           help=help)  # fmt: skip
    return new


def _flatten(results, parameters, single=False):
    order = walk((*parameters, *results))
    index = {op: i for i, op in enumerate(order)}
    rows = [
        (op.kind, tuple(index[o] for o in op.operands), op.attributes, op.type, op.location)
        for op in order
    ]
    ends = tuple(index[r] for r in results)
    return (rows, ends, single) if single else (rows, ends, tuple(index[p] for p in parameters))


def _build_rows(rows) -> list[Op]:
    ops: list[Op] = []
    for kind, operands, attributes, type, location in rows:
        if kind == "item":
            ops.append(item(ops[operands[0]], attributes["index"]))
        else:
            ops.append(Op(kind, tuple(ops[i] for i in operands), attributes, type, location))
    return ops


def _unflatten(rows, ends, single):
    return _build_rows(rows)[ends[0]]


def _unflatten_func(name, result_names, flat):
    rows, ends, starts = flat
    ops = _build_rows(rows)
    return Func(name, tuple(ops[i] for i in starts), tuple(ops[i] for i in ends), result_names)
