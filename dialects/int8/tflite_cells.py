"""Recurrent cells over a sequence, as TensorFlow Lite's integer kernels compute them."""

import numpy as np

from qir.attributes import Ints
from qir.errors import require
from qir.ranges import stored
from qir.rounding import Rescale
from qir.rounding import lstm as rounding
from qir.types import Element, Type

from .dialect import int8, is_quantized, is_rescale

OPTIONAL = {"peephole": "i16", "norm": "i16", "norm_bias": "i32", "projection": "i8",
            "projection_bias": "i32"}  # fmt: skip
"""Storage of the parts that a cell need not have, in the order of the operands."""


@int8.op
def lstm(gates: Type, recurrent: Type, bias: Type, state: Type, cell: Type, sigmoid: Type,
         tanh: Type, cell_tanh: Type, *more: Type, to: Element, rescale: Rescale,
         hidden: Rescale, shift: int, hidden_zero: int = 0, parts: Ints = (),
         peephole_rescale: Rescale | None = None, norm_rescale: Rescale | None = None,
         norm_guard: Ints = (), projection_rescale: Rescale | None = None, cell_clip: int = 0,
         projection_clip: int = 0) -> Type:  # fmt: skip
    """States [T,B,O] of an LSTM whose gates the inputs move by gates[T,B,G*C], i16.

    Gates: input, forget, cell, output; without an input gate (G = 3) it is what forget leaves.
    recurrent: i8[O,G,C] on the state, bias i32[G,C], `rescale` for each gate. state i8[B,O], cell
    i16[B,C]: before the first step, or of one row for the whole batch. sigmoid, tanh, cell_tanh:
    i16[65536]. more: the parts with these numbers, in order: 0 peepholes i16[P,C], 1 and 2
    coefficients and bias of a norm [G,C], 3 and 4 a projection i8[C,O] and its bias. hidden,
    hidden_zero: from output gate by tanh to the result, or to what is projected. shift: bits that
    a product of gates has more than the cell.
    """
    batch, count, width = gates_like(gates, bias, (3, 4))
    is_quantized(state, "the state")
    require(to == state.element and to.dtype.name == "i8", f"the state {state} becomes {to}")
    outputs = state.shape[-1]
    shapes = {
        "recurrent": (recurrent, "i8", (outputs, count, width)),
        "bias": (bias, "i32", (count, width)), "sigmoid": (sigmoid, "i16", (2**16,)),
        "tanh": (tanh, "i16", (2**16,)), "cell_tanh": (cell_tanh, "i16", (2**16,)),
    }  # fmt: skip
    within_batch("state", state, "i8", batch, outputs)
    within_batch("cell", cell, "i16", batch, width)
    wanted = {"peephole": (count - 1, width), "norm": (count, width), "norm_bias": (count, width),
              "projection": (width, outputs), "projection_bias": (outputs,)}  # fmt: skip
    require(len(parts) == len(more) and set(parts) <= set(range(5)), f"parts {list(parts)}")
    for number, type in zip(parts, more, strict=True):
        name = list(OPTIONAL)[number]
        shapes[name] = (type, OPTIONAL[name], wanted[name])
    for name, (type, storage, shape) in shapes.items():
        require(type.dtype.name == storage and type.shape == shape,
                f"{name} must be {storage}{list(shape)}, found {type}")  # fmt: skip
    require("projection" in shapes or outputs == width, f"{width} cells make no {outputs} states")
    is_rescale(rescale, count)
    return to[(*gates.shape[:2], outputs)]


def gates_like(gates: Type, bias: Type, counts: tuple[int, ...]) -> tuple[int, int, int]:
    """The batch, the gates and the width of a cell, by gates[T,B,G*C] and a bias [G,C]."""
    require(bias.rank == 2 and bias.shape[0] in counts,
            f"the bias must be i32[{' or '.join(map(str, counts))},C], found {bias}")  # fmt: skip
    require(gates.rank == 3 and gates.dtype.name == "i16" and gates.shape[2] == bias.size,
            f"the gates must be i16[T,B,{bias.size}], found {gates}")  # fmt: skip
    return gates.shape[1], *bias.shape


def within_batch(name: str, type: Type, storage: str, batch: int, width: int) -> None:
    """Require a state of a batch, or one row for all of it."""
    require(type.dtype.name == storage and type.shape in ((batch, width), (1, width)),
            f"{name} must be {storage}{[batch, width]} or {[1, width]}, found {type}")  # fmt: skip


@lstm.means
def _(op, gates, recurrent, bias, state, cell, *rest):
    held = held_by(op, np.asarray, recurrent, bias, *rest)
    gates = gates.reshape(*gates.shape[:2], *bias.shape).astype(np.int64)
    state, cell = (np.broadcast_to(each, (gates.shape[1], each.shape[1])).astype(np.int64)
                   for each in (state, cell))  # fmt: skip
    found = np.zeros(op.shape, np.int8)
    for i, each in enumerate(gates):
        state, cell = rounding.step(held, each, state, cell)
        found[i] = state
    return found


def held_by(op, array, recurrent, bias, sigmoid, tanh, cell_tanh, *more) -> rounding.Cell:
    """What a step needs of an op, its operands brought to i64 of a library by `array`."""
    a = op.attributes
    wide = [array(each).astype(np.int64) for each in (recurrent, bias, sigmoid, tanh, cell_tanh)]
    names = [list(OPTIONAL)[number] for number in a["parts"]]
    parts = {name: array(each).astype(np.int64) for name, each in zip(names, more, strict=True)}

    def numbers(name: str, shape=(-1,)) -> tuple:
        if a[name] is None:
            return ()
        return tuple(array(np.asarray(part, np.int64).reshape(shape))
                     for part in (a[name].multiplier, a[name].shift))  # fmt: skip

    return rounding.Cell(
        recurrent=wide[0], bias=wide[1], rescale=numbers("rescale", (-1, 1)), sigmoid=wide[2],
        tanh=wide[3], cell_tanh=wide[4], hidden=numbers("hidden", ()), shift=a["shift"],
        hidden_zero=a["hidden_zero"], state_zero=int(op.type.zero), cell_clip=a["cell_clip"],
        projection_clip=a["projection_clip"], norm_guard=array(np.array(a["norm_guard"], np.int64)),
        peephole_rescale=numbers("peephole_rescale"), norm_rescale=numbers("norm_rescale"),
        projection_rescale=numbers("projection_rescale", ()), **parts,
    )  # fmt: skip


lstm.spans(lambda op, *ranges: stored(op.type))
