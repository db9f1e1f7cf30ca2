"""Propagation: what it promises, and that no other choice of grids needs fewer requantizes."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qir import roles
from qir.dialect import Dialect
from qir.evaluate import evaluate
from qir.ir import Func, Op, const, parameter
from qir.registry import load_dialects
from qir.types import Type, tensor
from qir.verify import verify

load_dialects()
from qir.dialects import lax, nn, quant  # noqa: E402
from qir.passes.calibrate import calibrate  # noqa: E402
from qir.passes.insert_observers import insert_observers  # noqa: E402
from qir.passes.propagate_types import propagate_types  # noqa: E402
from qir.passes.requantize import requantize  # noqa: E402

probe = Dialect("probe", "Ops of each role, for these tests.")


@probe.op(grid=roles.same())
def join(*xs: Type) -> Type:
    """All values, on one grid: their maximum."""
    return xs[0]


@probe.op(grid=roles.free())
def mix(*xs: Type) -> Type:
    """All values, each on a grid of its own: their mean."""
    return xs[0]


@probe.op(grid=roles.fixed(i8=(1 / 128, 0)))
def bound(x: Type) -> Type:
    """A value held within [-1, 1]."""
    return x


@probe.op(grid=roles.fixed(i8=(1 / 100, 20)))
def shift(x: Type) -> Type:
    """A value held within [-1.48, 1.07]."""
    return x


join.means(lambda op, *xs: np.max(xs, axis=0))
mix.means(lambda op, *xs: np.mean(xs, axis=0, dtype=np.float32))
bound.means(lambda op, x: np.clip(x, -1, 1))
shift.means(lambda op, x: np.clip(x, -1.4, 1))


def count(func: Func, kind: str) -> int:
    return sum(op.kind == kind for op in func.ops)


@st.composite
def graphs(draw, kinds, least=0.45, most=1.8):
    """A calibrated graph of these ops; free values lie within [-hi, hi], least <= hi <= most."""

    def ranged(value: Op) -> Op:
        hi = draw(st.floats(least, most))
        return quant.stats(value, name="s", lo=-hi, hi=hi)

    inputs = [parameter(f"x{i}", tensor("f32", (4,))) for i in range(draw(st.integers(1, 3)))]
    values = [ranged(x) for x in inputs]
    for _ in range(draw(st.integers(1, 7))):
        op = draw(st.sampled_from(kinds))
        parts = 1 if op in (bound, shift) else draw(st.integers(1, 3))
        result = op(*(draw(st.sampled_from(values)) for _ in range(parts)))
        values.append(ranged(result) if op is mix else result)
    made = [v.operands[0] if v.kind == "quant.stats" else v for v in values]
    read = {operand for op in made for operand in op.operands}
    return Func("main", tuple(inputs), tuple(v for v in values if v not in read))


def nodes_of(func: Func) -> dict[Op, set[str]]:
    """The grids each node may take: the union's (U), or a fixed one that covers it (F, S)."""
    highest: dict[Op, float] = {}
    allowed: dict[Op, set[str]] = {}
    for op in func.ops:
        if op.kind == "quant.stats":
            highest[op] = op.attributes["hi"]
        elif op.kind == "probe.bound":
            highest[op], allowed[op] = 127 / 128, {"F"}
        elif op.kind == "probe.shift":
            highest[op], allowed[op] = 1.48, {"S"}
        elif op.kind == "probe.join":
            highest[op] = max(highest[o] for o in op.operands)
        if op in highest and op not in allowed:
            allowed[op] = {"U"} | ({"F"} if highest[op] <= 1 else set())
    return allowed


def requantizes(func: Func, labels: dict[Op, str]) -> int:
    wanted = {(o, labels[op]) for op in func.ops if op.kind == "probe.join" for o in op.operands}
    return sum(labels[value] != label for value, label in wanted)


@given(graphs([join, join, mix, bound]))
def test_no_choice_of_grids_needs_fewer_requantizes(func):
    allowed = nodes_of(func)
    best = min(
        requantizes(func, dict(zip(allowed, labels, strict=True)))
        for labels in product(*allowed.values())
    )
    result = requantize(propagate_types(func))
    verify(result, "requantize")
    assert count(result, "quant.requantize") == best


@given(graphs([join, join, mix, bound, shift]))
def test_between_three_grids_there_are_never_more_than_with_the_union_everywhere(func):
    union = {node: min(may & {"U"} or may) for node, may in nodes_of(func).items()}
    result = requantize(propagate_types(func))
    assert count(result, "quant.requantize") <= requantizes(func, union)


def grid_of(op: Op):
    """The element under a dequantize."""
    assert op.kind == "quant.dequantize"
    return op.operands[0].type.element


def real_range(element) -> tuple[float, float]:
    scale, zero = float(element.grid.scale), int(element.grid.zero)
    return (element.lo - zero) * scale, (element.hi - zero) * scale


@given(graphs([join, mix, bound, shift], least=0.001, most=100.0))
def test_grids_cover_their_ranges_and_joins_have_one(func):
    result = propagate_types(func)
    readers = result.users
    for op in result.ops:
        if op.kind.startswith("probe."):
            (cast,) = readers[op]
            own = cast.attributes["to"]
            if op.kind == "probe.join":
                assert {grid_of(o) for o in op.operands} == {own}
            if op.kind == "probe.bound":
                assert own.grid.scale == np.float32(1 / 128)
    spans = [op.attributes for op in func.ops if op.kind == "quant.stats"
             and (func.users[op] or op.operands[0].kind == "probe.mix")]  # fmt: skip
    casts = [op for op in result.ops if op.kind == "quant.quantize"
             and op.operands[0].kind in ("parameter", "probe.mix")]  # fmt: skip
    assert len(casts) == len(spans)
    for cast in casts:
        lo, hi = real_range(cast.attributes["to"])
        step = float(cast.attributes["to"].grid.scale)
        assert any(lo - 1.01 * step <= s["lo"] and s["hi"] <= hi + 1.01 * step for s in spans)


@given(graphs([join, mix], least=0.001, most=100.0))
def test_a_value_that_is_computed_with_keeps_six_bits(func):
    result = propagate_types(func)
    spans = {op.operands[0]: op for op in func.ops if op.kind == "quant.stats"}
    for parameter_ in func.parameters:
        stats = spans.get(parameter_)
        if stats is None:  # nobody reads it
            continue
        readers = {op.kind for op in func.users[stats]}
        if "probe.mix" not in readers:
            continue
        (cast,) = result.users[parameter_]
        own = 2 * stats.attributes["hi"] / 255
        assert cast.attributes["to"].grid.scale <= 4.001 * own


@given(st.data())
def test_biases_fit_into_half_of_the_accumulator(data):
    step = 2.0 ** data.draw(st.integers(-12, 4))
    numbers = st.floats(-1, 1, width=32)
    powers = st.lists(st.integers(-30, 20), min_size=3, max_size=3)
    w = np.float32([[data.draw(numbers) for _ in range(3)] for _ in range(2)])
    w *= np.float32(2.0) ** np.float32(data.draw(powers))
    b = np.float32([data.draw(numbers) for _ in range(3)])
    b *= np.float32(2.0) ** np.float32(data.draw(powers))
    x = parameter("x", tensor("f32", (1, 2)))
    read = quant.stats(x, name="x", lo=-128 * step, hi=127 * step)
    y = quant.stats(nn.dense(read, const(w), const(b)), name="y", lo=-1, hi=1)
    for weights in ("per_channel", "per_tensor"):
        result = propagate_types(Func("main", (x,), (y,)), weights=weights)
        (layer,) = (op for op in result.ops if op.kind == "nn.dense")
        stored_w, stored_b = (o.operands[0] for o in layer.operands[1:])
        assert np.abs(stored_w.value.astype(int)).max() <= 127
        assert np.abs(stored_b.value.astype(np.int64)).max() <= 2**30 + 2**7
        product = np.float32(step * np.float64(stored_w.type.scale))
        assert np.array_equal(stored_b.type.scale, product)
        bias, weight = evaluate(Func("b", (), layer.operands[2:0:-1]), [])
        assert (np.abs(bias - b) <= stored_b.type.scale * 0.51 + np.abs(b) * 1e-6).all()
        assert (np.abs(weight - w) <= stored_w.type.scale * 0.501).all()


def network(width: int = 8, depth: int = 3):
    """A small network with most kinds of roles, in float."""
    generator = np.random.default_rng(3)

    def weight(*shape):
        return const(generator.standard_normal(shape).astype(np.float32) / np.sqrt(width * 9))

    x = value = parameter("x", tensor("f32", (2, 6, 6, width)))
    for i in range(depth):
        kernel, bias = weight(3, 3, width, width), weight(width)
        y = nn.conv2d(value, kernel, bias, clamp=(0, np.inf), location=(f"block{i}",))
        y = nn.mul(y, nn.sigmoid(y), location=(f"block{i}",))
        y = lax.concatenate(y, nn.tanh(value), axis=3, location=(f"block{i}",))
        y = nn.conv2d(y, weight(1, 1, 2 * width, width), location=(f"block{i}",))
        value = nn.add(value, y, location=(f"block{i}",))
    y = nn.mean(value, axes=(1, 2), location=("head",))
    y = nn.dense(y, weight(width, 10), weight(10), location=("head",))
    return Func("main", (x,), (y, nn.softmax(y)))


@pytest.mark.parametrize(("weights", "least"), [("per_channel", 25), ("per_tensor", 22)])
def test_a_network_keeps_its_signal(weights, least):
    func = network()
    generator = np.random.default_rng(0)
    samples = [generator.standard_normal((2, 6, 6, 8)).astype(np.float32) for _ in range(8)]
    result = propagate_types(calibrate(insert_observers(func), samples=samples), weights=weights)
    result = requantize(result)
    verify(result, "requantize")
    expected, expected_odds = evaluate(func, samples[:1])
    found, odds = evaluate(result, samples[:1])
    noise = np.square(expected - found).mean()
    assert 10 * np.log10(np.square(expected - expected.mean()).mean() / noise) > least
    assert np.abs(odds - expected_odds).max() <= 1.5 / 256


def test_every_op_between_the_boundary_casts_is_quantized():
    func = network()
    samples = [np.ones((2, 6, 6, 8), np.float32)]
    result = requantize(propagate_types(calibrate(insert_observers(func), samples=samples)))
    chained = ("nn.sigmoid", "nn.mul")
    for op in result.ops:
        if op.kind.startswith(("nn.", "lax.")) and op.kind not in chained:
            assert all(o.kind == "quant.dequantize" for o in op.operands), op
            assert {u.kind for u in result.users[op]} == {"quant.quantize"}, op
    assert [p.type for p in result.parameters] == [p.type for p in func.parameters]
    assert [r.type for r in result.results] == [r.type for r in func.results]


def test_the_result_does_not_depend_on_the_run():
    func = network()
    samples = [np.ones((2, 6, 6, 8), np.float32)]
    texts = {str(propagate_types(calibrate(insert_observers(func), samples=samples)))
             for _ in range(3)}  # fmt: skip
    assert len(texts) == 1


def test_long_graphs_do_not_recurse():
    x = value = parameter("x", tensor("f32", (4,)))
    for i in range(1500):
        value = join(value, bound(value)) if i % 2 else mix(value, value)
    func = Func("main", (x,), (value,))
    samples = [np.float32([1, 2, 3, 4])]
    result = requantize(propagate_types(calibrate(insert_observers(func), samples=samples)))
    assert len(result.ops) > 1500
