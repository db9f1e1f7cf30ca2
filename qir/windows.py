"""Sliding windows in numpy: padding arithmetic, convolutions and the views that pooling reads.

Layouts are `[N, *spatial, C]` for values and `[*window, C/groups, O]` for filters; two spatial axes
are what names and docstrings speak of, any number works alike. Integer convolutions are exact: they
run through floating-point BLAS (numpy's integer matmul is about 50 times slower) in the narrowest
float that holds every partial sum, and in int64 where none does.
"""

import numpy as np

CHUNK = 1 << 24
"""Elements of the window matrix that are in memory at a time."""

Pads = tuple[tuple[int, int], ...]


def output_size(size: int, kernel: int, stride: int, pad: tuple[int, int], dilation: int) -> int:
    """How many windows fit along one axis of `size` elements padded by `pad` = (low, high)."""
    return max(0, (size + sum(pad) - (kernel - 1) * dilation - 1) // stride + 1)


def dilated_size(size: int, dilation: int) -> int:
    """The extent of `size` elements with dilation - 1 others between them; of none it is none."""
    return max(0, (size - 1) * dilation + 1)


def explicit_padding(padding, size, kernel, strides, dilation) -> Pads:
    """`same`, `valid` or explicit padding as ((top, bottom), (left, right)).

    size, kernel, strides, dilation: one integer a spatial axis. `same` gives ceil(size / stride)
    outputs and puts an odd row at the end, as XLA and TensorFlow do.
    """
    if padding == "valid":
        return tuple((0, 0) for _ in size)
    if padding != "same":
        return tuple((int(low), int(high)) for low, high in padding)
    pads = []
    for n, k, s, d in zip(size, kernel, strides, dilation, strict=True):
        total = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def shortest_padding(pads: Pads, size, kernel, strides, dilation):
    """`valid` or `same` where these explicit pads are what it means, else the pads themselves."""
    for name in ("valid", "same"):
        if explicit_padding(name, size, kernel, strides, dilation) == tuple(pads):
            return name
    return tuple(pads)


def padded(x: np.ndarray, pads: Pads, value=0) -> np.ndarray:
    """`x[N, *spatial, C]` with its spatial axes padded by `value`; a negative pad crops."""
    if not any(any(pair) for pair in pads):
        return x
    grow = [(max(0, low), max(0, high)) for low, high in pads]
    if any(any(pair) for pair in grow):
        x = np.pad(x, [(0, 0), *grow, (0, 0)], constant_values=value)
    ends = zip(pads, x.shape[1:-1], strict=True)
    crop = tuple(slice(max(0, -low), n - max(0, -high)) for (low, high), n in ends)
    return x[(slice(None), *crop)]


def windows(x, window, strides, pads, pad_value=0, dilation=None) -> np.ndarray:
    """Every window of `x[N,H,W,C]` as a read-only view `[N,OH,OW,KH,KW,C]`."""
    rank = len(window)
    dilation = dilation or (1,) * rank
    x = padded(x, pads, pad_value)
    axes = list(zip(x.shape[1:-1], window, strides, dilation, strict=True))
    out = tuple(output_size(n, k, s, (0, 0), d) for n, k, s, d in axes)
    steps = x.strides[1:-1]
    return np.lib.stride_tricks.as_strided(
        x,
        (x.shape[0], *out, *window, x.shape[-1]),
        (
            x.strides[0],
            *(step * s if n > 1 else 0 for step, s, n in zip(steps, strides, out, strict=True)),
            *(step * d if k > 1 else 0 for step, d, k in zip(steps, dilation, window, strict=True)),
            x.strides[-1],
        ),
        writeable=False,
    )


def conv2d(x, w, strides, pads, dilation=None, groups=1, pad_value=0, accumulator=None):
    """2-D convolution of `x[N,H,W,C]` by `w[KH,KW,C/groups,O]` as [N,OH,OW,O].

    pads: explicit, filled with `pad_value`. Floats give f32 (f64 stays f64), integers the exact sum
    as int32 (modulo 2**32) or as the integer dtype `accumulator`.
    """
    window, (inner, outputs) = w.shape[:-2], w.shape[-2:]
    if inner == 1 and groups > 1:
        taps = w.reshape(*window, groups, outputs // groups)
        return depthwise_conv2d(x, taps, strides, pads, dilation, pad_value, accumulator)
    work, result = _arithmetic(x, w, pad_value, accumulator)
    x, w = x.astype(work, copy=False), w.astype(work, copy=False)
    views = windows(x, window, strides, pads, pad_value, dilation)
    out = views.shape[1 : 1 + len(window)]
    depth = int(np.prod(window)) * inner
    matrix = w.reshape(int(np.prod(window)), inner, groups, outputs // groups)
    matrix = np.moveaxis(matrix, 2, 0).reshape(groups, depth, outputs // groups)
    y = np.empty((x.shape[0], *out, outputs), result)
    per_image = max(1, int(np.prod(out)) * depth * groups)
    step = max(1, CHUNK // per_image)
    for start in range(0, x.shape[0], step):
        part = _columns(views[start : start + step], len(window), groups)
        product = np.matmul(part, matrix) if groups > 1 else part[0] @ matrix[0]
        product = np.moveaxis(product, 0, 1) if groups > 1 else product
        rows = y[start : start + step]
        rows[...] = _as(product, result).reshape(rows.shape)
    return y


def depthwise_conv2d(x, w, strides, pads, dilation=None, pad_value=0, accumulator=None):
    """Each channel of `x[N,H,W,C]` by its own `w[KH,KW,C,M]` as [N,OH,OW,C*M]; channel c*M+m.

    Result dtypes as of `conv2d`; integer sums are taken modulo 2**bits of the accumulator.
    """
    window, (channels, multiplier) = w.shape[:-2], w.shape[-2:]
    work = _result_dtype(x, accumulator)
    views = windows(x, window, strides, pads, pad_value, dilation)
    shape = views.shape[: 1 + len(window)]
    y = np.zeros((*shape, channels, multiplier), work)
    lead = (slice(None),) * (1 + len(window))
    for tap in np.ndindex(*window):
        y += views[(*lead, *tap)][..., None].astype(work, copy=False) * w[tap].astype(work)
    return y.reshape(*shape, channels * multiplier)


def transposed_conv2d(x, w, strides, pads, accumulator=None):
    """The gradient of a convolution: `x[N,H,W,C]` by `w[KH,KW,C,O]` as [N,OH,OW,O].

    Input (i, j) adds x[i, j] @ w[k, l] to output (i * stride + k, j * stride + l) of the full
    result of (H - 1) * stride + KH rows; `pads` are cropped off it (negative ones append zeros).
    """
    window, outputs, spatial = w.shape[:-2], w.shape[-1], x.shape[1:-1]
    work, result = _arithmetic(x, w, 0, accumulator)
    full = tuple((n - 1) * s + k for n, s, k in zip(spatial, strides, window, strict=True))
    extent = tuple(
        max(f, n * s + k - 1) for f, n, s, k in zip(full, spatial, strides, window, strict=True)
    )
    y = np.zeros((x.shape[0], *extent, outputs), result)
    flat = x.astype(work, copy=False).reshape(-1, x.shape[-1])
    for tap in np.ndindex(*window):
        part = _as(flat @ w[tap].astype(work), result).reshape(x.shape[0], *spatial, outputs)
        at = zip(tap, spatial, strides, strict=True)
        y[(slice(None), *(slice(k, k + n * s, s) for k, n, s in at))] += part
    y = y[(slice(None), *(slice(0, f) for f in full))]
    return padded(y, tuple((-low, -high) for low, high in pads))


def dilated(x: np.ndarray, dilation, value=0) -> np.ndarray:
    """`x[N,H,W,C]` with dilation - 1 rows and columns of `value` between its own."""
    if all(d == 1 for d in dilation):
        return x
    inner = tuple(map(dilated_size, x.shape[1:-1], dilation))
    y = np.full((x.shape[0], *inner, x.shape[-1]), value, x.dtype)
    y[(slice(None), *(slice(None, None, d) for d in dilation))] = x
    return y


def integer_matmul(a: np.ndarray, b: np.ndarray, accumulator=None) -> np.ndarray:
    """`a[...,M,K] @ b[...,K,N]` of integers, exact, as int32 (modulo 2**32) or `accumulator`."""
    work, result = _arithmetic(a, b, 0, accumulator, depth=a.shape[-1])
    return _as(np.matmul(a.astype(work, copy=False), b.astype(work, copy=False)), result)


def _columns(views: np.ndarray, rank: int, groups: int) -> np.ndarray:
    """Windows `[N, *out, *window, C]` as matrices [groups, rows, window * C / groups]."""
    rows, channels = int(np.prod(views.shape[: 1 + rank])), views.shape[-1]
    area = int(np.prod(views.shape[1 + rank : -1]))  # spelled out, as there may be no rows
    if groups == 1:
        return views.reshape(1, rows, area * channels)
    split = views.reshape(rows, area, groups, channels // groups)
    return np.moveaxis(split, 2, 0).reshape(groups, rows, area * (channels // groups))


def _result_dtype(x: np.ndarray, accumulator) -> np.dtype:
    if x.dtype.kind in "iu":
        return np.dtype(accumulator or np.int32)
    return np.dtype(np.float64 if x.dtype == np.float64 else np.float32)


def _arithmetic(x, w, pad_value, accumulator, depth: int | None = None):
    """The dtype to multiply in, in which every partial sum is exact, and that of the result."""
    result = _result_dtype(x, accumulator)
    if result.kind == "f":
        return result, result
    depth = int(np.prod(w.shape[:-1])) if depth is None else depth
    bound = max(_magnitude(x), abs(int(pad_value))) * _magnitude(w) * depth
    if bound < 1 << 24:
        return np.dtype(np.float32), result
    return np.dtype(np.float64 if bound < 1 << 53 else np.int64), result


def _magnitude(x: np.ndarray) -> int:
    return max(-int(x.min()), int(x.max()), 0) if x.size else 0


def _as(product: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A product in the result's dtype; float to int32 goes through int64, which wraps."""
    if dtype.kind != "f" and product.dtype.kind == "f":
        product = product.astype(np.int64)
    return product.astype(dtype, copy=False)
