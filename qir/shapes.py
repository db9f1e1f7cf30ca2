"""Shape rules that ops of several dialects share: the float op and its integer forms.

Each takes types and attributes, declines with `require`, and gives the shape of the result.
"""

from collections.abc import Sequence

from .errors import require
from .types import LARGEST, Type
from .windows import explicit_padding, output_size

Shape = tuple[int, ...]


def broadcast(*shapes: Shape) -> Shape:
    """The shape operands of these shapes have together, by numpy's rules."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    result = []
    for extents in zip(*padded, strict=True):
        wide = {n for n in extents if n != 1}
        require(len(wide) <= 1, f"shapes {' and '.join(str(list(s)) for s in shapes)} do not "
                                "broadcast")  # fmt: skip
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def is_mask(mask, x) -> None:
    """Require a type of truth values that broadcasts to the type x."""
    require(mask.dtype.kind == "bool", f"a mask holds bool, found {mask}")
    require(broadcast(mask.shape, x.shape) == x.shape, f"the mask {mask} is larger than {x}")


def pads_of(x: Type, window, strides, padding, dilation=(1, 1)):
    """`same`, `valid` or explicit padding of an image as ((top, bottom), (left, right))."""
    return explicit_padding(padding, x.shape[1:-1], window, strides, dilation)


def windowed(x: Type, window, strides, padding, dilation=(1, 1)) -> tuple[int, int]:
    """Output height and width of windows over `x[N,H,W,C]`."""
    require(x.rank == 4, f"expected an image [N,H,W,C], found {x}")
    for name, pair in (("strides", strides), ("dilation", dilation), ("window", window)):
        require(all(n >= 1 for n in pair), f"{name} must be positive, found {list(pair)}")
    pads = pads_of(x, window, strides, padding, dilation)
    height, width = (n + low + high for n, (low, high) in zip(x.shape[1:3], pads, strict=True))
    require(x.shape[0] * height * width * x.shape[3] <= LARGEST,
            f"{x} padded by {pads} has more than {LARGEST:,} elements")  # fmt: skip
    axes = zip(x.shape[1:3], window, strides, pads, dilation, strict=True)
    out = tuple(output_size(n, k, s, p, d) for n, k, s, p, d in axes)
    require(all(n >= 1 for n in out), f"a window of {list(window)} does not fit into "
                                      f"{list(x.shape[1:3])} padded by {pads}")  # fmt: skip
    return out


def conv2d(x: Type, w: Type, strides, padding, dilation, groups: int) -> Shape:
    """`x[N,H,W,C]` by `w[KH,KW,C/groups,O]`."""
    require(w.rank == 4, f"expected a filter [KH,KW,C/groups,O], found {w}")
    height, width = windowed(x, w.shape[:2], strides, padding, dilation)
    require(groups >= 1 and x.shape[3] == w.shape[2] * groups,
            f"the input has {x.shape[3]} channels, the filter takes {w.shape[2]} in each of "
            f"{groups} groups")  # fmt: skip
    require(w.shape[3] % groups == 0, f"{w.shape[3]} output channels in {groups} groups")
    return (x.shape[0], height, width, w.shape[3])


def depthwise_conv2d(x: Type, w: Type, strides, padding, dilation) -> Shape:
    """`x[N,H,W,C]` by `w[KH,KW,C,M]`."""
    require(w.rank == 4, f"expected a filter [KH,KW,C,M], found {w}")
    height, width = windowed(x, w.shape[:2], strides, padding, dilation)
    require(x.shape[3] == w.shape[2],
            f"the input has {x.shape[3]} channels, the filter {w.shape[2]}")  # fmt: skip
    return (x.shape[0], height, width, w.shape[2] * w.shape[3])


def transposed_crops(x: Type, w: Type, strides, padding):
    """What is cropped off the full transposed convolution, ((top, bottom), (left, right)).

    `same` leaves H * stride rows, as the gradient of a SAME convolution does.
    """
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding != "same":
        return tuple(tuple(pair) for pair in padding)
    totals = [max(0, k - s) for k, s in zip(w.shape[:2], strides, strict=True)]
    grown = [max(0, s - k) for k, s in zip(w.shape[:2], strides, strict=True)]
    return tuple((t // 2, t - t // 2 - g) for t, g in zip(totals, grown, strict=True))


def transposed_conv2d(x: Type, w: Type, strides, padding) -> Shape:
    """`x[N,H,W,C]` by `w[KH,KW,C,O]`."""
    require(x.rank == 4 and w.rank == 4, f"expected [N,H,W,C] by [KH,KW,C,O], found {x} by {w}")
    require(x.shape[3] == w.shape[2],
            f"the input has {x.shape[3]} channels, the filter takes {w.shape[2]}")  # fmt: skip
    require(all(s >= 1 for s in strides), f"strides must be positive, found {list(strides)}")
    crops = transposed_crops(x, w, strides, padding)
    axes = zip(x.shape[1:3], w.shape[:2], strides, crops, strict=True)
    out = tuple((n - 1) * s + k - sum(crop) for n, k, s, crop in axes)
    require(all(n >= 1 for n in out), f"cropping {crops} leaves nothing")
    return (x.shape[0], *out, w.shape[3])


def dense(x: Type, w: Type) -> Shape:
    """`x[...,K]` by `w[K,N]`."""
    require(x.rank >= 1 and w.rank == 2, f"expected [...,K] by [K,N], found {x} by {w}")
    require(x.shape[-1] == w.shape[0],
            f"the input has {x.shape[-1]} features, the weight takes {w.shape[0]}")  # fmt: skip
    return (*x.shape[:-1], w.shape[1])


def matmul(a: Type, b: Type, adjoint_a: bool, adjoint_b: bool) -> Shape:
    """`a[...,M,K]` by `b[...,K,N]`, each transposed in its last two axes on demand."""
    require(a.rank >= 2 and a.rank == b.rank, f"expected two batches of matrices, found {a} by {b}")
    require(a.shape[:-2] == b.shape[:-2], f"the batches of {a} and {b} differ")
    rows, inner = a.shape[-2:][::-1] if adjoint_a else a.shape[-2:]
    depth, columns = b.shape[-2:][::-1] if adjoint_b else b.shape[-2:]
    require(inner == depth, f"{inner} columns meet {depth} rows")
    return (*a.shape[:-2], rows, columns)


def reduced(x: Type, axes, keepdims: bool) -> Shape:
    """What is left of x when `axes` are reduced."""
    require(len(set(axes)) == len(axes) and all(-x.rank <= a < x.rank for a in axes),
            f"axes {list(axes)} of a rank {x.rank} tensor")  # fmt: skip
    gone = {a % x.rank for a in axes}
    kept = [(1 if i in gone else n) for i, n in enumerate(x.shape) if keepdims or i not in gone]
    return tuple(kept)


def open_shape(source: Shape, shape: Shape) -> tuple[int, ...]:
    """The `shape` attribute of a reshape from `source`, with -1 where the leading extent lands.

    So written, it is inferred anew when the batch changes. Extents of 1 in front of it stay; where
    the leading extent neither divides nor is divided, all extents are fixed.
    """
    at = 0
    if source and source[0] != 1:
        at = next((i for i, n in enumerate(shape) if n != 1), 0)
    if not source or not shape or 0 in (source[0], *shape):
        return tuple(shape)
    if max(shape[at], source[0]) % min(shape[at], source[0]):
        return tuple(shape)
    return (*shape[:at], -1, *shape[at + 1 :])


def open_batch(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape whose first extent follows from the others, so that another batch may come."""
    return (-1, *shape[1:]) if shape and all(shape[1:]) else tuple(shape)


def open_ends(shape: Sequence[int], ends: Sequence[int]) -> tuple[int, ...]:
    """The ends of a slice, -1 for the batch where it is taken to its end."""
    return (-1, *ends[1:]) if ends and ends[0] == shape[0] else tuple(ends)
