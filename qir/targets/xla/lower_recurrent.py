"""Recurrent cells: a scan over the steps of a sequence."""

import jax.numpy as jnp
from jax import lax, nn

from qir.dialects.int8 import recurrent as int8_gru
from qir.dialects.int8 import tflite_cells as int8_lstm

from ...rounding import gru, lstm
from .table import lowers


def _lstm(x, w, u, b, h, c):
    """Both states of each step."""

    def step(carried, row):
        h, c = carried
        taken, forget, cell, output = _gates(row, w, b) + _taken(h, u)
        c = nn.sigmoid(forget) * c + nn.sigmoid(taken) * jnp.tanh(cell)
        h = nn.sigmoid(output) * jnp.tanh(c)
        return (h, c), (h, c)

    return lax.scan(step, tuple(of_batch(x, each) for each in (h, c)), x)[1]


def _gates(row, w, b):
    return jnp.einsum("bi,gic->gbc", row, w) + b.reshape(len(w), 1, -1)


def _taken(h, u):
    return jnp.einsum("bi,gic->gbc", h, u)


def of_batch(x, state):
    """A first state for every row of the batch of a sequence x[T,B,...]."""
    return jnp.broadcast_to(jnp.asarray(state), (x.shape[1], state.shape[1]))


@lowers("nn.lstm")
def _(op, x, w, u, b, h, c, cells=None):
    return _lstm(x, w, u, jnp.asarray(b), h, c)[0]


@lowers("nn.lstm_cells")
def _(op, x, w, u, b, h, c):
    return _lstm(x, w, u, jnp.asarray(b), h, c)[1]


@lowers("nn.gru")
def _(op, x, w, u, b, r, h):
    def step(h, row):
        given, taken = _gates(row, w, jnp.asarray(b)), _taken(h, u)
        update, reset = nn.sigmoid(given[0] + taken[0]), nn.sigmoid(given[1] + taken[1])
        h = update * h + (1 - update) * jnp.tanh(given[2] + reset * (taken[2] + r))
        return h, h

    return lax.scan(step, of_batch(x, h), x)[1]


@lowers("int8.lstm")
def _(op, gates, recurrent, bias, state, cell, *rest):
    held = int8_lstm.held_by(op, jnp.asarray, recurrent, bias, *rest)

    def step(carried, each):
        state, cell = lstm.step(held, each, *carried)
        return (state, cell), state

    start = tuple(of_batch(gates, each).astype(jnp.int64) for each in (state, cell))
    return lax.scan(step, start, _by_gate(gates, bias))[1]


@lowers("int8.gru")
def _(op, gates, recurrent, bias, state, sigmoid, tanh):
    held = int8_gru.held_by(op, jnp.asarray, recurrent, bias, sigmoid, tanh)
    start = of_batch(gates, state).astype(jnp.int64)

    def step(state, each):
        state = gru.step(held, each, state)
        return state, gru.result(held, state)

    return lax.scan(step, start, _by_gate(gates, bias))[1]


def _by_gate(gates, bias):
    """[T,B,G*C] as i64[T,B,G,C]."""
    gates = jnp.asarray(gates).astype(jnp.int64)
    return gates.reshape(*gates.shape[:2], *bias.shape)
