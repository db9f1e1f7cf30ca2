"""A small Flax network on scikit-learn's 8x8 digits, with its trained weights beside it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from flax import linen as nn
from flax.traverse_util import unflatten_dict
from safetensors.numpy import load_file

WEIGHTS = Path(__file__).with_name("weights.safetensors")


class DigitsNetwork(nn.Module):
    """Grey images f32[N,8,8,1] in 0..1 to the probabilities f32[N,10] of the digits."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        conv = partial(nn.Conv, use_bias=False)
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        x = nn.relu6(norm()(conv(32, (3, 3))(x)))
        y = nn.relu6(norm()(conv(32, (3, 3), feature_group_count=32)(x)))
        y = norm()(conv(32, (1, 1))(y))
        x = nn.max_pool(x + y, (2, 2), (2, 2))
        x = nn.relu6(norm()(conv(64, (3, 3))(x)))
        y = nn.relu6(norm()(conv(64, (3, 3), feature_group_count=64)(x)))
        y = norm()(conv(64, (1, 1))(y))
        x = nn.avg_pool(x + y, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        return nn.softmax(nn.Dense(10)(x))


def load(batch: int = 1) -> tuple[Callable, np.ndarray]:
    """The inference function with the shipped weights, and an example input f32[batch,8,8,1]."""
    variables = unflatten_dict(load_file(WEIGHTS), sep="/")

    def digits_network(x):
        return DigitsNetwork().apply(variables, x)

    return digits_network, np.zeros((batch, 8, 8, 1), np.float32)


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images and labels, then test images and labels, the same split every time.

    1,297 images for training and 500 for tests, f32[n,8,8,1] in 0..1; labels i32[n] in 0..9.
    """
    from sklearn.datasets import load_digits  # takes a second, and inference does not need it

    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    test, train = order[:500], order[500:]
    labels = labels.astype(np.int32)
    return images[train], labels[train], images[test], labels[test]
