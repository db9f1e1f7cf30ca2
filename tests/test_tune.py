"""Profiles of kernels: `qir tune` writes them, `legalize(target=xla, profile=...)` obeys them."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from qir.dialects import int8

import qir
from qir import api, registry
from qir.cli import cli
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.ir import Func, const, parameter
from qir.rounding import derive
from qir.types import DTYPES, Element, Grid

jax = pytest.importorskip("jax")
from qir.targets.xla.compile import lowered  # noqa: E402
from qir.targets.xla.profile import (  # noqa: E402
    Profile,
    alternatives,
    read_profile,
    write_profile,
)

CONV = {"x": [1, 9, 9, 20], "w": [3, 3, 20, 24], "strides": [1, 1], "dilation": [1, 1],
        "groups": 1, "pads": [[1, 1], [1, 1]]}  # fmt: skip
DOT = {"rows": 81, "inner": 24, "outputs": 8}


@pytest.fixture
def network() -> Func:
    """A 3x3 and a 1x1 convolution."""
    rng = np.random.default_rng(0)
    grid = Element(DTYPES["i8"], Grid(0.05, 3))
    x = parameter("x", grid[1, 9, 9, 20])
    finish = {"to": grid, "rescale": derive("f32_half_even", np.float64(0.001))}
    weight = lambda *shape: const(rng.integers(-127, 128, shape).astype(np.int8),  # noqa: E731
                                  Element(DTYPES["i8"], Grid(0.1, 0))[shape])  # fmt: skip
    y = int8.conv2d(x, weight(3, 3, 20, 24), padding="same", **finish)
    return Func("main", (x,), (int8.conv2d(y, weight(1, 1, 24, 8), **finish),))


def profile_of(path, **kernels) -> str:
    """A file that says the kernel of the convolution and the layout of the dot."""
    entries = [{**CONV, "kernel": kernels["conv"]}, {**DOT, "kernel": kernels["dot"]}]
    path.write_text(json.dumps({"profile": 1, "machine": "here", "kernels": entries}))
    return str(path)


@pytest.mark.parametrize("dot", ["kn", "nk"])
@pytest.mark.parametrize("conv", ["valid", "same", "slices", "row_windows", "space_to_depth"])
def test_a_profile_chooses_and_changes_no_value(network, tmp_path, conv, dot):
    path = profile_of(tmp_path / "p.json", conv=conv, dot=dot)
    legal = api.legalized(network, "xla", path)
    chosen = [(op.attributes.get("kernel"), op.attributes.get("layout")) for op in legal.ops
              if op.kind in ("xla.conv", "xla.dot")]  # fmt: skip
    assert chosen == [(conv, None), (None, dot)]
    x = np.random.default_rng(1).integers(-128, 128, (1, 9, 9, 20)).astype(np.int8)
    (wanted,) = evaluate(network, [x])
    found = jax.jit(lambda x: lowered(legal, (x,))[0])(x)
    np.testing.assert_array_equal(np.asarray(found), wanted)


def test_a_profile_is_read_as_it_was_written(network, tmp_path):
    ops = [op for op in api.legalized(network, "xla").ops if op.kind.startswith("xla.")]
    kernels = {key: names[-1] for key, names in map(alternatives, ops)}
    assert len(kernels) == 2
    write_profile(tmp_path / "p.json", Profile("here", kernels))
    assert read_profile(tmp_path / "p.json") == Profile("here", kernels)


@pytest.mark.parametrize("text, said", [
    ("{", "no profile can be read: Expecting property name"),
    ("[]", 'expected {"profile": 1, "machine": ..., "kernels": [...]}, found []'),
    ('{"profile": 2, "kernels": []}', 'expected {"profile": 1,'),
    ("[" * 100000, "no profile can be read: maximum recursion depth"),
    ('{"profile": 1, "kernels": [{"rows": 1e999, "inner": 1, "outputs": 1, "kernel": "nk"}]}',
     "expected the shapes of a convolution or a dot"),
    ('{"profile": 1, "kernels": [{"rows": 2.7, "inner": 1, "outputs": 1, "kernel": "nk"}]}',
     "expected the shapes of a convolution or a dot"),
    ('{"profile": 1, "kernels": [3]}', "expected the shapes of a convolution or a dot, found 3"),
    ('{"profile": 1, "kernels": [{"rows": "many", "inner": 1, "outputs": 1, "kernel": "nk"}]}',
     "expected the shapes of a convolution or a dot"),
    ('{"profile": 1, "kernels": [{"rows": 1, "inner": 1, "outputs": 1, "kernel": "kk"}]}',
     "the kernel 'kk' does not compute this"),
    (json.dumps({"profile": 1, "kernels": [{**CONV, "strides": [2, 2], "kernel": "same"}]}),
     "the kernel 'same' does not compute this"),
    (json.dumps({"profile": 1, "kernels": [{**CONV, "strides": [], "kernel": "same"}]}),
     "expected the shapes of a convolution or a dot"),
])  # fmt: skip
def test_what_is_no_profile(tmp_path, text, said):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(QirError) as caught:
        read_profile(tmp_path / "p.json")
    assert said in caught.value.message and "p.json" in caught.value.at


def test_targets_without_choices_take_no_profile():
    with pytest.raises(QirError, match="'tflite' has no kernels to choose between by a profile"):
        registry.target_named("tflite").legalization("p.json")
    with pytest.raises(QirError, match="'edgetpu' has no kernels to choose between by a profile"):
        registry.target_named("edgetpu").tuner("p.json")


@pytest.mark.parametrize("target, said", [
    ("xla", "no profile can be read"), ("tflite", "has no kernels to choose between"),
])  # fmt: skip
def test_a_wrong_profile_is_told_before_any_data_is_read(target, said):
    def data():
        raise AssertionError("data was read")

    weight = np.ones((6, 5), np.float32)
    with pytest.raises(QirError, match=said):
        qir.quantize(lambda x: x @ weight, np.ones((1, 6), np.float32), data, target=target,
                     profile="missing.json")  # fmt: skip


MODEL = """
import jax.numpy as jnp, numpy as np

def net():
    w = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    return (lambda x: jnp.tanh(x @ w)), np.zeros((1, 6), np.float32)
"""


def test_tune_measures_what_it_does_not_know(tmp_path):
    (tmp_path / "net.py").write_text(MODEL)
    path, model = str(tmp_path / "p.json"), f"{tmp_path / 'net.py'}:net"
    command = ["tune", model, "-o", path, "--rounds", "1"]
    first = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert first.output.splitlines()[-1] == f"1 shapes measured, 1 in {path}"
    second = CliRunner().invoke(cli, [*command, "--batch", "3", "--batch", "2"])
    assert second.output.splitlines()[-1] == f"2 shapes measured, 3 in {path}"
    assert {dict(key)["rows"] for key in read_profile(path).kernels} == {1, 2, 3}
    quantized = qir.quantize(lambda x: x @ np.ones((6, 5), np.float32),
                             calibration=[np.ones((1, 6), np.float32)], profile=path)  # fmt: skip
    assert quantized.profile == path
    np.testing.assert_allclose(quantized(np.ones((2, 6), np.float32)), np.full((2, 5), 6), 0.02)
