"""What can be traced, as one kind of thing: Keras models, functions, SavedModels, graphs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from ...errors import QirError
from .frames import is_inner

tf.get_logger().setLevel("ERROR")
VARIABLES = ("VariableV2", "VarHandleOp")
"""Operations that are variables of a session."""


@dataclass(frozen=True, eq=False)
class Source:
    """A graph of TensorFlow with its inputs and results.

    inputs: by name, the tensor and the shape and dtype stated for it, -1 where an extent is open.
    outputs: by name. held: the values of tensors that stand for variables, by `Tensor.ref()`, each
    with the variable's name.
    """

    graph: object
    inputs: Sequence[tuple[str, object, tuple, str]]
    outputs: Sequence[tuple[str, object]]
    held: Mapping[object, tuple[np.ndarray, str]] = field(default_factory=dict)


def source_of(model, example_args, signature: str | None) -> Source:
    """The graph of whatever a user has; QirError says what can be given."""
    if isinstance(model, (str, Path)):
        return _of_path(Path(model), signature)
    if isinstance(model, tf.compat.v1.GraphDef):
        return _of_graph_def(model)
    if isinstance(model, tf.types.experimental.ConcreteFunction):
        return _of_function(model)
    if isinstance(model, tf.keras.Model):
        return _of_keras(model)
    if hasattr(model, "get_concrete_function"):
        if not example_args:
            raise QirError("a tf.function takes its shapes from examples",
                           help="give arrays or tf.TensorSpec as example arguments")  # fmt: skip
        return _of_function(model.get_concrete_function(*map(_spec, example_args)))
    if hasattr(model, "signatures"):
        return _of_function(model.signatures[_chosen(model.signatures, signature)])
    raise QirError(f"cannot trace a {type(model).__name__}",
                   help="give a Keras model, a tf.function or concrete function, a SavedModel, a "
                        "GraphDef, or the path of one")  # fmt: skip


def _spec(example):
    if isinstance(example, tf.TypeSpec):
        return example
    found = getattr(example, "dtype", None) or np.asarray(example).dtype
    return tf.TensorSpec(np.shape(example) or getattr(example, "shape", ()), tf.as_dtype(found))


def _of_keras(model) -> Source:
    if not model.built or not getattr(model, "inputs", None):
        raise QirError("this Keras model was not built", help="give it an Input, or trace a "
                       "tf.function that calls it")  # fmt: skip
    specs = [tf.TensorSpec(each.shape, each.dtype, name=each.name.split(":")[0])
             for each in tf.nest.flatten(model.inputs)]  # fmt: skip

    @tf.function
    def run(*xs):
        return model(tf.nest.pack_sequence_as(model.inputs, list(xs)), training=False)

    return _of_function(run.get_concrete_function(*specs), [spec.name for spec in specs])


def _of_function(function, names: Sequence[str] | None = None) -> Source:
    graph = function.graph
    held = {}
    variables = {id(v.handle): v for v in graph.variables}
    for outer, inner in graph.captures:
        variable = variables.get(id(outer))
        if variable is not None:
            held[inner.ref()] = variable.numpy(), variable.name.split(":")[0]
        elif outer.dtype not in (tf.resource, tf.variant):
            held[inner.ref()] = outer.numpy(), inner.name.split(":")[0]
    given = [tensor for tensor in function.inputs if tensor.ref() not in held
             and tensor.dtype != tf.resource]  # fmt: skip
    names = names or [tensor.op.name for tensor in given]
    inputs = [(name, tensor, _shape(tensor), tensor.dtype.name)
              for name, tensor in zip(names, given, strict=True)]  # fmt: skip
    return Source(graph, inputs, _outputs(function), held)


def _outputs(function) -> list[tuple[str, object]]:
    structured = function.structured_outputs
    if isinstance(structured, Mapping):
        return list(zip(sorted(structured), function.outputs, strict=True))
    return [("", tensor) for tensor in function.outputs]


def _shape(tensor) -> tuple[int, ...]:
    if tensor.shape.rank is None:
        raise QirError(f"the input '{tensor.op.name}' has no stated rank")
    return tuple(-1 if n is None else int(n) for n in tensor.shape)


def _of_path(path: Path, signature: str | None) -> Source:
    if path.suffix in (".qir", ".tflite"):
        raise QirError("is no model to trace", at=str(path), help="qir.load reads it")
    if path.is_file():
        graph = tf.compat.v1.GraphDef()
        try:
            graph.ParseFromString(path.read_bytes())
        except Exception as error:  # protobuf's own
            raise QirError(f"is no GraphDef: {error}", at=str(path)) from None
        return _of_graph_def(graph)
    if not (path / "saved_model.pb").is_file():
        raise QirError("is no SavedModel: there is no saved_model.pb", at=str(path))
    try:
        loaded = tf.saved_model.load(str(path))  # its functions hold variables by weak references
        source = _of_function(loaded.signatures[_chosen(loaded.signatures, signature, path)])
    except (AttributeError, KeyError, ValueError):  # objects that this version cannot restore
        return _of_session(path, signature)
    inside = any(op.type in VARIABLES for op in _reached([tensor for _, tensor in source.outputs]))
    return _of_session(path, signature) if inside else source


def _chosen(signatures: Iterable[str], signature: str | None, path: Path | None = None) -> str:
    names = [name for name in signatures if not name.startswith("__")]
    wanted = signature or ("serving_default" if "serving_default" in names else next(
        iter(names), ""))  # fmt: skip
    if wanted not in names:
        raise QirError(f"there is no signature '{wanted}'", at=path and str(path),
                       help=f"there are {', '.join(names) or 'none'}")  # fmt: skip
    return wanted


def _of_session(path: Path, signature: str | None) -> Source:
    """A SavedModel by the loader of the first version, which has variables in a session."""
    graph = tf.Graph()
    with tf.compat.v1.Session(graph=graph) as session:
        meta = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(path))
        chosen = meta.signature_def[_chosen(meta.signature_def, signature, path)]
        inputs, outputs = ([(name, graph.get_tensor_by_name(infos[name].name))
                            for name in sorted(infos)]
                           for infos in (chosen.inputs, chosen.outputs))  # fmt: skip
        variables = [op for op in _reached([tensor for _, tensor in outputs])
                     if op.type in VARIABLES]  # fmt: skip
        reads = [op.outputs[0] if op.type == "VariableV2" else tf.raw_ops.ReadVariableOp(
            resource=op.outputs[0], dtype=op.get_attr("dtype")) for op in variables]  # fmt: skip
        arrays = session.run(reads)
    held = {op.outputs[0].ref(): (array, op.name)
            for op, array in zip(variables, arrays, strict=True)}  # fmt: skip
    stated = [(name, tensor, _shape(tensor), tensor.dtype.name) for name, tensor in inputs]
    return Source(graph, stated, outputs, held)


def _reached(tensors) -> list:
    """The operations that these tensors come from."""
    found: dict[str, object] = {}
    stack = [tensor.op for tensor in tensors]
    while stack:
        op = stack.pop()
        if op.name not in found:
            found[op.name] = op
            stack += [tensor.op for tensor in op.inputs]
    return list(found.values())


def _of_graph_def(definition) -> Source:
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(definition, name="")
    operations = graph.get_operations()
    inputs = [(op.name, op.outputs[0], _shape(op.outputs[0]), op.outputs[0].dtype.name)
              for op in operations if op.type == "Placeholder"]  # fmt: skip
    read = {each.name for op in operations
            for each in (*(tensor.op for tensor in op.inputs), *op.control_inputs)}  # fmt: skip
    outputs = [(op.name, tensor) for op in operations for tensor in op.outputs
               if op.name not in read and not is_inner(tensor)
               and op.type not in ("Const", "Placeholder")]  # fmt: skip
    return Source(graph, inputs, outputs)
