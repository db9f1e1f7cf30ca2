"""The XLA target: compiled functions, their errors, and the evaluator that calibration runs on."""

import gc
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import toy  # noqa: E402
from qir.dialects import int8, lax, nn, quant  # noqa: E402
from xla_compare import compare, func_of, grid, p, random, same  # noqa: E402

from qir import registry  # noqa: E402
from qir.errors import QirError  # noqa: E402
from qir.evaluate import evaluate  # noqa: E402
from qir.forms import complaints, implies  # noqa: E402
from qir.ir import Func, const, item  # noqa: E402
from qir.rounding import derive, derive_sum  # noqa: E402
from qir.targets.xla import TARGET, evaluator  # noqa: E402
from qir.targets.xla import compile as compiling  # noqa: E402
from qir.targets.xla.compile import compile_func, lowered  # noqa: E402
from qir.types import DTYPES, Element, Type  # noqa: E402

I8 = DTYPES["i8"]


def mixed(batch=2) -> Func:
    """Integers, a float island between casts, and a wide weight."""
    rng = np.random.default_rng(0)
    on = Element(I8, grid(0.05, -3))
    x = p("x", "f32", batch, 6, 6, 3)
    w = const(rng.integers(-127, 128, (3, 3, 3, 40)).astype(np.int8),
              Type(I8, (3, 3, 3, 40), grid(0.01)), location=("m.py:1",))  # fmt: skip
    rescale = derive("f32_half_even", 0.002)
    y = int8.conv2d(quant.quantize(x, to=on), w, to=on, rescale=rescale, location=("m.py:2",))
    y = quant.quantize(nn.silu(quant.dequantize(y)), to=on)
    table = const(np.arange(127, -129, -1).astype(np.int8), on[(256,)])
    return func_of(
        [quant.dequantize(int8.table(nn.max_pool(y, window=2, strides=2), table, to=on))]
    )


def test_arrays_on_the_device_are_taken_as_they_are_where_they_fit():
    x, y = (p(name, dtype, 2, 3, grid=grid(0.1)) for name, dtype in (("x", "i8"), ("y", "i4")))
    z = p("z", "bool", 2)
    run = compile_func(Func("main", (x, y, z), (y, x, z)))
    given = jax.device_put([np.full((2, 3), 9, np.int8), np.full((2, 3), 7, np.int8),
                            np.ones(2, np.bool_)])  # fmt: skip
    for found, wanted in zip(run(*given), (given[1], given[0], given[2]), strict=True):
        np.testing.assert_array_equal(found, wanted)
    with pytest.raises(QirError, match="'y' holds 9 to 9, i4 takes -8 to 7"):
        run(given[0], given[0], given[2])
    with pytest.raises(QirError, match="'x' has shape"):
        run(given[0][:1], given[1], given[2])
    with pytest.raises(QirError, match="takes 3 inputs"):
        run(*given[:2])


def blocks(count, width=4):
    """Residual blocks of one structure, every value observed."""
    rng = np.random.default_rng(1)
    x, observed = p("x", "f32", 1, 4, 4, width), []
    y = x
    for index in range(count):
        w = const(rng.standard_normal((1, 1, width, width)).astype(np.float32) / 4)
        y = nn.add(y, nn.conv2d(y, w), clamp=(0.0, 6.0))
        observed.append(quant.observe(y, name=f"block{index}"))
        y = observed[-1]
    return func_of(observed)


def inputs_of(func, seed=2):
    rng = np.random.default_rng(seed)
    return [random(q, rng) for q in func.parameters]


# compile


def test_a_mixed_graph_runs():
    func = mixed()
    arrays = inputs_of(func)
    found = compile_func(func)(*arrays)
    assert isinstance(found, tuple) and all(isinstance(each, jax.Array) for each in found)
    same(found, evaluate(func, arrays), 1e-6)


def test_any_batch():
    func = mixed().with_batch(5)
    arrays = inputs_of(func)
    same(compile_func(func)(*arrays), evaluate(func, arrays), 1e-6)


def test_jax_arrays_and_several_threads():
    func = mixed()
    run, arrays = compile_func(func), [inputs_of(func, seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda each: run(*map(jax.numpy.asarray, each)), arrays))
    for ours, each in zip(found, arrays, strict=True):
        same(ours, evaluate(func, each), 1e-6)


def test_64_bit_integers_without_the_global_flag():
    x = p("x", "i64", 5)
    func = func_of([lax.mul(x, lax.add(x, const(np.array(2**40))))])
    (found,) = compile_func(func)(np.arange(5))
    np.testing.assert_array_equal(np.asarray(found), np.arange(5) * (np.arange(5) + 2**40))
    assert jax.numpy.asarray(1).dtype == np.int32


def test_what_depends_on_constants_alone_is_no_part_of_the_program():
    w = const(np.random.default_rng(3).standard_normal((50, 60)).astype(np.float32))
    x = p("x", "f32", 2, 60)
    func = func_of([nn.dense(x, lax.exp(lax.transpose(w, permutation=[1, 0])))])
    program = jax.make_jaxpr(lambda *xs: lowered(func, xs))(*inputs_of(func))
    assert [str(e.primitive) for e in program.eqns] == ["dot_general"]
    weights, place = compiling._weights([np.zeros(4096, np.int8), np.zeros(4097, np.int8)])
    assert place == [None, 0] and weights[0].shape == (4097,)
    compare(func.results, {"x": inputs_of(func)[0]})


def test_results_that_are_parameters_or_constants():
    x, c = p("x", "f32", 2), const(np.arange(3, dtype=np.int32))
    func = Func("f", (x,), (x, c, x))
    for found in (compile_func(func)(np.ones(2)), evaluator.evaluate(func, [np.ones(2)])):
        same(found, [np.ones(2, np.float32), c.value, np.ones(2, np.float32)])


def test_a_residual_chain_is_not_computed_again_by_every_reader():
    rng, to = np.random.default_rng(4), Element(I8, grid(0.05, 3))
    x = p("x", "i8", 1, 8, 8, 16, grid=to.grid)
    w = const(rng.integers(-127, 128, (3, 3, 16, 16)).astype(np.int8),
              Type(I8, (3, 3, 16, 16), grid(0.01)))  # fmt: skip
    y, rescale = x, derive("f32_half_even", 0.01)
    for _ in range(5):
        branch = int8.conv2d(y, w, to=to, rescale=rescale)
        y = int8.add(branch, y, to=to, rescale=derive_sum("fixed15", 0.05, 0.05, 0.05))
    func = func_of([y])
    compiled = jax.jit(lambda *xs: lowered(func, xs)).lower(*inputs_of(func)).compile()
    assert compiled.as_text().count("shift-right-arithmetic(") <= 5


def norms_in_a_row(count: int) -> Func:
    rng, to = np.random.default_rng(4), Element(I8, grid(0.05, 3))
    y = x = p("x", "i8", 1, 8, 16, grid=to.grid)
    gamma = const(np.full(16, 2**14, np.int32))
    w = const(rng.integers(-127, 128, (16, 16)).astype(np.int8), Type(I8, (16, 16), grid(0.01)))
    rescale, total = derive("f32_half_even", 1e-4), derive_sum("fixed15", 0.05, 0.05, 0.05)
    for _ in range(count):
        y = int8.layer_norm(y, gamma, gamma, to=to, rescale=rescale, epsilon=1)
        y = int8.add(int8.dense(y, w, to=to, rescale=rescale), y, to=to, rescale=total)
    return Func("f", (x,), (y,))


def test_norms_are_not_computed_again_by_every_reader():
    roots = []
    for count in (2, 6):
        func = norms_in_a_row(count)
        compiled = jax.jit(lambda *xs, f=func: lowered(f, xs)).lower(*inputs_of(func)).compile()
        roots.append(compiled.as_text().count("count-leading-zeros("))
    assert 0 < roots[1] <= 3 * roots[0]  # each norm again in every later one would be 7 times


# errors


def test_ops_without_a_lowering_are_named_together():
    x = p("x", "f32", 3)
    y = toy.neg(toy.scale(x, by=2.0, location=("m.py:7",)), location=("m.py:8",))
    with pytest.raises(QirError, match=r"toy.scale \(m.py:7\), toy.neg \(m.py:8\)") as caught:
        compile_func(func_of([y]))
    assert "qir/targets/xla/lower_" in caught.value.help


def test_inputs_that_do_not_fit():
    run = compile_func(mixed())
    with pytest.raises(QirError, match=r"'x' has shape \[2, 6, 6\], the model takes"):
        run(np.zeros((2, 6, 6), np.float32))
    with pytest.raises(QirError, match="'x' holds complex128, the model takes f32"):
        run(np.zeros((2, 6, 6, 3), complex))
    with pytest.raises(QirError, match="takes 1 inputs"):
        run()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore")
def test_a_forked_child_is_refused():
    run = compile_func(func_of([nn.relu(p("x", "f32", 3))]))
    run(np.ones(3))
    child = os.fork()
    if child == 0:
        try:
            run(np.ones(3))
        except QirError as error:
            os._exit(0 if "spawn" in str(error) else 3)
        os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# the target


def test_the_target_is_found_without_loading_jax():
    code = ("import sys; from qir import registry; registry.target_named('xla'); "
            "import qir.targets.xla.evaluator; assert 'jax' not in sys.modules")  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_form_of_the_target():
    registry.targets()
    assert implies("xla", "mixed") and TARGET.rounding("int8.add") == "fixed15"
    assert not list(complaints(mixed(), "xla"))
    x = p("x", "f32", 3)
    for op, reason in ((toy.neg(x), "has no XLA lowering"),
                       (quant.observe(x, name="a"), "belongs to an earlier form")):  # fmt: skip
        assert [reason in each for _, each in complaints(func_of([op]), "xla")] == [True]


# the evaluator


@pytest.fixture(params=["numpy", "xla"])
def where(request, monkeypatch):
    """Pieces of three ops that run on numpy for ever, or on XLA at once."""
    monkeypatch.setattr(evaluator, "SIZE", 3)
    monkeypatch.setattr(evaluator, "COMPILE_SECONDS", 0.0)
    monkeypatch.setattr(evaluator, "PLAN_SECONDS", 1e9 if request.param == "numpy" else 0.0)
    return request.param


def test_pieces_equal_the_whole(where):
    x = p("x", "f32", 4, 6)
    left, right = (item(lax.split(x, sizes=[2, 4], axis=1), i) for i in (0, 1))
    y = lax.concatenate(left, lax.exp(lax.exp(lax.neg(lax.abs(right)))), left, axis=1)
    best = lax.top_k(quant.observe(y, name="y"), k=2)
    wide = lax.convert(item(best, 1), to="i64")
    z = lax.add(wide, const(np.array([2**40, 1])))
    func = func_of([left, best, z, x, const(np.ones(2, np.float32)), lax.neg(item(best, 0))])
    arrays = inputs_of(func)
    same(evaluator.evaluate(func, arrays), evaluate(func, arrays), 1e-6)
    assert (evaluator._HISTORIES[func].plan is not None) == (where == "xla")


def test_integer_kernels_keep_their_weights_in_pieces(where):
    rng, to = np.random.default_rng(5), Element(I8, grid(0.05, 3))
    x = p("x", "i8", 1, 5, 5, 4, grid=to.grid)
    y, rescale = x, derive("f32_half_even", 0.01)
    for _ in range(4):
        w = const(rng.integers(-127, 128, (3, 3, 4, 4)).astype(np.int8),
                  Type(I8, (3, 3, 4, 4), grid(0.01)))  # fmt: skip
        y = int8.conv2d(y, w, to=to, rescale=rescale)
    func = registry.pass_named("legalize")(func_of([y]), target="xla")
    assert any(op.kind.startswith("xla.") for op in func.ops)
    arrays = inputs_of(func)
    same(evaluator.evaluate(func, arrays), evaluate(func, arrays))


def test_pieces_of_one_shape_share_a_program(where):
    func = blocks(12)
    arrays = inputs_of(func)
    for _ in range(2):
        same(evaluator.evaluate(func, arrays), evaluate(func, arrays), 1e-5)
    if where == "xla":
        plan = evaluator._HISTORIES[func].plan
        assert len(plan.parts) == 8 and len({run for run, _ in plan.ready.values()}) == 2


def test_functions_move_to_xla_when_that_pays(monkeypatch):
    func = blocks(3)
    arrays = inputs_of(func)
    evaluator.evaluate(func, arrays)
    history = evaluator._HISTORIES[func]
    monkeypatch.setattr(evaluator, "PLAN_SECONDS", 1.5 * history.cost / history.ops)
    monkeypatch.setattr(evaluator, "COMPILE_SECONDS", 3.5 * history.cost / 6)
    seen = []
    for _ in range(6):
        evaluator.evaluate(func, arrays)
        seen.append((history.plan is not None, bool(history.plan and history.plan.ready)))
    assert seen == [(False, False), *[(True, False)] * 2, *[(True, True)] * 3]


def test_ops_without_a_lowering_run_on_numpy(where):
    x = p("x", "f32", 3)
    func = func_of([nn.relu(toy.neg(nn.sigmoid(nn.tanh(x))))])
    arrays = inputs_of(func)
    same(evaluator.evaluate(func, arrays), evaluate(func, arrays), 1e-6)


def test_what_was_compiled_goes_with_its_function():
    func = blocks(2)
    evaluator.evaluate(func, inputs_of(func))
    before = len(evaluator._HISTORIES)
    del func
    gc.collect()
    assert len(evaluator._HISTORIES) < before
