"""Layers in the spellings of several frameworks: each is recognised, exact in float, in 8 bits."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from raised_layers import check, normal

import qir

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jax import lax, nn  # noqa: E402

X, IMAGE, CHANNELS_FIRST = normal(2, 6, 8), normal(2, 8, 8, 4), normal(2, 4, 8, 8)
GAMMA, BETA = np.abs(normal(8, seed=3)) + 0.5, normal(8, seed=4)
GROUPS = ("lax.reshape lax.transpose lax.reshape nn.layer_norm lax.reshape lax.transpose "
          "lax.reshape nn.mul nn.add")  # fmt: skip
ROWS = "lax.reshape nn.layer_norm lax.reshape"


def holds(f, expected, *inputs):
    check(qir.trace(f, *inputs), np.asarray(f(*inputs)), inputs, expected)


SOFTMAX = {
    "jax": nn.softmax, "axis": lambda x: nn.softmax(x, 1), "batch": lambda x: nn.softmax(x, 0),
    "unshifted": lambda x: jnp.exp(x) / jnp.exp(x).sum(-1, keepdims=True),
    "reciprocal": lambda x: jnp.exp(x) * (1 / jnp.exp(x).sum(-1, keepdims=True)),
    "logarithm": lambda x: jnp.exp(nn.log_softmax(x)),
}  # fmt: skip


@pytest.mark.parametrize("name", SOFTMAX)
def test_softmax(name):
    holds(SOFTMAX[name], "nn.softmax", X)


def mean(x, axes=-1):
    return x.mean(axes, keepdims=True)


VARIANCES = {
    "var": lambda x, axes=-1: x.var(axes, keepdims=True),
    "centred": lambda x, axes=-1: mean((x - mean(x, axes)) ** 2, axes),
    "fast": lambda x, axes=-1: mean(x * x, axes) - mean(x, axes) * mean(x, axes),
    "clipped": lambda x, axes=-1: jnp.maximum(0, mean(jnp.square(x), axes) - mean(x, axes) ** 2),
}
NORMS = {
    "rsqrt": lambda x, m, v: (x - m) * lax.rsqrt(v + 1e-5) * GAMMA + BETA,
    "quotient": lambda x, m, v: (x - m) / jnp.sqrt(v + 1e-5) * GAMMA + BETA,
    "reciprocal": lambda x, m, v: (x - m) * jnp.reciprocal(jnp.sqrt(v + 1e-5)) * GAMMA + BETA,
    "scale first": lambda x, m, v: GAMMA * (x - m) / jnp.sqrt(v + 1e-5) + BETA,
    "scaled root": lambda x, m, v: (x - m) * (lax.rsqrt(v + 1e-5) * GAMMA) + BETA,
    "affine": lambda x, m, v: x * (lax.rsqrt(v + 1e-5) * GAMMA)
    + (BETA - m * (lax.rsqrt(v + 1e-5) * GAMMA)),
}


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("norm", NORMS)
def test_layer_norm(norm, variance):
    holds(lambda x: NORMS[norm](x, mean(x), VARIANCES[variance](x)), "nn.layer_norm", X)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize(("axes", "expected"), [
    (1, "lax.transpose nn.layer_norm lax.transpose"), ((1, 2), ROWS), ((0, 2),
     "lax.transpose lax.reshape nn.layer_norm lax.reshape lax.transpose"),
])  # fmt: skip
def test_norms_over_other_axes(axes, expected, variance):
    def norm(x):
        return (x - mean(x, axes)) * lax.rsqrt(VARIANCES[variance](x, axes) + 1e-5)

    holds(norm, expected, X)


def test_a_norm_whose_statistics_lose_their_axis():
    holds(lambda x: (x - x.mean(-1)[..., None]) * lax.rsqrt(x.var(-1) + 1e-5)[..., None] * GAMMA,
          "nn.layer_norm", X)  # fmt: skip


RMS = {
    "rsqrt": lambda x: x * lax.rsqrt(mean(x * x) + 1e-6) * GAMMA,
    "quotient": lambda x: x / jnp.sqrt(mean(x**2) + 1e-6) * GAMMA,
    "scale first": lambda x: GAMMA * (x * lax.rsqrt(mean(jnp.square(x)) + 1e-6)),
    "one more": lambda x: x * lax.rsqrt(mean(x * x) + 1e-6) * (1 + GAMMA),
    "sum": lambda x: x * lax.rsqrt(jnp.sum(x * x, -1, keepdims=True) / 8 + 1e-6) * GAMMA,
    "power": lambda x: x * (mean(x * x) + 1e-6) ** -0.5 * GAMMA,
}


@pytest.mark.parametrize("name", RMS)
def test_rms_norm(name):
    holds(RMS[name], "nn.rms_norm", X)


def test_rms_norm_over_another_axis():
    holds(lambda x: x * lax.rsqrt(mean(x * x, 1) + 1e-6),
          "lax.transpose nn.rms_norm lax.transpose", X)  # fmt: skip


def test_group_norm_by_hand():
    def norm(x):
        y = x.reshape(2, 8, 8, 2, 2)
        y = (y - mean(y, (1, 2, 4))) * lax.rsqrt(y.var((1, 2, 4), keepdims=True) + 1e-5)
        return y.reshape(x.shape) * GAMMA[:4] + BETA[:4]

    holds(norm, GROUPS, IMAGE)


ROOT, HALF_ROOT = np.float32(2 / np.pi) ** 0.5, np.float32(0.5) ** 0.5
GELU = {
    "jax": nn.gelu, "erf": lambda x: nn.gelu(x, approximate=False),
    "by hand": lambda x: 0.5 * x * (1 + lax.erf(x * HALF_ROOT)),
    "cdf": lambda x: x * (0.5 * (1 + lax.erf(x * HALF_ROOT))),
    "halves": lambda x: x * (0.5 + 0.5 * lax.erf(x * HALF_ROOT)),
    "erfc": lambda x: x * 0.5 * lax.erfc(-x * HALF_ROOT),
    "tanh": lambda x: 0.5 * x * (1 + jnp.tanh(ROOT * (x + 0.044715 * x**3))),
    "products": lambda x: 0.5 * x * (1 + jnp.tanh(ROOT * (x + 0.044715 * x * x * x))),
    "factored": lambda x: 0.5 * x * (1 + jnp.tanh(ROOT * x * (1 + 0.044715 * x * x))),
    "power": lambda x: 0.5 * x * (1 + jnp.tanh(x * ROOT * (1 + 0.044715 * jnp.power(x, 2)))),
    "sum": lambda x: 0.5 * x * (1 + jnp.tanh(ROOT * x + 0.044715 * ROOT * x**3)),
    "tanh of halves": lambda x: x * (0.5 + 0.5 * jnp.tanh(ROOT * (x + 0.044715 * x**3))),
}
SILU = {
    "jax": nn.silu, "product": lambda x: x * nn.sigmoid(x),
    "quotient": lambda x: x / (1 + jnp.exp(-x)), "by hand": lambda x: x * (1 / (1 + jnp.exp(-x))),
    "tanh": lambda x: x * (0.5 * (1 + jnp.tanh(0.5 * x))),
}  # fmt: skip
HARD_SWISH = {
    "jax": nn.hard_silu, "clip": lambda x: x * jnp.clip(x + 3, 0, 6) / 6,
    "hard sigmoid": lambda x: x * nn.hard_sigmoid(x), "relu6": lambda x: x * nn.relu6(x + 3) * (
        1 / 6),
    "line": lambda x: x * jnp.clip(x / 6 + 0.5, 0, 1),
    "part": lambda x: x * jnp.clip((x + 3) / 6, 0, 1), "first": lambda x: x / 6 * nn.relu6(x + 3),
}  # fmt: skip


@pytest.mark.parametrize(("f", "expected"), [
    *(pytest.param(f, "nn.gelu", id=f"gelu, {name}") for name, f in GELU.items()),
    *(pytest.param(f, "nn.silu", id=f"silu, {name}") for name, f in SILU.items()),
    *(pytest.param(f, "nn.hard_swish", id=f"hard swish, {n}") for n, f in HARD_SWISH.items()),
])  # fmt: skip
def test_activations(f, expected):
    holds(f, expected, X)


QKV = [normal(2, n, 2, 4, seed=seed) for seed, n in enumerate((6, 7, 7))]
HEADS_FIRST = [x.transpose(0, 2, 1, 3) for x in QKV]
ATTENTION = "nn.matmul nn.mul nn.softmax nn.matmul"
TURNS = " lax.transpose" * 4


def attention(q, k, v):
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k)
    return jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(scores / 2.0), v)


def test_attention():
    holds(attention, ATTENTION + TURNS, *QKV)
    holds(lambda q, k, v: attention(q * 0.5, k, v) * 1.0, ATTENTION + TURNS + " nn.mul", *QKV)
    holds(lambda q, k, v: nn.softmax(q @ k.swapaxes(-1, -2) / 2.0) @ v, ATTENTION, *HEADS_FIRST)
    holds(lambda q, k, v: nn.softmax(q @ k.T / 2.0) @ v, ATTENTION, normal(6, 4), normal(7, 4),
          normal(7, 5))  # fmt: skip


HEADS = ATTENTION.replace("nn.mul ", "") + TURNS + " lax.reshape" * 4 + " nn.dense" * 4


def pool(x, kind, size=2, stride=2, padding="VALID", rank=2):
    start = {lax.add: 0.0, lax.max: -jnp.inf}[kind]
    window, strides = ((1, *(n,) * rank, 1) for n in (size, stride))
    return lax.reduce_window(x, start, kind, window, strides, padding)


POOLS = {
    "max": ("nn.max_pool", lambda x: pool(x, lax.max)),
    "max same": ("nn.max_pool", lambda x: pool(x, lax.max, 3, 2, "SAME")),
    "avg": ("nn.avg_pool", lambda x: pool(x, lax.add) / 4),
    "counted": ("lax.pad nn.avg_pool", lambda x: pool(x, lax.add, 3, 2, "SAME") / 9),
    "inside": ("nn.avg_pool", lambda x: pool(x, lax.add, 3, 2, "SAME")
               / pool(jnp.ones_like(x), lax.add, 3, 2, "SAME")),
    "sum": ("nn.avg_pool nn.mul", lambda x: pool(x, lax.add)),
    "global": ("nn.mean", lambda x: x.mean((1, 2))), "kept": ("nn.mean", lambda x: mean(x, (1, 2))),
    "in turn": ("nn.mean", lambda x: x.mean(1).mean(1)),
    "global max": ("nn.reduce_max", lambda x: x.max((1, 2))),
    "padded": ("nn.max_pool", lambda x: pool(jnp.pad(
        x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf), lax.max, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", POOLS)
def test_pooling(name):
    holds(POOLS[name][1], POOLS[name][0], IMAGE)


def test_pooling_of_sequences():
    around = "lax.reshape {} lax.reshape"
    holds(lambda x: pool(x, lax.max, rank=1), around.format("nn.max_pool"), X)
    holds(lambda x: pool(x, lax.add, rank=1) / 2, around.format("nn.avg_pool"), X)
    holds(lambda x: pool(x, lax.add, 3, 2, "SAME", 1) / pool(jnp.ones_like(x), lax.add, 3, 2,
                                                             "SAME", 1),
          around.format("nn.avg_pool"), X)  # fmt: skip


STATISTICS = normal(6), np.abs(normal(6, seed=1)) + 0.5, normal(6, seed=2), normal(6, seed=3)
MEAN, VARIANCE, SCALE, SHIFT = STATISTICS
DEVIATION = np.sqrt(VARIANCE + 1e-3)
BATCH_NORMS = {
    "formula": lambda y: (y - MEAN) * lax.rsqrt(jnp.asarray(VARIANCE) + 1e-3) * SCALE + SHIFT,
    "quotient": lambda y: (y - MEAN) / DEVIATION * SCALE + SHIFT,
    "multiplied out": lambda y: y * (SCALE / DEVIATION) + (SHIFT - MEAN * SCALE / DEVIATION),
    "scale first": lambda y: SCALE * ((y - MEAN) / DEVIATION) + SHIFT,
    "broadcast": lambda y: (y - jnp.broadcast_to(MEAN, y.shape)) * jnp.broadcast_to(
        1 / DEVIATION, y.shape) * SCALE + SHIFT,
    "turned": lambda y: SHIFT - (MEAN - y) * SCALE / DEVIATION,
}  # fmt: skip
LAYOUT = ("NHWC", "HWIO", "NHWC")
TAPS = {name: 0.3 * normal(*shape) for name, shape in (
    ("conv", (3, 3, 4, 6)), ("wide", (3, 3, 1, 6)), ("dense", (8, 6)))}  # fmt: skip
SIX = normal(2, 8, 8, 6)
LAYERS = {
    "nn.conv2d": (IMAGE, lambda x: lax.conv_general_dilated(
        x, TAPS["conv"], (1, 1), "SAME", dimension_numbers=LAYOUT)),
    "nn.depthwise_conv2d": (SIX, lambda x: lax.conv_general_dilated(
        x, TAPS["wide"], (1, 1), "SAME", dimension_numbers=LAYOUT, feature_group_count=6)),
    "nn.transposed_conv2d": (IMAGE, lambda x: lax.conv_transpose(x, TAPS["conv"], (2, 2), "SAME")),
    "nn.dense": (X, lambda x: x @ TAPS["dense"]),
}  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("norm", BATCH_NORMS)
def test_batch_norm_after_a_layer(norm, layer):
    example, f = LAYERS[layer]
    holds(lambda x: BATCH_NORMS[norm](f(x)), layer, example)


@pytest.mark.parametrize("norm", [name for name in BATCH_NORMS if name != "turned"])
def test_batch_norm_before_a_layer(norm):
    conv = lambda x: lax.conv_general_dilated(  # noqa: E731
        x, normal(3, 3, 6, 4) * 0.2, (1, 1), "VALID", dimension_numbers=LAYOUT)
    holds(lambda x: conv(BATCH_NORMS[norm](x)), "nn.conv2d", SIX)
    holds(lambda x: BATCH_NORMS[norm](x) @ (normal(6, 5) * 0.3), "nn.dense", SIX)


def live(tree, seed=9):
    """The parameters of a model, moved from where they start."""
    def moved(a):
        wants = jnp.issubdtype(a.dtype, jnp.floating)
        return a + 0.3 * np.abs(normal(*a.shape, seed=seed)) if wants else a

    return jax.tree.map(moved, tree)


def linen_layers():
    linen = pytest.importorskip("flax.linen")
    norm = linen.BatchNorm(use_running_average=True)
    return {
        "layer norm": (linen.LayerNorm(), X, "nn.layer_norm"),
        "slow": (linen.LayerNorm(use_fast_variance=False), X, "nn.layer_norm"),
        "rms norm": (linen.RMSNorm(), X, "nn.rms_norm"),
        "group norm": (linen.GroupNorm(2), IMAGE, GROUPS),
        "groups of size": (linen.GroupNorm(None, group_size=2), IMAGE, GROUPS),
        "slow groups": (linen.GroupNorm(2, use_fast_variance=False), IMAGE, GROUPS),
        "groups of rows": (linen.GroupNorm(4), X, GROUPS),
        "one group": (linen.GroupNorm(1), IMAGE, ROWS),
        "instance norm": (linen.InstanceNorm(), IMAGE, "lax.transpose lax.reshape nn.layer_norm "
                          "lax.reshape lax.transpose nn.mul nn.add"),
        "attention": (linen.MultiHeadDotProductAttention(2), X, HEADS),
        "conv": (linen.Sequential([linen.Conv(6, (3, 3)), norm, linen.relu]), IMAGE, "nn.conv2d"),
        "conv of rows": (linen.Sequential([linen.Conv(6, (3,)), norm]), X,
                         "lax.reshape nn.conv2d lax.reshape"),
        "avg pool": (linen.Sequential([linen.Dense(4), lambda x: linen.avg_pool(
            x, (3, 3), (2, 2), "SAME", count_include_pad=False)]), IMAGE, "nn.dense nn.avg_pool"),
    }  # fmt: skip


@pytest.mark.parametrize("name", [
    "layer norm", "slow", "rms norm", "group norm", "groups of size", "slow groups",
    "groups of rows", "one group", "instance norm", "attention", "conv", "conv of rows", "avg pool",
])  # fmt: skip
def test_layers_of_linen(name):
    model, example, expected = linen_layers()[name]
    variables = live(model.init(jax.random.key(0), example))
    holds(lambda x: model.apply(variables, x), expected, example)


def test_layers_of_nnx():
    nnx = pytest.importorskip("flax.nnx")
    rngs = nnx.Rngs(0)
    cases = [
        (nnx.LayerNorm(8, rngs=rngs), X, "nn.layer_norm"),
        (nnx.RMSNorm(8, rngs=rngs), X, "nn.rms_norm"),
        (nnx.GroupNorm(4, 2, rngs=rngs), IMAGE, GROUPS),
        (nnx.Sequential(nnx.Conv(4, 6, (3, 3), rngs=rngs), nnx.BatchNorm(6, rngs=rngs), nnx.gelu),
         IMAGE, "nn.conv2d nn.gelu"),
        (nnx.Sequential(nnx.Linear(8, 6, rngs=rngs), nnx.BatchNorm(6, rngs=rngs)), X, "nn.dense"),
    ]  # fmt: skip
    for model, example, expected in cases:
        nnx.update(model, live(nnx.state(model)))
        model.eval()
        holds(model, expected, example)


def test_layers_of_equinox():
    eqx = pytest.importorskip("equinox")
    key = jax.random.key(0)
    turns = "lax.transpose lax.transpose "
    attends = eqx.nn.MultiheadAttention(2, 8, key=key)
    rows = lambda layer: jax.vmap(jax.vmap(layer))  # noqa: E731
    cases = [
        (rows(eqx.nn.LayerNorm(8)), X, "nn.layer_norm"),
        (rows(eqx.nn.RMSNorm(8)), X, "nn.rms_norm"),
        (jax.vmap(eqx.nn.LayerNorm((6, 8))), X, ROWS),
        (jax.vmap(eqx.nn.GroupNorm(2, 4, channelwise_affine=False)), CHANNELS_FIRST, ROWS),
        (jax.vmap(eqx.nn.MaxPool2d(3, 2, padding=1)), CHANNELS_FIRST, turns + "nn.max_pool"),
        (jax.vmap(eqx.nn.AvgPool2d(2, 2)), CHANNELS_FIRST, turns + "nn.avg_pool"),
        (jax.vmap(lambda x: attends(x, x, x)), X, HEADS),
    ]
    for f, example, expected in cases:
        holds(f, expected, example)


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_layers_of_keras(backend):
    pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    script = Path(__file__).with_name("raised_keras.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True,
                          check=False, env={**os.environ, "KERAS_BACKEND": backend})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_functions_of_tensorflow():
    tf = pytest.importorskip("tensorflow")

    def moments(x, axes, gamma, beta):
        found = tf.nn.moments(x, axes, keepdims=True)
        return tf.nn.batch_normalization(x, *found, beta, gamma, 1e-5)

    def groups(x):
        scale, shift = (a[:4].reshape(1, 1, 1, 2, 2) for a in (GAMMA, BETA))
        return tf.reshape(moments(tf.reshape(x, [2, 8, 8, 2, 2]), [1, 2, 4], scale, shift), x.shape)

    def conv(x):
        return tf.nn.conv2d(x, TAPS["conv"], 1, "SAME")

    cases = [
        (tf.nn.softmax, "nn.softmax", X), (lambda x: tf.nn.softmax(x, 1), "nn.softmax", X),
        (tf.nn.gelu, "nn.gelu", X), (lambda x: tf.nn.gelu(x, True), "nn.gelu", X),
        (lambda x: 0.5 * x * (1 + tf.tanh(ROOT * (x + 0.044715 * tf.pow(x, 3)))), "nn.gelu", X),
        (tf.nn.silu, "nn.silu", X), (lambda x: x * tf.nn.relu6(x + 3) / 6, "nn.hard_swish", X),
        (lambda x: x * tf.clip_by_value(x / 6 + 0.5, 0.0, 1.0), "nn.hard_swish", X),
        (lambda x: moments(x, [-1], GAMMA, BETA), "nn.layer_norm", X),
        (lambda x: x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), -1, keepdims=True) + 1e-6),
         "nn.rms_norm", X),
        (groups, GROUPS, IMAGE),
        (lambda x: moments(x, [1, 2], GAMMA[:4], BETA[:4]), "lax.transpose lax.reshape "
         "nn.layer_norm lax.reshape lax.transpose nn.mul nn.add", IMAGE),
        (lambda x: tf.nn.batch_normalization(conv(x), MEAN, VARIANCE, SHIFT, SCALE, 1e-3),
         "nn.conv2d", IMAGE),
        (lambda x: tf.compat.v1.nn.fused_batch_norm(conv(x), SCALE, SHIFT, MEAN, VARIANCE,
                                                    is_training=False)[0], "nn.conv2d", IMAGE),
        (lambda x: tf.nn.avg_pool2d(conv(x), 3, 2, "SAME"), "nn.conv2d nn.avg_pool", IMAGE),
        (lambda x: tf.nn.max_pool1d(x, 2, 2, "VALID"), "lax.reshape nn.max_pool lax.reshape", X),
        (lambda q, k, v: tf.matmul(tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / 2.0), v),
         ATTENTION, *HEADS_FIRST),
        (lambda q, k, v: tf.einsum("bhqk,bkhd->bqhd", tf.nn.softmax(
            tf.einsum("bqhd,bkhd->bhqk", q, k) / 2.0), v), ATTENTION + TURNS, *QKV),
    ]  # fmt: skip
    for f, expected, *inputs in cases:
        wanted = f(*map(tf.constant, inputs)).numpy()
        check(qir.trace(tf.function(f), *inputs), wanted, inputs, expected)
