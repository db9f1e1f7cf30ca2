"""Pictures: charts that show the graph, layouts without collisions, files that viewers read."""

import importlib.util
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from qir.dialects import lax, nn
from qir.passes.canonicalize import canonicalize

from qir import registry
from qir.cli.opt import split_cases
from qir.difference import difference
from qir.errors import QirError
from qir.interchange import View, content
from qir.ir import Func, Module, const, item, parameter
from qir.pictures import Arrow, Box, chart_of, chart_of_difference, nearby
from qir.testing.sampling import draw_network
from qir.text import read_module
from qir.types import Grid, Type, dtype, tensor

registry.load_dialects()
ROOT = Path(__file__).resolve().parent.parent
MISSING = [name for name in ("igraph", "matplotlib") if importlib.util.find_spec(name) is None]
drawing = pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} are not installed")


def network(seed: int, steps: int | None = None) -> Func:
    return draw_network(np.random.default_rng([51, seed]), steps)


def residual() -> Func:
    """A split, a shared constant, a residual sum, a result that is a parameter."""
    x, w = parameter("x", tensor("f32", (1, 4)), ("m.py:1",)), const(np.eye(4), name="w")
    y = nn.dense(x, w, clamp=(0.0, 6.0), location=("layer (m.py:2)",))
    parts = lax.split(nn.dense(y, w), sizes=(1, 3), axis=1)
    back = lax.concatenate(item(parts, 1), item(parts, 0), axis=1)
    return Func("block", (x,), (nn.add(y, lax.sub(back, const(np.float32(0.5)))), x), ("y", ""))


def test_a_chart_shows_ops_with_their_constants_and_where_values_go():
    func = residual()
    chart = chart_of(func)
    assert chart.title == "@block: 11 ops"
    assert chart.boxes == (
        Box("parameter", "%x", ("f32[1,4]",), "parameter", place="m.py:1"),
        Box("nn.dense", "%1", ("w = #w : f32[4,4]", "clamp = [0.0, 6.0]", "f32[1,4]"), "nn",
            place="layer (m.py:2)"),
        Box("nn.dense", "%2", ("w = #w : f32[4,4]", "f32[1,4]"), "nn"),
        Box("lax.split", "%3", ("sizes = [1, 3]", "axis = 1", "(f32[1,1], f32[1,3])"), "lax"),
        Box("lax.concatenate", "%6", ("axis = 1", "f32[1,4]"), "lax"),
        Box("lax.sub", "%8", ("b = 0.5 : f32[]", "f32[1,4]"), "lax"),
        Box("nn.add", "%9", ("f32[1,4]",), "nn"),
        Box("return", "y", ("f32[1,4]",), "result"),
        Box("return", "", ("f32[1,4]",), "result"),
    )  # fmt: skip
    assert chart.arrows == (
        Arrow(0, 1), Arrow(1, 2), Arrow(2, 3), Arrow(3, 4, "1", "xs0"), Arrow(3, 4, "0", "xs1"),
        Arrow(4, 5), Arrow(1, 6), Arrow(5, 6), Arrow(6, 7), Arrow(0, 8),
    )  # fmt: skip
    (w,) = (op for op in func.ops if op.is_const and op.attributes["name"] == "w")
    assert chart.homes[w] == (1, 2)


def test_long_constants_grids_and_attributes_are_told_in_short():
    grid = Grid(np.linspace(0.1, 0.9, 9), 0, axis=1, narrow=True)
    w = const(np.zeros((4, 9), np.int8), Type(dtype("i8"), (4, 9), grid), name="kernel")
    x = parameter("x", tensor("f32", (60,) * 3))
    y = lax.transpose(lax.reshape(x, shape=(2, 30) * 3), permutation=tuple(range(6)))
    chart = chart_of(Func("main", (x,), (y, w)))
    boxes = {box.title: box.lines for box in chart.boxes}
    assert boxes["const"] == ("value = #kernel : i8<9 scales @1>[4,9]", "i8<9 scales @1>[4,9]")
    assert boxes["lax.reshape"] == ("shape = [2, 30, 2, 30, 2, 30]", "f32[2,30,2,30,2,30]")


def test_a_chart_of_a_difference_shows_what_became_of_boxes_and_arrows():
    x = parameter("x", tensor("f32", (4,)))
    old = Func("main", (x,), (lax.exp(lax.neg(lax.neg(x))), lax.sub(x, const(np.float32(1)))))
    new = Func("main", (x,), (lax.exp(x), lax.abs(lax.sub(x, const(np.float32(2))))))
    chart = chart_of_difference(difference(old, new))
    assert chart.title == "@main: 3 kept, 1 added, 2 removed, 1 changed"
    told = {(box.title, box.change) for box in chart.boxes}
    assert told == {("parameter", "kept"), ("lax.neg", "removed"), ("lax.exp", "kept"),
                    ("lax.sub", "changed"), ("lax.abs", "added"), ("return", "kept")}  # fmt: skip
    (sub,) = (box for box in chart.boxes if box.title == "lax.sub")
    assert sub.lines == ("b = 1 : f32[] → 2 : f32[]", "f32[4]") and sub.name == "%2"
    assert {box.name for box in chart.boxes if box.change == "removed"} == {"old %0", "old %1"}
    changes = Counter(arrow.change for arrow in chart.arrows)
    assert changes == {"": 2, "added": 3, "removed": 4}


@pytest.mark.parametrize("before, after, changes", [
    ("add(%x, %y)", "sub(%x, %y)", {"": 3}),
    ("sub(%x, %y)", "mul(%x, %y)", {"": 3}),
    ("sub(%x, %y)", "sub(%y, %x)", {"": 1, "added": 2, "removed": 2}),
    ("sub(%x, %y)", "sub(%x, %x)", {"": 2, "removed": 1}),
])  # fmt: skip
def test_arrows_are_the_same_whether_or_not_they_say_which_operand_they_are(before, after, changes):
    text = "func @main(%x: f32[2], %y: f32[2]) -> (f32[2]) {{\n  %0 = lax.{}\n  return %0\n}}"
    old, new = (read_module(text.format(op)).main for op in (before, after))
    chart = chart_of_difference(difference(old, new))
    assert Counter(arrow.change for arrow in chart.arrows) == changes


def test_numbers_that_read_alike_are_still_told_to_differ():
    x = parameter("x", tensor("f32", (2, 2)))
    old, new = (Func("main", (x,), (nn.dense(x, const(np.eye(2) * k, name="w")),)) for k in (1, 2))
    old, new = (replace_weights(f, 8) for f in (old, new))
    chart = chart_of_difference(difference(old, new))
    assert chart.boxes[1].lines[0] == "w = #w : f32[8,8], other numbers"
    assert chart.boxes[1].change == "changed"


def replace_weights(func: Func, size: int) -> Func:
    x = parameter("x", tensor("f32", (2, size)))
    scale = func.results[0].operands[1].value[0, 0]
    return Func("main", (x,), (nn.dense(x, const(np.eye(size) * scale, name="w")),))


def test_a_part_of_a_chart_shows_where_it_is_cut():
    func = residual()
    chart = nearby(chart_of(func), func.results[0].operands[1], 1)
    assert chart.title == "@block: 11 ops, 1 around %8"
    assert [(box.title, box.group) for box in chart.boxes] == [
        ("lax.concatenate", "lax"), ("lax.sub", "lax"), ("nn.add", "nn"),
        ("%3 lax.split", "rest"), ("%1 nn.dense", "rest"), ("…", "rest"),
    ]  # fmt: skip
    whole = nearby(chart_of(func), func.parameters[0], 9)
    assert whole.boxes == chart_of(func).boxes and whole.arrows == chart_of(func).arrows
    (w,) = (op for op in func.ops if op.is_const and op.attributes["name"] == "w")
    assert [box.name for box in nearby(chart_of(func), w, 0).boxes[:2]] == ["%1", "%2"]
    with pytest.raises(QirError, match="the picture does not show this value"):
        nearby(chart_of(func), parameter("z", tensor("f32")), 1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pydot")
def test_dot_files_are_what_graphviz_reads():
    pydot = pytest.importorskip("pydot")
    funcs = [network(seed) for seed in range(3)]
    for path in sorted((ROOT / "tests" / "dialects").glob("*.qir")):
        for line, text in split_cases(path.read_text(encoding="utf-8"))[:1]:
            try:
                funcs += read_module(text, str(path), line).funcs
            except QirError:
                continue
    odd = parameter('a"\\\n$x$<&>ü', tensor("f32"), ('say "hi"\\',))
    for func in (*funcs, Func('f"\\', (odd,), (odd,))):
        chart = chart_of(func)
        (graph,) = pydot.graph_from_dot_data(content(Module((func,)), "dot"))
        nodes = [n for n in graph.get_nodes() if n.get_name().startswith("n") and n.get("label")]
        assert len(nodes) == len(chart.boxes)
        edges = {(e.get_source(), e.get_destination()) for e in graph.get_edges()}
        assert edges == {(f"n{a.start}", f"n{a.end}") for a in chart.arrows}


@drawing
@pytest.mark.parametrize("seed", range(12))
def test_boxes_and_arrows_keep_clear_of_each_other(seed):
    from qir.pictures.layout import laid_out

    before = network(seed, steps=4 * seed + 3)
    chart = chart_of(before) if seed % 2 else chart_of_difference(
        difference(before, canonicalize(before)))  # fmt: skip
    rng = np.random.default_rng(seed)
    sizes = [(float(rng.uniform(40, 260)), float(rng.uniform(20, 80))) for _ in chart.boxes]
    layout = laid_out(chart, sizes)
    frames = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2)
              for (x, y), (w, h) in zip(layout.centres, sizes, strict=True)]  # fmt: skip
    for i, (left, top, right, bottom) in enumerate(frames):
        assert left >= 0 and top >= 0 and right <= layout.size[0] and bottom <= layout.size[1]
        for other in frames[:i]:
            assert right < other[0] or other[2] < left or bottom < other[1] or other[3] < top
    for arrow, path in zip(chart.arrows, layout.paths, strict=True):
        assert path[0][1] == pytest.approx(frames[arrow.start][3])
        assert path[-1][1] == pytest.approx(frames[arrow.end][1])
        for (x0, y0), (x1, y1) in zip(path, path[1:], strict=False):
            assert y0 <= y1 + 1e-9
            for i, (left, top, right, bottom) in enumerate(frames):
                apart = max(x0, x1) <= left or right <= min(x0, x1)
                apart |= y1 <= top + 1e-6 or bottom <= y0 + 1e-6
                assert apart or i in (arrow.start, arrow.end)


@drawing
def test_files_hold_the_picture_and_are_the_same_every_time(tmp_path):
    old, new = residual(), canonicalize(residual())
    view = View(difference=difference(old, new))
    svg = content(Module((new,)), "svg", view=view)
    png = content(Module((new,)), "png", view=view)
    texts = [node.text for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")]
    assert {"nn.dense", "w = #w : f32[4,4]", "%1"} <= set(texts)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    points = ElementTree.fromstring(svg).get("viewBox").split()[2:]
    assert [round(2 * float(n)) for n in points] == pytest.approx([width, height], abs=1)
    code = """
import sys
sys.path[:0] = sys.argv[1:3]
from test_pictures import *
old, new = residual(), canonicalize(residual())
view = View(difference=difference(old, new))
for name in ("svg", "png", "dot"):
    data = content(Module((new,)), name, view=view)
    open(f"again.{name}", "wb").write(data if name == "png" else data.encode())
"""
    subprocess.run([sys.executable, "-c", code, str(ROOT), str(ROOT / "tests")], cwd=tmp_path,
                   check=True, env={"PYTHONHASHSEED": "7", "PATH": ""})  # fmt: skip
    assert (tmp_path / "again.svg").read_text() == svg
    assert (tmp_path / "again.png").read_bytes() == png
    assert (tmp_path / "again.dot").read_text() == content(Module((new,)), "dot", view=view)


@drawing
def test_odd_names_make_no_broken_files():
    odd = parameter("a\x00\x1b$x^$<&>\u4e2d\ud800", tensor("f32"))
    (text,) = (n.text for n in ElementTree.fromstring(content(Module((Func("f", (odd,), (odd,)),)),
               "svg")).iter() if n.text and n.text.startswith("%"))  # fmt: skip
    assert text == "%a··$x^$<&>\u4e2d·"
    assert content(Module((Func("empty", (), ()),)), "svg").endswith("</svg>\n")


@drawing
def test_a_picture_too_large_to_read_is_refused():
    x = parameter("x", tensor("f32", (2,)))
    y = x
    for _ in range(400):
        y = lax.neg(y)
    func = Func("main", (x,), (y,))
    with pytest.raises(QirError) as caught:
        content(Module((func,)), "png")
    assert str(caught.value) == (
        "error: a picture of 402 ops cannot be read, 400 are the most\n"
        "  help: show a part of it: --around %value --depth 3; or write --to dot and look at it in "
        "a viewer that zooms")  # fmt: skip
    part = content(Module((func,)), "svg", view=View(around=y.operands[0], depth=2))
    assert part.count("lax.neg") == 5


def test_drawing_without_what_draws_is_told(monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] in ("igraph", "matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("igraph", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("qir.pictures.draw", "qir.pictures.layout"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(QirError) as caught:
        content(Module((residual(),)), "svg")
    assert str(caught.value) == ("error: svg needs matplotlib, which is not installed\n"
                                 "  help: pip install 'qir[picture]'")  # fmt: skip
