"""The C++ kernels: every integer that the numpy meaning gives, of any shape and rounding."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qir.dialects import hybrid, int8, xla

from qir.evaluate import evaluate
from qir.ir import Func, const, parameter
from qir.rounding import derive, derive_sum
from qir.types import DTYPES, Element, Grid, tensor

pytest.importorskip("jax")
calls = pytest.importorskip("qir.targets.native.calls")
from qir.targets.native import hybrid as of_reals  # noqa: E402
from qir.targets.native import packing, sums  # noqa: E402
from qir.targets.native.library import Library, library, native_calls  # noqa: E402
from qir.targets.xla.compile import compile_func  # noqa: E402

pytestmark = pytest.mark.skipif(library() is None, reason="the extension was not built")
SIZES, FEW = st.integers(1, 20), st.integers(1, 3)
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def finishes(draw, channels: int, depth: int, rng) -> dict:
    """An element, a rescale of any contract that spreads sums over it, and perhaps a clamp."""
    kind = DTYPES[draw(st.sampled_from(calls.BYTES))]
    zero = int(rng.integers(kind.lo, kind.hi + 1))
    real = rng.uniform(0.2, 3, channels if draw(st.booleans()) else ()) / (40 * np.sqrt(depth))
    contract = draw(st.sampled_from(calls.CONTRACTS))
    rescale = derive(contract, np.float64(real) * draw(st.sampled_from([1, 300])))
    clamp = None if draw(st.booleans()) else (zero, min(zero + 50, kind.hi))
    return {"to": Element(kind, Grid(0.1, zero)), "rescale": rescale, "clamp": clamp}


def stored(draw, rng, *shape):
    """A parameter of 8 bits on a grid of its own."""
    kind = DTYPES[draw(st.sampled_from(calls.BYTES))]
    zero = int(rng.integers(kind.lo, kind.hi + 1))
    return parameter("x", Element(kind, Grid(0.05, zero))[shape])


def weights(rng, shape, outputs: int):
    w = rng.integers(-128, 128, shape).astype(np.int8)
    return const(w), const(rng.integers(-(2**14), 2**14, outputs).astype(np.int32))


def agrees(op, xs, rng) -> None:
    """Fail where the kernel is not called or differs from numpy in one value."""
    with native_calls():
        assert calls.serves(op)
    agrees_whole(Func("main", xs, (op,)), rng)


def agrees_whole(func: Func, rng) -> None:
    xs = func.parameters
    values = [rng.integers(x.type.lo, x.type.hi + 1, x.shape).astype(x.dtype.numpy) for x in xs]
    (found,) = compile_func(func)(*values)
    np.testing.assert_array_equal(np.asarray(found), evaluate(func, values)[0])


@st.composite
def windows(draw) -> dict:
    pads = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(2))
    pair = st.tuples(FEW, FEW)
    return {"strides": draw(pair), "dilation": draw(pair), "padding": pads}


def covered(size: int, window: int, dilation: int) -> int:
    """An extent that the window fits into."""
    return max(size, (window - 1) * dilation + 1)


@settings(max_examples=30, deadline=None)
@given(st.data(), SEEDS)
def test_convolutions(data, seed):
    rng, draw = np.random.default_rng(seed), data.draw
    a, kernel, groups = draw(windows()), draw(st.tuples(FEW, FEW)), draw(FEW)
    height, width = map(covered, (draw(SIZES), draw(SIZES)), kernel, a["dilation"])
    inner, outputs = draw(st.integers(1, 40)), groups * draw(st.integers(1, 40))
    x = stored(draw, rng, draw(FEW), height, width, inner * groups)
    w, b = weights(rng, (*kernel, inner, outputs), outputs)
    finish = draw(finishes(outputs, inner * kernel[0] * kernel[1], rng))
    way = "grouped" if groups > 1 else "valid"
    agrees(xla.conv(x, w, b, groups=groups, kernel=way, **a, **finish), (x,), rng)


@settings(max_examples=20, deadline=None)
@given(st.data(), SEEDS)
def test_convolutions_whose_windows_are_not_gathered(data, seed):
    rng, draw = np.random.default_rng(seed), data.draw
    a, kernel = draw(windows()), draw(st.tuples(st.integers(1, 5), FEW))
    a["strides"] = (1, 1)
    height, width = map(covered, (draw(SIZES), draw(SIZES)), kernel, a["dilation"])
    inner, outputs = draw(st.sampled_from([32, 36, 64, 192])), draw(st.integers(1, 80))
    x = stored(draw, rng, draw(FEW), height, width, inner)
    w, b = weights(rng, (*kernel, inner, outputs), outputs)
    finish = draw(finishes(outputs, inner * kernel[0] * kernel[1], rng))
    agrees(xla.conv(x, w, b, kernel="valid", **a, **finish), (x,), rng)


@settings(max_examples=20, deadline=None)
@given(st.data(), SEEDS)
def test_convolutions_of_fewer_products(data, seed):
    rng, draw = np.random.default_rng(seed), data.draw
    pads = [(draw(st.integers(-1, 2)), draw(st.integers(0, 2))) for _ in range(2)]
    height, width = draw(st.tuples(st.integers(4, 30), st.integers(4, 30)))
    inner, outputs = draw(st.sampled_from([16, 32, 48, 176])), draw(st.integers(1, 40))
    images = draw(st.integers(1, 3)) if height * width > 200 else 40
    x = stored(draw, rng, images, height, width, inner)
    w, b = weights(rng, (3, 3, inner, outputs), outputs)
    finish = draw(finishes(outputs, inner * 9, rng))
    agrees(xla.conv(x, w, b, padding=pads, kernel="valid", **finish), (x,), rng)


def test_what_crossed_products_begin_with():
    rng = np.random.default_rng(0)
    avx2 = Library("avx2", 16, 2, 4, 1, 0, 2, 1, 1)
    w = rng.integers(-128, 128, (2, 402, 19)).astype(np.int8)
    assert packing.crosses(w, avx2) and not packing.crosses(w[:, :300], avx2)
    whole = np.pad(w.astype(np.int64), ((0, 0), (0, 2), (0, 0))).reshape(2, -1, 4, 19)
    wanted = -(whole[:, :, 0] * whole[:, :, 2] + whole[:, :, 1] * whole[:, :, 3]).sum(1)
    found = packing.begun(w, packing.packed(w, avx2), avx2, is_signed=True)
    np.testing.assert_array_equal(found, wanted.reshape(-1))


@settings(max_examples=15, deadline=None)
@given(st.data(), SEEDS)
def test_convolutions_of_long_rows(data, seed):
    rng, draw = np.random.default_rng(seed), data.draw
    kernel, a = draw(st.sampled_from([(3, 3), (5, 5), (2, 4), (7, 7)])), draw(windows())
    groups, inner = draw(st.integers(1, 2)), draw(st.sampled_from([7, 33, 36, 40, 96]))
    height, width = map(covered, (draw(SIZES), draw(SIZES)), kernel, a["dilation"])
    outputs = groups * draw(st.integers(1, 40))
    x = stored(draw, rng, draw(FEW), height, width, inner * groups)
    w, b = weights(rng, (*kernel, inner, outputs), outputs)
    finish = draw(finishes(outputs, inner * kernel[0] * kernel[1], rng))
    way = "grouped" if groups > 1 else "valid"
    agrees(xla.conv(x, w, b, groups=groups, kernel=way, **a, **finish), (x,), rng)


def test_which_convolutions_take_fewer_products():
    avx2 = Library("avx2", 16, 2, 4, 1, 0, 2, 1, 1)
    amx = Library("amx", 32, 4, 64, 16, 0, 4, 0, 1)
    windows_of_14 = (3, 3, 1, 1, 1, 1, 1, 1, 14, 14, 256, 1)
    assert packing.are_transformed(windows_of_14, 1, 256, avx2)
    assert not packing.are_transformed(windows_of_14, 1, 256, amx)
    assert not packing.are_transformed(windows_of_14, 1, 250, avx2)
    assert not packing.are_transformed(windows_of_14, 1, 2048, avx2)
    windows_of_7 = (*windows_of_14[:8], 7, 7, 512, 1)
    assert [packing.are_transformed(windows_of_7, n, 512, avx2) for n in (1, 2)] == [False, True]


def test_fewer_products_of_the_largest_numbers():
    w = np.full((3, 3, 1792, 4), -128, np.int8)
    w[1, :, :, 1], w[:, 1, :, 2], w[1, 1, :, 3] = 127, 127, 127
    bias = const(np.zeros(4, np.int32))
    for kind in calls.BYTES:
        type = Element(DTYPES[kind], Grid(0.05, 0))
        x = parameter("x", type[1, 12, 12, 1792])
        finish = {"to": type, "rescale": derive("f32_half_even", np.float64(3e-7)), "clamp": None}
        op = xla.conv(x, const(w), bias, padding=((1, 1), (1, 1)), kernel="valid", **finish)
        func = Func("main", (x,), (op,))
        values = np.full(x.shape, x.type.lo, x.dtype.numpy)
        values[:, ::2, 1::2] = values[:, 3:5] = x.type.hi
        (found,) = compile_func(func)(values)
        np.testing.assert_array_equal(np.asarray(found), evaluate(func, [values])[0])


@settings(max_examples=30, deadline=None)
@given(st.data(), SEEDS)
def test_convolutions_that_read_rows_of_windows(data, seed):
    rng, draw = np.random.default_rng(seed), data.draw
    a, kernel = draw(windows()), draw(st.tuples(st.integers(2, 7), st.integers(1, 7)))
    a["dilation"] = (a["dilation"][0], 1)
    sides = draw(st.tuples(SIZES, st.integers(1, 90)))
    height, width = map(covered, sides, kernel, a["dilation"])
    inner, outputs = draw(st.sampled_from([1, 3, 8, 33, 64])), draw(st.integers(1, 40))
    x = stored(draw, rng, draw(st.integers(1, 5)), height, width, inner)
    w, b = weights(rng, (*kernel, inner, outputs), outputs)
    finish = draw(finishes(outputs, inner * kernel[0] * kernel[1], rng))
    agrees(xla.conv(x, w, b, kernel="valid", **a, **finish), (x,), rng)


def test_which_convolutions_read_rows_of_windows():
    amx = Library("amx", 32, 4, 64, 16, 0, 4, 0, 1)
    windows_of_224 = (7, 7, 2, 2, 1, 1, 3, 3, 112, 112, 64, 1)
    assert packing.runs_of(windows_of_224, 3, amx) == 7
    assert packing.runs_of((3, 3, 2, 2, 1, 1, 0, 0, 112, 112, 32, 1), 3, amx) == 3
    assert packing.runs_of((3, 3, 1, 1, 1, 1, 1, 1, 56, 56, 33, 1), 33, amx) == 3
    assert packing.runs_of((3, 3, 1, 1, 1, 1, 1, 1, 56, 56, 64, 1), 64, amx) == 1
    assert packing.runs_of((3, 3, 2, 2, 1, 1, 1, 1, 7, 7, 512, 1), 512, amx) == 1
    assert packing.runs_of((3, 3, 1, 1, 2, 2, 1, 1, 56, 56, 33, 1), 33, amx) == 1


@pytest.mark.parametrize("low, high", [(-128, 127), (-20, 100)])
def test_sums_far_beyond_what_bytes_and_words_hold(low, high):
    rng = np.random.default_rng(0)
    x = parameter("x", Element(DTYPES["i8"], Grid(0.05, 3))[70, 64])
    w, b = weights(rng, (64, 64), 64)
    scale = np.float64(10.0) ** rng.uniform(-12, 9, 64)
    for zero in (-128, 0, 127):
        finish = {"to": Element(DTYPES["i8"], Grid(0.1, zero)), "clamp": (low, high),
                  "rescale": derive("f32_half_even", scale)}  # fmt: skip
        agrees(xla.dot(x, w, b, **finish), (x,), rng)


@pytest.mark.parametrize("kernel, pads", [
    ((3, 3), ((0, 0), (-1, 0))), ((3, 3), ((-1, 1), (1, -1))), ((3, 1), ((-2, 0), (0, -1))),
    ((1, 1), ((1, -1), (0, 0))), ((1, 1), ((0, 0), (-1, 1))),
])  # fmt: skip
def test_negative_padding_crops(kernel, pads):
    rng = np.random.default_rng(0)
    for kind in calls.BYTES:
        x = parameter("x", Element(DTYPES[kind], Grid(0.05, 7))[2, 8, 8, 64])
        w, b = weights(rng, (*kernel, 64, 40), 40)
        finish = {"to": Element(DTYPES["i8"], Grid(0.1, 3)),
                  "rescale": derive("f32_half_even", np.float64(1e-4))}  # fmt: skip
        agrees(xla.conv(x, w, b, padding=pads, kernel="valid", **finish), (x,), rng)


@settings(max_examples=20, deadline=None)
@given(st.data(), SEEDS)
def test_depthwise_convolutions(data, seed):
    rng, draw = np.random.default_rng(seed), data.draw
    a, kernel = draw(windows()), draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    height, width = map(covered, (draw(SIZES), draw(SIZES)), kernel, a["dilation"])
    channels, multiplier = draw(st.integers(1, 150)), draw(st.integers(1, 5))
    x = stored(draw, rng, draw(FEW), height, width, channels)
    w, b = weights(rng, (*kernel, channels, multiplier), channels * multiplier)
    finish = draw(finishes(channels * multiplier, kernel[0] * kernel[1], rng))
    agrees(xla.depthwise(x, w, b, **a, **finish), (x,), rng)


@settings(max_examples=20, deadline=None)
@given(st.data(), SEEDS)
def test_dots(data, seed):
    rng, draw = np.random.default_rng(seed), data.draw
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    inner, outputs = draw(st.integers(1, 600)), draw(st.integers(1, 100))
    layout = draw(st.sampled_from(["kn", "nk"]))
    x = stored(draw, rng, *shape, inner)
    w, b = weights(rng, (inner, outputs) if layout == "kn" else (outputs, inner), outputs)
    agrees(xla.dot(x, w, b, layout=layout, **draw(finishes(outputs, inner, rng))), (x,), rng)


@settings(max_examples=20, deadline=None)
@given(st.data(), SEEDS, st.sampled_from([int8.add, int8.sub]), st.booleans())
def test_sums_with_what_a_layer_gives(data, seed, total, is_first):
    rng, draw = np.random.default_rng(seed), data.draw
    height, inner, outputs = (draw(st.integers(1, 40)) for _ in range(3))
    x, other = stored(draw, rng, 2, height, inner), stored(draw, rng, 2, height, outputs)
    w, b = weights(rng, (inner, outputs), outputs)
    own = draw(finishes(outputs, inner, rng))
    layer = xla.dot(x, w, b, **own)
    if draw(st.booleans()):
        x, other = (stored(draw, rng, 2, height, 3, n) for n in (inner, outputs))
        w, b = weights(rng, (3, 3, inner, outputs), outputs)
        layer = xla.conv(x, w, b, padding="same", **own)
    sides = (layer, other) if is_first else (other, layer)
    finish = draw(finishes(outputs, inner, rng))
    scales = rng.uniform(0.02, 2, 2) * (1, -1 if total is int8.sub else 1)
    finish["rescale"] = derive_sum(draw(st.sampled_from(sums.CONTRACTS)), *scales, 1.0)
    op = total(*sides, **finish)
    with native_calls():
        assert sums.fused_sums(Func("main", (x, other), (op,))) == {op: layer}
        assert not sums.fused_sums(Func("main", (x, other), (op, layer)))
    agrees_whole(Func("main", (x, other), (op,)), rng)


@settings(max_examples=20, deadline=None)
@given(st.data(), SEEDS)
def test_products_of_activations(data, seed):
    rng, draw = np.random.default_rng(seed), data.draw
    batch = draw(st.lists(FEW, max_size=2))
    rows, inner, columns = (draw(st.integers(1, 40)) for _ in range(3))
    sides, axes = [], {}
    for name, shape in (("a", (rows, inner)), ("b", (inner, columns))):
        shape = (*batch, *shape)
        order = draw(st.permutations(range(len(shape))))
        axes[f"{name}_axes"] = order
        sides.append(stored(draw, rng, *(shape[order.index(i)] for i in range(len(shape)))))
    a, b = sides
    op = xla.batch_dot(a, b, **axes, **draw(finishes(columns, inner, rng)))
    agrees(op, (a, b), rng)


def hybrid_agrees(op, x, rng) -> None:
    """Fail where a layer of reals by integer weights differs from numpy in one bit."""
    with native_calls():
        assert of_reals.serves(op)
    func = Func("main", (x,), (op,))
    values = rng.normal(0, 10 ** rng.uniform(-3, 3), x.shape).astype(np.float32)
    values[:1] *= rng.integers(0, 2)  # an image of zeros has no range
    (found,) = compile_func(func)(values)
    np.testing.assert_array_equal(np.asarray(found), evaluate(func, [values])[0])


def real_weights(draw, rng, shape, axis: int, outputs: int):
    """Integer weights with a grid for all or each channel, a bias or none, and a clamp or none."""
    scale = rng.uniform(0.01, 0.1, shape[axis] if draw(st.booleans()) else ()).astype(np.float32)
    grid = Grid(scale, 0, axis if scale.ndim else None)
    w = const(rng.integers(-127, 128, shape).astype(np.int8), Element(DTYPES["i8"], grid)[shape])
    b = [const(rng.normal(size=outputs).astype(np.float32))] if draw(st.booleans()) else []
    return [w, *b], {"clamp": draw(st.sampled_from([None, (0.0, 6.0)]))}


@settings(max_examples=20, deadline=None)
@given(st.data(), SEEDS)
def test_dense_layers_of_reals(data, seed):
    rng, draw = np.random.default_rng(seed), data.draw
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    inner, outputs = draw(st.integers(1, 600)), draw(st.integers(1, 100))
    x = parameter("x", tensor("f32", (*shape, inner)))
    constants, options = real_weights(draw, rng, (inner, outputs), 1, outputs)
    hybrid_agrees(hybrid.dense(x, *constants, **options), x, rng)


@settings(max_examples=30, deadline=None)
@given(st.data(), SEEDS, st.booleans())
def test_convolutions_of_reals(data, seed, is_depthwise):
    rng, draw = np.random.default_rng(seed), data.draw
    a, kernel, groups = draw(windows()), draw(st.tuples(FEW, FEW)), draw(FEW)
    height, width = map(covered, (draw(SIZES), draw(SIZES)), kernel, a["dilation"])
    inner, more = draw(st.integers(1, 40)), draw(FEW)
    x = parameter("x", tensor("f32", (draw(FEW), height, width, inner * groups)))
    if is_depthwise:
        shape, axis, build = (*kernel, inner * groups, more), 2, hybrid.depthwise_conv2d
        outputs = inner * groups * more
    else:
        outputs = groups * draw(st.integers(1, 40))
        shape, axis, build = (*kernel, inner, outputs), 3, hybrid.conv2d
        a["groups"] = groups
    constants, options = real_weights(draw, rng, shape, axis, outputs)
    hybrid_agrees(build(x, *constants, **a, **options), x, rng)


def network():
    """A convolution and a depthwise one, and inputs with what they must give."""
    rng = np.random.default_rng(0)
    grid = Element(DTYPES["i8"], Grid(0.05, 3))
    x = parameter("x", grid[1, 14, 14, 24])
    finish = {"to": grid, "rescale": derive("f32_half_even", np.full(24, 0.002)), "clamp": None}
    pads = ((1, 1), (1, 1))
    y = xla.conv(x, *weights(rng, (3, 3, 24, 24), 24), padding=pads, **finish)
    func = Func("main", (x,), (xla.depthwise(y, *weights(rng, (3, 3, 24, 1), 24), **finish),))
    inputs = [rng.integers(-128, 128, x.shape).astype(np.int8) for _ in range(8)]
    return func, inputs, [evaluate(func, [each])[0] for each in inputs]


MANY_CALLS = """
import os, resource, sys, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from test_native import compile_func, network
from qir.errors import QirError

func, inputs, wanted = network()
run = compile_func(func)
half_way = threading.Barrier(9)

def calls_of(which):
    for i in range(1250):
        if i == 600:
            half_way.wait()
        np.testing.assert_array_equal(np.asarray(run(inputs[which])[0]), wanted[which])

def in_child():
    try:
        run(inputs[0])
    except QirError as error:
        sys.exit(0 if "spawn" in str(error.help) else 1)
    sys.exit(2)

peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(8) as pool:
    done = [pool.submit(calls_of, which) for which in range(8)]
    half_way.wait()
    before, child = peak(), os.fork()
    if child == 0:
        try:
            in_child()
        except SystemExit as left:
            os._exit(left.code)
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    [each.result() for each in done]
print("grown by megabytes:", (peak() - before) // 1024)
"""


def test_a_set_that_the_processor_lacks_names_the_best():
    best = _run("from test_native import library; print(library().name)", QIR_NATIVE="").stdout
    for chosen in ("amx", "avx512vnni", "avx2"):
        done = _run("from test_native import library; print(library().name)", QIR_NATIVE=chosen)
        if done.returncode:
            assert f"this processor does not run: '{chosen}'" in done.stderr
            assert f"the best here are '{best.strip()}'" in done.stderr
        else:
            assert done.stdout.strip() == chosen


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_ten_thousand_calls_from_eight_threads_and_a_fork_in_between():
    done = _run(MANY_CALLS, timeout=300)
    assert not done.returncode, done.stderr
    child, grown = done.stdout.splitlines()
    assert child == "child 0"
    assert int(grown.rpartition(" ")[2]) <= 16  # of about 5,000 calls


def _run(program: str, timeout=None, **environment: str):
    return subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True,
                          text=True, env={**os.environ, **environment}, timeout=timeout,
                          cwd=os.path.dirname(__file__))  # fmt: skip


ONE_SET = """
import numpy as np
from test_native import compile_func, library, network

func, inputs, wanted = network()
for each, right in zip(inputs, wanted):
    np.testing.assert_array_equal(np.asarray(compile_func(func)(each)[0]), right)
print(library())
"""


@pytest.mark.parametrize("chosen, said", [
    ("plain", "name='plain', columns=16, depth=2, inner=2, rows=1, offset=0, taps=1, crosses=0, "
              "threads=3"),
    ("off", "None"),
    ("vnni", "QIR_NATIVE names no kernels: 'vnni'"),
])  # fmt: skip
def test_sets_of_kernels_are_chosen_by_name(chosen, said):
    done = _run(ONE_SET, QIR_NATIVE=chosen, QIR_NUM_THREADS="3")
    assert said in done.stdout + done.stderr
