"""Every XLA lowering against the numpy meaning: exact on integers, close in float."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qir import registry
from qir.evaluate import evaluate
from qir.ir import OPS, Func, const, item, parameter
from qir.types import TupleType, tensor

pytest.importorskip("jax")
registry.load_dialects()

from qir.dialects import lax, nn  # noqa: E402
from qir.targets.xla import DIALECTS  # noqa: E402
from qir.targets.xla.compile import compile_func  # noqa: E402
from qir.targets.xla.table import lowerings  # noqa: E402

FEW = settings(max_examples=12, deadline=None, derandomize=True)


def compare(results, arrays, rtol=2e-5, atol=2e-6):
    """Run what is built on the parameters of `results` both ways, in one program."""
    func = func_of(results)
    found = compile_func(func)(*(arrays[p.attributes["name"]] for p in func.parameters))
    wanted = evaluate(func, {p.attributes["name"]: arrays[p.attributes["name"]]
                             for p in func.parameters})  # fmt: skip
    for result, ours, theirs in zip(func.results, found, wanted, strict=True):
        ours, about = np.asarray(ours), f"{result.kind} {dict(result.attributes)} {result.type}"
        assert ours.dtype == theirs.dtype, about
        if result.type.is_float:
            ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
            np.testing.assert_allclose(ours, theirs, rtol, atol, err_msg=about)
        else:
            np.testing.assert_array_equal(ours, theirs, err_msg=about)


def func_of(results) -> Func:
    flat = []
    for op in results:
        many = isinstance(op.type, TupleType)
        flat += [item(op, i) for i in range(len(op.type.items))] if many else [op]
    func = Func("f", (), tuple(flat))
    return Func("f", tuple(op for op in func.ops if op.kind == "parameter"), func.results)


def p(name, dtype, *shape, grid=None):
    return parameter(name, tensor(dtype, shape, grid))


def random(op, rng):
    type = op.type
    if type.is_float:
        return rng.uniform(-3, 3, type.shape).astype(type.dtype.numpy)
    if type.dtype.kind == "bool":
        return rng.integers(0, 2, type.shape).astype(bool)
    low, high = max(type.lo, -(2**40)), min(type.hi, 2**40)
    return rng.integers(low, high, type.shape, endpoint=True).astype(type.dtype.numpy)


def test_every_op_has_a_lowering():
    ours = {kind for kind in OPS if kind.partition(".")[0] in DIALECTS}
    assert not ours - set(lowerings())


ANYWHERE = ("abs neg exp exp2 expm1 tanh logistic sin cos tan atan sinh cosh asinh erf erfc cbrt sign "
            "floor ceil square is_finite").split()  # fmt: skip
POSITIVE = "log log1p sqrt rsqrt".split()
INSIDE = "asin acos atanh".split()


def test_unary_functions():
    rng = np.random.default_rng(0)
    x, y, z = p("x", "f32", 3, 50), p("y", "f32", 3, 50), p("z", "f32", 150)
    results = [OPS[f"lax.{name}"](x) for name in ANYWHERE]
    results += [OPS[f"lax.{name}"](y) for name in (*POSITIVE, "acosh")]
    results += [OPS[f"lax.{name}"](z) for name in INSIDE]
    results += [lax.round(x, method=m) for m in ("half_even", "half_away")]
    results += [lax.integer_pow(x, y=n) for n in (-2, 0, 1, 3, 4)]
    arrays = {"x": random(x, rng), "y": rng.uniform(1.01, 4, (3, 50)).astype(np.float32),
              "z": rng.uniform(-0.99, 0.99, 150).astype(np.float32)}  # fmt: skip
    arrays["x"][0, :8] = np.arange(8) - 3.5
    compare(results, arrays)
