"""Ops that multiply and add: general dot products, convolutions and windows, in XLA's terms."""

import numpy as np

from qir import windows
from qir.attributes import Ints
from qir.errors import require
from qir.roles import free, same
from qir.types import Element, Type

from .dialect import alike, lax, per_axis, plain, positive, wide


@lax.op(grid=free())
def dot_general(
    a: Type,
    b: Type,
    *,
    contract_a: Ints = (),
    contract_b: Ints = (),
    batch_a: Ints = (),
    batch_b: Ints = (),
    to: Element | None = None,
) -> Type:
    """Sum of products over the contracted axes, for each index of the batch axes.

    The result's axes are the batch axes, the rest of a, the rest of b. to: its element type, that
    of a unless given; integers are summed exactly (i32 modulo 2**32).
    """
    plain(a, b)
    for x, axes in ((a, (*contract_a, *batch_a)), (b, (*contract_b, *batch_b))):
        require(len(set(axes)) == len(axes) and all(0 <= i < x.rank for i in axes),
                f"axes {list(axes)} of a rank {x.rank} tensor")  # fmt: skip
    for what, ours, theirs in (("contracted", contract_a, contract_b), ("batch", batch_a, batch_b)):
        require(len(ours) == len(theirs), f"{len(ours)} and {len(theirs)} {what} axes")
        extents = [a.shape[i] for i in ours], [b.shape[i] for i in theirs]
        require(extents[0] == extents[1], f"{what} axes of {a} and {b} differ: {extents}")
    rest = [n for i, n in enumerate(a.shape) if i not in (*contract_a, *batch_a)]
    rest += [n for i, n in enumerate(b.shape) if i not in (*contract_b, *batch_b)]
    return (to or a.element)[(*(a.shape[i] for i in batch_a), *rest)]


@dot_general.means
def _(op, a, b):
    at = op.attributes
    left = _matrices(a, at["batch_a"], at["contract_a"], last=True)
    right = _matrices(b, at["batch_b"], at["contract_b"], last=False)
    if a.dtype.kind in "iu":
        result = windows.integer_matmul(left, right, op.type.dtype.numpy)
    elif a.dtype.kind == "b":
        result = windows.integer_matmul(left.astype(np.int8), right.astype(np.int8)) > 0
    else:
        result = np.matmul(wide(left), wide(right))
    return result.reshape(op.type.shape)


def _matrices(x: np.ndarray, batch, contract, last: bool) -> np.ndarray:
    """x as [batch, rest, contracted], or with the last two the other way round."""
    rest = [i for i in range(x.ndim) if i not in (*batch, *contract)]
    sizes = [int(np.prod([x.shape[i] for i in axes])) for axes in (batch, rest, contract)]
    if last:
        return x.transpose(*batch, *rest, *contract).reshape(sizes)
    return x.transpose(*batch, *contract, *rest).reshape(sizes[0], sizes[2], sizes[1])


@lax.op
def conv_general_dilated(
    x: Type, w: Type, *, strides: Ints, padding: Ints, lhs_dilation: Ints | None = None,
    rhs_dilation: Ints | None = None, groups: int = 1, batch_groups: int = 1,
    lhs_spec: Ints = (0, 3, 1, 2), rhs_spec: Ints = (3, 2, 0, 1), out_spec: Ints = (0, 3, 1, 2),
) -> Type:  # fmt: skip
    """Convolution in any layout, with strides, both dilations and groups (`jax.lax`'s).

    padding: explicit, the lows of all spatial axes, then the highs; negative ones crop.
    lhs_spec, out_spec: which axes are batch, channel and the spatial ones. rhs_spec: which are
    output channel, input channel and the spatial ones. The defaults are NHWC by HWIO.
    """
    plain(x, w)
    alike(x, w)
    require(x.dtype.kind != "bool", f"takes numbers, found {x}")
    require(1 in (groups, batch_groups) and min(groups, batch_groups) > 0,
            f"{groups} groups, and {batch_groups} of the batch")  # fmt: skip
    spatial = x.rank - 2
    lists = {"strides": strides, "lhs_dilation": lhs_dilation, "rhs_dilation": rhs_dilation}
    for name, values in lists.items():
        require(values is None or len(values) == spatial,
                f"{name} needs {spatial} integers, found {list(values or ())}")  # fmt: skip
    require(len(padding) == 2 * spatial,
            f"padding needs {spatial} lows and as many highs, found {list(padding)}")  # fmt: skip
    positive(**lists)
    require(w.rank == x.rank >= 2, f"{w} is no filter for {x}")
    for name, spec in (("lhs_spec", lhs_spec), ("rhs_spec", rhs_spec), ("out_spec", out_spec)):
        require(sorted(spec) == list(range(x.rank)),
                f"{name} names each of {x.rank} axes once, found {list(spec)}")  # fmt: skip
    image = [x.shape[i] for i in lhs_spec]
    outputs, inner, *window = (w.shape[i] for i in rhs_spec)
    require(
        image[1] == inner * groups,
        f"the input has {image[1]} channels, the filter takes {inner} in {groups} groups",
    )
    require(
        outputs % groups == 0 and outputs % batch_groups == 0 and image[0] % batch_groups == 0,
        f"{outputs} output channels in {groups} groups, {batch_groups} of the batch",
    )
    ones = (1,) * spatial
    grown = map(windows.dilated_size, image[2:], lhs_dilation or ones)
    axes = zip(grown, window, strides, _pads(padding), rhs_dilation or ones, strict=True)
    shape = [image[0] // batch_groups, outputs, *(windows.output_size(*axis) for axis in axes)]
    return x.with_shape(shape[out_spec.index(i)] for i in range(x.rank))


def _pads(padding) -> tuple[tuple[int, int], ...]:
    half = len(padding) // 2
    return tuple(zip(padding[:half], padding[half:], strict=True))


@conv_general_dilated.means
def _(op, x, w):
    at = op.attributes
    batch, channel, *space = at["lhs_spec"]
    output, inner, *window = at["rhs_spec"]
    image = wide(x).transpose(batch, *space, channel)
    filters = wide(w).transpose(*window, inner, output)
    image = windows.dilated(image, at["lhs_dilation"] or (1,) * len(space))
    parts, splits = at["batch_groups"], (image, filters)
    pairs = zip(np.split(splits[0], parts, 0), np.split(splits[1], parts, -1), strict=True)
    results = [
        windows.conv2d(a, b, at["strides"], _pads(at["padding"]), at["rhs_dilation"], at["groups"])
        for a, b in pairs
    ]
    y = np.concatenate(results, -1)
    order = [0, y.ndim - 1, *range(1, y.ndim - 1)]
    return y.transpose([order[at["out_spec"].index(i)] for i in range(y.ndim)])


def _reduce_window(name: str, combine, doc: str, extremum: str | None):
    """An op that combines the elements of each window; extremum: where it starts, `lo` or `hi`."""

    def typing(
        x: Type,
        *,
        window: Ints,
        strides: Ints,
        padding: Ints,
        base_dilation: Ints | None = None,
        window_dilation: Ints | None = None,
    ) -> Type:
        if extremum is None:
            plain(x)
            require(x.dtype.kind != "bool", f"takes numbers, found {x}")
        per_axis(x, window=window, strides=strides, base_dilation=base_dilation,
                 window_dilation=window_dilation)  # fmt: skip
        positive(window=window, strides=strides, base_dilation=base_dilation,
                 window_dilation=window_dilation)  # fmt: skip
        require(len(padding) == 2 * x.rank, f"'padding' needs {x.rank} lows and as many highs")
        require(x.grid is None or x.grid.per_tensor, f"compares values of one scale, found {x}")
        ones = (1,) * x.rank
        grown = map(windows.dilated_size, x.shape, base_dilation or ones)
        pads = _pads(padding)
        axes = zip(grown, window, strides, pads, window_dilation or ones, strict=True)
        return x.with_shape(windows.output_size(*axis) for axis in axes)

    def meaning(op, x):
        at, ones = op.attributes, (1,) * x.ndim
        start = 0 if extremum is None else _first(op.type, extremum)
        image = windows.dilated(wide(x)[None, ..., None], at["base_dilation"] or ones, start)
        views = windows.windows(image, at["window"], at["strides"], _pads(at["padding"]), start,
                                at["window_dilation"])[0, ..., 0]  # fmt: skip
        y = np.full(op.type.shape, start, image.dtype)
        for tap in np.ndindex(*at["window"]):
            y = combine(y, views[(..., *tap)])
        return y

    def span(op, x):
        x = x.flat()
        return x.reaching(_first(op.type, extremum)) if _empty_windows(op) else x

    typing.__doc__ = doc
    grid = free() if extremum is None else same()
    op = lax.op(typing, name=name, grid=grid, on_storage=extremum is not None)
    op.means(meaning)
    if extremum is not None:
        op.spans(span)
    return op


def _empty_windows(op) -> bool:
    """Whether a window of the op lies between and beside all elements."""
    at, ones = op.attributes, (1,) * op.type.rank
    axes = zip(op.operands[0].shape, at["window"], at["strides"], _pads(at["padding"]),
               at["base_dilation"] or ones, at["window_dilation"] or ones, strict=True)  # fmt: skip
    for n, size, stride, pad, base, dilation in axes:
        seen = windows.dilated(np.ones((1, n, 1), bool), (base,))
        if not windows.windows(seen, (size,), (stride,), (pad,), False, (dilation,)).any(2).all():
            return True
    return False


def _first(type: Type, extremum: str):
    if type.dtype.kind == "float":
        return -np.inf if extremum == "lo" else np.inf
    return getattr(type, extremum)


_WINDOW = """ of each window, one integer an axis in every attribute.

padding: the lows of all axes, then the highs. window_dilation: the step inside a window;
base_dilation: the step between elements of x."""

reduce_window_sum = _reduce_window("reduce_window_sum", np.add, "Sum" + _WINDOW, None)
reduce_window_max = _reduce_window("reduce_window_max", np.maximum, "Maximum" + _WINDOW, "lo")
reduce_window_min = _reduce_window("reduce_window_min", np.minimum, "Minimum" + _WINDOW, "hi")
