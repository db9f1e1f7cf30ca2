"""What both models are made of."""

import jax
import jax.numpy as jnp


def dense(seed: int, inputs: int, outputs: int):
    """A dense layer with weights of a fixed seed: f32[N,inputs] to f32[N,outputs]."""
    w = jax.random.normal(jax.random.key(seed), (inputs, outputs)) / jnp.sqrt(inputs)
    return lambda x: x @ w
