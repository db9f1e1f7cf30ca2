"""MobileNetV2 in Flax, NHWC, with random weights and batch-norm statistics of random images."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from .batch_statistics import with_statistics
from .random_inputs import images

he_normal = nn.initializers.he_normal()

# expansion, channels, blocks, stride of the first block: table 2 of Sandler et al. (2018)
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, as a multiple of 8 that is at most a tenth smaller."""
    near = max(8, int(channels * width + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels * width else near


BRANCH = nn.initializers.constant(0.25)
"""Where the last scale of a residual branch starts; why is said in resnet50.py."""


def smooth(key, shape: tuple[int, ...], dtype=jnp.float32):
    """Random depthwise filters around a mean of their standard deviation, as trained ones blur.

    Filters around zero pass little of a smooth image; batch norm then enlarges what is left and the
    noise with it: noise 40 dB below the input came out 12 dB below the output, in float.
    """
    return (1 + jax.random.normal(key, shape, dtype)) / 3


class InvertedResidual(nn.Module):
    """Expand by a 1x1, filter channels by a 3x3, project by a 1x1; shortcut between the ends."""

    channels: int
    expansion: int
    stride: int
    conv: Callable
    norm: Callable

    @nn.compact
    def __call__(self, x):
        narrow, wide = x.shape[-1], x.shape[-1] * self.expansion
        y = x
        if self.expansion != 1:
            y = nn.relu6(self.norm()(self.conv(wide, (1, 1))(y)))
        strides = (self.stride, self.stride)
        depthwise = partial(self.conv, feature_group_count=wide, kernel_init=smooth)
        y = depthwise(wide, (3, 3), strides, name="depthwise")(y)
        y = nn.relu6(self.norm(name="depthwise_norm")(y))
        residual = self.stride == 1 and narrow == self.channels
        norm = partial(self.norm, scale_init=BRANCH) if residual else self.norm
        y = norm(name="project_norm")(self.conv(self.channels, (1, 1), name="project")(y))
        return x + y if residual else y


class MobileNetV2(nn.Module):
    """The network of Sandler et al. (2018), f32[N,H,W,3] to logits f32[N,classes]."""

    classes: int = 1000
    width: float = 1.0
    stages: tuple[tuple[int, int, int, int], ...] = STAGES
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x, train: bool = False):
        conv = partial(nn.Conv, use_bias=False, kernel_init=he_normal)
        norm = partial(
            nn.BatchNorm, use_running_average=not train, momentum=self.momentum, epsilon=1e-3
        )
        x = conv(scaled(32, self.width), (3, 3), (2, 2), name="stem")(x)
        x = nn.relu6(norm(name="stem_norm")(x))
        for expansion, channels, blocks, first_stride in self.stages:
            for block in range(blocks):
                stride = first_stride if block == 0 else 1
                wide = scaled(channels, self.width)
                x = InvertedResidual(wide, expansion, stride, conv, norm)(x)
        x = conv(scaled(1280, max(1.0, self.width)), (1, 1), name="head")(x)
        x = nn.relu6(norm(name="head_norm")(x))
        x = jnp.mean(x, axis=(1, 2))
        return nn.Dense(self.classes, kernel_init=he_normal)(x)


def build(
    batch: int = 1,
    seed: int = 0,
    *,
    size: int = 224,
    width: float = 1.0,
    stages: tuple[tuple[int, int, int, int], ...] = STAGES,
    classes: int = 1000,
) -> tuple[Callable, np.ndarray]:
    """The inference function of one array and an example input f32[batch,size,size,3]."""
    model = MobileNetV2(classes=classes, width=width, stages=stages)
    example = images(batch, size, seed + 1)
    variables = jax.jit(model.init)(jax.random.key(seed), example[:1])
    batches = images(32, size, seed).reshape(4, 8, size, size, 3)
    variables = with_statistics(model, variables, batches)

    def mobilenet_v2(x):
        return model.apply(variables, x)

    return mobilenet_v2, example
