"""JAX functions to integers on XLA: no float op left, near float, numpy equal bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import qir
from qir.evaluate import evaluate_op
from qir.floats import float_ops

IMAGE, ROWS = (2, 8, 8, 4), (2, 6, 16)


def weight(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def conv(x, w, strides=(1, 1), padding="SAME", **more):
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=layout, **more)


def nchw(x):
    x = jnp.transpose(x, (0, 3, 1, 2))
    layout = ("NCHW", "OIHW", "NCHW")
    y = lax.conv_general_dilated(x, weight(6, 4, 3, 3), (1, 1), "SAME", dimension_numbers=layout)
    y = jax.nn.relu(y + weight(6)[:, None, None])
    return jnp.transpose(y, (0, 2, 3, 1))


def attention(x):
    q, k, v = (jnp.reshape(x @ weight(16, 16, seed=i), (2, 6, 4, 4)) for i in range(3))
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / 2
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v).reshape(2, 6, 16)


def causal_attention(x):
    q, k, v = (jnp.reshape(x @ weight(16, 16, seed=i), (2, 6, 4, 4)) for i in range(3))
    return jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(2, 6, 16)


def normed(x):
    mean = x.mean(-1, keepdims=True)
    spread = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(spread + 1e-5) * weight(16) + weight(16, seed=1)


def window_sum(x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "VALID") / 9 - x.min()


def window_max(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME") * weight(4)


def odd_chain(x):
    return jnp.exp(-jnp.abs(x)) * jnp.sin(3 * x) + jnp.where(x > 0, x, 0.1 * x) - 0.3


MODELS = {
    "conv": (IMAGE, lambda x: conv(x, weight(3, 3, 4, 6)) + weight(6)),
    "conv, strided": (IMAGE, lambda x: conv(x, weight(3, 3, 4, 6), (2, 2))),
    "conv, dilated": (IMAGE, lambda x: conv(x, weight(3, 3, 4, 6), rhs_dilation=(2, 2))),
    "conv, grouped": (IMAGE, lambda x: conv(x, weight(3, 3, 2, 6), feature_group_count=2)),
    "conv, valid, 5x2": (IMAGE, lambda x: conv(x, weight(5, 2, 4, 6), padding="VALID")),
    "conv, odd pads": (IMAGE, lambda x: conv(x, weight(3, 3, 4, 6), padding=((0, 2), (1, 0)))),
    "conv, NCHW": (IMAGE, nchw),
    "pointwise, strided": (IMAGE, lambda x: conv(x, weight(1, 1, 4, 6), (2, 2))),
    "depthwise": (IMAGE, lambda x: conv(x, weight(3, 3, 1, 4), feature_group_count=4)),
    "depthwise, multiplier": (IMAGE, lambda x: conv(x, weight(3, 3, 1, 8), feature_group_count=4)),
    "transposed conv": (IMAGE, lambda x: lax.conv_transpose(x, weight(3, 3, 4, 6), (2, 2), "SAME")),
    "dense": (ROWS, lambda x: x @ weight(16, 5) + weight(5)),
    "matmul": (ROWS, lambda x: jnp.einsum("bik,bjk->bij", x, jnp.tanh(x))),
    "attention": (ROWS, attention),
    "add, broadcast": (ROWS, lambda x: x + jnp.max(x, -1, keepdims=True)),
    "sub": (ROWS, lambda x: x - jnp.flip(x, -1)),
    "mul": (ROWS, lambda x: x * jnp.flip(x, -1)),
    "mul by a constant a channel": (ROWS, lambda x: x * weight(16)),
    "div": (ROWS, lambda x: x / (2 + jax.nn.sigmoid(jnp.flip(x, -1)))),
    "max pool": (IMAGE, window_max),
    "average pool": (IMAGE, window_sum),
    "global pool": (IMAGE, lambda x: x.mean((1, 2))),
    "relu": (ROWS, jax.nn.relu),
    "relu6": (ROWS, jax.nn.relu6),
    "sigmoid": (ROWS, jax.nn.sigmoid),
    "tanh": (ROWS, jnp.tanh),
    "silu": (ROWS, jax.nn.silu),
    "gelu": (ROWS, jax.nn.gelu),
    "gelu, erf": (ROWS, lambda x: jax.nn.gelu(x, approximate=False)),
    "hard swish": (ROWS, jax.nn.hard_swish),
    "leaky relu": (ROWS, jax.nn.leaky_relu),
    "another chain": (ROWS, odd_chain),
    "softmax": (ROWS, jax.nn.softmax),
    "softmax with a mask": (ROWS, lambda x: jax.nn.softmax(x, where=np.tri(6, 16) > 0)),
    "causal attention": (ROWS, causal_attention),
    "softmax, axis 1": (ROWS, lambda x: jax.nn.softmax(x, 1)),
    "layer norm": (ROWS, normed),
    "reshape, transpose": (ROWS, lambda x: (x.reshape(2, 6, 4, 4).transpose(0, 2, 1, 3) * 2)),
    "pad": (ROWS, lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 3))) * 2),
    "concatenate": (ROWS, lambda x: jnp.concatenate([x * 2, jnp.tanh(x), x], 1)),
    "slice, split": (ROWS, lambda x: jnp.split(x, [6], -1)[1][:, 1:5:2] - 1),
    "gather": (ROWS, lambda x: jnp.take(x * 2, np.array([3, 0, 3]), 1)),
    "sum": (ROWS, lambda x: x.sum(-1)),
    "max over an axis": (ROWS, lambda x: x.max(1) * 2),
    "two results": (ROWS, lambda x: (jax.nn.relu(x), x @ weight(16, 3))),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_becomes_integers(name):
    shape, f = MODELS[name]
    rng = np.random.default_rng(1)
    data = [rng.normal(0, 1, shape).astype(np.float32) for _ in range(8)]
    quantized = qir.quantize(f, data[0], data)
    assert float_ops(quantized.func) == []
    expected, found = f(data[0]), quantized(data[0])
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert signal_to_noise(np.asarray(a), np.asarray(b)) > 25
    assert_numpy_equals_xla(quantized.func, data[0])


def signal_to_noise(expected, found) -> float:
    """In decibels."""
    noise = np.square(expected - found).sum()
    return 10 * np.log10(np.square(expected).sum() / max(noise, 1e-20))


def assert_numpy_equals_xla(func, x):
    """Every op's integers, not the last one's alone."""
    skipped = ("parameter", "const")
    inner = [op for op in func.ops if op.kind not in skipped and hasattr(op.type, "shape")]
    on_xla = qir.compile(func.with_results(inner))(x)
    values = {}
    for op in func.ops:
        known = x if op.kind == "parameter" else evaluate_op(op, [values[o] for o in op.operands])
        values[op] = known
    for op, result in zip(inner, on_xla, strict=True):
        np.testing.assert_array_equal(values[op], np.asarray(result), err_msg=op.kind)


def chosen(scores, given):
    return jnp.where(given, scores, -jnp.inf)


def biased(scores, given):
    return scores + (1 - given) * -1e9


def chosen_bias(scores, given):
    return scores + jnp.where(given, 0, jnp.finfo(jnp.float32).min)


@pytest.mark.parametrize("masked", [chosen, biased, chosen_bias])
@pytest.mark.parametrize("storage", [bool, np.int32])
def test_a_mask_that_comes_in_leaves_no_float(masked, storage):
    def attention(x, tokens):
        q, k, v = (jnp.reshape(x @ weight(16, 16, seed=i), (2, 6, 4, 4)) for i in range(3))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / 2
        scores = masked(scores, tokens[:, None, None, :] if masked is biased
                        else tokens[:, None, None, :] > 0)  # fmt: skip
        return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v).reshape(2, 6, 16)

    rng = np.random.default_rng(1)
    tokens = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]]).astype(storage)
    data = [(rng.normal(0, 1, ROWS).astype(np.float32), tokens) for _ in range(8)]
    quantized = qir.quantize(attention, data[0], data)
    assert float_ops(quantized.func) == []
    assert signal_to_noise(np.asarray(attention(*data[0])), np.asarray(quantized(*data[0]))) > 25


def test_two_inputs_by_name_and_any_batch():
    def f(image, gain):
        return {"scaled": image * gain, "image": jax.nn.relu(image)}

    rng = np.random.default_rng(1)
    items = [{"image": rng.normal(size=(1, 5)), "gain": rng.normal(size=(1, 5))} for _ in range(9)]
    items = [{k: v.astype(np.float32) for k, v in item.items()} for item in items]
    example = tuple(items[0].values())
    quantized = qir.quantize(f, example, lambda: iter(items))
    batch = {k: np.concatenate([item[k] for item in items]) for k in ("gain", "image")}
    found = quantized(batch)
    assert set(found) == {"scaled", "image"} and found["scaled"].shape == (9, 5)
    assert signal_to_noise(batch["image"] * batch["gain"], np.asarray(found["scaled"])) > 25
    one = quantized({k: v[:1] for k, v in batch.items()})
    np.testing.assert_array_equal(np.asarray(one["scaled"]), np.asarray(found["scaled"])[:1])


WRONG_INPUTS = {
    "the input 'x' has shape [4], the model takes [2, 4]": ([np.zeros(4)], [0, 1]),
    "the input 'x' has shape [2, 1, 4], the model takes [2, 4]": ([np.zeros((2, 1, 4))], [0, 1]),
    "the inputs differ in their leading extent, the batch: x 3, i 2": ([np.zeros((3, 4))], [0, 1]),
    "the input 'x' is no array: lists in it differ in length": ([[[1.0, 2.0], [3.0]]], [0, 1]),
    "the input 'i' holds -1 to 4294967296, i32 takes -2147483648 to 2147483647":
        ([np.zeros((2, 4))], [-1, 2**32]),
    "the model takes 2 inputs (x, i), found 3": ([np.zeros((2, 4))] * 2, [0, 1]),
}  # fmt: skip


def test_wrong_inputs_are_said_with_the_name_of_the_input():
    def f(x, i):
        return jnp.take(weight(5, 4), i, 0) * x

    ones = np.ones((2, 4), np.float32), np.array([0, 1], np.int32)
    quantized = qir.quantize(f, ones, [ones])
    for message, (floats, indices) in WRONG_INPUTS.items():
        with pytest.raises(qir.QirError) as caught:
            quantized(*floats, np.array(indices))
        assert caught.value.message == message


def test_a_number_as_input_has_no_batch():
    x, two = np.ones((1, 4), np.float32), np.float32(2)
    quantized = qir.quantize(lambda x, scale: x * scale, (x, two), [[x, two]])
    np.testing.assert_allclose(quantized(np.ones((5, 4)), two), np.full((5, 4), 2), rtol=0.01)


def test_what_is_no_model_pipeline_or_target_is_an_error(tmp_path):
    module = qir.trace(lambda x: x * 2, np.ones((1, 4)))
    qir.save(module, tmp_path / "m.qir")
    with pytest.raises(qir.QirError, match="a pipeline is a name or a text, found int"):
        qir.run_pipeline(module, 3)
    with pytest.raises(qir.QirError, match="expected a function of qir or a module, found str"):
        qir.run_pipeline("m.qir", "cse")
    quantized = qir.quantize(module, calibration=[np.ones((1, 4))])
    with pytest.raises(qir.QirError, match="raise_nn takes a graph in the form 'traced': quant."):
        qir.quantize(quantized.module, calibration=[np.ones((1, 4))])
    with pytest.raises(qir.QirError, match="unknown target 'tpu'"):
        qir.load(tmp_path / "m.qir", target="tpu")


def test_saved_models_are_the_same_bytes_every_time(tmp_path):
    shape, f = MODELS["attention"]
    data = [np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        qir.quantize(f, data[0], data).save(tmp_path / folder / "model.qir")
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "b").iterdir()) and len(files) == 2
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    loaded = qir.load(tmp_path / "a" / "model.qir")
    expected = qir.quantize(f, data[0], data)(data[0])
    np.testing.assert_array_equal(np.asarray(loaded(data[0])), np.asarray(expected))
