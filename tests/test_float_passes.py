"""The passes from a trace to a float graph: random graphs, JAX models, large ones."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qir.dialects import lax, nn
from qir.passes.canonicalize import canonicalize
from qir.passes.cse import cse
from qir.passes.fold_bn import fold_bn
from qir.passes.fuse_activations import fuse_activations
from qir.passes.raise_nn import raise_nn

import qir
from qir import Func, const, parameter, tensor
from qir.evaluate import evaluate
from qir.rewrite import recorded

FRONT = (canonicalize, raise_nn, fold_bn, fuse_activations, canonicalize, cse)
SOME = settings(max_examples=40, deadline=None)


def through(func: Func, passes=FRONT) -> Func:
    """The function after the passes."""
    for each in passes:
        func = each(func)
    return func


def same_meaning(before: Func, after: Func, inputs=None, rtol=1e-4) -> None:
    """Assert equal results up to `rtol` of the largest one."""
    if inputs is None:
        inputs = [random(p.shape, i) for i, p in enumerate(before.parameters)]
    pairs = zip(evaluate(before, inputs), evaluate(after, inputs), strict=True)
    for x, y in pairs:
        assert x.shape == y.shape and x.dtype == y.dtype
        np.testing.assert_allclose(y, x, rtol=rtol, atol=rtol * max(1e-6, np.abs(x).max()))


def random(shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def kinds(func: Func) -> Counter:
    return Counter(op.kind for op in func.ops if "." in op.kind)


def chain(ops: int) -> Func:
    """Convolution, bias, relu6 and residual blocks, about that many ops."""
    x = y = parameter("x", tensor("f32", (1, 2, 2, 4)))
    rng = np.random.default_rng(0)
    zero, six = const(0.0), const(6.0)
    for _ in range(ops // 7):
        w = const(0.1 * rng.standard_normal((1, 1, 4, 4), np.float32))
        b = const(rng.standard_normal(4, np.float32))
        z = lax.conv_general_dilated(y, w, strides=(1, 1), padding=(0, 0, 0, 0))
        z = lax.min(lax.max(lax.add(z, b), zero), six)
        y = lax.add(y, z)
    return Func("chain", (x,), (y,))


def test_a_long_chain_goes_through_in_proportion_to_its_length():
    before = chain(20_000)
    assert len(before.ops) > 19_990
    blocks = 20_000 // 7
    with recorded() as log:
        after = through(before)
    fired = Counter(firing.rule for firing in log if firing.fired)
    assert kinds(after) == {"nn.conv2d": blocks, "nn.add": blocks}
    assert fired["convolution_is_layer"] == fired["added_constant_is_bias"] == blocks
    assert fired["activation_becomes_clamp"] == blocks
    # every op is settled at once: the attempts grow with the graph, not with its square
    assert len(log) < 30 * len(before.ops)


def test_nothing_to_do_gives_back_the_same_function():
    func = through(chain(70))
    assert all(each(func) is func for each in (canonicalize, cse, fold_bn, fuse_activations))


def test_deep_transposes_sink_in_one_sweep():
    x = parameter("x", tensor("f32", (1, 2, 3, 4)))
    y = lax.transpose(x, permutation=(0, 3, 1, 2))
    for _ in range(3000):
        y = lax.add(lax.tanh(y), const(random((4, 1, 1))))
    func = Func("deep", (x,), (y,))
    after = through(func)
    assert kinds(after)["lax.transpose"] == 1 and after.results[0].kind == "lax.transpose"
    same_meaning(func, after)


@st.composite
def convolutions(draw):
    """A convolution in any layout, of any strides, padding, dilations and groups."""
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    inner, outputs = draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    image = [2, groups * inner, draw(st.integers(5, 8)), draw(st.integers(5, 8))]
    filters = [outputs, inner, draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    specs = [tuple(draw(st.permutations(range(4)))) for _ in range(3)]
    pair = st.tuples(st.integers(1, 2), st.integers(1, 2))
    upsampled = groups == 1 and draw(st.booleans())
    keywords = {
        "strides": (1, 1) if upsampled else draw(pair),
        "lhs_dilation": draw(pair) if upsampled else None,
        "rhs_dilation": None if upsampled else draw(pair),
        "padding": draw(st.tuples(*[st.integers(0, 2)] * 4)),
        "groups": groups,
    }
    keywords.update(zip(("lhs_spec", "rhs_spec", "out_spec"), specs, strict=True))
    x = parameter("x", tensor("f32", laid_out(image, specs[0])))
    w = const(random(laid_out(filters, specs[1]), draw(st.integers(0, 9))))
    y = lax.conv_general_dilated(x, w, **keywords)
    bias = [1] * 4
    bias[specs[2][1]] = outputs
    y = lax.max(lax.add(y, const(random(tuple(bias), 5))), const(0.0))
    return Func("conv", (x,), (y,))


def laid_out(extents, spec) -> tuple[int, ...]:
    return tuple(extents[spec.index(i)] for i in range(4))


@SOME
@given(convolutions())
def test_convolutions_of_any_layout_are_raised(func):
    after = through(func)
    assert "lax.conv_general_dilated" not in kinds(after)
    assert not {"nn.add", "nn.relu", "nn.maximum"} & set(kinds(after))
    same_meaning(func, after)


@st.composite
def products(draw):
    """A dot product over any axes in any order, of two values or with a constant."""
    names = {"batch": draw(st.integers(0, 2)), "inner": draw(st.integers(0, 2)),
             "rows": draw(st.integers(0, 2)), "columns": draw(st.integers(0, 2))}  # fmt: skip
    extents = {(kind, i): draw(st.integers(1, 3)) for kind, n in names.items() for i in range(n)}
    sides = []
    for own in ("rows", "columns"):
        axes = [axis for axis in extents if axis[0] in ("batch", "inner", own)]
        sides.append(draw(st.permutations(axes)))
    constant = draw(st.sampled_from([None, 0, 1]))
    operands = []
    for i, axes in enumerate(sides):
        shape = tuple(extents[axis] for axis in axes)
        value = const(random(shape, i)) if constant == i else None
        operands.append(value or parameter(f"x{i}", tensor("f32", shape)))
    keywords = {}
    for kind, name in (("inner", "contract"), ("batch", "batch")):
        order = draw(st.permutations([axis for axis in extents if axis[0] == kind]))
        for side, axes in zip("ab", sides, strict=True):
            keywords[f"{name}_{side}"] = [axes.index(axis) for axis in order]
    y = lax.dot_general(*operands, **keywords)
    y = lax.transpose(y, permutation=draw(st.permutations(range(y.type.rank))))
    return Func("dot", tuple(o for o in operands if not o.is_const), (y,))


@SOME
@given(products())
def test_products_over_any_axes_are_raised(func):
    after = through(func)
    assert "lax.dot_general" not in kinds(after)
    same_meaning(func, after)


UNARY = (nn.relu, nn.relu6, lax.neg, lax.tanh, nn.sigmoid, lax.exp)
BINARY = (lax.add, lax.sub, lax.mul, lax.max, lax.min)


@st.composite
def graphs(draw):
    """A random graph of movement, arithmetic, reductions, layers and constants."""
    x = parameter("x", tensor("f32", draw(st.sampled_from([(2, 3, 4, 4), (1, 4, 4, 3)]))))
    values = [x]
    for step in range(draw(st.integers(3, 12))):
        value = draw(st.sampled_from(values[-3:]))
        made = draw(st.sampled_from(STEPS))(draw, value, values, step)
        values.append(made)
    return Func("graph", (x,), tuple(values[-2:]))


def a_function(draw, x, values, step):
    return draw(st.sampled_from(UNARY))(lax.mul(x, const(0.1)))


def a_transpose(draw, x, values, step):
    return lax.transpose(x, permutation=draw(st.permutations(range(x.type.rank))))


def a_sum_with_a_constant(draw, x, values, step):
    shape = [draw(st.sampled_from([1, n])) for n in x.shape]
    k = const(random(tuple(shape[draw(st.integers(0, len(shape))) :]), step))
    operands = (x, k) if draw(st.booleans()) else (k, x)
    return draw(st.sampled_from(BINARY))(*operands)


def a_sum_of_two(draw, x, values, step):
    others = [v for v in values if v.shape == x.shape]
    return draw(st.sampled_from(BINARY))(x, draw(st.sampled_from(others)))


def a_reduction(draw, x, values, step):
    axis = draw(st.integers(0, x.type.rank - 1))
    reduced = draw(st.sampled_from((lax.reduce_sum, lax.reduce_max)))(x, axes=(axis,))
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    return draw(st.sampled_from(BINARY))(x, lax.reshape(reduced, shape=shape))


def a_layer(draw, x, values, step):
    axis = draw(st.integers(0, x.type.rank - 1))
    n = x.shape[axis]
    return lax.dot_general(x, const(random((n, n), step)), contract_a=(axis,), contract_b=(0,))


def a_window(draw, x, values, step):
    low, high = ([draw(st.integers(0, 1)) for _ in x.shape] for _ in range(2))
    wide = lax.pad(x, low=low, high=high, value=draw(st.sampled_from([0.0, 1.0])))
    return lax.slice(wide, start=low, limit=[a + n for a, n in zip(low, x.shape, strict=True)])


def two_joined(draw, x, values, step):
    axis = draw(st.integers(0, x.type.rank - 1))
    other = draw(st.sampled_from([v for v in values if v.shape == x.shape]))
    both = lax.concatenate(x, other, axis=axis)
    return qir.item(lax.split(both, sizes=[x.shape[axis]] * 2, axis=axis), draw(st.integers(0, 1)))


def a_reshape(draw, x, values, step):
    flat = lax.reshape(x, shape=(x.shape[0], -1))
    return draw(st.sampled_from([flat, lax.reshape(flat, shape=x.shape)])) if x.type.rank > 1 else x


STEPS = (a_function, a_transpose, a_sum_with_a_constant, a_sum_of_two, a_reduction, a_layer,
         a_window, two_joined, a_reshape)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(graphs())
def test_random_graphs_keep_their_meaning(func):
    after = through(func)
    same_meaning(func, after, rtol=1e-3)
    assert all(op.type == new.type for op, new in zip(func.results, after.results, strict=True))


jax = pytest.importorskip("jax")


def raised(f, *arguments) -> Counter:
    """The kinds of ops a JAX function becomes, after checking that it still means the same."""
    before = qir.trace(f, *arguments).main
    after = through(before)
    same_meaning(before, after, [np.asarray(a) for a in arguments])
    return kinds(after)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("relu", "relu"), ("relu6", "relu6"), ("sigmoid", "sigmoid"), ("tanh", "tanh"),
     ("silu", "silu"), ("gelu", "gelu"), ("hard_swish", "hard_swish"), ("elu", "elu"),
     ("leaky_relu", "leaky_relu"), ("celu", "elu"), ("softmax", "softmax"),
     ("standardize", "layer_norm")],
)  # fmt: skip
def test_activations_of_jax(name, expected):
    x = np.linspace(-8, 8, 120, dtype=np.float32).reshape(3, 40)
    assert raised(getattr(jax.nn, name), x) == {f"nn.{expected}": 1}


def test_attention_of_jax():
    q = random((2, 5, 3, 4))
    assert raised(jax.nn.dot_product_attention, q, q + 1, q - 1) == {
        "nn.matmul": 2, "nn.softmax": 1, "nn.mul": 1, "lax.transpose": 4, "lax.reshape": 2,
    }  # fmt: skip


LAYERS = [
    ("Conv(6, (3, 3), (2, 2))", {"nn.conv2d": 1}),
    ("Conv(8, (3, 3), feature_group_count=4)", {"nn.depthwise_conv2d": 1}),
    ("Conv(8, (3, 3), feature_group_count=2, padding='VALID')", {"nn.conv2d": 1}),
    ("ConvTranspose(6, (3, 3), (2, 2))", {"nn.transposed_conv2d": 1}),
    ("ConvTranspose(6, (2, 2), (3, 3), padding='VALID')", {"nn.transposed_conv2d": 1}),
    ("BatchNorm(use_running_average=True)", {"nn.mul": 1, "nn.add": 1}),
    ("LayerNorm()", {"nn.layer_norm": 1}),
    ("LayerNorm(use_fast_variance=False, use_bias=False)", {"nn.layer_norm": 1}),
    ("RMSNorm()", {"nn.rms_norm": 1}),
    ("Dense(5)", {"nn.dense": 1}),
    ("DenseGeneral((2, 3), axis=(-2, -1))", {"nn.dense": 1, "lax.reshape": 2}),
]


@pytest.mark.parametrize(("layer", "expected"), LAYERS, ids=[layer for layer, _ in LAYERS])
def test_layers_of_flax(layer, expected):
    linen = pytest.importorskip("flax.linen")
    model = eval(f"linen.{layer}", {"linen": linen})
    x = random((2, 6, 6, 4))
    variables = jax.tree.map(lambda a: a + 0.3, model.init(jax.random.key(0), x))
    assert raised(lambda x: model.apply(variables, x), x) == expected


@pytest.mark.parametrize(
    ("model", "smaller", "expected"),
    [
        ("resnet50", {"size": 32, "width": 8, "stages": (1, 2)},
         {"nn.conv2d": 12, "nn.add": 3, "nn.max_pool": 1, "nn.mean": 1, "nn.dense": 1}),
        ("mobilenet_v2", {"size": 32, "width": 0.35, "stages": ((1, 16, 1, 1), (6, 24, 2, 2))},
         {"nn.conv2d": 7, "nn.depthwise_conv2d": 3, "nn.add": 1, "nn.mean": 1, "nn.dense": 1}),
        ("encoder", {"layers": 1, "length": 8, "hidden": 16, "heads": 2, "intermediate": 32},
         {"nn.dense": 6, "nn.matmul": 2, "nn.softmax": 1, "nn.layer_norm": 2, "nn.gelu": 1,
          "nn.add": 2, "lax.reshape": 4, "lax.transpose": 4}),
    ],
)  # fmt: skip
def test_models_of_the_benchmarks(model, smaller, expected):
    pytest.importorskip("flax")
    from importlib import import_module

    f, example = import_module(f"benchmarks.models.{model}").build(2, **smaller)
    before = qir.trace(f, example).main
    after = through(before)
    assert kinds(after) == expected
    same_meaning(before, after, [example])
    assert all(op.location for op in after.ops)
    one = example[:1]
    (whole,), (alone,) = evaluate(after, [example]), evaluate(after.with_batch(1), [one])
    np.testing.assert_allclose(alone, whole[:1], rtol=1e-3, atol=1e-4)


def channels_first(x):
    """A small NCHW network with batch norm, a residual, a gate, pooling and a flattening."""
    rng = np.random.default_rng(1)
    spec = ("NCHW", "OIHW", "NCHW")

    def conv(x, outputs, size, stride=1):
        w = 0.3 * rng.standard_normal((outputs, x.shape[1], size, size), np.float32)
        y = jax.lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=spec)
        scale, shift = rng.standard_normal((2, outputs, 1, 1), np.float32)
        return y * scale + shift

    y = jax.nn.relu(conv(x, 8, 3, 2))
    y = jax.nn.relu(y + conv(jax.nn.relu6(conv(y, 8, 3)), 8, 1))
    gate = jax.nn.sigmoid(conv(jax.numpy.mean(y, axis=(2, 3), keepdims=True), 8, 1))
    y = jax.lax.reduce_window(y * gate, -np.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    y = jax.numpy.concatenate([y, jax.nn.softmax(y, axis=1)], axis=1)
    return y.reshape(y.shape[0], -1) @ rng.standard_normal((64, 5), np.float32)


def test_a_model_of_channels_first_has_one_transpose_left():
    assert raised(channels_first, random((2, 3, 8, 8))) == {
        "lax.transpose": 1, "nn.conv2d": 4, "nn.add": 1, "nn.mean": 1, "nn.sigmoid": 1,
        "nn.mul": 1, "nn.max_pool": 1, "nn.softmax": 1, "lax.concatenate": 1, "lax.reshape": 1,
        "nn.dense": 1,
    }  # fmt: skip


def test_what_stands_far_before_a_product_is_not_searched_for_statistics():
    x = y = parameter("x", tensor("f32", (2, 4)))
    for _ in range(2000):
        y = nn.relu(nn.sub(nn.add(y, np.float32(1.0)), y))
    raise_nn(Func("far", (x,), (nn.mul(x, y),)))
