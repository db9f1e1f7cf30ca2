"""Float ops that TensorFlow Lite has no operator for, as those it has.

Before quantization, so that every part gets a grid of its own.
"""

import numpy as np

from qir.dialects import lax, nn

from ...ir import Op, const, item
from ...pattern import C, V
from ...rewrite import Rule, rule


def rules(activations: str) -> tuple[Rule, ...]:
    """The rules that `decompose(target=tflite)` applies."""
    return (layer_norm_by_parts, rms_norm_by_parts, gru_by_steps, *cells(activations)[1:])


def cells(activations: str) -> tuple[Rule, ...]:
    """Recurrent layers by steps, where there is no whole one of these activations."""
    return () if activations == "int8" else (gru_by_steps, lstm_by_steps)


@rule(nn.layer_norm(V.x, V.gamma, V.beta) @ "op")
def layer_norm_by_parts(op, x, gamma, beta):
    """(x - mean) / deviation * gamma + beta, each step an op."""
    centred = nn.sub(x, _mean(x))
    return nn.add(nn.mul(_over_root_mean_square(op, centred), gamma), beta)


@rule(nn.rms_norm(V.x, V.gamma) @ "op")
def rms_norm_by_parts(op, x, gamma):
    """x / root mean square * gamma, each step an op."""
    return nn.mul(_over_root_mean_square(op, x), gamma)


@rule(nn.gru(V.x, C.w, C.u, C.b, V.r, V.h))
def gru_by_steps(x, w, u, b, r, h):
    """The steps of a GRU one after the other: what the sequence adds to the gates at once."""
    width = u.shape[-1]
    inputs, states = (const(np.ascontiguousarray(np.concatenate(list(m), axis=1))) for m in (w, u))
    bias = const(np.concatenate([np.zeros(2 * width, r.dtype.numpy), r.value]))
    moved = nn.dense(x, inputs, const(b))
    state = h  # one row serves every batch
    rows = []
    for t in range(x.shape[0]):
        cut = lax.slice(moved, start=(t, 0, 0), limit=(t + 1, -1, -1))
        given = _parts(lax.reshape(cut, shape=(-1, 3 * width)), 3)
        taken = _parts(nn.dense(state, states, bias), 3)
        update, reset = (nn.sigmoid(nn.add(given[i], taken[i])) for i in (0, 1))
        reached = nn.tanh(nn.add(given[2], nn.mul(reset, taken[2])))
        # reached + update * (state - reached) is one rounding less than two products
        state = nn.add(reached, nn.mul(update, nn.sub(state, reached)))
        rows.append(lax.reshape(state, shape=(1, -1, width)))
    return lax.concatenate(*rows, axis=0)


@rule(nn.lstm(V.x, C.w, C.u, C.b, V.h, V.c), nn.lstm(V.x, C.w, C.u, C.b, V.h, V.c, V.cells))
def lstm_by_steps(x, w, u, b, h, c):
    """The steps of an LSTM one after the other: what the sequence adds to the gates at once."""
    width = u.shape[-1]
    inputs, states = (const(np.ascontiguousarray(np.concatenate(list(m), axis=1))) for m in (w, u))
    moved = nn.dense(x, inputs, const(b))
    state, cell = h, c
    rows = []
    for t in range(x.shape[0]):
        given = lax.reshape(lax.slice(moved, start=(t, 0, 0), limit=(t + 1, -1, -1)),
                            shape=(-1, 4 * width))  # fmt: skip
        taken, forget, new, output = _parts(nn.add(given, nn.dense(state, states)), 4)
        cell = nn.add(nn.mul(nn.sigmoid(forget), cell), nn.mul(nn.sigmoid(taken), nn.tanh(new)))
        state = nn.mul(nn.sigmoid(output), nn.tanh(cell))
        rows.append(lax.reshape(state, shape=(1, -1, width)))
    return lax.concatenate(*rows, axis=0)


def _parts(x: Op, count: int) -> list[Op]:
    """So many parts of the last axis."""
    parts = lax.split(x, sizes=(x.shape[-1] // count,) * count, axis=x.type.rank - 1)
    return [item(parts, i) for i in range(count)]


def _over_root_mean_square(op: Op, x: Op) -> Op:
    epsilon = const(x.dtype.numpy.type(op.attributes["epsilon"]))
    return nn.mul(x, lax.rsqrt(nn.add(_mean(nn.mul(x, x)), epsilon)))


def _mean(x: Op) -> Op:
    return nn.mean(x, axes=(x.type.rank - 1,), keepdims=True)
