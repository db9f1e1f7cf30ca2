"""Operations to ops: calls inlined, what no input reaches evaluated, the rest imported."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from ...dialect import items
from ...errors import Declined, QirError
from ...ir import Op
from ..values import MISSING, Known, Missing, Problems, Value, located, meanings, node_of
from . import (  # noqa: F401  they fill the table
    contractions,
    elementwise,
    movement,
    quantized,
    sequences,
    volumes,
    windows,
)
from .arrays import ARRAYS
from .control import CONTROL
from .fake_quant import ROUNDINGS
from .frames import EXITS, MERGES, SWITCHES, Loop, joined, joined_reads
from .sources import Source
from .table import IMPORTS, storage

JOINS = (*EXITS, *MERGES)
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
HANDED_ON = ("ReadVariableOp", "Identity")


@dataclass(frozen=True, eq=False)
class Importer:
    """One trace: the graph's variables, what could not be imported, the nodes of constants.

    loops: those of version 1 by their Exits; sides: by graph, what its operations run under.
    """

    source: Source
    problems: Problems = field(default_factory=lambda: Problems("TensorFlow operation"))
    made: dict[Known, Op] = field(default_factory=dict)
    loops: dict[object, Loop] = field(default_factory=dict)
    sides: dict[object, dict] = field(default_factory=dict)

    def run(self, parameters: Sequence[Op]) -> tuple[Op, ...]:
        """The results of a graph on its inputs; QirError lists all that is not imported."""
        values: dict[object, Value] = {}
        for (_, tensor, *_), op in zip(self.source.inputs, parameters, strict=True):
            values[tensor.ref()] = op
        for ref, (array, name) in self.source.held.items():
            values[ref] = Known(array, name)
        found = self.tensors([tensor for _, tensor in self.source.outputs], values)
        self.problems.refuse('declare @imports("{}") in a file of qir/frontends/tensorflow/')
        for value, (_, tensor) in zip(found, self.source.outputs, strict=True):
            if not isinstance(value, (Op, Known)):
                raise QirError("a result of the model is a list, no tensor", at=tensor.op.name)
        return tuple(node_of(value, self.made, "results") for value in found)

    def tensors(self, wanted: Sequence, values: dict) -> list[Value]:
        """The values of tensors, from those of others; what they need is imported on the way."""
        stack = [tensor.op for tensor in wanted]
        entered = set()
        while stack:
            node = stack[-1]
            if all(out.ref() in values for out in node.outputs):
                stack.pop()
                continue
            joins = node.type in JOINS
            reads = joined_reads(self, node, values) if joins else node.inputs
            open_ = [t.op for t in reads if t.ref() not in values]
            if open_ and (node.name, len(reads)) not in entered:
                entered.add((node.name, len(reads)))
                stack += open_
                continue
            stack.pop()
            if joins:
                values.update(joined(self, node, values))
                continue
            operands = [values.get(t.ref(), MISSING) for t in node.inputs]
            results = self.node(node, operands)
            values.update((out.ref(), value)
                          for out, value in zip(node.outputs, results, strict=True))
        return [values[tensor.ref()] for tensor in wanted]

    def node(self, node, operands: list[Value]) -> list[Value]:
        """The results of one operation."""
        if node.type == "Const":
            return [Known(_stored(tf.make_ndarray(node.get_attr("value"))), node.name)]
        if node.type in HANDED_ON and not isinstance(operands[0], Op):
            return [operands[0]]
        if node.type in SWITCHES:
            return [operands[0], operands[0]]
        if node.type in CALLS:
            return self.function(node, "f", operands)
        if node.type in ("Shape", "Rank", "Size") and isinstance(operands[0], Op):
            return [_extents(node, operands[0])]
        control = CONTROL.get(node.type) or ARRAYS.get(node.type)
        known = all(isinstance(o, Known) for o in operands) and node.type != "Placeholder"
        if known and control is None:
            return self.evaluated(node, operands)
        followed = node.type in IMPORTS or node.type in ARRAYS
        if any(isinstance(o, Missing) for o in operands) and followed:
            return [MISSING] * len(node.outputs)
        if control is None and node.type not in IMPORTS:
            self.problems.add(node.type, None, node.name)
            return [MISSING] * len(node.outputs)
        try:
            if control is not None:
                return control(self, node, operands)
            return list(self.imported(node, operands))
        except (Declined, QirError) as error:
            reason = error.message if isinstance(error, QirError) else str(error)
            self.problems.add(node.type, reason, node.name)
            return [MISSING] * len(node.outputs)

    def function(self, node, attribute: str, operands: list[Value]) -> list[Value]:
        """The results of a function of the graph's library, which an attribute names."""
        graph = _body((node.graph, self.source.graph), node.get_attr(attribute).name)
        inner: dict[object, Value] = {
            tensor.ref(): value for tensor, value in zip(graph.inputs, operands, strict=True)}
        return self.tensors(graph.outputs, inner)

    def evaluated(self, node, operands: list[Known]) -> list[Value]:
        """The results of an operation on constants: by our meaning of it, else by TensorFlow's."""
        name = next((o.name for o in operands if o.name and np.size(o.array) > 1), None)
        try:
            if node.type in ROUNDINGS:
                return list(self.imported(node, operands))
            if node.type in IMPORTS:
                return [Known(array, name) for array in meanings(self.imported(node, operands))]
        except (Declined, QirError):
            pass  # a variant or a type that only TensorFlow knows
        build = getattr(tf.raw_ops, node.type, None)
        if build is None:
            self.problems.add(node.type, None, node.name)
            return [MISSING] * len(node.outputs)
        arrays = iter([tf.constant(_given(o.array, tensor.dtype), tensor.dtype)
                       for o, tensor in zip(operands, node.inputs, strict=True)])  # fmt: skip
        taken: dict[str, object] = {}
        for argument in node.op_def.input_arg:
            lists = argument.number_attr or argument.type_list_attr
            if lists:
                count = node.get_attr(lists)
                count = count if isinstance(count, int) else len(count)
                taken[argument.name] = [next(arrays) for _ in range(count)]
            else:
                taken[argument.name] = next(arrays)
        known = {attr.name for attr in node.op_def.attr}
        taken |= {each: node.get_attr(each) for each in inspect.signature(build).parameters
                  if each in known and each not in taken}  # fmt: skip
        with tf.init_scope(), tf.device("CPU:0"):
            found = build(**taken)
        return [Known(_stored(np.asarray(value)), name) for value in tf.nest.flatten(found)]

    def imported(self, node, operands: list[Value]):
        """The ops of an operation's results, which and whose helpers stand at its name."""
        ours = [node_of(value, self.made, node.name) for value in operands]
        built = IMPORTS[node.type](node, *ours)
        results = built if isinstance(built, tuple) else items(built)
        located(results, ours, node.name)
        for result, tensor in zip(results, node.outputs, strict=False):
            expected = storage(tensor.dtype)
            if result.dtype.name != expected:
                raise QirError(f"the import gave {result.type}, TensorFlow has {expected}")
        return (*results, *[MISSING] * (len(node.outputs) - len(results)))


def _body(graphs, name: str):
    """The graph of a function in the library of one of these graphs."""
    found = next(each for each in (graph._get_function(name) for graph in graphs) if each)
    if hasattr(found, "graph"):
        return found.graph
    with graphs[-1].as_default():
        return function_def_to_graph(found.cached_definition)


def _stored(array: np.ndarray) -> np.ndarray:
    """An array of quantized numbers, which are records of one field, as the integers it holds."""
    return array[array.dtype.names[0]] if array.dtype.names else array


def _given(array, kind):
    """An array as TensorFlow takes it: integers as quantized numbers."""
    return array.view(kind.as_numpy_dtype) if kind.is_quantized else array


def _extents(node, x: Op) -> Known:
    kind = node.get_attr("out_type").as_numpy_dtype if node.type != "Rank" else np.int32
    found = {"Shape": x.shape, "Rank": x.type.rank, "Size": x.type.size}[node.type]
    return Known(np.array(found, kind), None)
