"""What stays in float is told in full; strict pipelines refuse it and write nothing."""

import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qir
from qir.errors import QirError
from qir.floats import float_ops, floats_left

RNG = np.random.default_rng(0)
W = RNG.normal(0, 0.3, (16, 16)).astype(np.float32)
SAMPLES = [RNG.normal(0, 1, (1, 16)).astype(np.float32) for _ in range(4)]


def integers(x):
    """A network of which nothing stays in float."""
    return jax.nn.softmax(jax.nn.relu(x @ W) @ W)


def mixed(x):
    """A network in which a sort, a comparison and a choice stay in float."""
    h = jax.nn.relu(x @ W)
    y = jnp.sort(h, axis=1) @ W
    return jnp.where(y > y[:, ::-1], y, jnp.sqrt(h)) @ W


def test_strict_gives_what_ptq_int8_gives():
    plain = qir.quantize(integers, SAMPLES[0], SAMPLES)
    strict = qir.quantize(integers, SAMPLES[0], SAMPLES, "ptq_int8_strict")
    assert float_ops(strict.func) == []
    np.testing.assert_array_equal(strict(SAMPLES[0]), plain(SAMPLES[0]))


@pytest.mark.parametrize("target", ["xla", "tflite"])
def test_every_float_op_is_listed_with_its_line(target):
    with pytest.raises(QirError) as caught:
        qir.quantize(mixed, SAMPLES[0], SAMPLES, "ptq_int8_strict", target)
    message = str(caught.value)
    start = mixed.__code__.co_firstlineno
    assert f"test_strict.py:{start + 3}: error: 3 ops compute in float:" in message
    for kind, line in (("lax.sort", 3), ("lax.gt", 4), ("lax.select", 4)):
        assert f"  {kind} : " in message and f"test_strict.py:{start + line}\n" in message
    assert message.count("to change that: ") == 3


def test_the_report_says_the_same_of_each_op():
    quantized = qir.quantize(mixed, SAMPLES[0], SAMPLES)
    report = quantized.report()
    left = floats_left(quantized.module.main)
    assert "float ops left: 3" in report and len(left) == 3
    for each in left:
        assert f"    {each.reason}\n    to change that: {each.fix}\n" in report


def test_what_was_never_near_integers_is_told_too():
    quantized = qir.quantize(lambda x: jnp.cumsum(x, 1), SAMPLES[0], SAMPLES)
    assert "no scheme quantizes lax.cumsum" in quantized.report()
    with pytest.raises(QirError, match="1 op computes in float"):
        qir.quantize(lambda x: jnp.cumsum(x, 1), SAMPLES[0], SAMPLES, "ptq_int8_strict")


def test_a_classifier_may_end_in_its_choice():
    def network(x):
        return jnp.argmax(jax.nn.softmax(x @ W), axis=1)

    strict = qir.quantize(network, SAMPLES[0], SAMPLES, "ptq_int8_strict")
    assert strict.module.main.results[0].operands[0].dtype.name == "i8"
    assert np.asarray(strict(SAMPLES[1])).shape == (1,)


NETWORK = """
    import jax.numpy as jnp
    import numpy as np

    W = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)

    def model(x):
        return jnp.sort(x @ W, axis=1) @ W.T
"""


def test_the_command_ends_with_1_and_writes_nothing(call, tmp_path):
    (tmp_path / "net.py").write_text(textwrap.dedent(NETWORK))
    before = sorted(p.name for p in tmp_path.iterdir())
    words = ("quantize", "net.py:model", "--input", "f32[1,16]", "--calibration", "random:4",
             "-o", "net.qir", "--depfile", "net.d")  # fmt: skip
    code, out, err = call(*words, "-p", "ptq_int8_strict")
    assert code == 1 and out == ""
    assert "net.py:8: error: 1 op computes in float:\n  lax.sort : f32[1,8]  at net.py:8" in err
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "__pycache__") == before
    code, out, err = call(*words)
    assert code == 0 and "  lax.sort : f32[1,8]  at net.py:8\n    no scheme" in out
    assert (tmp_path / "net.qir").is_file()


def test_it_needs_data(call, tmp_path):
    code, _, err = call("quantize", "g.qir", "-p", "ptq_int8_strict", "-o", "q.qir")
    assert code == 1 and "calibrate needs samples and none were given" in err
    assert not (tmp_path / "q.qir").exists()
