"""Random small networks of nn ops: convolutions, residual sums, concatenations, splits, attention.

Weights are scaled so that values stay near 1, as they do in trained networks; what quantization
then costs is rounding alone.
"""

from collections.abc import Callable
from importlib import import_module

import numpy as np

from ...errors import QirError
from ...ir import Func, Op, const, item, parameter
from ...types import tensor
from .traced import TRACED
from .values import Rng, chance, one_of

POINTWISE = ("relu", "relu6", "sigmoid", "tanh", "silu", "hard_swish", "elu")
BATCH = 2


class Network:
    """A network on the way: its values, each with the batch in front.

    traced: the part of its layers that are spelled as a trace has them.
    """

    def __init__(self, rng: Rng, traced: float):
        self.rng, self.traced = rng, traced
        self.lax, self.nn = (import_module(f"qir.dialects.{name}") for name in ("lax", "nn"))
        self.values: list[Op] = []
        self.places = 0

    def weight(self, *shape: int, gain: float = 1.0) -> Op:
        fan = int(np.prod(shape[:-1])) or 1
        return const(self.rng.normal(size=shape) * gain / np.sqrt(fan), name="w")

    def vector(self, size: int, around: float = 0.0) -> Op:
        return const(around + 0.2 * self.rng.normal(size=size), name="b")

    def recent(self) -> Op:
        """A value among the last ones that has elements; the last is the simplest choice."""
        return one_of(self.rng, [v for v in self.values[:-7:-1] if v.type.size] or self.values[:1])

    def like(self, x: Op) -> Op:
        """Another value of the shape of x, x itself where there is none."""
        return one_of(self.rng, [v for v in self.values if v.shape == x.shape] or [x])

    def clamp(self):
        return one_of(self.rng, (None, None, None, (0.0, np.inf), (0.0, 6.0), (-1.0, 2.0)))


def draw_network(rng: Rng, steps: int | None = None, traced: float = 0.0) -> Func:
    """A function of one or two images and one to four results, batch 2, of about `steps` layers.

    traced: the part of the layers that are written in primitives of lax, as a trace has them.
    """
    net = begun(rng, traced)
    for _ in range(steps or int(rng.integers(3, 12))):
        grow(net)
    return ended(net)


def begun(rng: Rng, traced: float = 0.0) -> Network:
    """A network of inputs alone."""
    net = Network(rng, traced)
    side, channels = int(rng.integers(3, 9)), one_of(rng, (1, 3, 4, 8))
    shape = (BATCH, side, side + int(rng.integers(2)), channels)
    for i in range(1 + chance(rng, 0.25)):
        net.values.append(parameter(f"x{i}", tensor("f32", shape), (f"net:input{i}",)))
    return net


def grow(net: Network) -> None:
    """Add a layer on a recent value, or none where the drawn one does not fit."""
    x = net.recent()
    table = TRACED if net.traced and chance(net.rng, net.traced) else _LAYERS
    try:
        made = one_of(net.rng, table[x.type.rank])(net, x)
    except QirError:  # a window that does not fit any more, and the like
        return
    for value in made if isinstance(made, tuple) else (made,):
        net.places += 1
        net.values.append(value.located((f"net:{net.places}",)) if value.kind != "item" else value)


def ended(net: Network) -> Func:
    """The network as a function whose results are what nobody reads, and sometimes more."""
    parameters = tuple(v for v in net.values if v.kind == "parameter")
    made = [v for v in net.values if v not in parameters] or net.values
    read = {o for v in made for o in v.operands}
    ends = [v for v in made if v not in read][-3:]
    extra = [one_of(net.rng, made)] if chance(net.rng, 0.3) else []
    return Func("network", parameters, (*ends, *extra))


Layer = Callable[[Network, Op], Op | tuple[Op, ...]]


def _conv(net: Network, x: Op) -> Op:
    rng, channels = net.rng, x.shape[3]
    groups = one_of(rng, [g for g in range(1, channels + 1) if channels % g == 0])
    groups = groups if chance(rng, 0.3) else 1
    size, outputs = one_of(rng, (1, 1, 3, 3, 2)), groups * int(rng.integers(1, 9 // groups + 2))
    w = net.weight(size, size, channels // groups, outputs)
    bias = net.vector(outputs) if chance(rng, 0.6) else None
    return net.nn.conv2d(x, w, bias, strides=one_of(rng, (1, 1, 2)), groups=groups,
                         padding=one_of(rng, ("same", "same", "valid", ((1, 0), (0, 1)))),
                         dilation=one_of(rng, (1, 1, 1, 2)), clamp=net.clamp())  # fmt: skip


def _depthwise(net: Network, x: Op) -> Op:
    size, multiplier = one_of(net.rng, (3, 3, 2)), one_of(net.rng, (1, 1, 1, 2))
    w = net.weight(size, size, x.shape[3], multiplier, gain=float(np.sqrt(x.shape[3])))
    bias = net.vector(x.shape[3] * multiplier) if chance(net.rng, 0.5) else None
    return net.nn.depthwise_conv2d(x, w, bias, strides=one_of(net.rng, (1, 1, 2)),
                                   clamp=net.clamp())  # fmt: skip


def _transposed(net: Network, x: Op) -> Op:
    w = net.weight(2, 2, x.shape[3], int(net.rng.integers(1, 6)))
    return net.nn.transposed_conv2d(x, w, strides=one_of(net.rng, (1, 2)))


def _batch_norm(net: Network, x: Op) -> Op:
    """A convolution with scale and shift after it."""
    y = _conv(net, x)
    channels = y.shape[3]
    return net.nn.add(net.nn.mul(y, net.vector(channels, around=1.0)), net.vector(channels))


def _pool(net: Network, x: Op) -> Op:
    pool = one_of(net.rng, (net.nn.max_pool, net.nn.avg_pool))
    return pool(x, window=one_of(net.rng, (2, 3)), strides=one_of(net.rng, (1, 2)),
                padding=one_of(net.rng, ("same", "valid")))  # fmt: skip


def _pointwise(net: Network, x: Op) -> Op:
    for _ in range(int(net.rng.integers(1, 4))):
        if chance(net.rng, 0.3):
            number = const(np.float32(net.rng.uniform(0.5, 1.5)))
            x = one_of(net.rng, (net.nn.mul, net.nn.add))(x, number)
        else:
            x = getattr(net.nn, one_of(net.rng, POINTWISE))(x)
    return x


def _residual(net: Network, x: Op) -> Op:
    binary = one_of(net.rng, (net.nn.add, net.nn.add, net.nn.sub, net.nn.mul, net.nn.maximum))
    settings = {"clamp": net.clamp()} if binary is not net.nn.maximum else {}
    return binary(x, net.like(x), **settings)


def _joined(net: Network, x: Op) -> Op:
    axis = x.type.rank - 1
    fits = [v for v in net.values if v.shape[:-1] == x.shape[:-1]]
    return net.lax.concatenate(x, one_of(net.rng, fits), axis=axis)


def _split(net: Network, x: Op) -> tuple[Op, ...]:
    axis = x.type.rank - 1
    first = int(net.rng.integers(1, x.shape[axis])) if x.shape[axis] > 1 else 1
    sizes = [n for n in (first, x.shape[axis] - first) if n]
    parts = net.lax.split(x, sizes=sizes, axis=axis)
    return tuple(item(parts, i) for i in range(len(sizes)))


def _squeeze(net: Network, x: Op) -> Op:
    """A gate for each channel, made of its mean."""
    mean = net.nn.mean(x, axes=(1, 2), keepdims=True)
    gate = net.nn.conv2d(mean, net.weight(1, 1, x.shape[3], x.shape[3]))
    return net.nn.mul(x, net.nn.sigmoid(gate))


def _moved(net: Network, x: Op) -> Op:
    rank = x.type.rank
    if chance(net.rng, 0.4):
        low = [0, *(int(n) for n in net.rng.integers(0, 2, rank - 1))]
        return net.lax.pad(x, low=low, high=low[:1] + low[1:][::-1])
    if chance(net.rng, 0.5):
        order = [0, *(net.rng.permutation(rank - 1) + 1).tolist()]
        return net.lax.transpose(x, permutation=order)
    return net.lax.slice(x, start=[0] + [int(n > 1) for n in x.shape[1:]], limit=[-1] * rank)


def _tokens(net: Network, x: Op) -> Op:
    return net.lax.reshape(x, shape=(-1, x.shape[1] * x.shape[2], x.shape[3]))


def _pooled(net: Network, x: Op) -> Op:
    return net.nn.mean(x, axes=tuple(range(1, x.type.rank - 1)))


def _dense(net: Network, x: Op) -> Op:
    inner, outputs = x.shape[-1], int(net.rng.integers(1, 9))
    bias = net.vector(outputs) if chance(net.rng, 0.6) else None
    return net.nn.dense(x, net.weight(inner, outputs), bias, clamp=net.clamp())


def _normed(net: Network, x: Op) -> Op:
    size = x.shape[-1]
    if chance(net.rng, 0.3):
        return net.nn.rms_norm(x, net.vector(size, around=1.0), epsilon=1e-3)
    return net.nn.layer_norm(x, net.vector(size, around=1.0), net.vector(size), epsilon=1e-3)


def _attention(net: Network, x: Op) -> Op:
    depth = int(net.rng.integers(2, 6))
    q, k, v = (net.nn.dense(x, net.weight(x.shape[-1], depth)) for _ in range(3))
    logits = net.nn.mul(net.nn.matmul(q, k, adjoint_b=True), float(depth) ** -0.5)
    return net.nn.matmul(net.nn.softmax(logits), v)


_ANY = (_pointwise, _residual, _joined, _split)
_LAYERS: dict[int, tuple[Layer, ...]] = {
    4: (_conv, _conv, _batch_norm, _depthwise, _transposed, _pool, _squeeze, _moved, _tokens,
        _pooled, *_ANY),
    3: (_dense, _dense, _normed, _attention, _pooled, _moved, *_ANY),
    2: (_dense, _dense, _normed, *_ANY),
}  # fmt: skip
"""What may follow a value, by its rank."""
