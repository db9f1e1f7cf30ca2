"""One step of a GRU in integers: 8 bits by 8 into gates of 16 bits, a state of 16 bits.

The arrays are i64 of numpy or of another library with its interface, as in `gemmlowp.py`.
TensorFlow Lite has no such kernel; the arithmetic is that of its LSTM (`lstm.py`).
"""

from dataclasses import dataclass

from .gemmlowp import clipped, divided, rescaled

ONE = 15
"""Fractional bits of the state and of what sigmoid and tanh give."""


@dataclass(frozen=True)
class Cell:
    """What a cell holds besides its state; pairs are multiplier and shift.

    recurrent: [C,3,C] on the result before, with bias [3,C] and rescale ([3,1], [3,1]) to the 12
    fractional bits of the gates. sigmoid, tanh: [65536]. result: the rescale from the state to the
    result, whose zero point is `zero`.
    """

    recurrent: object
    bias: object
    rescale: tuple
    sigmoid: object
    tanh: object
    result: tuple
    zero: int


def step(held: Cell, gates, state):
    """The state after a step; gates [B,3,C] is what the input adds: update, reset, candidate."""
    before = result(held, state) - held.zero
    total = (before @ held.recurrent.reshape(held.recurrent.shape[0], -1)).reshape(gates.shape)
    taken = clipped(rescaled(total + held.bias, *held.rescale), 16)
    update, reset = (held.sigmoid[clipped(gates[:, i] + taken[:, i], 16) + 2**15] for i in (0, 1))
    reached = clipped(gates[:, 2] + divided(reset * taken[:, 2], ONE), 16)
    candidate = held.tanh[reached + 2**15]
    return clipped(candidate + divided(update * (state - candidate), ONE), 16)


def result(held: Cell, state):
    """A state on the grid of the result, 8 bits."""
    return clipped(rescaled(state, *held.result) + held.zero, 8)
