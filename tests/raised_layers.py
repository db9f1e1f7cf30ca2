"""What `float_front` makes of a model: its ops, its values, and its 8-bit version."""

from collections import Counter

import numpy as np

import qir
from qir.evaluate import evaluate
from qir.floats import float_ops

LEAST = 25.0
"""Decibels that random models of one or two layers keep in 8 bits, and some more."""


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def check(module, wanted, inputs, expected: str) -> None:
    """A model must become these ops, still mean the same, and leave no op in float in 8 bits.

    wanted: what its framework gives. Ops that mean the same on stored integers are left as they are
    if nothing else is in the model.
    """
    func = qir.run_pipeline(module, "float_front").main
    found = Counter(op.kind for op in func.ops if op.kind not in ("const", "parameter"))
    assert found == Counter(expected.split()), dict(found)
    size = max(1.0, float(np.abs(wanted).max()))
    (result,) = evaluate(func, inputs)
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-5 * size)
    if not set(found) - {"nn.max_pool", "nn.avg_pool", "nn.reduce_max", "lax.reshape", "lax.pad",
                         "lax.transpose"}:  # fmt: skip
        return
    samples = [tuple(normal(*x.shape, seed=seed) for x in inputs) for seed in range(4)]
    quantized = qir.quantize(module, calibration=[*samples, inputs])
    assert not float_ops(quantized.func), float_ops(quantized.func)
    (stored,) = evaluate(quantized.func, inputs)
    noise = np.square(np.asarray(stored, np.float64) - wanted).sum()
    decibels = 10 * np.log10(np.square(wanted, dtype=np.float64).sum() / max(noise, 1e-30))
    assert decibels > LEAST, f"{decibels:.1f} dB"
