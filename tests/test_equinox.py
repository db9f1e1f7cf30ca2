"""Models of Equinox, traced as they are, mapped, compiled, and with states."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax_compare import rand

import qir
from qir.evaluate import evaluate

eqx = pytest.importorskip("equinox")
KEY = jax.random.key(0)


def agrees(traced, wanted, *inputs):
    """Trace, evaluate, compare with what was wanted; gives the function traced."""
    func = qir.trace(traced, *inputs).main
    found = evaluate(func, inputs)
    for a, b in zip(found, jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    return func


def names_in(func):
    return {op.attributes["name"] for op in func.ops if op.kind == "const"} - {None}


MLP = eqx.nn.MLP(3, 4, 8, 1, key=KEY)


@pytest.mark.parametrize("f", [
    jax.vmap(MLP), eqx.filter_vmap(MLP), jax.vmap(eqx.filter_jit(MLP)), lambda x: jax.vmap(MLP)(x),
    jax.jit(jax.vmap(MLP)),
])  # fmt: skip
def test_a_module_mapped_over_the_batch(f):
    x = rand(5, 3)
    func = agrees(f, jax.vmap(MLP)(x), x)
    assert {"layers.0.weight", "layers.1.bias"} <= names_in(func)


@pytest.mark.parametrize("model", [MLP, eqx.filter_jit(MLP)])
def test_a_module_as_it_is(model):
    func = agrees(model, MLP(rand(3)), rand(3))
    assert func.parameters[0].attributes["name"] == "x"
    assert {"layers.0.weight", "layers.1.bias"} <= names_in(func)


LAYERS = {
    "linear": (eqx.nn.Linear(4, 3, key=KEY), (4,)), "identity": (eqx.nn.Identity(), (4,)),
    "conv1d": (eqx.nn.Conv1d(3, 4, 3, stride=2, key=KEY), (3, 9)),
    "conv2d": (eqx.nn.Conv2d(4, 6, 3, padding="SAME", groups=2, key=KEY), (4, 6, 7)),
    "conv3d": (eqx.nn.Conv3d(2, 3, 2, dilation=2, key=KEY), (2, 5, 5, 6)),
    "transposed": (eqx.nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, key=KEY), (3, 5, 5)),
    "max_pool": (eqx.nn.MaxPool2d(3, 2, padding=1), (3, 7, 7)),
    "avg_pool": (eqx.nn.AvgPool2d(2, 2), (3, 6, 6)),
    "adaptive": (eqx.nn.AdaptiveAvgPool2d((4, 3)), (3, 6, 7)),
    "layer_norm": (eqx.nn.LayerNorm(8), (8,)), "rms_norm": (eqx.nn.RMSNorm(8), (8,)),
    "group_norm": (eqx.nn.GroupNorm(2, 8), (8, 3, 4)), "dropout": (eqx.nn.Dropout(0.5), (8,)),
    "prelu": (eqx.nn.PReLU(), (8,)), "rope": (eqx.nn.RotaryPositionalEmbedding(8), (6, 8)),
    "spectral": (eqx.nn.WeightNorm(eqx.nn.Linear(4, 3, key=KEY)), (4,)),
    "sequential": (eqx.nn.Sequential([eqx.nn.Linear(4, 8, key=KEY), eqx.nn.Lambda(jax.nn.gelu),
                                      eqx.nn.Dropout(0.5)]), (4,)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    layer, shape = LAYERS[name]
    x = rand(*shape)
    agrees(layer, eqx.nn.inference_mode(layer)(x), x)
    mapped = jax.vmap(eqx.nn.inference_mode(layer))
    agrees(mapped, mapped(rand(2, *shape)), rand(2, *shape))


def test_layers_of_several_inputs_and_of_steps():
    attention = eqx.nn.MultiheadAttention(2, 8, key=KEY)
    agrees(lambda x: attention(x, x, x), attention(*[rand(6, 8)] * 3), rand(6, 8))
    embedding, at = eqx.nn.Embedding(10, 4, key=KEY), np.array([1, 9, 0], np.int32)
    agrees(jax.vmap(embedding), jax.vmap(embedding)(at), at)
    for cell in (eqx.nn.GRUCell(4, 8, key=KEY), eqx.nn.LSTMCell(4, 8, key=KEY)):
        start = jnp.zeros(8) if isinstance(cell, eqx.nn.GRUCell) else (jnp.zeros(8),) * 2

        def run(x, cell=cell, start=start):
            return jax.lax.scan(lambda h, v: (cell(v, h), None), start, x)[0]

        agrees(run, run(rand(5, 4)), rand(5, 4))


class Net(eqx.Module):
    """What is told apart in training: batch norm with a state, dropout with a key."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    drop: eqx.nn.Dropout

    def __init__(self, key):
        self.conv = eqx.nn.Conv2d(3, 8, 3, key=key)
        self.norm = eqx.nn.BatchNorm(8, "batch", mode="batch")
        self.drop = eqx.nn.Dropout(0.5)

    def __call__(self, image, state, *, key=None):
        x, state = self.norm(self.conv(image), state)
        return self.drop(x.mean((1, 2)), key=key), state


def trained():
    """The model after one step of training, for inference, and its state."""
    model, state = eqx.nn.make_with_state(Net)(KEY)
    step = jax.vmap(lambda x, key: model(x, state, key=key), axis_name="batch", out_axes=(0, None))
    _, after = step(rand(8, 3, 6, 6), jax.random.split(KEY, 8))
    return eqx.nn.inference_mode(model), after


def test_states_are_constants_and_no_results():
    model, state = trained()
    x = rand(3, 6, 6)
    wanted = model(x, state)[0]
    in_training = eqx.nn.inference_mode(model, value=False)
    for f in (model, in_training):
        func = qir.trace(f, x, state).main
        assert [p.attributes["name"] for p in func.parameters] == ["image"]
        (found,) = evaluate(func, [x])
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    agrees(functools.partial(model, state=state), wanted, x)


def test_a_module_with_a_state_mapped_over_the_batch():
    model, state = trained()
    x = rand(4, 3, 6, 6)
    mapped = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    func = qir.trace(mapped, x, state).main
    (found,) = evaluate(func, [x])
    np.testing.assert_allclose(found, mapped(x, state)[0], rtol=1e-5, atol=1e-5)
    assert "conv.weight" in names_in(func)
