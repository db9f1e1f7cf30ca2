"""One step of TensorFlow Lite's integer LSTM, 8 bits by 8 with 16 bits inside.

Source: `LstmStepInteger8x8_16` in `kernels/lstm_eval.cc` and the portable functions it calls. The
arrays are i64 of numpy or of another library with its interface, as in `gemmlowp.py`.
"""

from dataclasses import dataclass

from .gemmlowp import clipped, divided, inverse_root, rescaled

GATES = ("input", "forget", "cell", "output")


@dataclass(frozen=True)
class Cell:
    """What a cell holds besides its state; pairs are multiplier and shift.

    recurrent: [O,G,C], with bias [G,C] and rescale ([G,1], [G,1]) to 16 bits. sigmoid, tanh,
    cell_tanh: [65536]. peephole: [P,C] and its rescale. norm: coefficients [G,C], bias [G,C],
    rescale, guards [G]. projection: [C,O], bias [O] and rescale. hidden: the rescale of the
    product of output gate and state, and its zero point. shift: fractional bits that the product
    of gates has more than the state. state_zero: of the result. Clips of 0 are none. G is 3
    without an input gate, which then is what the forget gate leaves.
    """

    recurrent: object
    bias: object
    rescale: tuple
    sigmoid: object
    tanh: object
    cell_tanh: object
    hidden: tuple
    hidden_zero: int
    state_zero: int
    shift: int
    peephole: object = None
    peephole_rescale: tuple = ()
    norm: object = None
    norm_bias: object = None
    norm_rescale: tuple = ()
    norm_guard: object = None
    projection: object = None
    projection_bias: object = None
    projection_rescale: tuple = ()
    cell_clip: int = 0
    projection_clip: int = 0


def step(held: Cell, gates, state, cell):
    """The state and the cell after a step; gates [B,G,C] is what the input adds to each of them."""
    xp = gates.__array_namespace__()
    batch, count = gates.shape[:2]
    total = (state @ held.recurrent.reshape(held.recurrent.shape[0], -1)).reshape(gates.shape)
    sums = clipped(gates + rescaled(total + held.bias, *held.rescale), 16)
    names = GATES[4 - count :]

    def gate(name: str, cell):
        at = names.index(name)
        value = sums[:, at]
        if held.peephole is not None and name != "cell":
            through = [each for each in names if each != "cell"].index(name)
            factor = tuple(part[through] for part in held.peephole_rescale)
            value = clipped(value + rescaled(held.peephole[through] * cell, *factor), 16)
        if held.norm is not None:
            value = _normalized(held, value, at)
        return (held.tanh if name == "cell" else held.sigmoid)[value + 2**15]

    forget = gate("forget", cell)
    taken = gate("input", cell) if "input" in names else 2**15 - 1 - forget
    new = _wrapped(divided(taken * gate("cell", cell), held.shift))
    cell = clipped(_wrapped(divided(forget * cell, 15)) + new, 16)
    if held.cell_clip:
        cell = xp.clip(cell, -held.cell_clip, held.cell_clip)
    product = gate("output", cell) * held.cell_tanh[cell + 2**15]
    if held.projection is None:
        return clipped(rescaled(product, *held.hidden) + held.hidden_zero, 8), cell
    hidden = clipped(rescaled(product, *held.hidden) - held.hidden_zero, 8)
    total = hidden @ held.projection + held.projection_bias
    state = clipped(rescaled(total, *held.projection_rescale) + held.state_zero, 8)
    if held.projection_clip:
        state = xp.clip(state, -held.projection_clip, held.projection_clip)
    return state, cell


def _wrapped(x):
    xp = x.__array_namespace__()
    return x.astype(xp.int16).astype(xp.int64)


def _toward_zero(x, by):
    xp = x.__array_namespace__()
    return xp.sign(x) * (abs(x) // by)


def _normalized(held: Cell, x, at: int):
    """A gate less its mean over its deviation, in units of 1/1024 (`PortableApplyLayerNorm`)."""
    xp, count = x.__array_namespace__(), x.shape[-1]
    mean = _toward_zero(xp.sum(x, axis=-1, keepdims=True) * 1024, count)
    squares = xp.sum(x * x, axis=-1, keepdims=True)
    variance = _toward_zero(squares * (2**20 // count) - mean * mean, 2**20)
    variance = xp.where(variance < 1, held.norm_guard[at], variance)
    root, shift = inverse_root(variance)
    value = rescaled(1024 * x - mean, root, shift) * held.norm[at] + held.norm_bias[at]
    value = _toward_zero(value + xp.where(value > 0, 512, -512), 1024)
    multiplier, exponent = (part[at] for part in held.norm_rescale)
    return clipped(rescaled(value, multiplier, exponent + 12), 16)
