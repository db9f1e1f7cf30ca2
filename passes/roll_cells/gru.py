"""GRU: h = update * h + (1 - update) * tanh(x + reset * state)."""

import numpy as np

from qir.ir import Func, Op, const
from qir.pattern import C, V, match

from ...dialects import nn
from .chains import Cell, Step, Sum

_CANDIDATE = nn.tanh(nn.add(V.input, nn.mul(nn.sigmoid(V.reset), V.state, clamp=None), clamp=None))
_UPDATE = nn.sigmoid(V.update) @ "open"
_STATE = nn.add(
    nn.mul(_UPDATE, V.before, clamp=None),
    nn.mul(nn.sub(C.one, V.open, clamp=None), _CANDIDATE, clamp=None), clamp=None)  # fmt: skip


def _step(op: Op, func: Func) -> Step | None:
    found = match(_STATE, op, func.uses) if op.kind == "nn.add" else None
    if found is None or op.type.rank != 2 or op.dtype.name != "f32":
        return None
    if not (found["one"] == 1).all():
        return None
    sums = tuple(found[name] for name in ("update", "reset", "input", "state"))
    if any(each.shape != op.shape and not each.is_const for each in sums):
        return None
    return Step(op, op, found["before"], sums)


def _build(x: Op, sums: list[Sum], first: np.ndarray, location) -> Op:
    update, reset, taken, state = sums
    given = update, reset, taken
    weights = const(np.stack([each.inputs for each in given]), location=location)
    bias = const(np.concatenate([each.bias for each in given]), location=location)
    recurrent = const(np.stack([update.states, reset.states, state.states]), location=location)
    return nn.gru(x, weights, recurrent, bias, const(state.bias, location=location),
                  const(first, location=location), location=location)  # fmt: skip


CELL = Cell(_step, ((True, True), (True, True), (True, False), (False, True)), _build)
