"""Recurrent cells over a sequence: gates and states of 16 bits, products of 8.

An LSTM is TensorFlow Lite's (`tflite_cells.py`), a GRU has the same arithmetic.
"""

from collections.abc import Sequence

import numpy as np

from qir.errors import require
from qir.integer_forms import Wanted, integer_form
from qir.ir import Op, const
from qir.ranges import stored
from qir.rounding import Rescale, derive, gemmlowp16, quantize_array
from qir.rounding import gru as rounding
from qir.types import DTYPES, Element, Grid, Type, per_tensor

from .affine import dense
from .dialect import int8, is_rescale
from .tflite_cells import gates_like, lstm, within_batch

TWELFTH = Element(DTYPES["i16"], per_tensor(2.0**-12, 0))
"""What the gates are before their function: 12 fractional bits."""


@int8.op
def gru(gates: Type, recurrent: Type, bias: Type, state: Type, sigmoid: Type, tanh: Type, *,
        to: Element, rescale: Rescale, result: Rescale) -> Type:  # fmt: skip
    """States [T,B,C] of a GRU whose gates the inputs move by gates[T,B,3*C], i16.

    Gates: update, reset, candidate, 12 fractional bits. recurrent: i8[C,3,C] on the result before,
    bias i32[3,C], `rescale` for each gate. state: i16[B,C], 15 fractional bits, as sigmoid and tanh
    i16[65536] give them. result: from the state to the result.
    """
    batch, count, width = gates_like(gates, bias, (3,))
    require(to.dtype.name == "i8" and to.grid is not None and to.grid.per_tensor,
            f"the result is i8 on one grid, asked for {to}")  # fmt: skip
    within_batch("state", state, "i16", batch, width)
    shapes = {"recurrent": (recurrent, "i8", (width, count, width)),
              "bias": (bias, "i32", (count, width)), "sigmoid": (sigmoid, "i16", (2**16,)),
              "tanh": (tanh, "i16", (2**16,))}  # fmt: skip
    for name, (type, storage, shape) in shapes.items():
        require(type.dtype.name == storage and type.shape == shape,
                f"{name} must be {storage}{list(shape)}, found {type}")  # fmt: skip
    is_rescale(rescale, count)
    is_rescale(result, 1)
    return to[(*gates.shape[:2], width)]


@gru.means
def _(op, gates, recurrent, bias, state, sigmoid, tanh):
    held = held_by(op, np.asarray, recurrent, bias, sigmoid, tanh)
    gates = gates.reshape(*gates.shape[:2], *bias.shape).astype(np.int64)
    state = np.broadcast_to(state, op.shape[1:]).astype(np.int64)
    found = np.zeros(op.shape, np.int8)
    for i, each in enumerate(gates):
        state = rounding.step(held, each, state)
        found[i] = rounding.result(held, state)
    return found


gru.spans(lambda op, *ranges: stored(op.type))


def held_by(op, array, recurrent, bias, sigmoid, tanh) -> rounding.Cell:
    """What a step needs of a GRU, its operands brought to i64 of a library by `array`."""
    wide = [array(each).astype(np.int64) for each in (recurrent, bias, sigmoid, tanh)]

    def numbers(rescale: Rescale, shape) -> tuple:
        return tuple(array(np.asarray(part, np.int64).reshape(shape))
                     for part in (rescale.multiplier, rescale.shift))  # fmt: skip

    a = op.attributes
    return rounding.Cell(
        recurrent=wide[0], bias=wide[1], rescale=numbers(a["rescale"], (-1, 1)), sigmoid=wide[2],
        tanh=wide[3], result=numbers(a["result"], ()), zero=int(op.type.zero),
    )  # fmt: skip


def lstm_over(
    x: Op, weights: Sequence[Op], recurrent: Sequence[Op], biases: Sequence[np.ndarray],
    state: Op, cell: Op, *more: Op, to: Element, hidden: Element, between: Sequence[Element] = (),
    normed: bool = False, **keywords,
) -> Op:  # fmt: skip
    """States on the grid of `state` of TensorFlow Lite's LSTM over a sequence x[T,B,I].

    weights: i8[C,I], recurrent: i8[C,O], biases: i32[C], one each a gate. between: the elements of
    the gates where a norm follows (which then adds the biases). hidden: the element of output gate
    times tanh of the cell. more, keywords: further operands and attributes of `int8.lstm`.
    """
    gates = list(between) or [TWELFTH] * len(weights)
    moved = _gates(x, weights, np.zeros(0) if normed else np.concatenate(biases), gates)
    u = np.stack([_value(w).T for w in recurrent], axis=1)
    scales = np.array([scale_of(w) for w in recurrent])
    taps = u.astype(np.int64).sum(0) * -int(state.type.zero)
    exponent = round(float(np.log2(scale_of(cell))))
    require(-15 <= exponent <= -9, f"the cell's scale {scale_of(cell)} is no power of 2 from "
            "2**-15 to 2**-9")  # fmt: skip
    factors = [np.float32(s * scale_of(state)) / scale_of(g)
               for s, g in zip(scales, gates, strict=True)]  # fmt: skip
    through = np.float32(2.0**-15 / np.float64(scale_of(hidden)) * 2.0**-15)
    stored_u = Type(DTYPES["i8"], u.shape, Grid(scales, 0, axis=1))
    return lstm(
        moved, const(u, stored_u), const(taps.astype(np.int32)), state, cell,
        const(gemmlowp16.sigmoid()), const(gemmlowp16.tanh(3)),
        const(gemmlowp16.tanh(15 + exponent)), *more, to=state.type.element,
        rescale=reference(factors), hidden=reference(through), hidden_zero=int(hidden.grid.zero),
        shift=30 + exponent, **keywords,
    )  # fmt: skip


def _gates(x: Op, weights: Sequence[Op], bias: np.ndarray, elements: Sequence[Element]) -> Op:
    """What a sequence adds to the gates: weights i8[C,I] of one grid each, a bias for all or none.

    The result carries the integers of several elements; its own says 12 fractional bits.
    """
    width = weights[0].shape[0]
    scales = [scale_of(w) for w in weights]
    values = np.concatenate([_value(w) for w in weights]).T
    grid = Grid(np.repeat(scales, width), 0, axis=1)
    weight = const(np.ascontiguousarray(values), Type(DTYPES["i8"], values.shape, grid))
    factors = [np.float32(s * np.float32(x.type.scale)) / scale_of(to)
               for s, to in zip(scales, elements, strict=True)]  # fmt: skip
    bias = bias if bias.size else np.zeros(values.shape[1])
    return dense(x, weight, const(bias.astype(np.int32)), to=TWELFTH,
                 rescale=reference(np.repeat(factors, width)))  # fmt: skip


def scale_of(value: Op | Element) -> np.float32:
    """The one scale of a value or an element."""
    grid = value.type.grid if isinstance(value, Op) else value.grid
    require(grid is not None and grid.per_tensor, "a weight of a cell has one scale")
    return np.float32(grid.scale)


def reference(real) -> Rescale:
    """Real factors in the rounding of TensorFlow Lite's reference kernels."""
    return derive("tflite_reference", np.asarray(real, np.float64))


def _value(op: Op) -> np.ndarray:
    require(op.is_const, "a weight of a cell is computed")
    return op.value


def _of_gate(weight: Op, gate: int) -> Op:
    """The weight [C,I] of one gate, of those of all, [G,I,C]."""
    scale = np.broadcast_to(weight.type.grid.scale, len(weight.value))[gate]
    value = np.ascontiguousarray(_value(weight)[gate].T)
    return const(value, Type(DTYPES["i8"], value.shape, per_tensor(scale, 0)))


@integer_form("int8.lstm", "nn.lstm")
def _(op, wanted: Wanted, x, w, u, b, h, c, cells=None):
    _has_8_bits(x)
    require(cells is not None, "the range of the cell's state is not known")
    gates = range(4)
    state = _first(h, wanted.to)
    return lstm_over(
        x, [_of_gate(w, i) for i in gates], [_of_gate(u, i) for i in gates],
        _value(b).reshape(4, -1), state, _first(c, cells.type.element), to=wanted.to,
        hidden=wanted.to,
    )  # fmt: skip


@integer_form("int8.gru", "nn.gru")
def _(op, wanted: Wanted, x, w, u, b, r, h):
    _has_8_bits(x)
    weights, gates = [_of_gate(w, i) for i in range(3)], [TWELFTH] * 3
    moved = _gates(x, weights, _value(b), gates)
    scales = np.broadcast_to(u.type.grid.scale, 3) * np.float64(wanted.to.grid.scale)
    bias = np.zeros((3, w.shape[2]), np.int32)
    bias[2] = np.clip(np.rint(_value(r) / scales[2]), -(2**30), 2**30)
    recurrent = np.ascontiguousarray(_value(u).transpose(1, 0, 2))
    state = np.clip(np.rint(_value(h) * 2.0**15), -(2**15), 2**15 - 1).astype(np.int16)
    require(np.abs(_value(h)).max(initial=0) <= 1, "the first state lies outside [-1, 1]")
    return gru(moved, const(recurrent), const(bias), const(state), const(gemmlowp16.sigmoid()),
               const(gemmlowp16.tanh(3)), to=wanted.to, rescale=reference(scales * 2.0**12),
               result=reference(2.0**-15 / np.float64(wanted.to.grid.scale)))  # fmt: skip


def _has_8_bits(x: Op) -> None:
    require(x.dtype.bits == 8, f"cells are computed on 8 bits, found {x.type}",
            "8 bits for what it reads and gives")  # fmt: skip


def _first(value: Op, to: Element) -> Op:
    """A constant first state on a grid."""
    stored_value = quantize_array(_value(value), to.grid.scale, to.grid.zero, to.lo, to.hi)
    return const(stored_value.astype(to.dtype.numpy), to[value.shape])
