"""Layers as a trace spells them: primitives of `lax` where a network of `nn` has one op.

What a framework writes is varied on purpose: constants are broadcast or not, contractions name
any of several axes, images lead with their channels, softmax has its shift or not.
"""

import math

import numpy as np

from ...ir import Op, const
from .values import chance, one_of

UNARY = ("tanh", "logistic", "exp", "neg", "abs", "square", "sin", "erf")


def _wide(net, like: Op, array: np.ndarray) -> Op:
    """A constant along the last axes of a value, broadcast to it or left to broadcast itself."""
    k = const(np.asarray(array, np.float32), name="k")
    if chance(net.rng, 0.5):
        return k
    rank, axes = like.type.rank, range(like.type.rank - k.type.rank, like.type.rank)
    shape = [1] * (rank - k.type.rank) + list(k.shape)
    shape = list(like.shape) if chance(net.rng, 0.5) else shape
    return net.lax.broadcast(k, shape=shape, axes=list(axes))


def _kept(net, x: Op, reduced: Op, axes) -> Op:
    """A reduced value with its axes back, of extent 1, and perhaps repeated as in x."""
    shape = [1 if i in axes else -1 if i == 0 else n for i, n in enumerate(x.shape)]
    back = net.lax.reshape(reduced, shape=shape)
    if chance(net.rng, 0.5):
        return back
    wide = [-1 if i not in axes else n for i, n in enumerate(x.shape)]
    return net.lax.broadcast(back, shape=wide, axes=list(range(x.type.rank)))


def _mean(net, x: Op, axes) -> Op:
    count = max(1, math.prod(x.shape[i] for i in axes))
    total = net.lax.reduce_sum(x, axes=axes)
    if chance(net.rng, 0.5):
        return net.lax.div(total, const(np.float32(count)))
    return net.lax.mul(total, const(np.float32(1 / count)))


def pointwise(net, x: Op) -> Op:
    """A function of one element, as one primitive or spelled out."""
    lax, rng = net.lax, net.rng
    one, half = const(np.float32(1)), const(np.float32(0.5))
    found = int(rng.integers(9))
    if found == 0:
        return lax.max(x, _wide(net, x, np.float32(0)))
    if found == 1:
        return lax.min(lax.max(x, const(np.float32(0))), const(np.float32(6)))
    if found == 2:
        return lax.mul(x, lax.logistic(x))
    if found == 3:
        root = const(np.float32(math.sqrt(0.5)))
        return lax.mul(lax.mul(x, half), lax.add(lax.erf(lax.mul(x, root)), one))
    if found == 4:
        return lax.select(lax.gt(x, const(np.float32(0))), x, lax.mul(x, _wide(net, x, 0.1)))
    if found == 5:
        return lax.div(one, lax.add(one, lax.exp(lax.neg(x))))
    if found == 6:
        return lax.clamp(const(np.float32(-1)), x, const(np.float32(2)))
    if found == 7:
        return lax.integer_pow(x, y=one_of(rng, (2, 3)))
    return getattr(lax, one_of(rng, UNARY))(x)


def residual(net, x: Op) -> Op:
    """Two values of one shape, and a constant for each channel."""
    binary = one_of(net.rng, (net.lax.add, net.lax.sub, net.lax.mul, net.lax.max, net.lax.min))
    y = binary(x, net.like(x))
    if chance(net.rng, 0.5):
        y = net.lax.mul(y, _wide(net, y, 1 + 0.2 * net.rng.normal(size=y.shape[-1:])))
    return y


def batch_norm(net, x: Op) -> Op:
    """A convolution, then minus mean, times scale over deviation, plus shift."""
    lax, rng = net.lax, net.rng
    y = convolution(net, x)
    if y.type.rank != 4:
        return y
    mean, scale, shift = (0.2 * rng.normal(size=y.shape[-1:]) for _ in range(3))
    y = lax.sub(y, _wide(net, y, mean))
    y = lax.mul(y, _wide(net, y, 1 + scale))
    return lax.add(y, _wide(net, y, shift))


def convolution(net, x: Op) -> Op:
    """A convolution, in some cases of an image that leads with its channels."""
    lax, rng = net.lax, net.rng
    size, stride, dilation = one_of(rng, (1, 3, 3, 2)), one_of(rng, (1, 1, 2)), one_of(rng, (1, 2))
    depthwise = chance(rng, 0.25)
    inner = 1 if depthwise else x.shape[3]
    outputs = x.shape[3] if depthwise else int(rng.integers(1, 9))
    w = net.weight(size, size, inner, outputs)
    low, high = (int(n) for n in rng.integers(0, 3, 2))
    options = {"strides": (stride, stride), "padding": (low, low, high, high),
               "rhs_dilation": (dilation, dilation),
               "groups": x.shape[3] if depthwise else 1}  # fmt: skip
    if chance(rng, 0.3):
        options["rhs_dilation"] = None
        options["lhs_dilation"] = one_of(rng, (None, (2, 2)))
        options["strides"] = (1, 1)
    if chance(rng, 0.6):
        return lax.conv_general_dilated(x, w, **options)
    first = lax.transpose(x, permutation=(0, 3, 1, 2))
    w = lax.transpose(w, permutation=(3, 2, 0, 1))
    y = lax.conv_general_dilated(first, w, **options, lhs_spec=(0, 1, 2, 3),
                                 rhs_spec=(0, 1, 2, 3), out_spec=(0, 1, 2, 3))  # fmt: skip
    return y if chance(rng, 0.2) else lax.transpose(y, permutation=(0, 2, 3, 1))


def pool(net, x: Op) -> Op:
    """A maximum or a mean over windows."""
    lax, rng = net.lax, net.rng
    size, stride, low = one_of(rng, (2, 3)), one_of(rng, (1, 2)), one_of(rng, (0, 0, 1))
    options = {"window": (1, size, size, 1), "strides": (1, stride, stride, 1),
               "padding": (0, low, low, 0) * 2}  # fmt: skip
    if chance(rng, 0.5):
        return lax.reduce_window_max(x, **options)
    return lax.mul(lax.reduce_window_sum(x, **options), const(np.float32(1 / size**2)))


def dense(net, x: Op) -> Op:
    """A product with a constant summed over the last axis, and its bias."""
    lax, rng, last = net.lax, net.rng, x.type.rank - 1
    w = net.weight(x.shape[-1], int(rng.integers(1, 9)))
    if chance(rng, 0.3):
        w = lax.transpose(w, permutation=(1, 0))
        y = lax.dot_general(x, w, contract_a=(last,), contract_b=(1,))
    else:
        y = lax.dot_general(x, w, contract_a=(last,), contract_b=(0,))
    if chance(rng, 0.6):
        y = lax.add(y, _wide(net, y, 0.2 * rng.normal(size=y.shape[-1:])))
    return y


def attention(net, x: Op) -> Op:
    """Softmax of the products of tokens, spelled out."""
    lax, rng = net.lax, net.rng
    depth = int(rng.integers(2, 6))
    q, k, v = (lax.dot_general(x, net.weight(x.shape[-1], depth), contract_a=(2,),
                               contract_b=(0,)) for _ in range(3))  # fmt: skip
    logits = lax.dot_general(q, k, contract_a=(2,), contract_b=(2,), batch_a=(0,), batch_b=(0,))
    logits = lax.mul(logits, _wide(net, logits, np.float32(depth**-0.5)))
    return lax.dot_general(softmax(net, logits), v, contract_a=(2,), contract_b=(1,), batch_a=(0,),
                           batch_b=(0,))  # fmt: skip


def softmax(net, x: Op) -> Op:
    """exp over its sum, the maximum taken away first or not."""
    lax, last = net.lax, x.type.rank - 1
    if chance(net.rng, 0.7):
        x = lax.sub(x, _kept(net, x, lax.reduce_max(x, axes=(last,)), (last,)))
    powers = lax.exp(x)
    return lax.div(powers, _kept(net, x, lax.reduce_sum(powers, axes=(last,)), (last,)))


def normed(net, x: Op) -> Op:
    """A layer_norm or rms_norm over the last axis, spelled out."""
    lax, last = net.lax, x.type.rank - 1
    if chance(net.rng, 0.6):
        x = lax.sub(x, _kept(net, x, _mean(net, x, (last,)), (last,)))
    power = _kept(net, x, _mean(net, lax.square(x), (last,)), (last,))
    root = lax.rsqrt(lax.add(power, const(np.float32(1e-3))))
    y = lax.mul(x, root)
    return lax.mul(y, _wide(net, y, 1 + 0.2 * net.rng.normal(size=y.shape[-1:])))


def pooled(net, x: Op) -> Op:
    """The mean over all axes but the batch and the last."""
    return _mean(net, x, tuple(range(1, x.type.rank - 1)))


def moved(net, x: Op) -> Op:
    """The order of elements along an axis reversed, sorted or summed up."""
    axis = int(net.rng.integers(1, x.type.rank))
    found = int(net.rng.integers(4))
    if found == 0:
        return net.lax.reverse(x, axes=(axis,))
    if found == 1:
        return net.lax.sort(x, axis=axis)
    if found == 2 or x.type.rank == 2:
        return net.lax.cumsum(x, axis=axis)
    return net.lax.reduce_max(x, axes=(axis,))


_ANY = (pointwise, pointwise, residual, moved)
TRACED = {
    4: (convolution, convolution, batch_norm, pool, pooled, softmax, *_ANY),
    3: (dense, dense, normed, attention, pooled, softmax, *_ANY),
    2: (dense, dense, normed, softmax, *_ANY),
}
"""What may follow a value in a trace, by its rank."""
