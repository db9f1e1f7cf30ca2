"""The XLA kernels against integer references in numpy, bit for bit, over shapes and zero points."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qir import windows
from qir.targets.xla import choice
from qir.targets.xla.kernels import dot, packing, pool, reduce, table
from qir.targets.xla.kernels.convolutions import CONVOLUTIONS
from qir.targets.xla.kernels.geometry import Geometry
from qir.targets.xla.kernels.transposed import conv_transposed

few = settings(max_examples=20, deadline=None)
zeros = st.one_of(st.just(0), st.integers(-128, 127))  # XLA folds paddings by 0 into convolutions
seeds = st.integers(0, 2**32 - 1)
pads = st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2)


def int8(seed, *shape, low=-128):
    """Random stored values, the ends of the range more often than the rest."""
    draw = np.random.default_rng([seed, *shape])
    values = draw.integers(low, 128, shape)
    ends = draw.choice([low, 127], shape)
    return np.where(draw.random(shape) < 0.2, ends, values).astype(np.int8)


def bias_for(seed, channels):
    return np.random.default_rng(seed).integers(-(2**31), 2**31, channels).astype(np.int32)


def same(result, expected):
    """Equal in values, shape and dtype."""
    result = np.asarray(result)
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(result, expected)


small, windows_of_1_to_4 = st.integers(1, 3), st.integers(1, 4)


@st.composite
def geometries(draw, strides=small, dilation=small, window=windows_of_1_to_4):
    return Geometry(
        (draw(window), draw(window)),
        (draw(strides), draw(strides)),
        draw(pads),
        (draw(dilation), draw(dilation)),
        zero=draw(zeros),
    )


def images(draw, geometry, channels):
    """An input just large enough for the geometry, or a little larger, of odd and even sizes."""
    sizes = [
        max(1, geometry.extent(axis) - sum(geometry.pads[axis])) + draw(st.integers(0, 7))
        for axis in (0, 1)
    ]
    return int8(draw(seeds), draw(st.integers(1, 3)), *sizes, channels)


def convolves(name, x, w, bias, geometry):
    """The kernel `name` gives the accumulators of the reference."""
    kernel = CONVOLUTIONS[name]
    folded = packing.fold_zero_point(bias, w, geometry.zero)
    packed = kernel.pack(w, geometry)
    run = jax.jit(lambda x: kernel.run(x, packed, folded, geometry))
    centred = x.astype(np.int32) - geometry.zero
    expected = windows.conv2d(
        centred, w, geometry.strides, geometry.pads, geometry.dilation, geometry.groups
    )
    same(run(x), expected + bias)


def with_(geometry, **changes):
    return Geometry(**{**vars(geometry), **changes})


@few
@given(st.data(), geometries(), st.sampled_from(["valid", "slices"]))
def test_any_convolution_directly_and_by_slices(data, geometry, name):
    channels, outputs = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5))
    x = images(data.draw, geometry, channels)
    w = int8(data.draw(seeds), *geometry.window, channels, outputs, low=-127)
    convolves(name, x, w, bias_for(1, outputs), geometry)


@pytest.mark.parametrize("name", ["valid", "same", "space_to_depth"])
@pytest.mark.parametrize("pads", [((1, 1), (0, 2)), ((1, 1), (1, 1)), ((0, 2), (2, 0))])
def test_a_padding_by_zeros_in_front_of_a_convolution(name, pads):
    strides = (2, 2) if name == "space_to_depth" else (1, 1)
    geometry = Geometry((3, 3), strides, pads, (1, 1), zero=0)
    convolves(name, int8(1, 1, 16, 17, 32), int8(7, 3, 3, 32, 32), bias_for(7, 32), geometry)


@few
@given(st.data(), geometries(strides=st.just(1)))
def test_convolution_of_stride_1_by_same(data, geometry):
    x = images(data.draw, geometry, 4)
    convolves("same", x, int8(2, *geometry.window, 4, 3, low=-127), bias_for(2, 3), geometry)


@pytest.mark.parametrize("name", ["valid", "same"])
@pytest.mark.parametrize("zero", [0, -128])
@pytest.mark.parametrize("channels", [16, 17, 33, 47])
def test_channels_are_filled_up(name, zero, channels):
    geometry = Geometry((3, 3), (1, 1), ((1, 1), (0, 2)), (1, 1), zero=zero)
    x, w = int8(1, 2, 9, 8, channels), int8(7, 3, 3, channels, 5, low=-127)
    convolves(name, x, w, bias_for(7, 5), geometry)


@few
@given(st.data(), geometries(window=st.just(1), dilation=st.just(1)))
def test_pointwise_convolution_with_strides_and_pads(data, geometry):
    x = images(data.draw, geometry, 5)
    convolves("pointwise", x, int8(3, 1, 1, 5, 6, low=-127), bias_for(3, 6), geometry)


@few
@given(
    st.data(),
    geometries(dilation=st.just(1), window=st.integers(1, 7), strides=st.integers(1, 4)),
    st.sampled_from(["row_windows", "space_to_depth"]),
)
def test_stems_of_any_window_and_stride(data, geometry, name):
    channels = data.draw(st.integers(1, 4))
    x = images(data.draw, geometry, channels)
    w = int8(4, *geometry.window, channels, 3, low=-127)
    convolves(name, x, w, bias_for(4, 3), geometry)


@few
@given(st.data(), geometries(), st.sampled_from([(2, 1), (2, 3), (3, 2), (4, 8), (6, 1)]))
def test_grouped_convolution(data, geometry, split):
    groups, each = split
    outputs = groups * data.draw(st.integers(1, 3))
    geometry = with_(geometry, groups=groups)
    x = images(data.draw, geometry, groups * each)
    w = int8(5, *geometry.window, each, outputs, low=-127)
    convolves("grouped", x, w, bias_for(5, outputs), geometry)


@few
@given(st.data(), geometries(), st.integers(1, 5), st.integers(1, 3))
def test_depthwise_convolution_with_a_multiplier(data, geometry, channels, multiplier):
    geometry = with_(geometry, groups=channels)
    x = images(data.draw, geometry, channels)
    w = int8(6, *geometry.window, 1, channels * multiplier, low=-127)
    convolves("depthwise", x, w, bias_for(6, channels * multiplier), geometry)


@few
@given(
    seeds,
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(*[st.tuples(st.integers(-2, 2), st.integers(-2, 2))] * 2),
    zeros,
)
def test_transposed_convolution(seed, shape, window, strides, crops, zero):
    crops = tuple(
        pair if (n - 1) * s + k - sum(pair) >= 1 else (0, 0)
        for pair, n, s, k in zip(crops, shape[1:], strides, window, strict=True)
    )
    x, w, bias = int8(seed, *shape, 3), int8(seed, *window, 3, 2, low=-127), bias_for(seed, 2)
    packed, folded = packing.pack_transposed(w, bias, strides, zero)
    run = jax.jit(
        lambda x: conv_transposed(
            x, packed, folded, window=window, strides=strides, crops=crops, zero=zero
        )
    )
    expected = windows.transposed_conv2d(x.astype(np.int32) - zero, w, strides, crops)
    same(run(x), expected + bias)


@few
@given(
    seeds,
    st.lists(st.integers(1, 4), max_size=2),
    st.integers(1, 40),
    st.integers(1, 9),
    zeros,
    st.sampled_from(["nk", "kn"]),
)
def test_dense(seed, lead, depth, outputs, zero, layout):
    x, w = int8(seed, *lead, depth), int8(seed, depth, outputs, low=-127)
    bias = bias_for(seed, outputs)
    folded = packing.fold_zero_point(bias, w, zero)
    packed = packing.as_rows(w) if layout == "nk" else w
    expected = windows.integer_matmul(x.astype(np.int32) - zero, w) + bias
    same(jax.jit(lambda x: dot.dense(x, packed, folded, layout=layout))(x), expected)


@few
@given(
    seeds,
    st.lists(st.integers(1, 3), max_size=2),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 30)),
    st.sampled_from([0, -128, 5]),
    st.sampled_from([0, 127, -9]),
    st.randoms(use_true_random=False),
)
def test_batched_dot_of_two_zero_points(seed, lead, sizes, a_zero, b_zero, shuffle):
    rows, columns, depth = sizes
    a, b = int8(seed, *lead, rows, depth), int8(seed + 1, *lead, depth, columns)
    expected = windows.integer_matmul(a.astype(np.int32) - a_zero, b.astype(np.int32) - b_zero)
    orders = [shuffle.sample(range(a.ndim), a.ndim) for _ in "ab"]
    a, b = (x.transpose(np.argsort(order)) for x, order in zip((a, b), orders, strict=True))
    axes = {"a_axes": tuple(orders[0]), "b_axes": tuple(orders[1])}
    run = jax.jit(lambda a, b: dot.batch_dot(a, b, a_zero=a_zero, b_zero=b_zero, **axes))
    same(run(a, b), expected)


@few
@given(st.data(), geometries())
def test_max_pool(data, geometry):
    x = images(data.draw, geometry, 3)
    views = windows.windows(
        x, geometry.window, geometry.strides, geometry.pads, -128, geometry.dilation
    )
    same(jax.jit(lambda x: pool.max_pool(x, geometry))(x), views.max((3, 4)))


def averaged(x, geometry):
    """TFLite's AVERAGE_POOL_2D: padding is not counted, halves go away from zero."""
    view = (geometry.window, geometry.strides, geometry.pads, 0, geometry.dilation)
    total = windows.windows(x.astype(np.int64), *view).sum((3, 4))
    count = np.maximum(windows.windows(np.ones_like(x, np.int64), *view).sum((3, 4)), 1)
    return (np.sign(total) * ((np.abs(total) + count // 2) // count)).astype(np.int8)


@few
@given(st.data(), geometries())
def test_average_pool(data, geometry):
    x = images(data.draw, geometry, 3)
    same(jax.jit(lambda x: pool.average_pool(x, geometry))(x), averaged(x, geometry))


@pytest.mark.parametrize("side", [15, 16, 17])
def test_average_of_large_windows(side):
    x = int8(side, 1, side + 2, side + 1, 64)
    geometry = Geometry((side, side))
    same(jax.jit(lambda x: pool.average_pool(x, geometry))(x), averaged(x, geometry))


@pytest.mark.parametrize(("of", "largest"), [("int8", 128), ("uint8", 255)])
def test_average_divides_exactly_by_every_count(of, largest):
    for count in range(1, pool.MULTIPLIED[of] + 1):
        total = np.arange(largest * count + count // 2 + 1, dtype=np.int32)
        quotient = pool._divided(total, np.array([count], np.int32), of)
        np.testing.assert_array_equal(quotient, total // count)


@few
@given(seeds, st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_sums_over_any_axes(seed, shape, data):
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True))
    x = int8(seed, *shape)
    same(jax.jit(lambda x: reduce.sum_axes(x, axes))(x), x.sum(tuple(axes), dtype=np.int32))


@few
@given(seeds, st.integers(1, 200))
def test_sums_of_wide_integers(seed, length):
    x = int8(seed, 3, length).astype(np.int32)
    same(jax.jit(reduce.sum_wide)(x), x.sum(-1, np.int32, keepdims=True))


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.float32])
@pytest.mark.parametrize("stored", [np.int8, np.uint8])
def test_lookup_of_every_entry(dtype, stored):
    values = np.random.default_rng(0).integers(-128, 128, 256).astype(dtype)
    x = np.arange(256).astype(stored).reshape(2, 4, 32)
    expected = values[x.astype(np.int32) - np.iinfo(stored).min]
    same(jax.jit(lambda x: table.lookup(x, values, lowest=np.iinfo(stored).min))(x), expected)


@st.composite
def convolutions(draw):
    """Shapes and attributes of any convolution, as `choose_conv` is asked about."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 4]))
    channels = groups * draw(st.sampled_from([1, 2, 3, 4, 8, 33]))
    geometry = with_(draw(geometries(window=st.integers(1, 5))), groups=groups)
    outputs = groups * draw(st.integers(1, 4))
    x = images(draw, geometry, channels)
    return x, int8(draw(seeds), *geometry.window, channels // groups, outputs, low=-127), geometry


@settings(max_examples=30, deadline=None)
@given(convolutions())
def test_the_chosen_kernel_is_exact(case):
    x, w, geometry = case
    name = choice.choose_conv(
        x.shape, w.shape, geometry.strides, geometry.dilation, geometry.groups, geometry.pads
    )
    convolves(name, x, w, bias_for(7, w.shape[3]), geometry)
