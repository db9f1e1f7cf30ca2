"""Images in other sizes: the nearest pixel, or four of them weighted by their distance."""

import numpy as np

from qir.attributes import Ints
from qir.errors import require
from qir.expansions import expands
from qir.ir import Op, const
from qir.types import DTYPES, Element, Type

from .. import lax
from .dialect import builtin, of_16_bits, on, on_grids, regridded, stored


def _resized(operator: str, options: str, doc: str):
    def typing(x: Type, *, size: Ints, align_corners: bool = False,
               half_pixel_centers: bool = False, to: Element | None = None) -> Type:  # fmt: skip
        require(x.rank == 4 and len(size) == 2 and min(size) > 0 and min(x.shape[1:3]) > 0,
                f"no image {x} comes to the size {list(size)}")  # fmt: skip
        return on(x, (x.shape[0], *size, x.shape[3]), to)

    typing.__doc__ = doc
    return builtin(operator, options, slots="x size")(typing)


resize_nearest_neighbor = _resized(
    "RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions",
    "x[N,H,W,C] in another size: the nearest pixel.")  # fmt: skip
resize_bilinear = _resized(
    "RESIZE_BILINEAR", "ResizeBilinearOptions",
    "x[N,H,W,C] in another size: the four pixels round a place, by their distance to it.")


@expands(resize_nearest_neighbor)
def _(op, kernels, x):
    for axis in (1, 2):
        places = _nearest(x.shape[axis], op.shape[axis], op.attributes)
        x = lax.take(x, const(places.astype(np.int32)), axis=axis)
    return regridded(x, op)


def _nearest(n: int, size: int, options) -> np.ndarray:
    at = np.arange(size, dtype=np.float32) + np.float32(0.5 if options["half_pixel_centers"] else 0)
    at *= _step(n, size, options)
    rounded = np.floor(at + np.float32(0.5)) if options["align_corners"] else np.floor(at)
    return np.clip(rounded, 0, n - 1)


def _step(n: int, size: int, options) -> np.float32:
    """How far apart, in pixels of x, those of the result are."""
    if options["align_corners"] and size > 1:
        return np.float32(n - 1) / np.float32(size - 1)
    return np.float32(n) / np.float32(size)


@expands(resize_bilinear)
def _(op, kernels, x):
    options = op.attributes
    require(not (options["align_corners"] and options["half_pixel_centers"]),
            "corners are aligned, or centers are half pixels, not both")  # fmt: skip
    if not on_grids(op, x):
        require(x.dtype.name == "f32", f"takes f32, or 8 or 16 bits on a grid, found {x.type}")
        return _weighted(x, op, [(_real_places, np.float32(1))] * 2)
    if x.dtype.name == "u8" and kernels != "xnnpack":
        return regridded(lax.convert(_by_four_shares(x, op, kernels), to=Element(x.dtype)), op)
    sixteen = of_16_bits(x.type, op.type)
    require(sixteen or x.dtype.bits == 8, f"computes on 8 or 16 bits, found {x.type}")
    ours = kernels == "xnnpack" and not sixteen
    places, bits = (_places_11, 11) if ours else (_places_10, 10)
    wide = lax.convert(stored(x), to=Element(DTYPES["i64" if sixteen else "i32"]))
    total = _weighted(wide, op, [(places, np.int32(1 << bits))] * 2)
    rounded = (_half_up if ours else _half_away)(total, 2 * bits)
    return regridded(lax.convert(rounded, to=Element(x.dtype)), op)


def _weighted(x: Op, op: Op, axes) -> Op:
    """Along height, then width: the pixels at two places, by weights that add up to a whole."""
    for axis, (places, whole) in zip((1, 2), axes, strict=True):
        low, high, share = places(x.shape[axis], op.shape[axis], op.attributes)
        shape = tuple(len(low) if i == axis else 1 for i in range(4))
        first, second = (lax.mul(lax.take(x, const(at.astype(np.int32)), axis=axis),
                                 const(weight.reshape(shape).astype(x.dtype.numpy)))
                         for at, weight in ((low, whole - share), (high, share)))  # fmt: skip
        x = lax.add(first, second)
    return x


def _by_four_shares(x: Op, op: Op, kernels: str) -> Op:
    """The four pixels of u8 times their shares, in f32, and half a step: the whole part is taken.

    The reference kernel multiplies by the share of the row and that of the column one after the
    other, the builtin one by their product, and they go through the pixels in another order
    (`ResizeBilinear`, `ResizeBilinearGenericSmallChannel`). Products are clamped to what is finite,
    which changes nothing and keeps compilers from adding them unrounded.
    """
    one, reals = np.float32(1), lax.convert(stored(x), to=Element(DTYPES["f32"]))
    sides = []
    for axis in (1, 2):
        low, high, share = _real_places(x.shape[axis], op.shape[axis], op.attributes)
        shape = tuple(len(low) if i == axis else 1 for i in range(4))
        sides.append([(at.astype(np.int32), weight.reshape(shape))
                      for at, weight in ((low, one - share), (high, share))])  # fmt: skip
    corners = [(0, 0), (1, 0), (0, 1), (1, 1)]
    total = None
    for corner in corners if kernels == "tflite_reference" else sorted(corners):
        (rows, down), (columns, across) = (side[i] for side, i in zip(sides, corner, strict=True))
        pixels = lax.take(lax.take(reals, const(rows), axis=1), const(columns), axis=2)
        factors = (down, across) if kernels == "tflite_reference" else (down * across,)
        for factor in factors:
            pixels = _kept_apart(lax.mul(pixels, const(factor)))
        total = pixels if total is None else lax.add(total, pixels)
    return lax.floor(lax.add(total, const(np.float32(0.5))))


def _kept_apart(product: Op) -> Op:
    most = np.finfo(np.float32).max
    return lax.clamp(const(-most), product, const(most))


def _real_places(n: int, size: int, options):
    half = np.float32(0.5 if options["half_pixel_centers"] else 0)
    at = (np.arange(size, dtype=np.float32) + half) * _step(n, size, options) - half
    low = np.maximum(np.floor(at), 0)
    return low, np.minimum(np.ceil(at), n - 1), at - low


def _places_10(n: int, size: int, options):
    """In units of 1/1024 pixel (`ResizeBilinearInteger`)."""
    aligned = options["align_corners"] and size > 1
    n_, size_ = (n - 1, size - 1) if aligned else (n, size)
    step = ((n_ << 10) + size_ // 2) // size_
    at = np.arange(size) * step
    if options["half_pixel_centers"]:
        at += step // 2 - 512
    low = np.maximum(at, 0) >> 10
    high = np.minimum(np.trunc((at + 1023) / 1024), n - 1)
    return low, high, at - (low << 10)


def _places_11(n: int, size: int, options):
    """Places in f32, shares in units of 1/2048 (XNNPACK's `indirection.c`)."""
    step = _step(n, size, options)
    at = np.arange(size, dtype=np.float32) * step
    if options["half_pixel_centers"]:
        at = at + np.float32(np.float32(0.5) * step - np.float32(0.5))
    at = np.clip(at, np.float32(0), np.float32(n - 1))
    low = np.trunc(at)
    return low, np.minimum(low + 1, n - 1), np.rint((at - low) * np.float32(2048)).astype(np.int32)


def _half_away(total: Op, bits: int) -> Op:
    number = total.dtype.numpy.type
    half = lax.mul(lax.sign(total), const(number(1 << (bits - 1))))
    return lax.div(lax.add(total, half), const(number(1 << bits)))


def _half_up(total: Op, bits: int) -> Op:
    """Of sums whose quotient has 8 bits: lifted above zero, where a division rounds down."""
    lift = 1 << (bits + 7)
    lifted = lax.add(total, const(np.int32(lift + (1 << (bits - 1)))))
    return lax.sub(lax.div(lifted, const(np.int32(1 << bits))), const(np.int32(128)))
