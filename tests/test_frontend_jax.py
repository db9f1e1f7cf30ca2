"""The JAX frontend against JAX: every imported primitive, models, names, places and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax
from jax_compare import close, ints, rand

from benchmarks.models import encoder, mobilenet_v2, resnet50
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.frontends.jax import trace

UNARY = {
    "abs": jnp.abs, "neg": jnp.negative, "exp": jnp.exp, "exp2": lax.exp2, "expm1": jnp.expm1,
    "tanh": jnp.tanh, "logistic": jax.nn.sigmoid, "sin": jnp.sin, "cos": jnp.cos, "tan": lax.tan,
    "atan": jnp.arctan, "sinh": jnp.sinh, "cosh": jnp.cosh, "asinh": jnp.arcsinh, "erf": lax.erf,
    "erfc": lax.erfc, "cbrt": jnp.cbrt, "sign": jnp.sign, "floor": jnp.floor, "ceil": jnp.ceil,
    "square": jnp.square, "is_finite": jnp.isfinite, "integer_pow": lambda x: x**-3,
    "half_even": jnp.round, "half_away": lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO),
    "log": lambda x: jnp.log(jnp.abs(x)), "log1p": lambda x: jnp.log1p(jnp.abs(x)),
    "sqrt": lambda x: jnp.sqrt(jnp.abs(x)), "rsqrt": lambda x: lax.rsqrt(jnp.abs(x) + 0.1),
    "asin": lambda x: jnp.arcsin(x / 2), "acos": lambda x: jnp.arccos(x / 2),
    "acosh": lambda x: jnp.arccosh(jnp.abs(x) + 1), "atanh": lambda x: jnp.arctanh(x / 2.1),
    "to_int": lambda x: (x * 3).astype(jnp.int32), "to_bool": lambda x: x.astype(bool),
    "reduce_precision": lambda x: lax.reduce_precision(x, 8, 7),
    "barrier": lambda x: lax.stop_gradient(x) + 1, "rounded": lambda x: x.astype(jnp.bfloat16),
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_operand(name):
    close(UNARY[name], rand(4, 1, 25))


BINARY = {
    "add": jnp.add, "sub": jnp.subtract, "mul": jnp.multiply, "div": jnp.divide,
    "max": jnp.maximum, "min": jnp.minimum, "atan2": jnp.arctan2, "rem": lax.rem,
    "eq": jnp.equal, "ne": jnp.not_equal, "lt": jnp.less, "le": jnp.less_equal,
    "gt": jnp.greater, "ge": jnp.greater_equal, "pow": lambda a, b: jnp.power(jnp.abs(a), b),
    "where": lambda a, b: jnp.where(a > b, a, b), "clip": lambda a, b: jnp.clip(a, -1, jnp.abs(b)),
    "logical": lambda a, b: (a > 0) & (b > 0) | ~(a > 1) ^ (b < 1),
    "clamp": lambda a, b: lax.clamp(-1.0, a + b, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((2, 1, 3), (4, 1)), ((3,), ())])
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_operands(name, shapes):
    f = BINARY[name]
    broadcasting = (lambda a, b: f(*jnp.broadcast_arrays(a, b))) if name == "rem" else f
    close(broadcasting, rand(*shapes[0]), rand(*shapes[1], seed=1))


@pytest.mark.parametrize("f", [
    lambda a, b: (a + b, a // (jnp.abs(b) + 1), a % (jnp.abs(b) + 1), -a, jnp.abs(a), jnp.sign(b)),
    lambda a, b: (a & b, a | b, a ^ b, ~a, a**3, lax.max(a, b), a.astype(jnp.int8)),
    lambda a, b: (lax.div(a, b), lax.rem(a, b), (a > b).sum(), a.astype(jnp.float32) / 3),
    lambda a, b: lax.select_n(jnp.clip(a, 0, 2), a, b, a + b),
    lambda a, b: (jnp.any(a > b), jnp.all(a < 9, axis=0), a.astype(jnp.uint8), a == b),
    lambda a, b: lax.dot(a.astype(jnp.int8), b.astype(jnp.int8).T,
                         preferred_element_type=jnp.int32),
])  # fmt: skip
def test_integers_and_truth_values(f):
    close(f, ints(4, 5), ints(4, 5, seed=1))


MOVES = {
    "reshape": lambda x: x.reshape(x.shape[0], -1),
    "ravel": lambda x: x.ravel(),
    "split_first": lambda x: x.reshape(2, 2, *x.shape[1:]), "expand": lambda x: x[:, None],
    "expand_first": lambda x: x[None], "squeeze": lambda x: x[:, :1].squeeze(1),
    "transpose": lambda x: x.transpose(2, 0, 1), "swap": lambda x: x.swapaxes(1, 2),
    "concatenate": lambda x: jnp.concatenate([x, 2 * x, x], 1),
    "stack": lambda x: jnp.stack([x, x], 1),
    "pad": lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=1.5),
    "interior": lambda x: lax.pad(x, -1.0, ((0, 0, 0), (-1, 2, 1), (0, 1, 2))),
    "slice": lambda x: x[:, 1:5:2, :-1], "last": lambda x: x[:, -1], "flip": lambda x: x[:, ::-1],
    "split": lambda x: jnp.split(x, [2, 3], axis=1), "roll": lambda x: jnp.roll(x, 2, 1),
    "broadcast": lambda x: jnp.broadcast_to(x[:, :, None, :1], (4, 6, 3, 5)),
    "tile": lambda x: jnp.tile(x, (1, 2, 3)), "repeat": lambda x: jnp.repeat(x, 3, axis=2),
    "pick": lambda x: x[:, np.array([3, 0, 5])],
    "take": lambda x: jnp.take(x, np.array([2, -1]), 2),
    "points": lambda x: x[:, np.array([0, 2]), np.array([1, 2])], "item": lambda x: x[1, 2],
    "window": lambda x: lax.dynamic_slice(x, (0, 5, 1), (4, 3, 2)),
    "update": lambda x: lax.dynamic_update_slice(x, x[:, :2] * 9, (0, 3, 0)),
    "tril": lambda x: jnp.tril(x), "unstack": lambda x: jnp.unstack(x, axis=1),
    "stack_first": lambda x: jnp.stack([x, x]), "unstack_first": lambda x: jnp.unstack(x),
    "barrier": lambda x: lax.optimization_barrier((x, x + 1)),
    "diagonal": lambda x: jnp.diagonal(x, axis1=1, axis2=2),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_elements(name):
    close(MOVES[name], rand(4, 6, 3))


@pytest.mark.parametrize("f", [
    lambda x, i: jnp.take(x, i, axis=1), lambda x, i: x[:, i], lambda x, i: x[i],
    lambda x, i: jnp.take(x, i[None], axis=0), lambda x, i: x[i, i], lambda x, i: x[:, i, 1],
    lambda x, i: jnp.take_along_axis(x, i[None, :, None], axis=1),
    lambda x, i: lax.dynamic_slice(x, (0, i[0], 0), (4, 2, 2)),
    lambda x, i: lax.dynamic_index_in_dim(x, i[1], 1),
    lambda x, i: lax.dynamic_update_slice(x, x[:, :2], (i[0], i[1], 0)),
    lambda x, i: jax.vmap(lambda row, at: row[at])(x, i),
    lambda x, i: jax.vmap(lambda row, at: row[at])(x[:1], i[:1]), lambda x, i: jax.nn.one_hot(i, 5),
    lambda x, i: x.at[:, 1:3].get(mode="fill"),
])  # fmt: skip
def test_indices_known_at_run_time(f):
    close(f, rand(4, 6, 3), np.array([0, 3, 1, 2], np.int32))


def test_embedding_lookups_take_rows():
    table = rand(10, 4)
    kinds = [op.kind for op in close(lambda i: jnp.take(table, i, axis=0), ints(2, 5, low=0)).ops]
    assert "lax.take" in kinds and "lax.gather" not in kinds


REDUCTIONS = {
    "sum": lambda x: x.sum((1, 2)), "mean": lambda x: x.mean(1, keepdims=True), "max": jnp.max,
    "min": lambda x: x.min(-1), "prod": lambda x: x.prod(0), "var": lambda x: x.var(-1),
    "any": lambda x: (x > 1).any(1), "all": lambda x: (x > -1).all(),
    "argmax": lambda x: x.argmax(1),
    "argmin": lambda x: lax.argmin(x, 2, jnp.uint8), "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: lax.cumprod(x, 2, reverse=True), "cummax": lambda x: lax.cummax(x, 1),
    "cummin": lambda x: lax.cummin(x, 0), "sort": lambda x: jnp.sort(x, 1), "argsort": jnp.argsort,
    "top_k": lambda x: lax.top_k(x, 3), "softmax": jax.nn.softmax, "median": jnp.median,
    "logsumexp": lambda x: jax.nn.logsumexp(x, axis=1),
    "norm": lambda x: jnp.linalg.norm(x, axis=1),
}  # fmt: skip


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 7, 5)])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, shape):
    close(REDUCTIONS[name], rand(*shape))


@pytest.mark.parametrize("f", [
    lambda x: linen.max_pool(x, (3, 3), (2, 2), "SAME"),
    lambda x: linen.avg_pool(x, (2, 2), (2, 2)),
    lambda x: linen.avg_pool(x, (3, 3), (2, 2), "SAME", count_include_pad=False),
    lambda x: -linen.max_pool(-x, (2, 3), (1, 2), ((1, 0), (0, 2))),
    lambda x: lax.reduce_window(x, jnp.inf, lax.min, (1, 2, 2, 1), (1, 2, 1, 1), "VALID"),
    lambda x: lax.reduce_window(x, 0.5, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"),
    lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 1, 1, 1), "SAME",
                                base_dilation=(1, 2, 1, 1), window_dilation=(1, 1, 2, 1)),
])  # fmt: skip
def test_windows(f):
    close(f, rand(2, 9, 8, 3))


@pytest.mark.parametrize("equation, shapes", [
    ("ij,jk->ik", [(3, 4), (4, 5)]), ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
    ("bqhd,bkhd->bhqk", [(2, 5, 3, 4), (2, 6, 3, 4)]),
    ("bhqk,bkhd->bqhd", [(2, 3, 5, 6), (2, 6, 3, 4)]),
    ("bsd,dhe->bshe", [(2, 5, 4), (4, 3, 2)]), ("bshe,hed->bsd", [(2, 5, 3, 4), (3, 4, 6)]),
    ("i,j->ij", [(3,), (4,)]), ("i,i->", [(3,), (3,)]),
])  # fmt: skip
def test_dot_products(equation, shapes):
    a, b = (rand(*shape, seed=i) for i, shape in enumerate(shapes))
    close(lambda a, b: jnp.einsum(equation, a, b), a, b)


@pytest.mark.parametrize("layout", [("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW"),
                                    ("NHWC", "OIHW", "NCHW")])  # fmt: skip
@pytest.mark.parametrize("strides, padding, lhs, rhs, groups", [
    ((1, 1), "SAME", (1, 1), (1, 1), 1), ((2, 1), "VALID", (1, 1), (1, 1), 1),
    ((2, 2), ((1, 2), (0, 1)), (1, 1), (2, 1), 2), ((1, 1), ((2, 1), (1, 1)), (2, 3), (1, 1), 1),
    ((1, 2), "SAME", (1, 1), (1, 1), 4), ((1, 1), ((-1, 1), (0, 0)), (1, 1), (1, 2), 2),
])  # fmt: skip
def test_convolutions(layout, strides, padding, lhs, rhs, groups):
    x, w = rand(2, 9, 8, 4), rand(3, 2, 4 // groups, 8, seed=1)
    x = x.transpose(["NHWC".index(c) for c in layout[0]])
    w = w.transpose(["HWIO".index(c) for c in layout[1]])
    close(lambda x: lax.conv_general_dilated(x, w, strides, padding, lhs, rhs, layout, groups), x)


@pytest.mark.parametrize("rank", [1, 3])
def test_convolutions_of_other_ranks(rank):
    space = "DHW"[-rank:]
    layout = (f"N{space}C", f"{space}IO", f"N{space}C")
    x, w = rand(2, *(6, 5, 7)[:rank], 3), rand(*(3, 2, 2)[:rank], 3, 4)
    close(lambda x: lax.conv_general_dilated(x, w, (2,) * rank, "SAME", None, None, layout), x)


def test_a_transposed_convolution_and_one_grouped_by_batch():
    x, w = rand(2, 5, 6, 4), rand(3, 3, 4, 6)
    close(lambda x: lax.conv_transpose(x, w, (2, 2), "SAME"), x)
    close(lambda x: lax.conv_general_dilated(x, w, (1, 1), "SAME", None, None,
                                             ("NHWC", "HWIO", "NHWC"), 1, 2), x)  # fmt: skip


class Net(linen.Module):
    """Convolution, batch norm, pooling, attention and dense: what models are made of."""

    @linen.compact
    def __call__(self, x):
        x = linen.Conv(8, (3, 3), strides=(2, 2), name="stem")(x)
        x = linen.relu(linen.BatchNorm(use_running_average=True, name="norm")(x))
        x = linen.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        y = linen.MultiHeadDotProductAttention(num_heads=2, name="attention")(linen.LayerNorm()(x))
        x = linen.silu(linen.RMSNorm()(x + y)).mean(1)
        return {"logits": linen.Dense(5, name="head")(x), "features": x}


def live(model, example, seed=0):
    """Random variables for a linen model, such that activations neither vanish nor explode."""
    rng = np.random.default_rng(seed)

    def value(shape):
        fan_in = max(1, int(np.prod(shape.shape[:-1])))
        if len(shape.shape) > 1:
            return rng.normal(0, fan_in**-0.5, shape.shape).astype(np.float32)
        return rng.uniform(0.5, 1.0, shape.shape).astype(np.float32)

    return jax.tree.map(value, jax.eval_shape(model.init, jax.random.key(0), example))


def net():
    model, example = Net(), rand(2, 8, 8, 3)
    return model, live(model, example), example


def test_a_linen_model_in_a_function():
    model, variables, example = net()
    func = close(lambda image: model.apply(variables, image), example, tolerance=1e-4)
    assert [p.attributes["name"] for p in func.parameters] == ["image"]
    assert func.result_names == ("features", "logits")
    names = {op.attributes["name"] for op in func.ops if op.kind == "const"}
    assert {"stem.kernel", "attention.query.kernel", "head.kernel", "head.bias"} <= names
    conv = next(op for op in func.ops if op.kind == "lax.conv_general_dilated")
    assert conv.location[0].startswith("Net/stem (tests/test_frontend_jax.py:")


def test_a_linen_model_bound_to_its_variables():
    model, variables, example = net()
    func = trace(model.bind(variables), example).main
    ours = dict(zip(func.result_names, evaluate(func, [example]), strict=True))
    theirs = jax.jit(model.apply)(variables, example)
    np.testing.assert_allclose(ours["logits"], theirs["logits"], rtol=1e-4, atol=1e-4)
    assert func.parameters[0].attributes["name"] == "x"
    assert "stem.kernel" in {op.attributes.get("name") for op in func.ops}
    with pytest.raises(QirError, match="the linen module Net has no variables"):
        trace(model, example)


class Block(nnx.Module):
    """The same in nnx, with batch norm that counts and dropout that is off."""

    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 6, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 6, decode=False, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(6, 4, rngs=rngs)

    def __call__(self, image):
        x = nnx.relu(self.norm(self.conv(image)))
        x = x.reshape(x.shape[0], -1, 6)
        return self.head(self.drop(x + self.attention(x)).mean(1))


def test_an_nnx_model():
    model = Block(nnx.Rngs(0))
    model.eval()
    example = rand(2, 5, 4, 3)
    for f in (model, lambda image: model(image)):
        func = close(f, example, tolerance=1e-4)
        names = {op.attributes.get("name") for op in func.ops}
        assert {"image", "conv.kernel", "head.kernel", "attention.query.kernel"} <= names


def test_a_model_in_training_mode_that_changes_its_state_traces_too():
    func = trace(Block(nnx.Rngs(0)), rand(2, 5, 4, 3)).main
    assert func.results[0].shape == (2, 4)


SMALL = {
    "resnet50": (resnet50.ResNet50(7, 8, (1, 2, 1, 1)), (32, 32, 3)),
    "mobilenet_v2": (mobilenet_v2.MobileNetV2(7, 0.25, ((1, 8, 1, 1), (6, 8, 2, 2))), (32, 32, 3)),
    "encoder": (encoder.Encoder(1, 4, 48), (9, 32)),
}


@pytest.mark.parametrize("name", SMALL)
def test_benchmark_models_at_their_batch_and_at_another(name):
    model, shape = SMALL[name]
    x = rand(3, *shape)
    variables = live(model, x)
    theirs = np.asarray(jax.jit(model.apply)(variables, x))
    for batch in (1, 2):
        func = trace(lambda x: model.apply(variables, x), x[:batch]).main
        for size in (batch, 3):
            ours = evaluate(func.with_batch(size), [x[:size]])[0]
            assert np.abs(ours - theirs[:size]).max() < 1e-4 * np.abs(theirs).max()
        assert all(op.location for op in func.ops)


def test_constants_with_the_batch_in_them_serve_any_batch():
    def f(x):
        length = x.shape[1]
        mask = linen.make_causal_mask(jnp.ones((x.shape[0], length)))
        scores = jnp.einsum("bqd,bkd->bqk", x, x)[:, None]
        scores = jnp.where(mask > 0, scores, jnp.full(scores.shape, -1e9))
        return scores + jnp.zeros_like(scores) + jnp.arange(length, dtype=jnp.float32)

    x = rand(2, 4, 3)
    func, more = close(f, x), rand(5, 4, 3)
    np.testing.assert_allclose(evaluate(func.with_batch(5), [more])[0], f(more), rtol=1e-5)


def test_pytrees_of_inputs_and_results():
    def f(inputs, scale):
        return {"sum": inputs["a"] + inputs["b"]["c"], "more": [inputs["a"] * scale, scale]}

    inputs = {"a": rand(2, 3), "b": {"c": rand(2, 3, seed=1)}}
    func = close(f, inputs, rand(3))
    assert [p.attributes["name"] for p in func.parameters] == ["inputs_a", "inputs_b_c", "scale"]
    assert func.result_names == ("more_0", "more_1", "sum")
    alone = trace(lambda inputs: inputs["a"] + inputs["b"]["c"], inputs).main
    assert [p.attributes["name"] for p in alone.parameters] == ["a", "b_c"]
    assert alone.result_names == ()


def test_wide_inputs_become_what_jax_makes_of_them():
    shape = jax.ShapeDtypeStruct((2,), np.float64)
    func = trace(lambda x, i: x[i] * 2, shape, np.zeros(3, np.int64)).main
    assert [str(p.type) for p in func.parameters] == ["f32[2]", "i32[3]"]


def test_keys_and_random_numbers_are_constants():
    noise = lambda x: x + jax.random.normal(jax.random.key(3), x.shape)  # noqa: E731
    func = close(noise, rand(4, 5))
    assert [op.kind for op in func.ops] == ["parameter", "const", "lax.add"]


def test_constants_that_only_jax_can_compute_are_computed_by_it():
    f = lambda x: x + jnp.abs(jnp.fft.fft(jnp.arange(4.0))) + lax.lgamma(2.5)  # noqa: E731
    assert {op.kind for op in close(f, rand(3, 4)).ops} == {"parameter", "const", "lax.add"}


def test_calls_are_inlined_and_stand_where_they_are_called():
    @jax.jit
    def inner(x):
        return jax.checkpoint(lambda y: jnp.sin(y) + 1)(x)

    def f(x):
        x = jax.nn.relu(inner(x))
        x = jnp.exp(x)
        return jax.nn.relu(x)

    func = close(f, rand(3))
    first = f.__code__.co_firstlineno
    places = [op.location[0].rpartition(":")[2] for op in func.ops if op.kind == "lax.max"]
    assert places == [str(first + 1), str(first + 3)]
    assert all(op.location[0].startswith("tests/test_frontend_jax.py:") for op in func.ops)


def test_a_condition_known_when_traced_is_decided():
    f = lambda x: lax.cond(jnp.arange(3).sum() > 2, jnp.sin, lax.erf_inv, x)  # noqa: E731
    assert [op.kind for op in close(f, rand(3)).ops] == ["parameter", "lax.sin"]


def test_unknown_primitives_are_reported_together():
    def f(x):
        y = lax.erf_inv(x) + lax.erf_inv(x + 1)
        dead = jnp.fft.fft(x)  # noqa: F841  never read, never reported
        return lax.digamma(lax.lgamma(y))

    line = f.__code__.co_firstlineno
    with pytest.raises(QirError) as caught:
        trace(f, rand(3))
    assert str(caught.value) == (
        "error: 3 JAX primitives are not imported:\n"
        f"  digamma (once) at tests/test_frontend_jax.py:{line + 3}\n"
        f"  erf_inv (2 times) at tests/test_frontend_jax.py:{line + 1}\n"
        f"  lgamma (once) at tests/test_frontend_jax.py:{line + 3}\n"
        '  help: declare @imports("digamma") in a file of qir/frontends/jax/'
    )


def test_what_cannot_be_traced_is_refused():
    with pytest.raises(QirError, match="cannot trace a int"):
        trace(3, rand(2))
    with pytest.raises(QirError, match="the example for 'x' is a str of <U4"):
        trace(lambda x: x, "text")
    with pytest.raises(QirError, match="is a ndarray of complex64"):
        trace(lambda x: x, np.zeros(2, np.complex64))


def test_a_long_chain_is_traced_in_linear_depth():
    def f(x):
        for _ in range(1000):
            x = jnp.maximum(x + 1, 0)
        return x

    assert len(close(f, rand(2)).ops) == 4001


def test_a_scan_is_written_out():
    weight = rand(4, 4)

    def step(h, v):
        h = jnp.tanh(h @ weight + v["x"])
        return h, (h * 2, v["n"] + 1)

    def forward(x, n):
        return lax.scan(step, jnp.zeros((2, 4)), {"x": x, "n": n})

    def backward(x, n):
        return lax.scan(step, jnp.ones((2, 4)), {"x": x, "n": n}, reverse=True)

    for f in (forward, backward):
        close(f, rand(5, 2, 4), ints(5))


def test_loops_of_known_length_are_written_out():
    close(lambda x: lax.fori_loop(0, 5, lambda i, v: v * 0.5 + i, x), rand(3))
    close(lambda x: lax.while_loop(lambda v: v[0] < 3, lambda v: (v[0] + 1, v[1] * 2), (0, x))[1],
          rand(3))  # fmt: skip


def test_branches_are_computed_and_chosen_from():
    f = lambda x: lax.cond(x[0] > 0, jnp.sin, lambda y: y - 1, x)  # noqa: E731
    close(f, rand(3, low=1.0))
    close(f, rand(3, high=-1.0))
    g = lambda i, x: lax.switch(i, [jnp.sin, jnp.cos, jnp.exp], x)  # noqa: E731
    for i in range(3):
        close(g, np.int32(i), rand(3))


@pytest.mark.parametrize("cell", [nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell])
def test_recurrent_cells_of_flax(cell):
    model = nnx.RNN(cell(4, 8, rngs=nnx.Rngs(0)))
    x = rand(2, 6, 4)
    (found,) = evaluate(trace(model, x).main, [x])
    np.testing.assert_allclose(found, model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("f", "message"), [
    (lambda x: lax.while_loop(lambda v: v[0] < 9, lambda v: v * 2, x),
     "how often a loop runs depends on an input"),
    (lambda x: lax.while_loop(lambda v: v[0] < 9999, lambda v: (v[0] + 1, v[1] * 2), (0, x))[1],
     "a loop of more than 1024 steps"),
    (lambda x: lax.scan(lambda c, _: (c + x, None), x, length=2000)[0],
     "a loop of 2000 steps, of 1024 at most"),
])  # fmt: skip
def test_loops_that_cannot_be_written_out_are_refused(f, message):
    with pytest.raises(QirError, match=message) as caught:
        trace(f, rand(3, low=1.0))
    assert caught.value.help is None
