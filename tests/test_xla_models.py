"""Whole models on XLA: floats as in JAX, integers as in numpy."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from xla_compare import same  # noqa: E402

import qir  # noqa: E402
from benchmarks import chain_network  # noqa: E402
from benchmarks.models import encoder, mobilenet_v2, resnet50  # noqa: E402
from qir import registry  # noqa: E402
from qir.evaluate import evaluate  # noqa: E402
from qir.frontends.jax import trace  # noqa: E402
from qir.targets.xla import evaluator  # noqa: E402
from qir.targets.xla.compile import compile_func  # noqa: E402


def with_random_weights(model, example):
    """The model with weights that cost no compilation; in batch statistics none is negative."""
    rng = np.random.default_rng(6)
    shapes = jax.eval_shape(model.init, jax.random.key(0), example)
    parts = {
        "params": lambda s: 0.2 * rng.standard_normal(s.shape, np.float32),
        "batch_stats": lambda s: rng.uniform(0.5, 1.5, s.shape).astype(np.float32),
    }
    variables = {part: jax.tree.map(parts[part], tree) for part, tree in shapes.items()}
    return lambda x: model.apply(variables, x)


IMAGE, TOKENS = (1, 32, 32, 3), (2, 8, 16)
TINY = {
    "resnet": (resnet50.ResNet50(classes=5, width=8, stages=(1, 1)), IMAGE),
    "mobilenet": (mobilenet_v2.MobileNetV2(classes=5, width=0.25), IMAGE),
    "encoder": (encoder.Encoder(layers=1, heads=2, intermediate=24), TOKENS),
}


def built(name):
    """A tiny model and an input."""
    if name == "chain":
        return chain_network.build(6)
    model, shape = TINY[name]
    example = np.random.default_rng(7).standard_normal(shape, np.float32)
    return with_random_weights(model, example), example


@pytest.mark.parametrize("name", [*TINY, "chain"])
def test_models_run_as_in_jax(name):
    f, example = built(name)
    wanted = jax.tree.leaves(jax.jit(f)(example))
    traced = trace(f, example).main
    func = registry.pass_named("raise_nn")(registry.pass_named("canonicalize")(traced))
    assert any(op.kind.startswith("nn.") for op in func.ops)
    for each in (traced, func):
        same(compile_func(each)(example), wanted, 1e-4)
    same(evaluator.evaluate(func, [example]), wanted, 1e-4)


@pytest.mark.parametrize("name", [*TINY, "chain"])
def test_quantized_models_give_the_bits_of_numpy(name):
    f, example = built(name)
    quantized = qir.quantize(f, example, calibration=[example, -example / 2])
    wanted = evaluate(quantized.final.main, [example])
    kernels, plain = quantized.final.main, quantized.func
    assert any(op.kind.startswith("xla.") for op in kernels.ops)
    for func in (kernels, plain):
        same(compile_func(func)(example), wanted)
