"""The graph of mixed_graph.py in xDSL: ops declared through IRDL, patterns, parser and printer."""

from io import StringIO
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.arith import Arith, ConstantOp
from xdsl.dialects.builtin import (
    Builtin,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    Float32Type,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    TensorType,
    f32,
    i64,
)
from xdsl.dialects.func import Func, FuncOp, ReturnOp
from xdsl.ir import Block, Dialect, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    VarConstraint,
    base,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.printer import Printer
from xdsl.traits import Pure

from .mixed_graph import Graph, Row

Tensor = TensorType[Float32Type]


class Unary(IRDLOperation):
    """An op of one operand that keeps its type."""

    T: ClassVar = VarConstraint("T", base(TensorType[Float32Type]))
    x = operand_def(T)
    result = result_def(T)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($result)"
    irdl_options = (ParsePropInAttrDict(),)


class Binary(IRDLOperation):
    """An op of two operands that keeps the type of the first; the second one broadcasts."""

    T: ClassVar = VarConstraint("T", base(TensorType[Float32Type]))
    a = operand_def(T)
    b = operand_def(Tensor)
    result = result_def(T)
    traits = traits_def(Pure())
    assembly_format = "$a `,` $b attr-dict `:` type($a) `,` type($b)"


class Movement(IRDLOperation):
    """An op of one operand with a result of another shape."""

    x = operand_def(Tensor)
    result = result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"
    irdl_options = (ParsePropInAttrDict(),)


def _named(kind: str, parent: type[IRDLOperation]) -> type[IRDLOperation]:
    """An op without attributes."""
    return irdl_op_definition(type(kind, (parent,), {"name": kind}))


Add, Sub, Mul, Max, Min = (
    _named(f"lax.{name}", Binary) for name in ("add", "sub", "mul", "max", "min")
)
Neg, Tanh, Exp, Logistic = (
    _named(f"lax.{name}", Unary) for name in ("neg", "tanh", "exp", "logistic")
)
Relu = _named("nn.relu", Unary)


@irdl_op_definition
class Transpose(Movement):
    """Axis i of the result is axis permutation[i] of x."""

    name = "lax.transpose"
    permutation = prop_def(DenseArrayBase)


@irdl_op_definition
class Reshape(Movement):
    """The same elements under another shape."""

    name = "lax.reshape"
    shape = prop_def(DenseArrayBase)


@irdl_op_definition
class Softmax(Unary):
    """Softmax along an axis."""

    name = "nn.softmax"
    axis = prop_def(IntegerAttr)


@irdl_op_definition
class MaxPool(Unary):
    """The maxima of windows."""

    name = "nn.max_pool"
    window = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    padding = prop_def(StringAttr)


@irdl_op_definition
class Conv2d(IRDLOperation):
    """2-D convolution of x by w plus b."""

    name = "nn.conv2d"
    x = operand_def(Tensor)
    w = operand_def(Tensor)
    b = operand_def(Tensor)
    result = result_def(Tensor)
    dilation = prop_def(DenseArrayBase)
    clamp = prop_def(DenseArrayBase)
    traits = traits_def(Pure())
    assembly_format = "operands attr-dict `:` functional-type(operands, results)"
    irdl_options = (ParsePropInAttrDict(),)


LAX = Dialect("lax", [Add, Sub, Mul, Max, Min, Neg, Tanh, Exp, Logistic, Transpose, Reshape])
NN = Dialect("nn", [Relu, Softmax, MaxPool, Conv2d])
KINDS = {op.name: op for dialect in (LAX, NN) for op in dialect.operations}


def context() -> Context:
    """A context with the dialects in use, all loaded."""
    made = Context()
    for dialect in (Builtin, Func, Arith, LAX, NN):
        made.load_dialect(dialect)
    return made


def built(graph: Graph) -> ModuleOp:
    """The graph as a module of one function."""
    inputs = [row for row in graph.rows if row.kind == "parameter"]
    block = Block(arg_types=[_type(row.shape) for row in inputs])
    arguments = iter(block.args)
    values: list[SSAValue] = []
    for row in graph.rows:
        if row.kind == "parameter":
            values.append(next(arguments))
            continue
        op = _op(row, [values[i] for i in row.operands])
        block.add_op(op)
        values.append(op.results[0])
    results = [values[i] for i in graph.results]
    block.add_op(ReturnOp(*results))
    types = [value.type for value in block.args], [value.type for value in results]
    return ModuleOp([FuncOp("main", types, Region(block))])


def _op(row: Row, operands: list[SSAValue]) -> IRDLOperation:
    type = _type(row.shape)
    if row.kind == "const":
        values = row.value if isinstance(row.value, list) else [row.value]
        return ConstantOp(DenseIntOrFPElementsAttr.from_list(type, values))
    properties = {name: _attribute(value) for name, value in row.attributes.items()}
    return KINDS[row.kind].create(operands=operands, result_types=[type], properties=properties)


def _type(shape) -> Tensor:
    return TensorType(f32, shape)


def _attribute(value):
    if isinstance(value, str):
        return StringAttr(value)
    if isinstance(value, int):
        return IntegerAttr(value, i64)
    kind = f32 if isinstance(value[0], float) else i64
    return DenseArrayBase.from_list(kind, value)


def parsed(text: str) -> ModuleOp:
    """The module of a text, not verified."""
    return Parser(context(), text).parse_module()


def printed(module: ModuleOp, generic: bool = False) -> str:
    """The text of a module in the ops' own form or in the generic one."""
    stream = StringIO()
    Printer(stream, print_generic_format=generic).print_op(module)
    return stream.getvalue()


def ops_in(module: ModuleOp) -> int:
    """How many ops the function has, its return not counted."""
    return sum(not isinstance(op, (ModuleOp, FuncOp, ReturnOp)) for op in module.walk())


def _filled_with(value: SSAValue, number: float) -> bool:
    owner = value.owner
    return isinstance(owner, ConstantOp) and all(x == number for x in owner.value.get_values())


class ZeroAdded(RewritePattern):
    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Add, rewriter: PatternRewriter, /):
        for x, k in ((op.a, op.b), (op.b, op.a)):
            if x.type == op.result.type and _filled_with(k, 0.0):
                rewriter.replace(op, (), (x,))
                return


class OneMultiplied(RewritePattern):
    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Mul, rewriter: PatternRewriter, /):
        for x, k in ((op.a, op.b), (op.b, op.a)):
            if x.type == op.result.type and _filled_with(k, 1.0):
                rewriter.replace(op, (), (x,))
                return


class DoneAndUndone(RewritePattern):
    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Neg, rewriter: PatternRewriter, /):
        if isinstance(op.x.owner, Neg):
            rewriter.replace(op, (), (op.x.owner.x,))


class TransposeOfTranspose(RewritePattern):
    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Transpose, rewriter: PatternRewriter, /):
        inner = op.x.owner
        if not isinstance(inner, Transpose):
            return
        first = inner.permutation.get_values()
        order = [first[i] for i in op.permutation.iter_values()]
        properties = {"permutation": DenseArrayBase.from_list(i64, order)}
        rewriter.replace(op, Transpose.create(operands=[inner.x], properties=properties,
                                              result_types=[op.result.type]))  # fmt: skip


class TransposeToSameOrder(RewritePattern):
    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Transpose, rewriter: PatternRewriter, /):
        order = op.permutation.get_values()
        if order == tuple(range(len(order))):
            rewriter.replace(op, (), (op.x,))


class ReshapeOfReshape(RewritePattern):
    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Reshape, rewriter: PatternRewriter, /):
        inner = op.x.owner
        if isinstance(inner, Reshape):
            rewriter.replace(op, Reshape.create(operands=[inner.x], properties=op.properties,
                                                result_types=[op.result.type]))  # fmt: skip


FOLDS = {Add: lambda a, b: a + b, Mul: lambda a, b: a * b}


class ConstantsFold(RewritePattern):
    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Add | Mul, rewriter: PatternRewriter, /):
        a, b = op.a.owner, op.b.owner
        if not (isinstance(a, ConstantOp) and isinstance(b, ConstantOp)):
            return
        pairs = zip(a.value.get_values(), b.value.get_values(), strict=True)
        values = [FOLDS[type(op)](x, y) for x, y in pairs]
        value = DenseIntOrFPElementsAttr.from_list(op.result.type, values)
        rewriter.replace(op, ConstantOp(value))


PATTERNS = {
    Add: (ZeroAdded(), ConstantsFold()),
    Mul: (OneMultiplied(), ConstantsFold()),
    Neg: (DoneAndUndone(),),
    Transpose: (TransposeOfTranspose(), TransposeToSameOrder()),
    Reshape: (ReshapeOfReshape(),),
}


class Canonical(RewritePattern):
    """The patterns of the op's own kind, as xDSL's canonicalize has it: faster than trying all."""

    def match_and_rewrite(self, op, rewriter: PatternRewriter, /):
        for pattern in PATTERNS.get(type(op), ()):
            pattern.match_and_rewrite(op, rewriter)
            if rewriter.has_done_action:
                return


def canonicalized(module: ModuleOp) -> ModuleOp:
    """The module, rewritten in place until no pattern applies; dead ops go as they appear."""
    patterns = GreedyRewritePatternApplier([Canonical()], dce_enabled=True)
    PatternRewriteWalker(patterns).rewrite_module(module)
    return module
