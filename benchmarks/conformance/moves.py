"""Random ops that move, repeat and part elements."""

from functools import partial

import numpy as np
from qir.dialects import tfl

from qir.ir import Func, const, item, parameter
from qir.types import DTYPES, Element

from .convolutions import element, one_scale, weight
from .elementwise import single, some_shape


def _moved(op, attributes, rng: np.random.Generator) -> Func:
    """An op of one operand; attributes: from its shape to them."""
    x = parameter("x", element(rng)[some_shape(rng)])
    return single(op(x, **attributes(rng, x.shape)), x)


def _run(rng, n: int) -> list[int]:
    first = int(rng.integers(n))
    return list(range(first, int(rng.integers(first + 1, n + 1))))


def _ints(array) -> list[int]:
    return [int(n) for n in array]


def squeeze(rng: np.random.Generator) -> Func:
    """A random SQUEEZE of all axes of one element, or of named ones."""
    shape = tuple(1 if rng.integers(2) else int(rng.integers(2, 20)) for _ in range(4))
    x = parameter("x", element(rng)[shape])
    ones = [i for i, n in enumerate(shape) if n == 1]
    return single(tfl.squeeze(x, squeeze_dims=ones if rng.integers(2) else []), x)


def pad_with(rng: np.random.Generator) -> Func:
    """A random PADV2."""
    x = parameter("x", element(rng)[some_shape(rng)])
    value = const(rng.integers(-128, 128, ()).astype(np.int8), x.type.with_shape(()))
    return single(tfl.padv2(x, value, paddings=_ints(rng.integers(0, 3, 2 * len(x.shape)))), x)


def mirror_pad(rng: np.random.Generator) -> Func:
    """A random MIRROR_PAD."""
    x = parameter("x", element(rng)[some_shape(rng)])
    mode = str(rng.choice(["REFLECT", "SYMMETRIC"]))
    most = [n + (mode == "SYMMETRIC") for n in x.shape for _ in range(2)]
    return single(tfl.mirror_pad(x, paddings=_ints(rng.integers(0, most)), mode=mode), x)


def pack(rng: np.random.Generator) -> Func:
    """A random PACK of two operands."""
    type = element(rng)[some_shape(rng)]
    a, b = parameter("a", type), parameter("b", type)
    axis = int(rng.integers(-type.rank - 1, type.rank + 1))
    return single(tfl.pack(a, b, a, values_count=3, axis=axis), a, b)


def fill(rng: np.random.Generator) -> Func:
    """A random FILL."""
    x = parameter("x", element(rng)[()])
    return single(tfl.fill(x, dims=_ints(rng.integers(1, 30, 3))), x)


def parts(name: str, rng: np.random.Generator) -> Func:
    """A random SPLIT, SPLIT_V or UNPACK, whose parts are all results."""
    shape, axis = list(some_shape(rng)), 0
    axis = int(rng.integers(len(shape)))
    count = int(rng.integers(2, 5))
    shape[axis] = {"split": 3 * count, "split_v": 7, "unpack": count}[name]
    x = parameter("x", element(rng)[tuple(shape)])
    axis -= len(shape) * int(rng.integers(2))
    op = {"split": lambda: tfl.split(x, axis=axis, num_splits=count),
          "split_v": lambda: tfl.split_v(x, size_splits=[2, -1, 4], axis=axis, num_splits=3),
          "unpack": lambda: tfl.unpack(x, num=count, axis=axis)}[name]()  # fmt: skip
    results = tuple(item(op, i) for i in range(len(op.type.items)))
    return Func("main", (x,), results, tuple(f"y{i}" for i in range(len(results))))


def strided_slice(rng: np.random.Generator) -> Func:
    """A random STRIDED_SLICE: masks, ends beyond the axes, strides backwards."""
    x = parameter("x", element(rng)[tuple(_ints(rng.integers(2, 12, rng.integers(1, 5))))])
    count = int(rng.integers(1, len(x.shape) + 1))
    while True:
        begin, end = (_ints(rng.integers(-14, 15, count)) for _ in range(2))
        strides = _ints(rng.choice([-2, -1, 1, 1, 2, 3], count))
        masks = {f"{name}_mask": int(rng.integers(2**count)) for name in ("begin", "end")}
        shrink = int(rng.integers(2**count)) if rng.integers(3) == 0 else 0
        for i in range(count):  # a single element is one that there is
            if shrink >> i & 1:
                n = x.shape[i]
                begin[i], strides[i] = int(rng.integers(-n, n)), 1
                masks["begin_mask"] &= ~(1 << i)
                end[i] = begin[i] + 1
        op = tfl.strided_slice(x, begin=begin, end=end, strides=strides, shrink_axis_mask=shrink,
                               **masks)  # fmt: skip
        if op.type.size:
            return single(op, x)


def gather(rng: np.random.Generator) -> Func:
    """A random GATHER, of a batch now and then."""
    shape = _ints(rng.integers(2, 10, rng.integers(1, 5)))
    axis = int(rng.integers(len(shape)))
    batch = int(rng.integers(axis + 1)) if rng.integers(2) else 0
    rows = [*shape[:batch], *_ints(rng.integers(1, 6, rng.integers(0, 3)))]
    x = parameter("x", element(rng)[tuple(shape)])
    indices = const(rng.integers(0, shape[axis], rows).astype(np.int32))
    return single(tfl.gather(x, indices, axis=axis, batch_dims=batch), x)


def gather_nd(rng: np.random.Generator) -> Func:
    """A random GATHER_ND."""
    shape = _ints(rng.integers(2, 10, rng.integers(1, 5)))
    depth = int(rng.integers(1, len(shape) + 1))
    rows = (*_ints(rng.integers(1, 12, rng.integers(0, 3))), depth)
    x = parameter("x", element(rng)[tuple(shape)])
    return single(tfl.gather_nd(x, const(rng.integers(0, shape[:depth], rows).astype(np.int32))), x)


def embedding_lookup(rng: np.random.Generator) -> Func:
    """A random EMBEDDING_LOOKUP, of integers or of the reals they stand for."""
    shape = _ints(rng.integers(2, 20, rng.integers(2, 4)))
    reals = bool(rng.integers(2))
    values = weight(rng, tuple(shape), 0) if reals else one_scale(rng, tuple(shape))
    x = parameter("x", Element(DTYPES["i32"])[(int(rng.integers(1, 30)),)])
    # places within the rows, since inputs are any integers
    rows = tfl.minimum(tfl.maximum(x, const(np.int32(0))), const(np.int32(shape[0] - 1)))
    op = tfl.embedding_lookup(rows, values, to=Element(DTYPES["f32"]) if reals else None)
    return single(op, x)


def cast(rng: np.random.Generator) -> Func:
    """A random CAST between storages of integers and f32."""
    names = [str(each) for each in rng.choice(["i8", "i32", "f32", "i64"], 2, replace=False)]
    x = parameter("x", Element(DTYPES[names[0]])[some_shape(rng)])
    return single(tfl.cast(x, to=Element(DTYPES[names[1]])), x)


def shape(rng: np.random.Generator) -> Func:
    """A random SHAPE."""
    x = parameter("x", element(rng)[some_shape(rng)])
    return single(tfl.shape(x, out_type=str(rng.choice(["INT32", "INT64"]))), x)


def scatter_nd(rng: np.random.Generator) -> Func:
    """A random SCATTER_ND to places that are all different."""
    shape = _ints(rng.integers(2, 8, rng.integers(1, 4)))
    depth = int(rng.integers(1, len(shape) + 1))
    places = int(np.prod(shape[:depth]))
    chosen = rng.choice(places, int(rng.integers(1, places + 1)), replace=False)
    indices = np.stack(np.unravel_index(chosen, shape[:depth]), -1).astype(np.int32)
    x = parameter("x", element(rng)[(len(chosen), *shape[depth:])])
    return single(tfl.scatter_nd(const(indices), x, shape=shape), x)


def dynamic_update_slice(rng: np.random.Generator) -> Func:
    """A random DYNAMIC_UPDATE_SLICE, whose block may reach out."""
    of = element(rng)
    shape = np.array(rng.integers(2, 10, rng.integers(1, 5)))
    x = parameter("x", of[tuple(_ints(shape))])
    update = parameter("update", of[tuple(_ints(rng.integers(1, shape + 1)))])
    starts = const(rng.integers(-2, shape + 2).astype(np.int32))
    return single(tfl.dynamic_update_slice(x, update, starts), x, update)


def image(op, rng: np.random.Generator) -> Func:
    """A random op of blocks of an image."""
    b = int(rng.integers(1, 4))
    n, height, width, channels = _ints(rng.integers(1, 6, 4))
    deep = op is tfl.depth_to_space
    shape = (n, height, width, channels * b * b) if deep else (n, height * b, width * b, channels)
    x = parameter("x", element(rng)[shape])
    return single(op(x, block_size=b), x)


def resize(op, rng: np.random.Generator) -> Func:
    """A random resize, to more pixels or fewer."""
    shape = tuple(_ints(rng.integers(1, 12, 4)))
    x = parameter("x", element(rng)[shape])
    aligned, half = ((False, False), (True, False), (False, True))[int(rng.integers(3))]
    size = _ints(rng.integers(1, 25, 2))
    return single(op(x, size=size, align_corners=aligned, half_pixel_centers=half), x)


def space_to_batch(rng: np.random.Generator) -> Func:
    """A random SPACE_TO_BATCH_ND."""
    block, counts = rng.integers(1, 4, 2), rng.integers(1, 6, 2)
    low = rng.integers(0, 3, 2)
    whole = counts * block
    high = np.where(whole > low, rng.integers(0, 3, 2), 0)
    space = whole - low - high
    low, space = np.where(space < 1, low + space - whole, low), np.maximum(space, whole * 0 + 1)
    low = np.maximum(low, 0)
    high = -(space + low) % block
    x = parameter("x", element(rng)[(2, *_ints(space), 3)])
    pairs = _ints(np.stack([low, high], -1).ravel())
    return single(tfl.space_to_batch_nd(x, block_shape=_ints(block), paddings=pairs), x)


def batch_to_space(rng: np.random.Generator) -> Func:
    """A random BATCH_TO_SPACE_ND."""
    block, space = rng.integers(1, 4, 2), rng.integers(2, 6, 2)
    x = parameter("x", element(rng)[(2 * int(np.prod(block)), *_ints(space), 3)])
    crops = _ints(rng.integers(0, 1 + np.repeat(space * block - 1, 2) // 2))
    return single(tfl.batch_to_space_nd(x, block_shape=_ints(block), crops=crops), x)


def _slice(rng, shape) -> dict:
    begin = rng.integers(0, shape)
    size = np.where(rng.integers(0, 3, len(shape)) == 0, -1, rng.integers(1, shape - begin + 1))
    return {"begin": _ints(begin), "size": _ints(size)}


CASES = {
    "SQUEEZE": squeeze,
    "EXPAND_DIMS": partial(_moved, tfl.expand_dims,
                           lambda r, s: {"axis": int(r.integers(-len(s) - 1, len(s) + 1))}),
    "PADV2": pad_with, "MIRROR_PAD": mirror_pad, "PACK": pack, "FILL": fill,
    "TILE": partial(_moved, tfl.tile, lambda r, s: {"multiples": _ints(r.integers(1, 4, len(s)))}),
    "BROADCAST_TO": partial(_moved, tfl.broadcast_to, lambda r, s: {"shape": [2, *s]}),
    "REVERSE_V2": partial(_moved, tfl.reverse_v2, lambda r, s: {"axis": _run(r, len(s))}),
    "SLICE": partial(_moved, tfl.slice, lambda r, s: _slice(r, np.array(s))),
    "STRIDED_SLICE": strided_slice, "GATHER": gather, "GATHER_ND": gather_nd,
    "SPLIT": partial(parts, "split"), "SPLIT_V": partial(parts, "split_v"),
    "EMBEDDING_LOOKUP": embedding_lookup, "CAST": cast, "SHAPE": shape,
    "UNPACK": partial(parts, "unpack"), "SCATTER_ND": scatter_nd,
    "DYNAMIC_UPDATE_SLICE": dynamic_update_slice,
    "RESIZE_BILINEAR": partial(resize, tfl.resize_bilinear),
    "RESIZE_NEAREST_NEIGHBOR": partial(resize, tfl.resize_nearest_neighbor),
    "SPACE_TO_DEPTH": partial(image, tfl.space_to_depth),
    "DEPTH_TO_SPACE": partial(image, tfl.depth_to_space),
    "SPACE_TO_BATCH_ND": space_to_batch, "BATCH_TO_SPACE_ND": batch_to_space,
}  # fmt: skip
OLDER = "the reference kernels of LiteRT 2.3.0 are registered for older versions only"
KNOWN = {(operator, "tflite_reference"): OLDER for operator in ("TILE", "DEPTH_TO_SPACE")}
"""Pairs of operator and kernel set that do not agree, with the cause."""
