"""A model that gates one layer by another."""

import jax
from layers import dense

value, gate = dense(2, 16, 8), dense(3, 16, 8)


def model(x):
    """f32[N,16] to f32[N,8]."""
    return value(x) * jax.nn.sigmoid(gate(x))
