"""A graph of any size with a bit of everything, told once and built as qir's and as others'.

Blocks of 30 ops go round over chains of several shapes. Of the 30 a canonicalizer leaves 19: it
takes away a zero added, a one multiplied, negations and transposes that undo each other, a product
of constants, a reshape of a reshape, and the constants that nobody reads after that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from qir.passes.canonicalize import arithmetic, movement
from qir.passes.canonicalize.folding import folded

from qir.ir import OPS, Func, const, parameter
from qir.rewrite import rewrite
from qir.types import tensor

CHAINS = ((32, 4), (24, 8), (16, 4), (12, 8), (10, 6), (8, 8), (6, 4), (4, 8))
"""Height (and width) and channels of the image that each chain carries."""
OPS_PER_BLOCK = 30

RULES = (
    arithmetic.zero_added, arithmetic.one_multiplied, arithmetic.done_and_undone,
    movement.transpose_of_transpose, movement.transpose_to_same_order, movement.reshape_of_reshape,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One value of the graph.

    kind: an op of qir, `const` or `parameter`. operands: places in the list of rows. shape: of the
    result, f32. value: of a constant, a number or a list of numbers.
    """

    kind: str
    operands: tuple[int, ...]
    shape: tuple[int, ...]
    attributes: dict[str, object] = field(default_factory=dict)
    value: float | list[float] | None = None


@dataclass(frozen=True)
class Graph:
    """Rows, operands before users, and the places of the results."""

    rows: Sequence[Row]
    results: Sequence[int]


def mixed_graph(ops: int) -> Graph:
    """The graph of at least `ops` ops, parameters not counted."""
    rows: list[Row] = []
    ends, weights = [], []
    for size, channels in CHAINS:
        ends.append(_row(rows, "parameter", (), (1, size, size, channels)))
        weights.append(_row(rows, "parameter", (), (3, 3, channels, channels)))
    for block in range(-(-ops // OPS_PER_BLOCK)):
        chain = block % len(CHAINS)
        ends[chain] = _block(rows, block, ends[chain], weights[chain])
    return Graph(rows, ends)


def _block(rows: list[Row], number: int, x: int, w: int) -> int:
    """One block behind value `x`; where its result stands."""
    image = _, size, _, channels = rows[x].shape
    line, plane = (1, size * size * channels), (1, size * size, channels)

    def op(kind: str, *operands: int, result=image, **attributes) -> int:
        return _row(rows, kind, operands, result, attributes)

    def constant(value) -> int:
        shape = (len(value),) if isinstance(value, list) else ()
        return _row(rows, "const", (), shape, value=value)

    bias = constant([(number + i) % 7 / 8 for i in range(channels)])
    y = op("nn.conv2d", x, w, bias, dilation=(2, 1 + number % 3), clamp=(0.0, 6.0))
    turned = op("lax.transpose", y, result=(1, channels, size, size), permutation=(0, 3, 1, 2))
    a = op("lax.transpose", turned, permutation=(0, 2, 3, 1))
    a = op("lax.mul", op("lax.add", a, constant(0.0)), constant(1.0))
    a = op("lax.neg", op("lax.neg", op("lax.tanh", a)))
    a = op("lax.mul", a, op("lax.mul", constant(0.5), constant(3.0 + number % 5), result=()))
    a = op("lax.reshape", a, result=line, shape=(-1, *line[1:]))
    a = op("lax.exp", op("lax.reshape", a, result=plane, shape=(-1, *plane[1:])), result=plane)
    a = op("lax.reshape", op("nn.softmax", a, result=plane, axis=1), shape=(-1, *image[1:]))
    pooled = op("nn.max_pool", y, window=(3, 3), strides=(1, 1), padding="same")
    a = op("lax.mul", op("lax.max", a, constant(0.25)), op("lax.logistic", pooled))
    a = op("lax.add", op("lax.sub", a, y), x)
    return op("nn.relu", op("lax.min", a, constant(6.0 + number % 3)))


def _row(rows: list[Row], kind, operands, shape, attributes=None, value=None) -> int:
    rows.append(Row(kind, tuple(operands), tuple(shape), attributes or {}, value))
    return len(rows) - 1


def built(graph: Graph) -> Func:
    """The graph as qir's."""
    values = []
    for place, row in enumerate(graph.rows):
        operands = tuple(values[i] for i in row.operands)
        if row.kind == "parameter":
            values.append(parameter(f"p{place}", tensor("f32", row.shape)))
        elif row.kind == "const":
            values.append(const(row.value, tensor("f32", row.shape)))
        else:
            values.append(OPS[row.kind].build(operands, row.attributes))
    parameters = tuple(value for value in values if value.kind == "parameter")
    return Func("main", parameters, tuple(values[i] for i in graph.results))


def canonical(func: Func) -> Func:
    """What the rules of this benchmark make of it: those of `canonicalize` that it exercises."""
    func = rewrite(folded(func), *RULES)
    while (again := folded(func)) is not func:
        func = rewrite(again, *RULES)
    return func
