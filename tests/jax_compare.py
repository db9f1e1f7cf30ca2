"""Comparing what the JAX frontend makes of a function with the function."""

import jax
import numpy as np

from qir.evaluate import evaluate
from qir.frontends.jax import trace


def rand(*shape, seed=0, low=-2.0, high=2.0):
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def ints(*shape, low=-9, high=9, seed=0):
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(np.int32)


def close(f, *args, tolerance=1e-5):
    """Trace, evaluate in numpy, compare with JAX; gives the function traced."""
    func = trace(f, *args).main
    ours = evaluate(func, jax.tree.leaves(args))
    theirs = jax.tree.leaves(jax.jit(f)(*args))
    for a, b in zip(ours, theirs, strict=True):
        b = np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        exact = b.dtype.kind not in "fV"
        finite = np.isfinite(b)
        size = 1.0 if exact else float(np.max(np.abs(b), initial=1, where=finite))
        np.testing.assert_allclose(a, b, rtol=0, atol=0 if exact else tolerance * size)
    assert all(op.location for op in func.ops)
    return func
