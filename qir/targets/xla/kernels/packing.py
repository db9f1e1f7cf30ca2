"""Constants of the kernels, rearranged once ahead of time: numpy alone.

Filters come as HWIO with zero point 0. A zero point moves into the bias: with it in the padding,
sum((x - zero) * w) = sum(x * w) - zero * sum(w), and the last term is a constant of each output
channel.
"""

import numpy as np

from .geometry import Pair

Array = np.ndarray


def fold_zero_point(bias: Array, w: Array, zero: int) -> Array:
    """The bias i32[N] with which `sum(x * w) + bias` is the sum over `x - zero`; `w[...,N]`."""
    taps = w.reshape(-1, w.shape[-1]).astype(np.int64).sum(0)
    return (bias.astype(np.int64) - zero * taps).astype(np.int32)


def as_rows(w: Array) -> Array:
    """A filter [...,N] as the [N,K] operand of a dot, K in the order of the leading axes."""
    return np.ascontiguousarray(w.reshape(-1, w.shape[-1]).T)


def pack_row_windows(w: Array, strides: Pair) -> Array:
    """A filter HWIO as [N,K] for `conv_row_windows`: its width filled up to whole strides."""
    return as_rows(_filled(w, (1, strides[1])))


def pack_space_to_depth(w: Array, strides: Pair) -> Array:
    """A filter HWIO as one over blocks of `strides` pixels, [KH',KW',blocks*I,O]."""
    blocks = _blocks(w, strides).transpose(0, 2, 1, 3, 4, 5)
    return np.ascontiguousarray(blocks.reshape(*blocks.shape[:2], -1, w.shape[3]))


def pack_grouped(w: Array, groups: int, merge: int) -> Array:
    """A filter [KH,KW,C/groups,O] as [G,O/G,K], G = groups/merge, zeros between merged groups."""
    kh, kw, inputs, outputs = w.shape
    each, count = outputs // groups, groups // merge
    split = w.reshape(kh * kw, inputs, count, merge, each)
    packed = np.zeros((count, merge, each, kh * kw, merge, inputs), w.dtype)
    for member in range(merge):
        packed[:, member, :, :, member] = split[:, :, :, member].transpose(2, 3, 0, 1)
    return packed.reshape(count, merge * each, kh * kw * merge * inputs)


def as_one_group(w: Array, groups: int) -> Array:
    """A filter [KH,KW,C/groups,O] as [KH,KW,C,O], zeros between groups."""
    if groups == 1:
        return w
    kh, kw, inputs, outputs = w.shape
    (rows,) = pack_grouped(w, groups, groups)
    return rows.T.reshape(kh, kw, groups * inputs, outputs)


def pack_transposed(w: Array, bias: Array, strides: Pair, zero: int) -> tuple[Array, Array]:
    """Weights [SH*SW*O,K] and biases i32[SH*SW*O] of the phases of a transposed convolution.

    Row t * SH + r of the full result reads rows t - a of the input through rows a * SH + r of the
    filter: each phase (r, q) is an ordinary convolution of stride 1, all of them over the same
    windows, so together they are one dot. `bias` is without the zero point.
    """
    phases = _blocks(w, strides)[::-1, :, ::-1].transpose(0, 2, 4, 1, 3, 5)
    phases = phases.reshape(*phases.shape[:3], -1)
    return as_rows(phases), fold_zero_point(np.tile(bias, strides[0] * strides[1]), phases, zero)


def _filled(w: Array, multiple: Pair) -> Array:
    """A filter with zeros after its rows and columns, up to a multiple of both."""
    grow = [(0, -n % m) for n, m in zip(w.shape[:2], multiple, strict=True)]
    return np.pad(w, [*grow, (0, 0), (0, 0)])


def _blocks(w: Array, strides: Pair) -> Array:
    """A filter as [KH',SH,KW',SW,I,O]."""
    (sh, sw), filled = strides, _filled(w, strides)
    kh, kw, inputs, outputs = filled.shape
    return filled.reshape(kh // sh, sh, kw // sw, sw, inputs, outputs)
