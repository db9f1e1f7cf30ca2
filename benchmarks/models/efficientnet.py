"""EfficientNet-B0 in Flax, NHWC, with random weights and batch-norm statistics of random images."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from .batch_statistics import with_statistics
from .mobilenet_v2 import BRANCH, he_normal, smooth
from .random_inputs import images

# expansion, channels, blocks, stride of the first block, kernel: table 1 of Tan and Le (2019)
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class Excitation(nn.Module):
    """Each channel times a number of 0 to 1 that the means of all channels give."""

    channels: int

    @nn.compact
    def __call__(self, x):
        means = jnp.mean(x, axis=(1, 2), keepdims=True)
        narrow = nn.silu(nn.Conv(self.channels, (1, 1), name="squeeze")(means))
        return x * nn.sigmoid(nn.Conv(x.shape[-1], (1, 1), name="expand")(narrow))


class Block(nn.Module):
    """Expand by a 1x1, filter channels, weigh them, project by a 1x1; shortcut between the ends."""

    channels: int
    expansion: int
    stride: int
    kernel: int
    conv: Callable
    norm: Callable

    @nn.compact
    def __call__(self, x):
        narrow, wide = x.shape[-1], x.shape[-1] * self.expansion
        y = x
        if self.expansion != 1:
            y = nn.silu(self.norm()(self.conv(wide, (1, 1))(y)))
        depthwise = partial(self.conv, feature_group_count=wide, kernel_init=smooth)
        strides, size = (self.stride, self.stride), (self.kernel, self.kernel)
        y = nn.silu(self.norm(name="depthwise_norm")(depthwise(wide, size, strides)(y)))
        y = Excitation(max(1, narrow // 4))(y)
        residual = self.stride == 1 and narrow == self.channels
        norm = partial(self.norm, scale_init=BRANCH) if residual else self.norm
        y = norm(name="project_norm")(self.conv(self.channels, (1, 1), name="project")(y))
        return x + y if residual else y


class EfficientNetB0(nn.Module):
    """The network of Tan and Le (2019), f32[N,H,W,3] to logits f32[N,classes]."""

    classes: int = 1000
    stages: tuple[tuple[int, int, int, int, int], ...] = STAGES
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x, train: bool = False):
        conv = partial(nn.Conv, use_bias=False, kernel_init=he_normal)
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=self.momentum,
                       epsilon=1e-3)  # fmt: skip
        x = nn.silu(norm(name="stem_norm")(conv(32, (3, 3), (2, 2), name="stem")(x)))
        for expansion, channels, blocks, first_stride, kernel in self.stages:
            for block in range(blocks):
                stride = first_stride if block == 0 else 1
                x = Block(channels, expansion, stride, kernel, conv, norm)(x)
        x = nn.silu(norm(name="head_norm")(conv(1280, (1, 1), name="head")(x)))
        return nn.Dense(self.classes, kernel_init=he_normal)(jnp.mean(x, axis=(1, 2)))


def build(batch: int = 1, seed: int = 0, *, size: int = 224, stages=STAGES,
          classes: int = 1000) -> tuple[Callable, np.ndarray]:  # fmt: skip
    """The inference function of one array and an example input f32[batch,size,size,3]."""
    model = EfficientNetB0(classes=classes, stages=stages)
    example = images(batch, size, seed + 1)
    variables = jax.jit(model.init)(jax.random.key(seed), example[:1])
    batches = images(32, size, seed).reshape(4, 8, size, size, 3)
    variables = with_statistics(model, variables, batches)

    def efficientnet_b0(x):
        return model.apply(variables, x)

    return efficientnet_b0, example
