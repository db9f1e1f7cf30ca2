"""A transformer encoder layer stack of the shape of BERT-base in Flax, with random weights."""

from collections.abc import Callable

import jax
import numpy as np
from flax import linen as nn

from .random_inputs import tokens

# BERT's initial weights; in the projections larger, so that attention attends, as if trained
normal = nn.initializers.normal(0.02)
sharp = nn.initializers.normal(0.05)


class EncoderLayer(nn.Module):
    """Self-attention, then two dense layers; each added to its input and normalised after."""

    heads: int
    intermediate: int

    @nn.compact
    def __call__(self, x):
        y = nn.MultiHeadDotProductAttention(
            num_heads=self.heads, kernel_init=sharp, out_kernel_init=normal, name="attention"
        )(x)
        x = nn.LayerNorm(epsilon=1e-12, name="attention_norm")(x + y)
        y = nn.Dense(self.intermediate, kernel_init=normal, name="intermediate")(x)
        y = nn.gelu(y, approximate=False)
        y = nn.Dense(x.shape[-1], kernel_init=normal, name="output")(y)
        return nn.LayerNorm(epsilon=1e-12, name="output_norm")(x + y)


class Encoder(nn.Module):
    """The encoder of Devlin et al. (2018) without its embedding, f32[N,T,hidden] to the same."""

    layers: int = 12
    heads: int = 12
    intermediate: int = 3072

    @nn.compact
    def __call__(self, x):
        for layer in range(self.layers):
            x = EncoderLayer(self.heads, self.intermediate, name=f"layer_{layer}")(x)
        return x


def build(
    batch: int = 1,
    seed: int = 0,
    *,
    layers: int = 12,
    length: int = 128,
    hidden: int = 768,
    heads: int = 12,
    intermediate: int = 3072,
) -> tuple[Callable, np.ndarray]:
    """The inference function of one array and an example input f32[batch,length,hidden]."""
    model = Encoder(layers, heads, intermediate)
    example = tokens(batch, length, hidden, seed + 1)
    variables = jax.jit(model.init)(jax.random.key(seed), example[:1])

    def encoder(x):
        return model.apply(variables, x)

    return encoder, example
