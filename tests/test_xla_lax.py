"""The XLA lowerings of lax ops against their numpy meanings: exact on integers, close in float."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qir.ir import OPS, item

pytest.importorskip("jax")

from qir.dialects import lax, nn  # noqa: E402
from xla_compare import compare, grid, p, random  # noqa: E402

from qir.targets.xla import DIALECTS  # noqa: E402
from qir.targets.xla.table import lowerings  # noqa: E402

FEW = settings(max_examples=6, deadline=None, derandomize=True)


def test_every_op_has_a_lowering():
    ours = {kind for kind in OPS if kind.partition(".")[0] in DIALECTS}
    assert not ours - set(lowerings())


ANYWHERE = ("abs", "neg", "exp", "exp2", "expm1", "tanh", "logistic", "sin",
            "cos", "tan", "atan", "sinh", "cosh", "asinh", "erf", "erfc",
            "cbrt", "sign", "floor", "ceil", "square", "is_finite")  # fmt: skip
POSITIVE = ["log", "log1p", "sqrt", "rsqrt"]
INSIDE = ["asin", "acos", "atanh"]


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


ARITHMETIC = ("add", "sub", "mul", "div", "rem", "max", "min",
              "eq", "ne", "lt", "le", "gt", "ge")  # fmt: skip
INTEGERS = ("i8", "u8", "i16", "i32", "u32", "i64")


def integer_arithmetic(dtype):
    """Every arithmetic op of integers, division by zero and overflow among its cases."""
    a, b = p("a", dtype, 4, 1, 30), p("b", dtype, 5, 30)
    names = (*ARITHMETIC, "and", "or", "xor")
    results = [OPS[f"lax.{name}"](a, b) for name in names]
    results += [OPS[f"lax.{name}"](a) for name in ("abs", "neg", "sign", "square", "not")]
    return [*results, lax.clamp(b, a, b), lax.select(lax.lt(a, b), a, b), lax.integer_pow(a, y=3),
            *(lax.convert(a, to=to) for to in (*INTEGERS, "f32", "bool"))]  # fmt: skip


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_arithmetic(dtype):
    rng = np.random.default_rng(1)
    arrays = {name: random(p(name, dtype, *shape), rng)
              for name, shape in (("a", (4, 1, 30)), ("b", (5, 30)))}  # fmt: skip
    arrays["b"][:, :3] = 0
    compare(integer_arithmetic(dtype), arrays)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_bits(dtype):
    rng, a, b = np.random.default_rng(8), p("a", dtype, 4, 1, 30), p("b", dtype, 5, 30)
    results = [OPS[f"lax.shift_{way}"](a, b) for way in ("left", "right_arithmetic",
                                                         "right_logical")]  # fmt: skip
    results += [lax.population_count(a), lax.clz(a), lax.bitcast(a, to="i8")]
    compare(results, {"a": random(a, rng), "b": random(b, rng) % np.array(70, dtype_of(b))})


def dtype_of(op):
    return op.type.dtype.numpy


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_reduced_precision(dtype):
    x = p("x", dtype, 40)
    array = np.random.default_rng(9).normal(size=40) * 10.0 ** np.arange(-20, 20)
    with np.errstate(over="ignore"):
        array = array.astype(dtype_of(x))
    array[:3] = [np.nan, np.inf, -0.0]
    results = [lax.reduce_precision(x, exponent_bits=e, mantissa_bits=m)
               for e, m in ((5, 10), (8, 7), (4, 3), (5, 2), (1, 0), (3, 23))]  # fmt: skip
    compare(results, {"x": array}, rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", ["f32", "bf16", "i8", "i32"])
def test_writes_at_run_time_places(dtype):
    x, updates = p("x", dtype, 4, 5, 6), p("u", dtype, 7, 5)
    numbers = {"update_window_dims": [1], "inserted_window_dims": [0, 2],
               "scatter_dims_to_operand_dims": [0, 2]}  # fmt: skip
    names = ("scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max")
    results = [OPS[f"lax.{name}"](x, p("pairs", "i32", 7, 2), updates, **numbers, mode=mode)
               for name in names for mode in ("clip", "drop")]  # fmt: skip
    rng = np.random.default_rng(10)
    compare(results, {"x": random(x, rng), "u": random(updates, rng), **PLACES},
            rtol=1e-2 if dtype == "bf16" else 1e-5)  # fmt: skip


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_float_arithmetic(dtype):
    rng = np.random.default_rng(2)
    a, b, c = p("a", dtype, 3, 1, 20), p("b", dtype, 5, 20), p("c", "i32", 20)
    names = (*ARITHMETIC, "atan2")
    results = [OPS[f"lax.{name}"](a, b) for name in names]
    results += [
        lax.pow(lax.abs(a), b),
        lax.pow(a, c),
        lax.clamp(b, a, b),
        lax.exp(a),
        *(lax.convert(a, to=to) for to in (*INTEGERS[:-1], "bool", "bf16", "f16")),
    ]
    arrays = {"a": random(a, rng), "b": random(b, rng), "c": rng.integers(-3, 4, 20, np.int32)}
    arrays["a"].ravel()[:6] = [np.nan, np.inf, -np.inf, 300, -300, 0]
    step = {"f32": 2e-6, "f16": 1e-3, "bf16": 8e-3}[dtype]
    compare(results, arrays, rtol=2 * step, atol=step)


def test_truth_values():
    a, b = p("a", "bool", 3, 4), p("b", "bool", 4)
    results = [OPS[f"lax.{name}"](a, b) for name in ("and", "or", "xor", "eq")]
    results += [lax.not_(a), lax.reduce_and(a, axes=[1]), lax.reduce_or(a, axes=[0, 1]),
                lax.convert(a, to="f32"), lax.select(a, a, b), lax.dot_general(
                    a, b, contract_a=[1], contract_b=[0])]  # fmt: skip
    rng = np.random.default_rng(3)
    compare(results, {"a": random(a, rng), "b": random(b, rng)})


def movements(x):
    """Every op that moves elements, on x of shape [4,5,6]."""
    return [
        lax.reshape(x, shape=[-1, 10]), lax.transpose(x, permutation=[2, 0, 1]),
        lax.broadcast(x, shape=[2, -1, 5, -1], axes=[1, 2, 3]),
        lax.concatenate(x, x, axis=-1), lax.reverse(x, axes=[0, -1]),
        lax.pad(x, low=[1, -1, 0], high=[-2, 2, 0], interior=[2, 0, 1], value=0.75),
        lax.pad(x, low=[1, 0, 0], high=[0, 0, 0]),
        lax.slice(x, start=[1, 0, 2], limit=[-1, 4, 6], strides=[2, 1, 3]),
        *(item(lax.split(x, sizes=[1, 4], axis=-2), i) for i in (0, 1)),
    ]  # fmt: skip


def lookups(x):
    """Every op that reads at run-time places, some of them outside of x[4,5,6]."""
    rows, one, two = p("rows", "i32", 2, 3), p("one", "i32"), p("two", "i32")
    pairs = p("pairs", "i32", 7, 2)
    numbers = {"offset_dims": [1], "collapsed_slice_dims": [0, 2], "start_index_map": [0, 2]}
    corner = lax.slice(x, start=[0, 0, 0], limit=[2, 2, 2])
    return [
        lax.take(x, rows, axis=1), lax.dynamic_slice(x, one, two, one, sizes=[2, -1, 3]),
        lax.dynamic_update_slice(x, corner, two, one, one),
        *(lax.gather(x, pairs, **numbers, slice_sizes=[1, 5, 1], mode=m) for m in ("clip", "fill")),
        lax.gather(x, pairs, **numbers, slice_sizes=[1, 5, 1], mode="fill", value=2.0),
    ]  # fmt: skip


PLACES = {
    "rows": np.array([[0, 7, 2], [-3, 4, 1]], np.int32), "one": np.array(3, np.int32),
    "two": np.array(-2, np.int32),
    "pairs": np.array([[0, 0], [3, 5], [9, 1], [-1, 2], [1, -4], [2, 3], [0, 8]], np.int32),
}  # fmt: skip


def gridded(dtype, zero, narrow=False):
    return grid(0.1, zero, narrow) if dtype in ("i8", "u8", "i16") else None


@pytest.mark.parametrize("dtype", ["f32", "bf16", "i8", "u8", "i16", "i32", "i64", "bool"])
def test_movement_on_every_storage(dtype):
    rng = np.random.default_rng(4)
    zero = 9 if dtype == "u8" else -7
    x = p("x", dtype, 4, 5, 6, grid=gridded(dtype, zero))
    compare([*movements(x), *lookups(x)], {"x": random(x, rng), **PLACES})


def comparisons(x):
    """Every op that picks elements by order, on x[2,6,7,3]."""
    window = {"window": [1, 2, 3, 1], "strides": [1, 2, 1, 1], "padding": [0, 1, 1, 0, 0, 0, 2, 0],
              "window_dilation": [1, 2, 1, 1], "base_dilation": [1, 1, 2, 1]}  # fmt: skip
    return [
        lax.reduce_max(x, axes=[1, 2]), lax.reduce_min(x, axes=[-1]), lax.argmax(x, axis=2),
        lax.argmin(x, axis=-1), lax.reduce_window_max(x, **window), lax.max(x, x),
        lax.reduce_window_min(x, **window), nn.maximum(x, x), nn.minimum(x, x),
        nn.max_pool(x, window=[3, 2], strides=[2, 2], padding="same"),
        nn.reduce_max(x, axes=[1], keepdims=True), nn.reduce_min(x, axes=[0, 3]),
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", ["f32", "f16", "i8", "u8", "i16", "i32"])
def test_order_on_every_storage(dtype):
    x = p("x", dtype, 2, 6, 7, 3, grid=gridded(dtype, 3, narrow=dtype == "i8"))
    compare(comparisons(x), {"x": random(x, np.random.default_rng(5))})


@pytest.mark.parametrize("dtype", ["f32", "bf16", "i8", "i32"])
def test_reductions(dtype):
    x = p("x", dtype, 3, 4, 5)
    window = {"window": [2, 2, 3], "strides": [1, 2, 1], "padding": [0, 1, 1, 0, 0, 2]}
    results = [
        lax.reduce_sum(x, axes=[0, 2]),
        lax.reduce_prod(x, axes=[1]),
        lax.reduce_window_sum(x, **window),
        lax.sort(x, axis=1),
        lax.top_k(x, k=3),
    ]
    if dtype in ("f32", "bf16"):
        results += [lax.cumlogsumexp(x, axis=1, reverse=back) for back in (False, True)]
    for name in ("cumsum", "cumprod", "cummax", "cummin"):
        results += [OPS[f"lax.{name}"](x, axis=a, reverse=a == 1) for a in (-1, 1)]
    results += [lax.sort(x, lax.neg(x), axis=-1, keys=1)]
    array = random(x, np.random.default_rng(6))
    step = {"bf16": 1e-2}.get(dtype, 1e-5)
    if dtype == "i8":
        array.ravel()[::7] = -128
    compare(results, {"x": array}, rtol=step, atol=step)


CONVOLUTIONS = st.fixed_dictionaries({
    "strides": st.tuples(*[st.integers(1, 3)] * 2), "groups": st.sampled_from([1, 2]),
    "lhs_dilation": st.tuples(*[st.integers(1, 2)] * 2),
    "rhs_dilation": st.tuples(*[st.integers(1, 2)] * 2),
    "padding": st.tuples(*[st.integers(-1, 2)] * 4),
})  # fmt: skip


@FEW
@given(CONVOLUTIONS, st.sampled_from(["f32", "i32", "i8"]), st.integers(0, 99))
def test_general_convolutions(attributes, dtype, seed):
    rng, groups = np.random.default_rng(seed), attributes["groups"]
    x, w = p("x", dtype, 2, 9, 8, 4), p("w", dtype, 3, 2, 4 // groups, 6)
    v, u = p("v", dtype, 4, 2, 8, 9), p("u", dtype, 6, 4 // groups, 2, 3)
    specs = {"lhs_spec": [1, 0, 3, 2], "rhs_spec": [0, 1, 3, 2], "out_spec": [2, 3, 0, 1]}
    whole = lax.concatenate(*[w] * groups, axis=2)
    batched = {**attributes, "groups": 1, "batch_groups": groups}
    results = [
        lax.conv_general_dilated(x, w, **attributes),
        lax.conv_general_dilated(v, u, **attributes, **specs),
        lax.conv_general_dilated(x, whole, **batched),
        lax.dot_general(x, v, contract_a=[3], contract_b=[0], batch_a=[0], batch_b=[1]),
        lax.dot_general(w, w, contract_a=[0, 2], contract_b=[0, 2]),
    ]
    arrays = {op.attributes["name"]: random(op, rng) for op in (x, w, v, u)}
    compare(results, arrays, rtol=1e-4, atol=1e-4)


def test_dots_into_another_storage():
    a, b, c = p("a", "i8", 3, 40), p("b", "i8", 40, 5), p("c", "u8", 40, 5)
    sums = {"contract_a": [1], "contract_b": [0]}
    results = [
        lax.dot_general(a, b, **sums, to="i32"),
        lax.dot_general(a, b, **sums),
        lax.dot_general(a, c, **sums, to="i32"),
        lax.dot_general(a, b, **sums, to="f32"),
    ]
    rng = np.random.default_rng(7)
    compare(results, {op.attributes["name"]: random(op, rng) for op in (a, b, c)})
