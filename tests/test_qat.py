"""Quantization-aware training: traces with variables, gradients, and what training hands back."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

import qir
from qir.evaluate import evaluate
from qir.targets.xla.trainable import in_range
from qir.variables import variables

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_numbers_in_any_order():
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def normal(*shape, scale=0.5):
    return RNG.normal(0, scale, shape).astype(np.float32)


def conv(x, w, groups=1):
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout,
                                    feature_group_count=groups)  # fmt: skip


def batch_norm(p, x):
    return (x - p["mean"]) * lax.rsqrt(p["var"] + 1e-3) * p["gamma"] + p["beta"]


def network(params, x):
    """A depthwise layer between two others, each with a batch norm, and a dense one."""
    y = jax.nn.relu(batch_norm(params["bn"][0], conv(x, params["first"])))
    y = jnp.clip(batch_norm(params["bn"][1], conv(y, params["depthwise"], 8)), 0, 6)
    return y.mean((1, 2)) @ params["head"]["kernel"] + params["head"]["bias"]


def norm(spread):
    vary = np.exp2(np.linspace(-spread, spread, 8)).astype(np.float32)
    return {"mean": normal(8, scale=0.1), "var": 1 / vary**2, "gamma": 1 + normal(8, scale=0.1),
            "beta": normal(8, scale=0.1) + 0.5}  # fmt: skip


def parameters(spread=0.0):
    return {"first": normal(3, 3, 3, 8), "depthwise": normal(3, 3, 1, 8),
            "bn": [norm(spread), norm(-spread)],
            "head": {"kernel": normal(8, 4), "bias": normal(4)}}  # fmt: skip


def images(n=4):
    """Noise around a colour of each image's own."""
    return normal(n, 6, 6, 3) + normal(n, 1, 1, 3, scale=1.0)


def prepared(params, x, **options):
    module = qir.trace(network, params, x, trainable=0)
    return qir.run_pipeline(module, "qat_prepare", [x], options)


def test_a_trace_keeps_the_tree_as_variables():
    params, x = parameters(), images()
    module = qir.trace(network, params, x, trainable=0)
    assert [p.attributes["name"] for p in module.main.parameters] == ["x"]
    named = variables(module.main)
    assert set(named) == {
        *("first", "depthwise", "head.kernel", "head.bias"),
        *(f"bn.{i}.{name}" for i in (0, 1) for name in ("mean", "var", "gamma", "beta")),
    }
    np.testing.assert_array_equal(named["bn.1.var"].operands[0].value, params["bn"][1]["var"])
    np.testing.assert_allclose(evaluate(module.main, [x])[0], network(params, x), 1e-4, 1e-5)


def test_leaves_that_nothing_reads_stay_in_the_tree():
    params, x = {**parameters(), "unused": normal(3)}, images()
    module = qir.trace(network, params, x, trainable=0)
    assert "unused" not in variables(module.main)
    gradient = jax.grad(lambda p: qir.to_jax(module).apply({}, p, x).sum())(params)
    np.testing.assert_array_equal(gradient["unused"], 0)
    assert not variables(qir.bind(module, params).main)


def test_back_in_jax_it_is_the_same_function_of_the_same_tree():
    params, x = parameters(), images()
    model = qir.to_jax(qir.trace(network, params, x, trainable=0))
    assert model.ranges == {}
    other, more = jax.tree.map(lambda a: a * 1.5, params), images(7)
    np.testing.assert_allclose(jax.jit(model.apply)({}, other, more), network(other, more),
                               1e-4, 1e-4)  # fmt: skip
    ours, theirs = (jax.grad(lambda p, f=f: (f(p) ** 2).sum())(other) for f in (
        lambda p: model.apply({}, p, more), lambda p: network(p, more)))  # fmt: skip
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 2e-3, 2e-3), ours, theirs)


def test_inputs_may_lead_with_extents_of_their_own():
    w, x, y = normal(3, 3), normal(4, 3), normal(2, 3)
    module = qir.trace(lambda w, x, y: (x @ w, y @ w), w, x, y, trainable=0)
    model = qir.to_jax(module)
    for a, b in zip(model.apply({}, w, x, y), (x @ w, y @ w), strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5)
    assert "differ in their leading extent" in raised(lambda: model.apply({}, w, y, x))


def test_gradients_pass_straight_through_inside_the_range():
    x = jnp.float32([-3.0, -0.51, 0.0, 0.3, 1.2, 4.0])
    lo, hi = jnp.float32(-1.0), jnp.float32(2.0)
    gradients = jax.jacobian(in_range, (0, 1, 2))(x, lo, hi, 8, False)
    np.testing.assert_array_equal(gradients[0], np.diag([0, 1, 1, 1, 1, 0]))
    error = (in_range(x, lo, hi, 8, False) - x) / (3 / 255)
    share = np.array([0, 1, 1, 1, 1, 0]) * np.asarray(error) / 255
    np.testing.assert_allclose(gradients[1], [1, 0, 0, 0, 0, 0] - share, atol=1e-6)
    np.testing.assert_allclose(gradients[2], [0, 0, 0, 0, 0, 1] + share, atol=1e-6)


def test_the_ends_of_a_range_are_inside_it():
    x = jnp.float32([-128, 127])  # steps of 1
    slope = jax.grad(lambda x: in_range(x, x[0] * 0 - 128, x[0] * 0 + 127, 8, False).sum())
    np.testing.assert_array_equal(slope(x), [1, 1])
    np.testing.assert_array_equal(slope(x + jnp.float32([-1, 1])), [0, 0])


def test_a_range_that_training_turns_inside_out_is_still_one():
    x = jnp.float32([-1.0, 0.0, 2.0])
    for lo, hi in [(0.5, 2.0), (-1.0, -0.5), (1.0, -1.0), (0.0, 0.0)]:
        y = in_range(x, jnp.float32(lo), jnp.float32(hi), 8, False)
        gradients = jax.grad(lambda *a: in_range(*a, 8, False).sum(), (0, 1, 2))(x, lo, hi)
        assert np.isfinite(y).all() and all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("options", [{}, {"weights": "per_tensor"}, {"bits": 4}], ids=str)
def test_integers_are_what_training_saw(options):
    """A layer falls to a neighbouring step at most, which the next one may weigh by more than 1."""
    params, x = parameters(), images()
    module = prepared(params, x, **options)
    model = qir.to_jax(module)
    params = jax.tree.map(lambda a: a * 1.1 + 0.01, params)
    ranges = jax.jit(model.moved)(model.ranges, params, 2 * images())
    quantized = qir.quantize(qir.bind(module, params, ranges), pipeline="qat")
    assert not qir.report.float_ops(quantized.module.main)
    more = images(9)
    lo, hi = ranges[list(model.ranges)[-1]]
    seen = jax.jit(model.apply)(ranges, params, more)
    off = np.abs(quantized(more) - seen) / ((max(hi, 0) - min(lo, 0)) / 255)
    assert off.max() < 2.01 and (off < 0.01).mean() > 0.5
    assert np.unique(seen).size > 8


def test_a_layer_of_integers_is_within_one_step_of_what_training_saw():
    params, x = {"w": normal(16, 8), "b": normal(8)}, normal(32, 16)
    module = qir.trace(lambda p, x: jax.nn.relu(x @ p["w"] + p["b"]), params, x, trainable=0)
    module = qir.run_pipeline(module, "qat_prepare", [x])
    model = qir.to_jax(module)
    seen = jax.jit(model.apply)(model.ranges, params, x)
    found = qir.quantize(qir.bind(module, params), pipeline="qat")(x)
    lo, hi = model.ranges[list(model.ranges)[-1]]
    off = np.abs(found - seen) / ((hi - lo) / 255)
    assert off.max() < 1.01 and (off < 0.01).mean() > 0.98


def test_ranges_move_towards_what_is_seen():
    params, x = parameters(), images()
    model = qir.to_jax(prepared(params, x))
    moved = jax.jit(model.moved)(model.ranges, params, 2 * x)
    lo, hi = model.ranges["x"]
    expected = [0.99 * lo + 0.02 * x.min(), 0.99 * hi + 0.02 * x.max()]
    np.testing.assert_allclose(moved["x"], expected, rtol=1e-5)
    assert moved.keys() == model.ranges.keys()


def test_training_recovers_what_one_scale_for_unequal_channels_loses():
    params, x = parameters(spread=3.0), images(64)
    wanted = jax.jit(lambda x: network(params, x))
    module = prepared(params, x, weights="per_tensor")
    model = qir.to_jax(module)
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, 300))

    @jax.jit
    def step(both, state, x):
        def loss(both):
            ranges, params = both
            still = {**params, "bn": jax.tree.map(lax.stop_gradient, params["bn"])}
            return jnp.mean((model.apply(ranges, still, x) - wanted(x)) ** 2)

        updates, state = optimizer.update(jax.grad(loss)(both), state)
        return optax.apply_updates(both, updates), state

    both = model.ranges, params
    state = optimizer.init(both)
    for _ in range(300):
        both, state = step(both, state, images(64))
    fresh = images(128)

    def error(ranges, params):
        quantized = qir.quantize(qir.bind(module, params, ranges), pipeline="qat")
        return float(np.mean((quantized(fresh) - wanted(fresh)) ** 2))

    before, after = error(model.ranges, params), error(*both)
    assert after < before / 2


def raised(call):
    with pytest.raises(qir.QirError) as error:
        call()
    return f"{error.value.message}; {error.value.help}"


def test_what_is_wrong_is_said():
    params, x = parameters(), images()
    module = prepared(params, x)
    model = qir.to_jax(module)
    less = {k: v for k, v in params.items() if k != "first"}
    less["frist"] = x
    said = raised(lambda: qir.bind(module, less))
    assert "nothing is given for the variable 'first'; did you mean 'frist'" in said
    wrong = {**params, "first": x}
    assert "found the shape [4, 6, 6, 3]" in raised(lambda: model.apply(model.ranges, wrong, x))
    assert "there is no range for 'x'" in raised(lambda: model.apply({}, params, x))
    assert "takes 1 inputs" in raised(lambda: model.apply(model.ranges, params))
    assert "has shape [4, 3]" in raised(lambda: model.apply(model.ranges, params, x[:, 0, 0]))
    assert "no value called 'y'" in raised(lambda: qir.bind(module, params, {"y": [0, 1]}))
    endless = {"x": [0, np.inf]}
    assert "expected two finite numbers" in raised(lambda: qir.bind(module, params, endless))
    assert "qir.bind" in raised(lambda: qir.quantize(module, pipeline="qat"))
    unrounded = qir.bind(qir.trace(network, params, x, trainable=0), params)
    assert "left no range" in raised(lambda: qir.quantize(unrounded, pipeline="qat"))


def test_traces_that_cannot_keep_a_tree_say_why():
    params, x = parameters(), images()
    assert "argument 2 is to hold" in raised(lambda: qir.trace(network, params, x, trainable=2))
    shapes = jax.eval_shape(lambda: params)
    assert "without values" in raised(lambda: qir.trace(network, shapes, x, trainable=0))
    twice = {"a.b": x, "a": {"b": x}}
    assert "the path 'a.b'" in raised(lambda: qir.trace(lambda p, x: x, twice, x, trainable=0))


def test_a_graph_with_variables_is_saved_and_loaded(tmp_path):
    params, x = parameters(), images()
    module = prepared(params, x)
    qir.save(module, tmp_path / "model.qir")
    again = qir.to_jax(qir.api.read_model(tmp_path / "model.qir"))
    model = qir.to_jax(module)
    both = [jax.jit(each.apply)(each.ranges, params, x) for each in (again, model)]
    np.testing.assert_array_equal(*both)


def test_what_tensorflow_rounded_needs_no_samples():
    tf = pytest.importorskip("tensorflow")
    w, b = tf.Variable(normal(3, 3, 3, 4)), tf.Variable(normal(4))
    rounded, largest = tf.quantization.fake_quant_with_min_max_vars, abs(w.numpy()).max()

    @tf.function
    def model(x):
        filters = rounded(w, -largest, largest, narrow_range=True)
        y = tf.nn.conv2d(rounded(x, -1.0, 1.0), filters, 1, "SAME") + b
        return rounded(tf.nn.relu6(y), 0.0, 6.0)

    x = images()
    quantized = qir.quantize(model, x, pipeline="qat")
    assert not qir.report.float_ops(quantized.module.main)
    assert np.abs(quantized(x) - model(x)).max() <= 1.01 * 6 / 255


def test_flax_hands_over_parameters_and_statistics():
    nn = pytest.importorskip("flax.linen")

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(4, (3, 3), use_bias=False)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
            return nn.Dense(3)(x.mean((1, 2)))

    x, net = images(), Net()
    params = net.init(jax.random.key(0), x)
    module = qir.run_pipeline(qir.trace(net.apply, params, x, trainable=0), "qat_prepare", [x])
    assert "batch_stats.BatchNorm_0.var" in variables(module.main)
    kinds = [op.kind for op in module.main.ops]
    assert kinds.count("quant.quantize_and_dequantize") == 2
    assert kinds.count("quant.fake_quant") == 4
    quantized = qir.quantize(qir.bind(module, params), pipeline="qat")
    assert not qir.report.float_ops(quantized.module.main)


def test_litert_computes_what_training_saw(tmp_path):
    pytest.importorskip("ai_edge_litert")
    from qir.targets.tflite.interpreter import Interpreter

    params, x = parameters(), images()
    module = prepared(params, x)
    quantized = qir.quantize(qir.bind(module, params), pipeline="qat", target="tflite")
    quantized.export_tflite(tmp_path / "model.tflite")
    with Interpreter() as interpreter:
        content = (tmp_path / "model.tflite").read_bytes()
        ((found,),) = interpreter.run(content, "tflite_reference", [[x]])
    model = qir.to_jax(module)
    lo, hi = model.ranges[list(model.ranges)[-1]]
    seen = jax.jit(model.apply)(model.ranges, params, x)
    assert np.abs(found - seen).max() <= 2.01 * (max(hi, 0) - min(lo, 0)) / 255
