"""Comparing XLA with the numpy meanings, for the tests of the XLA target."""

import numpy as np

from qir import registry
from qir.evaluate import evaluate
from qir.ir import Func, item, parameter
from qir.targets.xla.compile import compile_func
from qir.types import Grid, TupleType, tensor

registry.load_dialects()


def compare(results, arrays, rtol=2e-5, atol=2e-6):
    """Run what is built on parameters both ways, in one program; integers must agree exactly.

    results: ops, of one or several results. arrays: by the names of the parameters.
    """
    func = func_of(results)
    inputs = [arrays[q.attributes["name"]] for q in func.parameters]
    compared = zip(func.results, compile_func(func)(*inputs), evaluate(func, inputs), strict=True)
    for result, ours, theirs in compared:
        ours, about = np.asarray(ours), f"{result.kind} {dict(result.attributes)} {result.type}"
        assert ours.dtype == theirs.dtype, about
        if result.type.is_float and (rtol or atol):
            ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
            np.testing.assert_allclose(ours, theirs, rtol, atol, err_msg=about)
        else:
            np.testing.assert_array_equal(ours, theirs, err_msg=about)


def func_of(results) -> Func:
    """A function of these results, the parameters being those they stand on."""
    flat = []
    for op in results:
        many = isinstance(op.type, TupleType)
        flat += [item(op, i) for i in range(len(op.type.items))] if many else [op]
    func = Func("f", (), tuple(flat))
    return Func("f", tuple(op for op in func.ops if op.kind == "parameter"), func.results)


def p(name, dtype, *shape, grid=None):
    """A parameter."""
    return parameter(name, tensor(dtype, shape, grid))


def grid(scale, zero=0, narrow=False):
    """A grid of one scale."""
    return Grid(np.float32(scale), zero, narrow=narrow)


def random(op, rng):
    """Random elements of an op's type, over the whole range of small integers."""
    type = op.type
    if type.is_float:
        return rng.uniform(-3, 3, type.shape).astype(type.dtype.numpy)
    if type.dtype.kind == "bool":
        return rng.integers(0, 2, type.shape).astype(bool)
    low, high = max(type.lo, -(2**40)), min(type.hi, 2**40)
    return rng.integers(low, high, type.shape, endpoint=True).astype(type.dtype.numpy)


def same(found, wanted, tolerance=0.0):
    """Require equal results, up to a part of the largest element."""
    for ours, theirs in zip(found, wanted, strict=True):
        theirs = np.asarray(theirs)
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        size = max(1.0, float(np.abs(theirs).max(initial=0)))
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=tolerance * size)
