"""A small Flax network for 28x28 grey images: batch norm, depthwise, residual, pooling."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict


class FashionCNN(nn.Module):
    """Conv, depthwise separable and residual blocks, f32[N,28,28,1] in 0..1 to logits f32[N,10]."""

    momentum: float = 0.9

    @nn.compact
    def __call__(self, x, train: bool = False):
        conv = partial(nn.Conv, use_bias=False)
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=self.momentum)
        x = nn.relu(norm()(conv(32, (3, 3), (2, 2))(x)))
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(norm()(conv(64, (3, 3))(x)))
        y = nn.relu(norm()(conv(64, (3, 3), feature_group_count=64)(x)))
        y = norm()(conv(64, (1, 1))(y))
        x = nn.relu(x + y)
        x = nn.relu(norm()(conv(128, (1, 1))(x)))
        x = x.mean(axis=(1, 2))
        return nn.Dense(10)(x)


def save(variables: Mapping, path: str | Path) -> None:
    """Write a model's variables as one `.npz`, each array under its slash-separated name."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **flatten_dict(variables, sep="/"))


def load(path: str | Path, batch: int = 1) -> tuple[Callable, np.ndarray]:
    """The inference function with saved variables, and an example input f32[batch,28,28,1]."""
    with np.load(path) as stored:
        variables = unflatten_dict({name: stored[name] for name in stored}, sep="/")

    def fashion_cnn(x):
        return FashionCNN().apply(variables, x)

    return fashion_cnn, np.zeros((batch, 28, 28, 1), np.float32)
