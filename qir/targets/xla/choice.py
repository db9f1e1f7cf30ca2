"""Which measured kernel an integer op takes on XLA, by its shapes alone; imports no jax.

`benchmarks/kernels.py` prints the figures behind the thresholds. They come from two machines, both
with two cores and jax 0.10.2: A has AMX int8 and AVX-512 VNNI, B has AVX-512 VNNI only. In ms, at
batch 1:

TABLE
"""

from collections.abc import Sequence

from ...windows import Pads, output_size

NK_ROWS = 400
"""Up to so many rows a dot runs faster with its weights stored [N,K]; with more, [K,N] is as
fast."""

SLICES_HEIGHT = 14
"""Up to this output height the copies that im2col makes cost less than they save."""

FEW_CHANNELS = 32
"""With fewer input channels a direct convolution starves."""

STEM_CHANNELS = 16
"""With fewer, and not a multiple of 4, pixels are read several at a time."""

GROUP_CHANNELS = 16
"""Groups with fewer input channels are computed several at a time."""


def choose_dot(rows: int) -> str:
    """How a dot of [rows,K] stores its constant weights: `nk` or `kn`."""
    return "nk" if rows <= NK_ROWS else "kn"


def choose_conv(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    strides: Sequence[int] = (1, 1),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    pads: Pads = ((0, 0), (0, 0)),
) -> str:
    """The kernel for a convolution of `x[N,H,W,C]` by `w[KH,KW,C/groups,O]`.

    One of `depthwise`, `grouped`, `pointwise`, `space_to_depth`, `row_windows`, `slices`, `same`
    and `valid`. Each is exact wherever it is returned; `slices` and `valid` are exact for any
    convolution of one group.
    """
    kernel, channels = tuple(w_shape[:2]), x_shape[3]
    if groups > 1:
        return "depthwise" if groups == channels else "grouped"
    if kernel == (1, 1):
        return "pointwise"
    dense = tuple(dilation) == (1, 1)
    if dense and channels < STEM_CHANNELS and channels % 4:
        return _choose_stem(kernel, strides)
    height = output_size(x_shape[1], kernel[0], strides[0], pads[0], dilation[0])
    if height <= SLICES_HEIGHT or channels < FEW_CHANNELS:
        return "slices"
    return "same" if dense and tuple(strides) == (1, 1) and max(kernel) <= 3 else "valid"


def _choose_stem(kernel: tuple[int, int], strides: Sequence[int]) -> str:
    overlapping = all(k > 2 * s for k, s in zip(kernel, strides, strict=True))
    return "space_to_depth" if min(strides) > 1 and overlapping else "row_windows"


def merged_groups(channels: int, groups: int) -> int:
    """How many groups of a convolution are computed as one, with zeros between them.

    The least divisor of `groups` that makes GROUP_CHANNELS input channels, else all of them.
    """
    each = channels // groups
    divisors = (m for m in range(1, groups + 1) if groups % m == 0)
    return next(m for m in divisors if m * each >= min(GROUP_CHANNELS, channels))
