"""The dialect of TensorFlow Lite's builtin operators, and what its ops have in common.

Names of ops and attributes are the schema's, ops in lower case. What a file holds in constant
tensors of axes and shapes are attributes here; `slots` says at which input of the operator each
stands. `to` is the element of the results where it is not that of the first operand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from qir.attributes import Ints
from qir.dialect import Dialect, OpDefinition
from qir.errors import require
from qir.ir import Op
from qir.tables import table
from qir.types import Element, Type

from .. import int8

tfl = Dialect("tfl", "TensorFlow Lite's builtin operators, as the schema has them")

Activation = Literal["NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT"]
Padding = Literal["SAME", "VALID"]
Bias = Literal["FLOAT32", "INT32", "INT64"]
"""What a file says of the bias beside an input of 16 bits, FLOAT32 where it says nothing."""


@dataclass(frozen=True)
class Builtin:
    """How an op stands in a file.

    operator: its BuiltinOperator. slots: what each input holds, an operand's name or that of an
    attribute stored as a tensor of i32. options: the table of its options, None where it has none.
    intermediates: attributes, the elements of tensors that the kernel keeps. variables: the inputs
    that a file has as variables, constants here.
    """

    definition: OpDefinition
    operator: str
    slots: tuple[str, ...]
    options: str | None
    intermediates: tuple[str, ...] = ()
    variables: tuple[int, ...] = ()


BUILTINS: dict[str, Builtin] = table(lambda builtin: builtin.definition.typing)
"""By the full name of the op."""


def builtin(operator: str, options: str | None = None, slots: str | None = None,
            intermediates: tuple[str, ...] = (), variables: tuple[int, ...] = (),
            **traits) -> Callable[[Callable], OpDefinition]:  # fmt: skip
    """Declare an op by its typing function, named as the operator is in lower case.

    options: the schema's table of options; attributes have the names of its fields. slots: the
    inputs in order, separated by blanks, where they are not just the operands. traits: those of
    `Dialect.op`.
    """

    def declare(typing: Callable) -> OpDefinition:
        definition = tfl.op(typing, name=operator.lower(), **traits)
        names = (*definition.required, *definition.optional)
        if definition.variadic:
            names = (*names, f"*{definition.variadic}")
        found = tuple(slots.split()) if slots is not None else names
        unknown = set(found) - {*names, *definition.attributes}
        if unknown:
            raise TypeError(f"{definition.name}: the slots {sorted(unknown)} are no parameters")
        BUILTINS[definition.name] = Builtin(definition, operator, found, options, intermediates,
                                            variables)  # fmt: skip
        return definition

    return declare


def on(x: Type, shape, to: Element | None) -> Type:
    """A result of this shape, of the first operand's element unless another one is stated."""
    return (to if to is not None else x.element)[shape]


def regridded(y: Op, op: Op) -> Op:
    """Elements that were moved, under the grid that a file states for where they came to."""
    same = y.type.element == op.type.element
    return y if same else int8.reinterpret(y, to=op.type.element)


def stored(x: Op) -> Op:
    """The stored integers of a value as plain numbers."""
    return x if x.type.grid is None else int8.reinterpret(x, to=Element(x.dtype))


def axes_of(x: Type, axes: Ints) -> Ints:
    """The axes counted from the front, each once, as the runtime resolves them."""
    require(all(-x.rank <= a < x.rank for a in axes), f"{list(axes)} are no axes of {x}")
    return tuple(sorted({a % x.rank for a in axes}))


def is_quantized(*types: Type) -> bool:
    """Whether an op computes on stored integers: its operands stand on grids, all of them."""
    found = [type.grid is not None for type in types]
    require(all(found) or not any(found),
            f"operands are quantized or none is, found {', '.join(map(str, types))}")  # fmt: skip
    return all(found)


def on_grids(op: Op, *operands: Op, weight: Op | None = None) -> bool:
    """Whether an op computes on stored integers: its operands stand on grids, all of them.

    Then its result must too, and all but a weight have one scale; of reals it must be reals.
    """
    weights = () if weight is None else (weight.type,)
    types = [operand.type for operand in operands]
    if not is_quantized(*types, *weights):
        require(op.type.grid is None, f"gives integers on a grid, {op.type}, of plain numbers")
        return False
    for type in (*types, op.type):
        require(type.grid is not None and type.grid.per_tensor,
                f"computes on a grid with one scale, found {type}")  # fmt: skip
        require(type.dtype.bits != 16 or type.dtype.name == "i16" and int(type.zero) == 0,
                f"computes on 16 bits with a sign and zero point 0, found {type}")  # fmt: skip
    for each in weights:
        is_weight_of(types[0], each)
    return True


def of_16_bits(*types: Type) -> bool:
    """Whether an op computes on 16 bits: all of its operands and its result, or none of them."""
    found = [type.dtype.bits == 16 for type in types]
    require(all(found) or not any(found),
            f"computes on 16 bits or on 8, found {', '.join(map(str, types))}")  # fmt: skip
    return all(found)


def is_weight_of(x: Type, w: Type) -> None:
    """Require a weight that the kernels for x take: of bytes bytes on one grid, else symmetric."""
    if x.dtype.name == "u8":
        require(w.dtype.name == "u8" and w.grid is not None and w.grid.per_tensor,
                f"of u8 weights are u8 on one grid, found {w}")  # fmt: skip
        return
    require(w.dtype.name != "u8" and not w.zero.any(),
            f"of {x.dtype} weights are signed and have zero point 0, found {w}")  # fmt: skip


def is_hybrid(x: Op, *weights: Op) -> bool:
    """Whether a layer multiplies reals by integers: its kernel finds a grid for the reals."""
    return x.type.is_float and all(w.dtype.name == "i8" and w.type.grid is not None
                                   for w in weights)  # fmt: skip


def clamp_of(activation: str) -> tuple[float, float] | None:
    """The real bounds that a fused activation clamps to."""
    require(activation in CLAMPS, f"the fused activation {activation} is no clamp")
    return CLAMPS[activation]


CLAMPS = {"NONE": None, "RELU": (0.0, float("inf")), "RELU6": (0.0, 6.0),
          "RELU_N1_TO_1": (-1.0, 1.0)}  # fmt: skip
"""Real bounds by fused activation."""

PAIRED = ("paddings", "crops")
"""Slots that files hold as rows of two numbers."""
