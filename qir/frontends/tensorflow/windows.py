"""Imports of pools and reductions."""

import numpy as np

from qir.dialects import lax, nn, tfl

from ...errors import require
from ...shapes import open_batch
from ...types import Element, dtype_of
from .contractions import channels_last, padding, pair
from .movement import as_operator
from .table import attribute, imports, number, numbers


def _pool(build):
    def imported(node, x):
        last = attribute(node, "data_format") == "NHWC"
        others = attribute(node, "ksize")[::3] if last else attribute(node, "ksize")[:2]
        require({int(n) for n in others} == {1}, "it pools over batch or channels")
        return channels_last(node, x, lambda x: build(
            x, window=pair(node, "ksize"), strides=pair(node, "strides"), padding=padding(node)))

    return imported


imports("MaxPool", "MaxPoolV2")(_pool(nn.max_pool))
imports("AvgPool")(_pool(nn.avg_pool))


def _axes(x, axes) -> tuple[int, ...]:
    return tuple(sorted({axis % x.type.rank for axis in numbers(axes, "axes")}))


def _reduction(of_floats, of_integers):
    def imported(node, x, axes):
        found, keep = _axes(x, axes), attribute(node, "keep_dims")
        if of_floats is not None and x.type.is_float:
            return of_floats(x, axes=found, keepdims=keep)
        require(of_integers is not None, f"a mean of {x.type}")
        y = of_integers(x, axes=found)
        kept = tuple(1 if i in found else n for i, n in enumerate(x.shape))
        kept = kept if 0 in found else open_batch(kept)
        return lax.reshape(y, shape=kept) if keep else y

    return imported


imports("Mean")(_reduction(nn.mean, None))
imports("Sum")(_reduction(nn.sum, lax.reduce_sum))
imports("Max")(_reduction(nn.reduce_max, lax.reduce_max))
imports("Min")(_reduction(nn.reduce_min, lax.reduce_min))
imports("Prod")(_reduction(None, lax.reduce_prod))
imports("All")(_reduction(None, lax.reduce_and))
imports("Any")(_reduction(None, lax.reduce_or))


@imports("Softmax")
def softmax(node, x):
    return nn.softmax(x, axis=-1)


@imports("LogSoftmax")
def log_softmax(node, x):
    return as_operator(tfl.log_softmax(x))


def _place(build):
    def imported(node, x, axis):
        to = dtype_of(np.empty((), attribute(node, "output_type").as_numpy_dtype))
        return build(x, axis=number(axis, "axis"), to=Element(to))

    return imported


imports("ArgMax")(_place(lax.argmax))
imports("ArgMin")(_place(lax.argmin))


@imports("TopKV2")
def top_k(node, x, k):
    return lax.top_k(x, k=number(k, "k"))


@imports("Cumsum")
def cumulative_sum(node, x, axis):
    require(not attribute(node, "exclusive"), "it leaves out the element itself")
    return lax.cumsum(x, axis=number(axis, "axis") % x.type.rank,
                      reverse=attribute(node, "reverse"))  # fmt: skip
