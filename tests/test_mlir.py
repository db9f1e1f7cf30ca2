"""Graphs as MLIR: read back by MLIR itself (jaxlib's bindings) and by xDSL."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

pytest.importorskip("jaxlib")
pytest.importorskip("xdsl")

from mlir_reading import (  # noqa: E402
    assert_same,
    holds,
    ir,
    mlir_context,
    read_by_mlir,
    read_by_xdsl,
    read_element,
    xdsl_ops,
)

from qir import registry  # noqa: E402
from qir.api import run_pipeline, trace  # noqa: E402
from qir.cli.opt import split_cases  # noqa: E402
from qir.errors import QirError  # noqa: E402
from qir.evaluate import evaluate  # noqa: E402
from qir.interchange import content  # noqa: E402
from qir.interchange.mlir_types import attribute_text, dense, element_text, quoted  # noqa: E402
from qir.ir import Func, Module, const, parameter  # noqa: E402
from qir.testing.sampling import draw_network  # noqa: E402
from qir.testing.sampling.checks import draw_normal  # noqa: E402
from qir.text import read_module  # noqa: E402
from qir.types import DTYPES, DYNAMIC, Element, Grid, Type, per_tensor, tensor  # noqa: E402

registry.load_dialects()
ROOT = Path(__file__).resolve().parent.parent
CONTEXT = mlir_context()


def check(module: Module, xdsl: bool = True) -> str:
    """The module as MLIR, compared with what the parsers make of it."""
    text = content(module, "mlir")
    assert_same(module, read_by_mlir(text, CONTEXT))
    if xdsl:
        read = xdsl_ops(read_by_xdsl(text))
        ours = [[op for op in f.ops if op.kind not in ("parameter", "item")] for f in module.funcs]
        assert [len(ops) - 1 for ops in read] == [len(ops) for ops in ours]
    return text


def test_every_graph_of_the_tests_comes_back():
    graphs = 0
    for path in sorted((ROOT / "tests").rglob("*.qir")):
        for line, text in split_cases(path.read_text(encoding="utf-8")):
            try:
                module = read_module(text, str(path), line)
            except QirError:  # a case about a text that is wrong
                continue
            check(module)
            graphs += 1
    assert graphs > 200


@pytest.mark.parametrize("seed", range(8))
def test_random_networks_come_back_before_and_after_quantization(seed):
    rng = np.random.default_rng([21, seed])
    func = draw_network(rng)
    samples = [draw_normal(rng, func) for _ in range(2)]
    check(Module((func,)))
    check(run_pipeline(Module((func,)), "ptq_int8", samples, run=evaluate), xdsl=seed < 4)


def test_the_digits_network_comes_back_from_every_step():
    pytest.importorskip("flax")
    pytest.importorskip("sklearn")
    from examples.digits.model import digits, load

    model, example = load()
    samples, steps = [[x[None]] for x in digits()[0][:4]], {}
    module = trace(model, example)

    def listen(done):
        steps.setdefault(done.step.action.name, done.after)

    run_pipeline(module, "ptq_int8", samples, run=evaluate, listen=listen)
    assert {"fold_bn", "propagate_types", "lower_int8", "legalize"} <= set(steps)
    for name, func in steps.items():
        text = check(Module((func,)), xdsl=name in ("calibrate", "legalize"))
        if name in ("propagate_types", "requantize", "lower_int8"):
            assert "!grid0 = !quant.uniform<i8<-127:127>:f32:3, {" in text


def test_a_graph_reads_as_mlir_is_written():
    func = read_module("""
func @main(%x: f32[1,4] loc("layer/in (model.py:3)")) -> (y: i8<0.5:-3>[1,2], f32[1,2]) {
  %t = lax.split(%x, sizes=[2, 2], axis=1) loc("model.py:4", "other")
  %a = item(%t, index=0)
  %b = item(%t, index=1)
  %0 = nn.relu6(%b)
  %1 = quant.observe(%a, name="a/b")
  %2 = quant.quantize(%1, to=i8<0.5:-3>)
  return %2, %0
}""")
    assert check(func) == """module {
  func.func @main(%x: tensor<1x4xf32> {qir.name = "x"} loc("layer/in"("model.py":3:0))) -> \
(tensor<1x2x!quant.uniform<i8:f32, 0.5:-3>> {qir.name = "y"}, tensor<1x2xf32>) {
    %0:2 = "lax.split"(%x) {sizes = array<i64: 2, 2>, axis = 1 : i64} : (tensor<1x4xf32>) -> \
(tensor<1x2xf32>, tensor<1x2xf32>) loc(fused["model.py":4:0, "other"])
    %1 = "qir.observe"(%0#0) {name = "a/b"} : (tensor<1x2xf32>) -> tensor<1x2xf32>
    %2 = "quant.qcast"(%1) : (tensor<1x2xf32>) -> tensor<1x2x!quant.uniform<i8:f32, 0.5:-3>>
    %3 = "nn.relu6"(%0#1) : (tensor<1x2xf32>) -> tensor<1x2xf32>
    return %2, %3 : tensor<1x2x!quant.uniform<i8:f32, 0.5:-3>>, tensor<1x2xf32>
  }
}
"""


def test_names_that_mlir_does_not_take_are_replaced():
    odd = [parameter(name, tensor("f32", (2,))) for name in ("0x", "größe", "a b\n")]
    text = check(Module((Func("main-1.ü", tuple(odd), (odd[1],), ("r\"'",)),)))
    assert text == """module {
  func.func @"main-1.ü"(%arg0: tensor<2xf32> {qir.name = "0x"}, %arg1: tensor<2xf32> \
{qir.name = "größe"}, %arg2: tensor<2xf32> {qir.name = "a b\\n"}) -> (tensor<2xf32> \
{qir.name = "r\\"'"}) {
    return %arg1 : tensor<2xf32>
  }
}
"""


def test_headers_and_functions_without_anything_come_back():
    text = 'origin(version="0.1.0")\nfunc @empty() -> () {\n  return\n}\n'
    assert check(read_module(text)) == ('module attributes {qir.origin = {version = "0.1.0"}} {\n'
                                        "  func.func @empty() {\n    return\n  }\n}\n")  # fmt: skip


def test_long_grids_are_named_once():
    grid = Grid(np.linspace(0.1, 1, 9), 0, axis=0, narrow=True)
    w = const(np.zeros(9, np.int8), Type(DTYPES["i8"], (9,), grid))
    text = check(Module((Func("main", (), (w, w)),)))
    assert text.startswith("!grid0 = !quant.uniform<i8<-127:127>:f32:0, {0.10000000149011612, ")
    assert text.count("0.10000000149011612") == 1 and text.count("tensor<9x!grid0>") == 5


def test_a_grid_that_mlir_has_no_storage_for_is_an_error():
    x = parameter("x", tensor("i64", (2,), per_tensor(0.5)), ("model.py:7",))
    with pytest.raises(QirError) as caught:
        content(Module((Func("main", (x,), (x,)),)), "mlir")
    assert str(caught.value) == (
        "model.py:7: error: MLIR has no quantized type that stores i64, as i64<0.5:0> would\n"
        "  help: its types store integers of up to 32 bits")  # fmt: skip


POSITIVE = st.floats(2.0**-149, 2.0**127, width=32)


@st.composite
def grids(draw):
    storage = DTYPES[draw(st.sampled_from(["i2", "i4", "i8", "u8", "i16", "u16", "i32", "u32"]))]
    shape = draw(st.sampled_from([(), (1,), (3,), (9,), (2, 3), (3, 1, 2)]))
    scale = draw(arrays.arrays(np.float32, shape, elements=POSITIVE))
    axis = draw(st.integers(0, max(len(shape) - 1, 0))) if shape else None
    block = draw(st.integers(2, 4)) if len(shape) > 1 else None
    ends = (storage.lo, storage.hi) if block else (-(2**31), 2**31 - 1)
    ends = max(ends[0], -(2**31)), min(ends[1], 2**31 - 1)
    elements, shape = st.integers(*ends), draw(st.sampled_from([(), shape]))
    zero = draw(arrays.arrays(np.int32, shape, elements=elements))
    return Element(storage, Grid(scale, zero, axis, block, draw(st.booleans())))


@given(grids())
@settings(max_examples=100, deadline=None)
def test_every_grid_comes_back(element):
    aliases = {}
    text = element_text(element, aliases)
    text = next((full for full, name in aliases.items() if name == text), text)
    with CONTEXT:
        found = read_element(ir.Type.parse(text))
    assert found.dtype == element.dtype and found.lo == element.lo and found.hi == element.hi
    rank = max(element.grid.scale.ndim, 1)
    for ours, theirs in zip(element.grid.expanded(rank), found.grid.expanded(rank), strict=True):
        np.testing.assert_array_equal(*np.broadcast_arrays(ours, theirs))


def test_zero_points_that_blocks_do_not_hold_are_an_error():
    element = Element(DTYPES["i4"], Grid([[0.5], [1.0]], 9, 0, 2))
    with pytest.raises(QirError) as caught:
        element_text(element, {})
    assert str(caught.value) == ("error: MLIR keeps the zero points of blocks in the storage, i4 "
                                 "takes -8 to 7, found 9")  # fmt: skip


def test_grids_known_at_run_time_or_without_scales_are_any_grid():
    with CONTEXT:
        for grid in (DYNAMIC, Grid(np.zeros(0), 0, axis=0)):
            text = element_text(Element(DTYPES["i8"], grid), {})
            assert str(ir.Type.parse(text)) == text == "!quant.any<i8:f32>"


@given(st.data(), st.sampled_from(sorted(DTYPES)))
@settings(max_examples=120, deadline=None)
def test_every_constant_comes_back_bit_for_bit(data, name):
    kind = DTYPES[name]
    shape = data.draw(st.sampled_from([(), (0,), (1,), (3,), (2, 2), (3, 5), (0, 2)]))
    if name in ("i2", "i4"):
        elements = st.integers(kind.lo, kind.hi)
        array = data.draw(arrays.arrays(np.int8, shape, elements=elements))
    elif kind.kind == "bool":
        array = data.draw(arrays.arrays(bool, shape))
    else:
        size = int(np.prod(shape, dtype=int)) * kind.numpy.itemsize
        array = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), kind.numpy)
        array = array.reshape(shape)
    text = dense(array, element_text(Element(kind), {}))
    with CONTEXT, ir.Location.unknown():
        assert holds(ir.Attribute.parse(text), array)
    op = read_by_xdsl(f'"a.b"() {{v = {text}}} : () -> ()').body.block.first_op
    if array.size and name not in ("i1", "i2", "i4", "bool"):
        theirs = op.attributes["v"].data.data
        assert theirs in (array.tobytes(), array.reshape(-1)[:1].tobytes() * array.size)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back(text):
    with CONTEXT:
        assert ir.StringAttr(ir.Attribute.parse(quoted(text))).value == text
    op = read_by_xdsl(f'"a.b"() {{v = {quoted(text)}}} : () -> ()').body.block.first_op
    found = op.attributes["v"].data  # bytes where the text has some in hex
    assert (found.decode() if isinstance(found, bytes) else found) == text


@given(st.floats(allow_nan=False))
def test_every_number_comes_back(number):
    text = attribute_text(number, {})
    with CONTEXT:
        assert ir.FloatAttr(ir.Attribute.parse(text)).value == number
    op = read_by_xdsl(f'"a.b"() {{v = {text}}} : () -> ()').body.block.first_op
    assert op.attributes["v"].value.data == number
