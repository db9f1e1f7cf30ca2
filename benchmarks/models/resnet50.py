"""ResNet-50 v1.5 in Flax, NHWC, with random weights and batch-norm statistics of random images."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from .batch_statistics import with_statistics
from .random_inputs import images

he_normal = nn.initializers.he_normal()


BRANCH = nn.initializers.constant(0.25)
"""Where the last scale of each branch starts. At 1 a random network of this depth is chaotic: noise
40 dB below the input comes out 11 dB below the output, in float; training starts near 0 (Goyal et
al. 2017)."""


class Bottleneck(nn.Module):
    """1x1, 3x3 (which strides: v1.5), 1x1 to four times the channels, plus the shortcut."""

    channels: int
    stride: int
    conv: Callable
    norm: Callable

    @nn.compact
    def __call__(self, x):
        strides, wide = (self.stride, self.stride), 4 * self.channels
        y = nn.relu(self.norm()(self.conv(self.channels, (1, 1))(x)))
        y = nn.relu(self.norm()(self.conv(self.channels, (3, 3), strides, ((1, 1), (1, 1)))(y)))
        y = self.norm(scale_init=BRANCH)(self.conv(wide, (1, 1))(y))
        if x.shape != y.shape:
            x = self.conv(wide, (1, 1), strides, name="shortcut")(x)
            x = self.norm(name="shortcut_norm")(x)
        return nn.relu(x + y)


class ResNet50(nn.Module):
    """The residual network of He et al. (2015), f32[N,H,W,3] to logits f32[N,classes]."""

    classes: int = 1000
    width: int = 64
    stages: tuple[int, ...] = (3, 4, 6, 3)
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x, train: bool = False):
        conv = partial(nn.Conv, use_bias=False, kernel_init=he_normal)
        norm = partial(
            nn.BatchNorm, use_running_average=not train, momentum=self.momentum, epsilon=1e-5
        )
        x = conv(self.width, (7, 7), (2, 2), ((3, 3), (3, 3)), name="stem")(x)
        x = nn.relu(norm(name="stem_norm")(x))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage, blocks in enumerate(self.stages):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                x = Bottleneck(self.width * 2**stage, stride, conv, norm)(x)
        x = jnp.mean(x, axis=(1, 2))
        return nn.Dense(self.classes, kernel_init=he_normal)(x)


def build(
    batch: int = 1,
    seed: int = 0,
    *,
    size: int = 224,
    width: int = 64,
    stages: tuple[int, ...] = (3, 4, 6, 3),
    classes: int = 1000,
) -> tuple[Callable, np.ndarray]:
    """The inference function of one array and an example input f32[batch,size,size,3]."""
    model = ResNet50(classes=classes, width=width, stages=stages)
    example = images(batch, size, seed + 1)
    variables = jax.jit(model.init)(jax.random.key(seed), example[:1])
    batches = images(32, size, seed).reshape(4, 8, size, size, 3)
    variables = with_statistics(model, variables, batches)

    def resnet50(x):
        return model.apply(variables, x)

    return resnet50, example
