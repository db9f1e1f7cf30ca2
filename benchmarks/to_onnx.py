"""A float graph of qir as an ONNX model, so that other engines get the very same weights.

Holds the ops of the models that `benchmarks.peers` measures. Images go through in the order N, C,
H, W, which those engines are fast in: the input is transposed once.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import qir
from qir.errors import QirError
from qir.ir import Func, Op, place_of
from qir.shapes import pads_of

OPSET = 20


class Graph:
    """Nodes and initializers so far, and which values are images, channels first."""

    def __init__(self) -> None:
        self.nodes, self.initializers, self.images = [], [], set()
        self.names: dict[Op, str] = {}

    def node(self, kind: str, inputs, **attributes) -> str:
        """The name of the node's only output."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def array(self, values: np.ndarray) -> str:
        """The name of a new initializer."""
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def image(self, op: Op) -> str:
        """A value as an image, channels first."""
        name = self.names[op]
        if name in self.images or op.type.rank != 4:
            return name
        return self.marked(self.node("Transpose", [name], perm=[0, 3, 1, 2]))

    def marked(self, name: str) -> str:
        self.images.add(name)
        return name

    def clamped(self, op: Op, name: str) -> str:
        """The clamp that an op ends with."""
        clamp, was_image = op.attributes.get("clamp"), name in self.images
        if clamp is None:
            return name
        low, high = clamp
        if (low, high) == (0, np.inf):
            name = self.node("Relu", [name])
        else:
            bounds = [self.array(np.float32(bound)) for bound in clamp]
            name = self.node("Clip", [name, *bounds])
        return self.marked(name) if was_image else name


def _conv(g: Graph, op: Op) -> str:
    x, w, *b = op.operands
    a, (kh, kw, *_) = op.attributes, w.shape
    pads = pads_of(x.type, (kh, kw), a["strides"], a["padding"], a["dilation"])
    is_depthwise = op.kind == "nn.depthwise_conv2d"
    filters = w.value.reshape(kh, kw, 1, -1) if is_depthwise else w.value
    made = g.node("Conv", [g.image(x), g.array(filters.transpose(3, 2, 0, 1)),
                           *(g.array(each.value) for each in b)],
                  strides=a["strides"], dilations=a["dilation"], pads=[p for p, _ in pads]
                  + [p for _, p in pads],
                  group=x.shape[3] if is_depthwise else a["groups"])  # fmt: skip
    return g.clamped(op, g.marked(made))


def _max_pool(g: Graph, op: Op) -> str:
    a = op.attributes
    pads = pads_of(op.operands[0].type, a["window"], a["strides"], a["padding"], (1, 1))
    return g.marked(g.node("MaxPool", [g.image(op.operands[0])], kernel_shape=a["window"],
                           strides=a["strides"], pads=[p for p, _ in pads]
                           + [p for _, p in pads]))  # fmt: skip


def _mean(g: Graph, op: Op) -> str:
    keeps = op.attributes["keepdims"]
    assert sorted(op.attributes["axes"]) == [1, 2], "means over images alone"
    made = g.node("ReduceMean", [g.image(op.operands[0]), g.array(np.array([2, 3], np.int64))],
                  keepdims=int(keeps))  # fmt: skip
    return g.marked(made) if keeps else made


def _dense(g: Graph, op: Op) -> str:
    x, w, *b = op.operands
    made = g.node("MatMul", [g.names[x], g.array(w.value)])
    if b:
        made = g.node("Add", [made, g.array(b[0].value)])
    return g.clamped(op, made)


def _matmul(g: Graph, op: Op) -> str:
    sides = []
    for side, flag in zip(op.operands, ("adjoint_a", "adjoint_b"), strict=True):
        order = [*range(side.type.rank)]
        order[-2:] = order[:-3:-1]
        name = g.names[side]
        sides.append(g.node("Transpose", [name], perm=order) if op.attributes[flag] else name)
    return g.clamped(op, g.node("MatMul", sides))


def _binary(kind: str) -> Callable:
    def made(g: Graph, op: Op) -> str:
        is_image = any(g.names.get(x) in g.images for x in op.operands)
        sides = [g.array(x.value) if x.is_const else g.image(x) if is_image else g.names[x]
                 for x in op.operands]  # fmt: skip
        name = g.node(kind, sides)
        return g.clamped(op, g.marked(name) if is_image else name)

    return made


def _same(kind: str, **attributes) -> Callable:
    def made(g: Graph, op: Op) -> str:
        name = g.names[op.operands[0]]
        found = g.node(kind, [name], **attributes)
        return g.marked(found) if name in g.images else found

    return made


def _silu(g: Graph, op: Op) -> str:
    name = g.names[op.operands[0]]
    found = g.node("Mul", [name, g.node("Sigmoid", [name])])
    return g.marked(found) if name in g.images else found


def _layer_norm(g: Graph, op: Op) -> str:
    x, gain, bias = op.operands
    return g.node("LayerNormalization", [g.names[x], g.array(gain.value), g.array(bias.value)],
                  epsilon=op.attributes["epsilon"], axis=-1)  # fmt: skip


def _reshape(g: Graph, op: Op) -> str:
    shape = [-1, *op.shape[1:]]  # the batch stays open
    return g.node("Reshape", [g.names[op.operands[0]], g.array(np.array(shape, np.int64))])


EXPORTS: dict[str, Callable[[Graph, Op], str]] = {
    "nn.conv2d": _conv,
    "nn.depthwise_conv2d": _conv,
    "nn.max_pool": _max_pool,
    "nn.mean": _mean,
    "nn.dense": _dense,
    "nn.matmul": _matmul,
    "nn.add": _binary("Add"),
    "nn.mul": _binary("Mul"),
    "nn.sigmoid": _same("Sigmoid"),
    "nn.silu": _silu,
    "nn.gelu": _same("Gelu"),
    "nn.softmax": _same("Softmax", axis=-1),
    "nn.layer_norm": _layer_norm,
    "lax.reshape": _reshape,
    "lax.transpose": lambda g, op: g.node("Transpose", [g.names[op.operands[0]]],
                                          perm=op.attributes["permutation"]),
}  # fmt: skip


def to_onnx(module: qir.Module, path: Path) -> None:
    """Write the float model, its first axis open, as `path`."""
    func: Func = qir.run_pipeline(module, "float_front").main
    g = Graph()
    for op in func.ops:
        if op.kind == "parameter":
            g.names[op] = op.attributes["name"]
        elif not op.is_const:
            if op.kind not in EXPORTS:
                raise QirError(f"{op.kind} has no form in ONNX here", at=place_of(op),
                               help="add one to EXPORTS in benchmarks/to_onnx.py")  # fmt: skip
            g.names[op] = EXPORTS[op.kind](g, op)
    (x,), (y,) = func.parameters, func.results
    given = helper.make_tensor_value_info(g.names[x], TensorProto.FLOAT, ["N", *x.shape[1:]])
    found = helper.make_tensor_value_info(g.names[y], TensorProto.FLOAT, ["N", *y.shape[1:]])
    graph = helper.make_graph(g.nodes, "main", [given], [found], g.initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = 10
    onnx.checker.check_model(made)
    onnx.save(made, path)
