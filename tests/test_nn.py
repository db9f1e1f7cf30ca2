"""The nn dialect: its meanings against JAX's functions and against plain loops, its roles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qir.dialects import nn

from qir import QirError, const, parameter, tensor
from qir.evaluate import evaluate_op
from qir.types import per_tensor

SOME = settings(max_examples=25, deadline=None)


def arrays(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def means(op, *operands, **attributes) -> np.ndarray:
    """The meaning of an op on arrays, with the storage and shape that its type promises."""
    node = op(*(const(x) for x in operands), **attributes)
    result = evaluate_op(node, operands)
    assert result.shape == node.shape and result.dtype == node.dtype.numpy
    return result


def close(found, expected, rtol=1e-5):
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.one_of(st.sampled_from(["same", "valid"]),
                     st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2))  # fmt: skip


def upper(padding):
    return padding.upper() if isinstance(padding, str) else padding


@SOME
@given(pairs, pairs, pairs, paddings, st.sampled_from([1, 2]), st.integers(7, 9))
def test_conv2d_is_that_of_jax(window, strides, dilation, padding, groups, size):
    lax = pytest.importorskip("jax").lax
    x, w, b = arrays((2, size, 8, 4), (*window, 4 // groups, 6), (6,))
    found = means(nn.conv2d, x, w, b, strides=strides, padding=padding, dilation=dilation,
                  groups=groups)  # fmt: skip
    expected = lax.conv_general_dilated(
        x, w, strides, upper(padding), rhs_dilation=dilation, feature_group_count=groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    close(found, expected + b)


@SOME
@given(pairs, pairs, paddings, st.sampled_from([1, 2]))
def test_depthwise_conv2d_is_that_of_jax(window, strides, padding, multiplier):
    lax = pytest.importorskip("jax").lax
    x, w = arrays((2, 8, 7, 3), (*window, 3, multiplier))
    found = means(nn.depthwise_conv2d, x, w, strides=strides, padding=padding)
    expected = lax.conv_general_dilated(
        x, w.reshape(*window, 1, 3 * multiplier), strides, upper(padding), feature_group_count=3,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    close(found, expected)


@SOME
@given(pairs, pairs, st.sampled_from(["same", "valid"]))
def test_transposed_conv2d_is_the_gradient_of_conv2d(window, strides, padding):
    jax = pytest.importorskip("jax")
    x, w, b = arrays((2, 4, 5, 3), (*window, 3, 2), (2,))
    found = means(nn.transposed_conv2d, x, w, b, strides=strides, padding=padding)
    axes = zip((4, 5), strides, window, strict=True)
    sizes = [n * s if padding == "same" else (n - 1) * s + k for n, s, k in axes]

    def forward(y):
        return jax.lax.conv_general_dilated(y, w.swapaxes(2, 3), strides, padding.upper(),
                                            dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip

    image = np.zeros((2, *sizes, 2), np.float32)
    assert forward(image).shape == x.shape
    close(found, jax.vjp(forward, image)[1](x)[0] + b)


def test_explicit_padding_crops_a_transposed_conv2d():
    x, w = arrays((1, 3, 3, 2), (3, 3, 2, 4))
    full = means(nn.transposed_conv2d, x, w, strides=2, padding="valid")
    crop = means(nn.transposed_conv2d, x, w, strides=2, padding=((1, 2), (0, 1)))
    np.testing.assert_array_equal(crop, full[:, 1:-2, :-1])


def test_products():
    a, b, bias = arrays((2, 3, 4), (4, 5), (5,))
    close(means(nn.dense, a, b, bias, clamp=(0.0, 1.0)), np.clip(a @ b + bias, 0, 1))
    a, b, transposed = arrays((2, 3, 4), (2, 4, 5), (2, 5, 4))
    close(means(nn.matmul, a, b), a @ b)
    close(means(nn.matmul, a, transposed, adjoint_b=True), a @ transposed.swapaxes(1, 2))
    close(means(nn.matmul, a.swapaxes(1, 2).copy(), b, adjoint_a=True), a @ b)


@pytest.mark.parametrize(
    ("name", "function"),
    [("add", np.add), ("sub", np.subtract), ("mul", np.multiply), ("div", np.divide),
     ("maximum", np.maximum), ("minimum", np.minimum)],
)  # fmt: skip
def test_arithmetic_broadcasts(name, function):
    a, b = arrays((2, 1, 4), (3, 1))
    op = getattr(nn, name)
    np.testing.assert_array_equal(means(op, a, b), function(a, b))
    if "clamp" in op.attributes:
        np.testing.assert_array_equal(means(op, a, b, clamp=(-0.5, 0.5)),
                                      np.clip(function(a, b), -0.5, 0.5))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "attributes"),
    [("relu", {}), ("relu6", {}), ("sigmoid", {}), ("tanh", {}), ("silu", {}), ("elu", {}),
     ("hard_swish", {}), ("gelu", {"approximate": True}), ("gelu", {"approximate": False}),
     ("leaky_relu", {"slope": 0.2})],
)  # fmt: skip
def test_activations_are_those_of_jax(name, attributes):
    jax = pytest.importorskip("jax")
    x = np.concatenate([np.linspace(-20, 20, 999), [-1e30, -100, -0.0, 100]]).astype(np.float32)
    keywords = {"negative_slope": 0.2} if name == "leaky_relu" else attributes
    expected = np.asarray(getattr(jax.nn, name)(x, **keywords))
    found = means(getattr(nn, name), x, **attributes)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@SOME
@given(pairs, pairs, paddings, st.integers(5, 8))
def test_pooling_is_over_what_lies_inside(window, strides, padding, size):
    lax = pytest.importorskip("jax").lax
    (x,) = arrays((2, size, 6, 3))
    keywords = {"window": window, "strides": strides, "padding": padding}
    try:
        found = means(nn.max_pool, x, **keywords)
    except QirError as error:
        assert "nothing but padding" in str(error)
        return
    if not isinstance(padding, str):
        padding = ((0, 0), *padding, (0, 0))
    shape = ((1, *window, 1), (1, *strides, 1), upper(padding))
    np.testing.assert_array_equal(found, lax.reduce_window(x, -np.inf, lax.max, *shape))
    total = lax.reduce_window(x, np.float32(0), lax.add, *shape)
    count = lax.reduce_window(np.ones_like(x), np.float32(0), lax.add, *shape)
    close(means(nn.avg_pool, x, **keywords), total / count)


def test_reductions_and_norms():
    x, gamma, beta = arrays((2, 3, 8), (8,), (8,))
    for name, function in (("mean", np.mean), ("sum", np.sum), ("reduce_max", np.max),
                           ("reduce_min", np.min)):  # fmt: skip
        close(means(getattr(nn, name), x, axes=(0, -1)), function(x, axis=(0, 2)))
        close(means(getattr(nn, name), x, axes=(1,), keepdims=True),
              function(x, axis=1, keepdims=True))  # fmt: skip
    for axis in (-1, 1):
        powers = np.exp(x.astype(np.float64))
        close(means(nn.softmax, x, axis=axis), powers / powers.sum(axis, keepdims=True))
    wide = x.astype(np.float64)
    scaled = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 0.1)
    close(means(nn.layer_norm, x, gamma, beta, epsilon=0.1), scaled * gamma + beta)
    scaled = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 0.1)
    close(means(nn.rms_norm, x, gamma, epsilon=0.1), scaled * gamma)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax_over_what_a_mask_leaves(axis):
    (x,) = arrays((2, 3, 8))
    mask = np.random.default_rng(0).random((3, 8)) < 0.5
    mask[1] = False
    mask[:, 2] = False
    powers = np.exp(x.astype(np.float64)) * mask
    total = powers.sum(axis, keepdims=True)
    alike = 1 / x.shape[axis]  # where nothing is left
    expected = np.where(total > 0, powers / np.where(total > 0, total, 1), alike)
    close(means(nn.softmax, x, mask, axis=axis), expected)


def test_large_inputs_stay_finite():
    x = np.array([[1e4, -1e4, 0.0]], np.float32)
    np.testing.assert_array_equal(means(nn.softmax, x), [[1, 0, 0]])
    assert np.isfinite(means(nn.sigmoid, x)).all() and np.isfinite(means(nn.elu, x)).all()


def test_order_is_the_same_on_stored_integers():
    type = tensor("i8", (1, 4, 4, 2), per_tensor(0.1, 3))
    x = np.random.default_rng(0).integers(-128, 128, type.shape).astype(np.int8)
    node = parameter("x", type)
    pool = nn.max_pool(node, window=2, strides=2, padding=((1, 1), (1, 1)))
    assert pool.type.grid == type.grid
    real = means(nn.max_pool, x.astype(np.float32), window=2, strides=2, padding=((1, 1), (1, 1)))
    np.testing.assert_array_equal(evaluate_op(pool, [x]), real.astype(np.int8))
    both = nn.maximum(node, node)
    assert both.type == type
    np.testing.assert_array_equal(evaluate_op(both, [x, -x]), np.maximum(x, -x))


def roles(op):
    found = op.definition.roles(op)
    return [role.kind for role in found.operands], found.result


def test_roles():
    x, image = parameter("x", tensor("f32", (2, 4))), parameter("i", tensor("f32", (1, 4, 4, 3)))
    w, b, g = const(np.ones((4, 5))), const(np.ones(5)), const(np.ones(4))
    dense = nn.dense(x, w, b)
    kinds, result = roles(dense)
    assert kinds == ["free", "weight", "bias"] and result.kind == "free"
    weight, bias = dense.definition.roles(dense).operands[1:]
    assert weight.axis == 1 and bias.of == (0, 1)
    conv = nn.conv2d(image, const(np.ones((1, 1, 3, 2))))
    assert conv.definition.roles(conv).operands[1].axis == 3
    depthwise = nn.depthwise_conv2d(image, const(np.ones((1, 1, 3, 1))))
    assert depthwise.definition.roles(depthwise).operands[1].axis == 2
    assert roles(nn.layer_norm(x, g, g, epsilon=0.1))[0] == ["free", "folded", "folded"]
    assert roles(nn.max_pool(image, window=2, strides=2))[1].kind == "same"
    assert roles(nn.softmax(x))[1].grids["i8"] == (1 / 256, -128)
    assert roles(nn.tanh(x))[1].grids["i8"] == (1 / 128, 0)
