"""Recurrent cells over a whole sequence, from a constant first state."""

import numpy as np

from qir.errors import require
from qir.ir import Func, Op
from qir.roles import FOLDED, FREE, Role, Roles, keeps_float
from qir.types import Type

from .activations import logistic
from .dialect import are_floats, nn

CELL_LIMIT = 2.0**-9
"""The largest scale of a cell's state in 16 bits, by TensorFlow Lite's specification."""


def _shapes(x: Type, gates: int, **operands: Type | None) -> None:
    """Require the operands of a cell over x[T,B,I], C of whose states are in h[1 or B,C]."""
    are_floats(x=x, **operands)
    require(x.rank == 3, f"a sequence is [T,B,I], found {x}")
    (_, batch, inputs), width = x.shape, operands["h"].shape[-1] if operands["h"].rank else 0
    wanted = {"w": (gates, inputs, width), "u": (gates, width, width), "b": (gates * width,),
              "r": (width,), "cells": (*x.shape[:2], width)}  # fmt: skip
    for name, type in operands.items():
        if type is None:
            continue
        if name in ("h", "c"):
            require(type.shape in ((1, width), (batch, width)),
                    f"{name} must be {[batch, width]} or {[1, width]}, found {type}")  # fmt: skip
            continue
        require(type.shape == wanted[name], f"{name} must be {list(wanted[name])}, found {type}")


def _cell_roles(op) -> Roles:
    weights = Role("weight", axis=0, summed=1, storage="i8")
    bias, cells = Role("bias", of=(0, 1), storage="i32"), Role("power_of_two", limit=CELL_LIMIT,
                                                               storage="i16")  # fmt: skip
    roles = (FREE, weights, weights, bias, FOLDED, FOLDED, cells)
    return Roles(roles[: len(op.operands)], FREE)


@nn.op(grid=_cell_roles)
def lstm(x: Type, w: Type, u: Type, b: Type, h: Type, c: Type, cells: Type | None = None) -> Type:
    """States h[T,B,C] of an LSTM over x[T,B,I], the first after the step from h and c.

    Gates in the order input, forget, cell, output: w[4,I,C] on the input, u[4,C,C] on the state,
    b[4C]. c = forget * c + input * tanh(cell), h = output * tanh(c). cells: what `nn.lstm_cells`
    makes of the same; only its range is of use, to whoever chooses a grid for the cell's state.
    Hochreiter and Schmidhuber, Long Short-Term Memory (1997), with forget gates (Gers, 2000).
    """
    _shapes(x, 4, w=w, u=u, b=b, h=h, c=c, cells=cells)
    return x.with_shape((*x.shape[:2], h.shape[1]))


@nn.op(grid=keeps_float)
def lstm_cells(x: Type, w: Type, u: Type, b: Type, h: Type, c: Type) -> Type:
    """The cell's states c[T,B,C] of `nn.lstm` on the same operands."""
    _shapes(x, 4, w=w, u=u, b=b, h=h, c=c)
    return x.with_shape((*x.shape[:2], h.shape[1]))


@lstm.means
def _(op, x, w, u, b, h, c, cells=None):
    return _lstm(x, w, u, b, h, c)[0]


def owners(func: Func) -> dict[Op, Op]:
    """By the cells of an LSTM that are computed to be observed: the op that they belong to."""
    found = (op for op in func.ops if op.kind == lstm.name and len(op.operands) > 6)
    return {op.operands[6]: op for op in found if op.operands[6].kind == lstm_cells.name}


@lstm_cells.means
def _(op, x, w, u, b, h, c):
    return _lstm(x, w, u, b, h, c)[1]


def _lstm(x, w, u, b, h, c) -> np.ndarray:
    found = np.zeros((2, *x.shape[:2], h.shape[1]), x.dtype)
    for t, row in enumerate(x):
        gates = row @ w + h @ u + b.reshape(4, 1, -1)
        taken, forget, cell, output = gates
        c = logistic(forget) * c + logistic(taken) * np.tanh(cell)
        h = logistic(output) * np.tanh(c)
        found[:, t] = h, c
    return found


def _gru_roles(op) -> Roles:
    weights = Role("weight", axis=0, summed=1, storage="i8")
    bias = Role("bias", of=(0, 1), storage="i32")
    return Roles((FREE, weights, weights, bias, FOLDED, FOLDED), FREE)


@nn.op(grid=_gru_roles)
def gru(x: Type, w: Type, u: Type, b: Type, r: Type, h: Type) -> Type:
    """States h[T,B,C] of a GRU over x[T,B,I], the first after the step from h.

    Gates in the order update, reset, candidate: w[3,I,C] on the input, u[3,C,C] on the state,
    b[3C], and r[C] on what the candidate takes of the state, before the reset gate.
    h = update * h + (1 - update) * tanh(x w + b + reset * (h u + r)).
    Cho et al. (2014), in the form of cuDNN, which resets after the product.
    """
    _shapes(x, 3, w=w, u=u, b=b, r=r, h=h)
    return x.with_shape((*x.shape[:2], h.shape[1]))


@gru.means
def _(op, x, w, u, b, r, h):
    found = np.zeros((*x.shape[:2], h.shape[1]), x.dtype)
    for t, row in enumerate(x):
        given, taken = row @ w + b.reshape(3, 1, -1), h @ u
        update, reset = logistic(given[0] + taken[0]), logistic(given[1] + taken[1])
        h = update * h + (1 - update) * np.tanh(given[2] + reset * (taken[2] + r))
        found[t] = h
    return found
