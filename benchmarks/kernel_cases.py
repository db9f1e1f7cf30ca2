"""What `benchmarks.kernels` times: for each shape, the ways to compute the same."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import kernel_shapes as shapes
from qir.rounding import derive
from qir.targets.xla import choice, rescale
from qir.targets.xla.kernels import dot, norm, packing, pool, reduce, softmax, table
from qir.targets.xla.kernels.convolutions import CONVOLUTIONS
from qir.targets.xla.kernels.geometry import Geometry
from qir.targets.xla.kernels.transposed import conv_transposed
from qir.windows import explicit_padding


@dataclass(frozen=True)
class Case:
    """Ways to compute the same from the same arguments. work: operations or elements a call."""

    name: str
    arguments: tuple
    candidates: dict[str, Callable]
    chosen: str
    work: int


def int8(*shape, low=-128):
    """Random stored values."""
    return np.random.default_rng(shape).integers(low, 128, shape).astype(np.int8)


def filters(*shape):
    """Random weights, narrow."""
    return int8(*shape, low=-127)


def requantized(channels: int) -> Callable:
    """An epilogue from accumulators to i8, a scale for each channel."""
    numbers = derive("f32_half_even", np.linspace(1e-3, 2e-3, channels))
    return lambda acc: rescale.requantize(numbers, acc, -3, -128, 127).astype(jnp.int8)


def conv(batch, size, channels, outputs, window, stride=1, dilation=1, groups=1) -> Case:
    """A SAME convolution by every kernel that fits it."""
    pair = ((size,) * 2, (window,) * 2, (stride,) * 2, (dilation,) * 2)
    pads = explicit_padding("same", *pair)
    geometry = Geometry(pair[1], pair[2], pads, pair[3], groups, zero=5)
    x, w = int8(batch, size, size, channels), filters(window, window, channels // groups, outputs)
    bias, epilogue = np.zeros(outputs, np.int32), requantized(outputs)
    chosen = choice.choose_conv(x.shape, w.shape, pair[2], pair[3], groups, pads)

    def runs(name):
        kernel = CONVOLUTIONS[name]
        packed = kernel.pack(w, geometry)
        return lambda x: kernel.run(x, packed, bias, geometry, epilogue)

    def grouped_by_xla(x):
        padded = lax.pad(x, np.int8(5), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)))
        return epilogue(lax.conv_general_dilated(
            padded, w, pair[2], "VALID", rhs_dilation=pair[3], feature_group_count=groups,
            dimension_numbers=("NHWC", "HWIO", "NHWC"), preferred_element_type=jnp.int32,
        ))  # fmt: skip

    if groups > 1:
        names = choice.possible_convs(x.shape, w.shape, pair[2], pair[3], groups, pads)
        candidates = {**{name: runs(name) for name in names}, "xla": grouped_by_xla}
    else:
        candidates = {name: runs(name) for name in _fitting(channels, window, stride, dilation)}
    step = f"/{stride}" * (stride > 1) + f" dilated {dilation}" * (dilation > 1)
    name = f"{batch}x{size}x{size}x{channels} -> {outputs}, {window}x{window}{step}"
    name += f", {groups} groups" * (groups > 1)
    height = -(-size // stride)
    work = 2 * batch * height**2 * outputs * window**2 * channels // groups
    return Case(name, (x,), candidates, chosen, work)


def _fitting(channels, window, stride, dilation) -> list[str]:
    if window == 1:
        return ["pointwise", "valid"]
    names = ["valid", "slices"] + ["same"] * (stride == 1)
    return names + ["row_windows", "space_to_depth"] * (channels < 16 and dilation == 1)


def dense(rows, depth, outputs) -> Case:
    """A dense layer with its weights in either order."""
    x, w, bias = int8(rows, depth), filters(depth, outputs), np.zeros(outputs, np.int32)
    weights = {"nk": packing.as_rows(w), "kn": w}
    epilogue = requantized(outputs)

    def runs(layout):
        return lambda x: dot.dense(x, weights[layout], bias, layout=layout, epilogue=epilogue)

    candidates = {layout: runs(layout) for layout in weights}
    if rows == 1:
        candidates["one row"] = lambda x: epilogue(lax.dot_general(
            x, weights["nk"], (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32
        ) + bias)  # fmt: skip
    name = f"{rows}x{depth} by {depth}x{outputs}"
    return Case(name, (x,), candidates, choice.choose_dot(rows), 2 * rows * depth * outputs)


def attention(batch, rows, columns, depth, adjoint) -> Case:
    """A product of two activations: sums of rows and columns, or zero points taken off first."""
    a = int8(batch, rows, depth)
    b = int8(batch, columns, depth) if adjoint else int8(batch, depth, columns)
    epilogue = requantized(columns)
    numbers = (((2,), (2 if adjoint else 1,)), ((0,), (0,)))

    def kernel(a, b):
        axes = (0, 2, 1) if adjoint else None
        return dot.batch_dot(a, b, a_zero=3, b_zero=-7, b_axes=axes, epilogue=epilogue)

    def centred(a, b):
        left, right = a.astype(jnp.int16) - 3, b.astype(jnp.int16) + 7
        return epilogue(lax.dot_general(left, right, numbers, preferred_element_type=jnp.int32))

    name = f"{batch}x{rows}x{depth} by {'transposed ' * adjoint}{depth}x{columns}"
    candidates = {"sums": kernel, "centred": centred}
    return Case(name, (a, b), candidates, "sums", 2 * batch * rows * columns * depth)


def transposed(size, channels, outputs, window, stride) -> Case:
    """A transposed convolution by phases, or with zeros between the input's elements."""
    x, w, epilogue = (
        int8(1, size, size, channels),
        filters(window, window, channels, outputs),
        requantized(outputs),
    )
    packed, bias = packing.pack_transposed(w, np.zeros(outputs, np.int32), (stride,) * 2, 5)

    def phases(x):
        return conv_transposed(x, packed, bias, window=(window,) * 2, strides=(stride,) * 2,
                               crops=((0, 0), (0, 0)), zero=5, epilogue=epilogue)  # fmt: skip

    def dilated(x):
        return epilogue(lax.conv_general_dilated(
            x.astype(jnp.int32) - 5, w[::-1, ::-1].astype(np.int32), (1, 1),
            ((window - 1,) * 2,) * 2, lhs_dilation=(stride,) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        ))  # fmt: skip

    name = f"{size}x{size}x{channels} -> {outputs}, {window}x{window}/{stride}"
    work = 2 * size**2 * channels * outputs * window**2
    return Case(name, (x,), {"phases": phases, "xla": dilated}, "phases", work)


def max_pool(size, channels, window, stride) -> Case:
    """Max pools by slices and by XLA's reduce_window."""
    geometry = Geometry((window,) * 2, (stride,) * 2)

    def by_xla(x):
        shape, steps = (1, window, window, 1), (1, stride, stride, 1)
        return lax.reduce_window(x, np.int8(-128), lax.max, shape, steps, "VALID")

    x = int8(1, size, size, channels)
    candidates = {"slices": lambda x: pool.max_pool(x, geometry), "xla": by_xla}
    name = f"{size}x{size}x{channels}, {window}x{window}/{stride}"
    return Case(name, (x,), candidates, "slices", x.size)


def average_pool(size, channels, window, stride) -> Case:
    """Average pools by slices and a product, and by XLA's reduce_window and division."""
    geometry = Geometry((window,) * 2, (stride,) * 2)

    def by_xla(x):
        shape, steps = (1, window, window, 1), (1, stride, stride, 1)
        wide = x.astype(jnp.int32)
        total = lax.reduce_window(wide, np.int32(0), lax.add, shape, steps, "VALID")
        half = window**2 // 2
        return lax.div(total + jnp.where(total > 0, half, -half), window**2).astype(jnp.int8)

    x = int8(1, size, size, channels)
    candidates = {"slices": lambda x: pool.average_pool(x, geometry), "xla": by_xla}
    name = f"{size}x{size}x{channels}, {window}x{window}/{stride}"
    return Case(name, (x,), candidates, "slices", x.size)


def sums(shape, axes) -> Case:
    """Sums of int8 as dots with ones, and by XLA's reduction."""
    candidates = {
        "ones": lambda x: reduce.sum_axes(x, axes),
        "xla": lambda x: jnp.sum(x, axes, dtype=jnp.int32),
    }
    x = int8(*shape)
    return Case(f"{list(shape)} over {list(axes)}", (x,), candidates, "ones", x.size)


def lookup(size) -> Case:
    """A table of 256 entries by a gather of wide or of narrow ones, and by a tree of selects."""
    x, values = int8(size), int8(256)

    def selects(x):
        bits, level = x.astype(jnp.int32) + 128, [jnp.int8(v) for v in values]
        for bit in range(8):
            high = bits & (1 << bit) != 0
            pairs = zip(level[::2], level[1::2], strict=True)
            level = [jnp.where(high, b, a) for a, b in pairs]
        return level[0]

    candidates = {
        "gather": lambda x: table.lookup(x, values),
        "take": lambda x: jnp.take(values, x.astype(jnp.int32) + 128, mode="clip"),
        "selects": selects,
    }
    return Case(f"{size} elements", (x,), candidates, "gather", size)


def softmaxes(rows, length) -> Case:
    """Softmax with a reciprocal for each row, a division for each element, and in float."""
    x, exps = int8(rows, length), np.round(2.0**15 * np.exp(-0.05 * np.arange(256)))
    exps = exps.astype(np.int32)

    def divided(x):
        largest = jnp.max(x, -1, keepdims=True).astype(jnp.int32)
        e = table.entries(exps, largest - x.astype(jnp.int32))
        total = jnp.sum(e, -1, keepdims=True, dtype=jnp.int32)
        return jnp.minimum(lax.div(e * 256 + total // 2, total) - 128, 127).astype(jnp.int8)

    def in_float(x):
        share = jax.nn.softmax(x.astype(jnp.float32) * 0.05, -1)
        return (jnp.minimum(jnp.round(share * 256), 255) - 128).astype(jnp.int8)

    kernel = lambda x: softmax.softmax(x, exps)  # noqa: E731
    candidates = {"reciprocal": kernel, "division": divided, "float": in_float}
    return Case(f"{rows}x{length}", (x,), candidates, "reciprocal", x.size)


def norms(rows, length) -> Case:
    """Layer norm in integers and in float."""
    x, gamma = int8(rows, length), np.arange(length, dtype=np.int32)
    parts, epilogue = (gamma, gamma << 8), requantized(1)

    def kernel(x):
        return norm.layer_norm(x, *parts, zero=3, epsilon=1, epilogue=epilogue)

    def in_float(x):
        real = x.astype(jnp.float32)
        real = (real - real.mean(-1, keepdims=True)) / jnp.sqrt(real.var(-1, keepdims=True) + 1e-5)
        return epilogue((real * gamma + (gamma << 8)).astype(jnp.int32))

    return Case(f"{rows}x{length}", (x,), {"integer": kernel, "float": in_float}, "integer", x.size)


SUBJECTS: dict[str, tuple[Callable[..., Case], list[tuple]]] = {
    "convolution": (conv, shapes.CONV),
    "grouped": (conv, shapes.GROUPED),
    "depthwise": (conv, shapes.DEPTHWISE),
    "transposed": (transposed, shapes.TRANSPOSED),
    "dot": (dense, shapes.DOT),
    "attention": (attention, shapes.ATTENTION),
    "max_pool": (max_pool, shapes.MAX_POOL),
    "average_pool": (average_pool, shapes.AVERAGE_POOL),
    "sum": (sums, shapes.SUMS),
    "table": (lookup, shapes.LOOKUP),
    "softmax": (softmaxes, shapes.SOFTMAX),
    "layer_norm": (norms, shapes.NORM),
}
