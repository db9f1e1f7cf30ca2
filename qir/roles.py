"""What part each operand and result of an op plays in quantization.

The vocabulary is closed. `insert_observers`, `propagate_types` and `lower_int8` read it, so that a
new quantizable op edits no pass. The tables follow the TFLite 8-bit quantization specification.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Role:
    """The part of one operand or result.

    kind: `free` any per-tensor grid; `same` the grid of its group; `fixed` the grid its storage
    prescribes; `weight` symmetric along `axis`, its products summed along `summed` (and maybe
    other axes); `bias` the product of the scales of operands `of`; `folded` a float constant that
    `lower_int8` turns into integer constants of the op; `index` and `bool` never quantized;
    `float` keeps its op in float; `power_of_two` a free grid of zero point 0 and scale 2^-n at
    most `limit`; `internal` a free grid of a cell's own value.
    """

    kind: str
    axis: int | None = None
    summed: int | None = None
    of: tuple[int, ...] = ()
    grids: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    limit: float | None = None
    storage: str | None = None


@dataclass(frozen=True)
class Roles:
    """The roles of all operands and of the results; a lone result role serves every item."""

    operands: tuple[Role, ...]
    result: Role


FREE, SAME, INDEX = Role("free"), Role("same"), Role("index")
BOOL, FLOAT, FOLDED = Role("bool"), Role("float"), Role("folded")

RoleTable = Callable[[object], Roles]
"""From an op to its roles; it may look at the attributes and at which operands are there."""


def free(index: tuple[int, ...] = ()) -> RoleTable:
    """Any grid on every operand and on the result; the operands at `index` are indices."""
    return lambda op: Roles(
        tuple(INDEX if i in index else FREE for i in range(len(op.operands))), FREE
    )


def same(index: tuple[int, ...] = ()) -> RoleTable:
    """One grid for all operands and results: data movement, maxima, concatenation."""
    return lambda op: Roles(
        tuple(INDEX if i in index else SAME for i in range(len(op.operands))), SAME
    )


def fixed(index: tuple[int, ...] = (), **grids: tuple[float, int]) -> RoleTable:
    """Free operands and a prescribed result grid by storage: `fixed(i8=(1/256, -128))`."""
    result = Role("fixed", grids=grids)
    return lambda op: Roles(
        tuple(INDEX if i in index else FREE for i in range(len(op.operands))), result
    )


def affine(weight: int = 1, axis: int | Callable = -1, bias: int = 2, x: int = 0) -> RoleTable:
    """An activation times a weight plus a bias; `axis` of the weight indexes output channels.

    Products are summed along the axis before it, and maybe others.
    """

    def roles(op) -> Roles:
        along = axis(op) if callable(axis) else axis
        rank = op.operands[weight].type.rank
        parts = {
            weight: Role("weight", axis=along % rank, summed=along % rank - 1, storage="i8"),
            bias: Role("bias", of=(x, weight), storage="i32"),
        }
        return Roles(tuple(parts.get(i, FREE) for i in range(len(op.operands))), FREE)

    return roles


def keeps_float(op) -> Roles:
    """An op that nobody quantizes."""
    return Roles((FLOAT,) * len(op.operands), FLOAT)


def no_part(op) -> Roles:
    """An op that makes indices or truth values."""
    return Roles((FREE,) * len(op.operands), INDEX)
