"""Which measured kernel an integer op takes on XLA, by its shapes alone; imports no jax.

`benchmarks/kernels.py` prints the figures behind the thresholds. They come from two machines, both
with two cores and jax 0.10.2: A has AMX int8 and AVX-512 VNNI, B has AVX-512 VNNI only. In ms, at
batch 1; B did other work at times, so ratios below 1.2 say nothing; `-` was not measured:

| case                       | takes          | A    | B    | instead of                           |
|----------------------------|----------------|------|------|--------------------------------------|
| dot 2x2048 by 2048x1000    | nk             | -    | 0.05 | kn: B 0.23                           |
| dot 49x2048 by 2048x512    | nk             | -    | 0.21 | kn: B 0.21                           |
| dot 784x128 by 128x512     | kn             | -    | 0.18 | nk: B 0.18                           |
| 3x3, 56x56x64 -> 64        | same           | -    | 0.73 | valid: A twice, B .76; slices: B .93 |
| 3x3, 14x14x256 -> 256      | slices         | -    | 0.66 | same: B 0.94                         |
| 3x3, 7x7x512 -> 512        | slices, nk     | 0.34 | 0.82 | valid: A 0.78, B 1.18; kn: B 1.07    |
| 3x3/2, 56x56x128 -> 128    | valid          | -    | 0.75 | slices: B 0.82                       |
| 3x3, 56x56x16 -> 16        | slices         | -    | 0.20 | valid: B 1.27                        |
| 3x3, 56x56x16 -> 24        | same           | -    | 0.14 | slices: B 0.21                       |
| 7x7/2, 224x224x3 -> 64     | space_to_depth | 0.82 | 1.21 | row_windows: B 1.28; valid: 7.9, 7.3 |
| 3x3/2, 224x224x3 -> 32     | row_windows    | 0.21 | 0.28 | valid: A 2.44, B 1.34                |
| 16x16/16, 224x224x3 -> 768 | row_windows    | -    | 0.72 | space_to_depth: B 0.86; valid: B 4.6 |
| 3x3, 56x56x128, 32 groups  | grouped        | -    | 0.88 | XLA's own: B 4.5                     |
| 3x3, 14x14x512, 32 groups  | grouped        | -    | 0.28 | XLA's own: B 0.43                    |
| 3x3, 56x56x64, 4 groups    | same, filled   | 0.30 | -    | grouped: A 0.93                      |
| 3x3, 56x56x64, 32 groups   | same, filled   | 0.30 | -    | grouped: A 0.93                      |
| 3x3, 56x56x33, 3 groups    | same, filled   | 0.19 | -    | grouped: A 0.45                      |
| 3x3, 14x14x384 depthwise   | depthwise      | 0.1  | 0.03 | XLA's own: A 1-3.3, B 1.6            |

Without AMX the candidates for a wide convolution lie within a third of each other; where the two
machines differ, the rules follow A.
"""

from collections.abc import Sequence

from ...windows import Pads, output_size

NK_ROWS = 400
"""Up to so many rows a dot runs faster with its weights stored [N,K]."""

SLICES_HEIGHT = 14
"""Up to this output height the copies that im2col makes cost less than they save."""

NARROW = 16
"""With no more channels on either side, XLA's own int8 convolution is a scalar loop."""

STEM_CHANNELS = 16
"""With fewer, and not a multiple of 4, pixels are read several at a time."""

GROUP_CHANNELS = 16
"""Groups with fewer input channels are computed several at a time."""

FILLED_GROUPS, FILLED_CHANNELS = 4, 64
"""Up to so many groups, or channels on either side, zeros between the groups cost less than a dot
of each: the convolution is computed as one of a single group."""


LAYOUTS = ("nk", "kn")


def possible_convs(x_shape, w_shape, strides, dilation, groups, pads) -> tuple[str, ...]:
    """The kernels that are exact for a convolution, the one that `choose_conv` names first."""
    chosen = choose_conv(x_shape, w_shape, strides, dilation, groups, pads)
    if chosen == "depthwise":
        return (chosen,)
    chosen = "slices" if chosen == "pointwise" else chosen
    undilated = tuple(dilation) == (1, 1)
    names = ["valid", "slices", *(["same"] if tuple(strides) == (1, 1) else []),
             *(["row_windows", "space_to_depth"] if undilated else []),
             *(["grouped"] if groups > 1 else [])]  # fmt: skip
    return (chosen, *(name for name in names if name != chosen))


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
    convolution. All but the first two fill the weights up to those of one group.
    """
    kernel, channels, outputs = tuple(w_shape[:2]), x_shape[3], w_shape[3]
    if groups == channels > 1:
        return "depthwise"
    if groups > FILLED_GROUPS and max(channels, outputs) > FILLED_CHANNELS:
        return "grouped"
    if kernel == (1, 1):
        return "pointwise"
    undilated = tuple(dilation) == (1, 1)
    if undilated and channels < STEM_CHANNELS and channels % 4:
        overlapping = all(k > 2 * s > 2 for k, s in zip(kernel, strides, strict=True))
        return "space_to_depth" if overlapping and outputs > NARROW else "row_windows"
    height = output_size(x_shape[1], kernel[0], strides[0], pads[0], dilation[0])
    if height <= SLICES_HEIGHT or max(channels, outputs) <= NARROW:
        return "slices"
    adjacent = undilated and tuple(strides) == (1, 1) and max(kernel) <= 3
    return "same" if adjacent else "valid"


def merged_groups(channels: int, groups: int) -> int:
    """How many groups of a convolution are computed as one, with zeros between them.

    The least divisor of `groups` that makes GROUP_CHANNELS input channels, else all of them.
    """
    each = channels // groups
    divisors = (m for m in range(1, groups + 1) if groups % m == 0)
    return next(m for m in divisors if m * each >= min(GROUP_CHANNELS, channels))
