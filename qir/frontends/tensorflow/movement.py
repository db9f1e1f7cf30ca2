"""Imports of operations that move, repeat and part elements.

Where TensorFlow Lite has an operator of the same meaning, its expansion for reals is the import.
"""

from itertools import accumulate
from operator import mul

import numpy as np

from qir.dialects import lax, tfl

from ...errors import require
from ...expansions import KERNELS, expanded
from ...ir import Op, const
from ...shapes import open_batch
from .table import attribute, imports, number, numbers


def as_operator(op: Op):
    """What an operator of TensorFlow Lite comes to."""
    return expanded(op, KERNELS[0], *op.operands)


@imports("Reshape")
def reshape(node, x, shape):
    extents = numbers(shape, "extents of the shape")
    made = tfl.reshape(x, new_shape=extents)
    stated = node.outputs[0].shape.as_list() if node.outputs[0].shape.rank else []
    if stated.count(None) == 1:  # the batch, which came from tf.shape; all others are known
        made = tfl.reshape(x, new_shape=[-1 if n is None else n for n in stated])
    elif stated[:1] == [None] and made.shape[0] in accumulate(x.shape, mul):
        # the batch, or it and the axes behind it in one
        made = tfl.reshape(x, new_shape=open_batch(made.shape))
    return as_operator(made)


@imports("Transpose")
def transpose(node, x, perm):
    return lax.transpose(x, permutation=numbers(perm, "axes"))


@imports("Squeeze")
def squeeze(node, x):
    axes = tuple(int(n) for n in attribute(node, "squeeze_dims"))
    return as_operator(tfl.squeeze(x, squeeze_dims=axes))


@imports("ExpandDims")
def expand_dims(node, x, axis):
    return as_operator(tfl.expand_dims(x, axis=number(axis, "axis")))


@imports("ConcatV2")
def concat(node, *operands):
    *xs, axis = operands
    return lax.concatenate(*xs, axis=number(axis, "axis"))


@imports("Pack")
def pack(node, *xs):
    return as_operator(tfl.pack(*xs, values_count=len(xs), axis=int(attribute(node, "axis"))))


@imports("Unpack")
def unpack(node, x):
    return as_operator(tfl.unpack(x, num=int(attribute(node, "num")),
                                  axis=int(attribute(node, "axis"))))  # fmt: skip


@imports("Split")
def split(node, axis, x):
    return as_operator(tfl.split(x, axis=number(axis, "axis"),
                                 num_splits=int(attribute(node, "num_split"))))  # fmt: skip


@imports("SplitV")
def split_v(node, x, sizes, axis):
    found = numbers(sizes, "sizes")
    return as_operator(tfl.split_v(x, size_splits=found, axis=number(axis, "axis"),
                                   num_splits=len(found)))  # fmt: skip


@imports("Slice")
def slice_(node, x, begin, size):
    return as_operator(tfl.slice(x, begin=numbers(begin, "places"), size=numbers(size, "sizes")))


@imports("StridedSlice")
def strided_slice(node, x, begin, end, strides):
    names = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    masks = {name: int(attribute(node, name)) for name in names}
    places = {"begin": begin, "end": end, "strides": strides}
    return as_operator(tfl.strided_slice(
        x, **{name: numbers(value, name) for name, value in places.items()}, **masks))


@imports("Pad", "PadV2")
def pad(node, x, paddings, value=None):
    require(value is None or value.is_const, "the value round it is computed from an input")
    pairs = numbers(paddings, "paddings")
    real = 0.0 if value is None else float(value.value)
    return lax.pad(x, low=pairs[::2], high=pairs[1::2], value=real)


@imports("MirrorPad")
def mirror_pad(node, x, paddings):
    return as_operator(tfl.mirror_pad(x, paddings=numbers(paddings, "paddings"),
                                      mode=attribute(node, "mode")))  # fmt: skip


@imports("Tile")
def tile(node, x, multiples):
    return as_operator(tfl.tile(x, multiples=numbers(multiples, "multiples")))


@imports("BroadcastTo")
def broadcast_to(node, x, shape):
    return as_operator(tfl.broadcast_to(x, shape=numbers(shape, "extents of the shape")))


@imports("Fill")
def fill(node, dims, x):
    return as_operator(tfl.fill(x, dims=numbers(dims, "extents of the shape")))


@imports("ReverseV2")
def reverse(node, x, axes):
    return lax.reverse(x, axes=[axis % x.type.rank for axis in numbers(axes, "axes")])


@imports("Gather", "GatherV2")
def gather(node, x, indices, axis=None):
    batch = int(attribute(node, "batch_dims")) if node.type == "GatherV2" else 0
    return as_operator(tfl.gather(x, indices, axis=number(axis, "axis") if axis is not None else 0,
                                  batch_dims=batch))  # fmt: skip


@imports("GatherNd")
def gather_nd(node, x, indices):
    return as_operator(tfl.gather_nd(x, indices))


@imports("OneHot")
def one_hot(node, indices, depth, on, off):
    axis, count = int(attribute(node, "axis")), number(depth, "depth")
    require(axis in (-1, indices.type.rank), f"the classes stand along axis {axis}, not the last")
    classes = const(np.arange(count, dtype=indices.dtype.numpy))
    wide = lax.reshape(indices, shape=open_batch((*indices.shape, 1)))
    return lax.select(lax.eq(wide, classes), on, off)


def _image(build):
    return lambda node, x: as_operator(build(x, block_size=int(attribute(node, "block_size"))))


imports("SpaceToDepth")(_image(tfl.space_to_depth))
imports("DepthToSpace")(_image(tfl.depth_to_space))


@imports("SpaceToBatchND")
def space_to_batch(node, x, block, paddings):
    return as_operator(tfl.space_to_batch_nd(x, block_shape=numbers(block, "blocks"),
                                             paddings=numbers(paddings, "paddings")))  # fmt: skip


@imports("BatchToSpaceND")
def batch_to_space(node, x, block, crops):
    return as_operator(tfl.batch_to_space_nd(x, block_shape=numbers(block, "blocks"),
                                             crops=numbers(crops, "crops")))  # fmt: skip


def _resize(build):
    def imported(node, x, size):
        names = ("align_corners", "half_pixel_centers")
        return as_operator(build(x, size=numbers(size, "extents of the image"),
                                 **{each: attribute(node, each) for each in names}))  # fmt: skip

    return imported


imports("ResizeBilinear")(_resize(tfl.resize_bilinear))
imports("ResizeNearestNeighbor")(_resize(tfl.resize_nearest_neighbor))
