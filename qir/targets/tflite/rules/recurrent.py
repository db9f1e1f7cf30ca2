"""Recurrent cells over a sequence."""

import numpy as np

from qir.dialects import hybrid, int8, nn, tfl
from qir.dialects.int8.recurrent import lstm_over
from qir.dialects.tfl.recurrent import GATES, INPUTS

from ....errors import require
from ....ir import Op, const
from ....pattern import C, V
from ....rewrite import rule
from ....types import DTYPES, Type, per_tensor
from .stored import constant_of, part_of, reordered


@rule(int8.lstm(...) @ "op")
def integer_lstm(op):
    """An LSTM of 8 bits by 8 with 16 inside, whose weights are told by gate."""
    moved, u, _, state, cell = op.operands[:5]
    require(not op.attributes["parts"] and len(op.operands[2].value) == 4,
            "peepholes, norms and projections are not written")  # fmt: skip
    require(moved.kind == "tfl.fully_connected" and all(o.is_const for o in moved.operands[1:]),
            f"what the sequence adds to the gates is made by {moved.kind}")  # fmt: skip
    x, w, b = moved.operands  # operands are legalized first
    width, parts = u.shape[-1], {"state": state, "cell": cell}
    for i, gate in enumerate(GATES):
        part = slice(i * width, (i + 1) * width)
        scales = w.type.grid.scale[i * width], u.type.grid.scale[i]
        parts[f"input_to_{gate}"] = _stored(w.value[part], scales[0])
        parts[f"recurrent_to_{gate}"] = _stored(u.value[:, i].T, scales[1])
        parts[f"{gate}_bias"] = _stored(b.value[part], np.float64(x.type.scale) * scales[0])
    by_gate = ([parts[f"{kind}_{gate}"] for gate in GATES] for kind in ("input_to", "recurrent_to"))
    biases = [parts[f"{gate}_bias"].value for gate in GATES]
    to = op.type.element
    same = lstm_over(x, *by_gate, biases, state, cell, to=to, hidden=to)
    require(same.attributes == op.attributes, "it rescales otherwise than its kernel does")
    return _sequence(x, parts, to=to, hidden=to)


def _stored(value: np.ndarray, scale) -> Op:
    value = np.ascontiguousarray(value)
    return const(value, Type(DTYPES[f"i{value.itemsize * 8}"], value.shape, per_tensor(scale, 0)))


def _filled(states: Op, batch: int) -> Op:
    """A state for every row of a batch."""
    shape = (batch, states.shape[-1])
    value = np.ascontiguousarray(np.broadcast_to(states.value, shape))
    return const(value, states.type.with_shape(shape), location=states.location)


def _sequence(x: Op, parts: dict[str, Op], **attributes) -> Op:
    """The operator on what there is of its inputs."""
    batch = x.shape[1]
    found = {"x": x, **parts}
    found |= {name: _filled(found[name], batch) for name in ("state", "cell")}
    present = sorted(INPUTS.index(name) for name in found)
    return tfl.unidirectional_sequence_lstm(
        *(found[INPUTS[number]] for number in present), present=present, time_major=True,
        **attributes)  # fmt: skip


@rule(hybrid.lstm(V.x, C.w, C.u, C.b, C.h, C.c) @ "op")
def hybrid_lstm(op, x, w, u, b):
    """An LSTM of floats with integer weights, which are told by gate."""
    scales = [np.broadcast_to(op.operands[i].type.grid.scale, 4) for i in (1, 2)]
    biases, parts = b.reshape(4, -1), {"state": op.operands[4], "cell": op.operands[5]}
    for i, gate in enumerate(GATES):
        parts |= {f"input_to_{gate}": _stored(w[i].T, scales[0][i]),
                  f"recurrent_to_{gate}": _stored(u[i].T, scales[1][i]),
                  f"{gate}_bias": const(np.ascontiguousarray(biases[i]))}  # fmt: skip
    return _sequence(x, parts, asymmetric_quantize_inputs=True)


@rule(nn.lstm(V.x, V.w, V.u, V.b, V.h, V.c) @ "op",
      nn.lstm(V.x, V.w, V.u, V.b, V.h, V.c, V.cells) @ "op")  # fmt: skip
def float_lstm(op, x, w, u, b, h, c):
    """An LSTM of floats, whose weights are told by gate."""
    require(x.dtype.name == "f32", f"it computes in {x.dtype}")
    biases = constant_of(b).reshape(4, -1)
    parts = {"state": const(constant_of(h)), "cell": const(constant_of(c))}
    for i, gate in enumerate(GATES):
        moved, kept = (reordered(part_of(each, i), (1, 0)) for each in (w, u))
        parts |= {f"input_to_{gate}": moved, f"recurrent_to_{gate}": kept,
                  f"{gate}_bias": const(np.ascontiguousarray(biases[i]))}  # fmt: skip
    return _sequence(x, parts)


RULES = (integer_lstm, hybrid_lstm, float_lstm)
