"""LSTM: c = forget * c + input * tanh(cell), h = output * tanh(c)."""

import numpy as np

from qir.ir import Func, Op, const
from qir.pattern import V, match

from ...dialects import nn
from .chains import Cell, Step, Sum

_CELL = nn.add(nn.mul(nn.sigmoid(V.forget), V.before, clamp=None),
               nn.mul(nn.sigmoid(V.input), nn.tanh(V.cell), clamp=None), clamp=None)  # fmt: skip
_STATE = nn.mul(nn.sigmoid(V.output), nn.tanh(_CELL @ "carried"), clamp=None)


def _step(op: Op, func: Func) -> Step | None:
    found = match(_STATE, op, func.uses) if op.kind == "nn.mul" else None
    if found is None or op.type.rank != 2 or op.dtype.name != "f32":
        return None
    sums = tuple(found[name] for name in ("input", "forget", "cell", "output"))
    if any(each.shape != op.shape for each in (*sums, found["carried"])):
        return None
    return Step(op, found["carried"], found["before"], sums)


def _build(x: Op, sums: list[Sum], first: np.ndarray, location) -> Op:
    weights, states = (const(np.stack([getattr(each, name) for each in sums]), location=location)
                       for name in ("inputs", "states"))  # fmt: skip
    bias = const(np.concatenate([each.bias for each in sums]), location=location)
    cell = const(first, location=location)
    state = const(np.zeros_like(first), location=location)
    operands = (x, weights, states, bias, state, cell)
    cells = nn.lstm_cells(*operands, location=location)
    return nn.lstm(*operands, cells, location=location)


CELL = Cell(_step, ((True, True),) * 4, _build)
