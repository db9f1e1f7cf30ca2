"""The text form: what is printed reads back as the same, and what is wrong is said with a place."""

import pickle
import string

import numpy as np
import pytest
import toy as ops
from hypothesis import given, settings
from hypothesis import strategies as st

from qir.errors import QirError
from qir.ir import Func, Module, Op, const, item, parameter, place_of
from qir.rounding import Rescale
from qir.text import load_module, print_func, print_module, read_module, save_module
from qir.types import DTYPES, DYNAMIC, Element, Grid, TupleType, Type, dtype, tensor

FEW = settings(max_examples=60, deadline=None)
NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=6)
INTEGERS = [name for name, d in DTYPES.items() if d.kind == "int" and d.bits <= 32]
SCALES = st.floats(2.0**-100, 2.0**100, width=32)


def same(a: Op, b: Op) -> None:
    """Two graphs are equal in kinds, attributes, types, values, names and locations."""
    fa, fb = Func("f", (), (a,)), Func("f", (), (b,))
    assert len(fa.ops) == len(fb.ops)
    index = {op: i for i, op in enumerate(fa.ops)}, {op: i for i, op in enumerate(fb.ops)}
    for x, y in zip(fa.ops, fb.ops, strict=True):
        assert (x.kind, x.type, x.location) == (y.kind, y.type, y.location)
        assert [index[0][o] for o in x.operands] == [index[1][o] for o in y.operands]
        if x.is_const:
            assert x.value.dtype == y.value.dtype
            assert x.value.tobytes() == y.value.tobytes()
        else:
            assert x.attributes == y.attributes
            assert [type(v) for v in x.attributes.values()] == [
                type(v) for v in y.attributes.values()
            ]


@st.composite
def grids(draw, shape):
    narrow = draw(st.booleans())
    zero = st.integers(-(2**31), 2**31 - 1)
    if not shape or not all(shape) or draw(st.booleans()):
        dynamic = draw(st.integers(0, 5)) == 0
        return DYNAMIC if dynamic else Grid(draw(SCALES), draw(zero), narrow=narrow)
    axis = draw(st.integers(0, len(shape) - 1))
    blocks = [n for n in range(1, shape[axis] + 1) if shape[axis] % n == 0]
    block = draw(st.none() | st.sampled_from(blocks)) if len(shape) > 1 else None
    extent = (shape[axis],)
    if block is not None:
        extent = (*shape[:axis], shape[axis] // block, *shape[axis + 1 :])
    count = int(np.prod(extent))
    scale = np.reshape(draw(st.lists(SCALES, min_size=count, max_size=count)), extent)
    zeros = draw(st.lists(zero, min_size=count, max_size=count))
    zero = np.reshape(zeros, extent) if draw(st.booleans()) else 0
    return Grid(scale, zero, axis, block, narrow)


@st.composite
def types(draw):
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    name = draw(st.sampled_from(sorted(DTYPES)))
    grid = draw(grids(shape)) if name in INTEGERS and draw(st.booleans()) else None
    return tensor(name, shape, grid)


@st.composite
def arrays(draw, type: Type):
    if type.dtype.kind == "int":
        values = st.integers(type.dtype.lo, type.dtype.hi)
    elif type.dtype.kind == "bool":
        values = st.booleans()
    else:
        width = {"f16": 16, "bf16": 16, "f32": 32, "f64": 64}[type.dtype.name]
        values = st.floats(width=width, allow_nan=False)
    found = draw(st.lists(values, min_size=type.size, max_size=type.size))
    return np.array(found, type.dtype.numpy).reshape(type.shape)


ELEMENTS = types().filter(lambda t: t.grid is None or t.grid.per_tensor).map(lambda t: t.element)
RESCALES = st.one_of(
    st.builds(lambda s: Rescale("f32_half_even", scale=np.float32(s)), st.floats(1e-6, 1)),
    st.builds(lambda m, s: Rescale("single", multiplier=np.int32(m), shift=np.int32(s)),
              st.integers(2**30, 2**31 - 1), st.integers(-20, 5)),
)  # fmt: skip
WIDE = st.integers(-(2**63) + 1, 2**63 - 1)
ATTRIBUTES = {
    "integer": st.integers(-(2**40), 2**40),
    "number": st.floats(allow_nan=False),
    "truth": st.booleans(),
    "word": st.text(max_size=8) | NAMES | st.sampled_from(["none", "true", "inf", "narrow", "a.b"]),
    "pair": st.tuples(WIDE, WIDE),
    "ints": st.lists(WIDE, max_size=4).map(tuple),
    "floats": st.lists(st.floats(allow_nan=False), max_size=4).map(tuple),
    "words": st.lists(NAMES | st.text(max_size=4), max_size=3).map(tuple),
    "padding": st.sampled_from(["same", "valid", ((0, 1), (2, 3))]),
    "to": st.none() | ELEMENTS,
    "rescale": st.none() | RESCALES,
    "choice": st.sampled_from(["left", "right"]),
    "maybe": st.none() | WIDE,
}
LOCATIONS = st.lists(st.text(min_size=1, max_size=12), max_size=2).map(tuple)


@st.composite
def graphs(draw):
    """A function of random types, constants, attributes, several results and locations."""
    type = draw(types())
    values = [parameter("x", type), parameter("y.1", type, draw(LOCATIONS))]
    if not (type.grid is not None and type.grid.dynamic):
        values.append(const(draw(arrays(type)), type, name=draw(st.none() | NAMES)))
    for _ in range(draw(st.integers(0, 6))):
        a, b = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            op = ops.add(a, b, location=draw(LOCATIONS))
        elif kind == 1:
            given = draw(st.fixed_dictionaries({}, optional=ATTRIBUTES))
            op = ops.everything(a, location=draw(LOCATIONS), **given)
        elif kind == 2 and type.grid is None and type.rank and type.shape[0] % 2 == 0:
            pair = ops.halves(a)
            op = ops.concat(item(pair, 1), item(pair, 0))
        else:
            op = ops.conv(a, b, strides=draw(st.integers(1, 3)))
        values.append(op)
    results = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
    names = draw(st.just(()) | st.just(tuple(f"r{i}" for i in range(len(results)))))
    return Func("main", (values[0], values[1]), tuple(results), names)


@given(graphs())
@FEW
def test_every_graph_reads_back_as_itself(tmp_path_factory, func):
    path = tmp_path_factory.mktemp("graph") / "g.qir"
    save_module(Module((func,)), path)
    again = load_module(path).main
    assert (again.name, again.result_names) == (func.name, func.result_names)
    assert [p.attributes for p in again.parameters] == [p.attributes for p in func.parameters]
    for a, b in zip(func.results, again.results, strict=True):
        same(a, b)
    assert print_func(again, locations=True) == print_func(func, locations=True)


@given(types())
@FEW
def test_every_type_reads_back_as_itself(tmp_path_factory, type):
    path = tmp_path_factory.mktemp("type") / "t.qir"
    save_module(Module((Func("f", (parameter("x", type),), ()),)), path)
    assert load_module(path).main.parameters[0].type == type


@given(st.floats(2.0**-126, 2.0**120, width=32))
@FEW
def test_scales_print_shortest_and_exactly(scale):
    text = str(tensor("i8", (), Grid(scale, 0)))
    read = read_module(f"func @f(%x: {text}) {{ return %x }}").main.parameters[0].type
    assert read.scale.tobytes() == np.float32(scale).tobytes()


@given(graphs(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_a_damaged_text_gives_a_qir_error_or_a_graph(func, random):
    text = print_func(func, locations=True)
    alphabet = string.printable + "%#@$é\0"
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(text) + 1)
        cut = random.choice([0, 1, 1, 5])
        put = "".join(random.choices(alphabet, k=random.choice([0, 1, 2])))
        text = text[:at] + put + text[at + cut :]
    try:
        print_module(read_module(text))
    except QirError as error:
        assert str(error)


@given(st.text(alphabet="(){}[]<>,:=%@#$?.-\"/ \nabcdef0123narrow", max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_gives_a_qir_error_or_a_module(text):
    try:
        read_module(text)
    except QirError as error:
        assert str(error)


# Saved models


def model(seed=0) -> Module:
    w = np.random.default_rng(seed).standard_normal((4, 4)).astype(np.float32)
    x = parameter("x", tensor("f32", (4, 4)))
    return Module((Func("main", (x,), (ops.add(x, const(w, name="layer/w")),)),))


def test_saving_twice_gives_the_same_bytes_and_leaves_one_weights_file(tmp_path):
    path = tmp_path / "m.qir"
    save_module(model(), path)
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    save_module(model(), path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == first
    assert len(first) == 2
    save_module(model(seed=1), path)
    assert len(list(tmp_path.iterdir())) == 2
    assert '#layer/w' in path.read_text()


def test_weights_are_a_safetensors_file_others_can_read(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    save_module(model(), tmp_path / "m.qir")
    (file,) = tmp_path.glob("*.safetensors")
    (array,) = safetensors.load_file(file).values()
    assert array.tobytes() == model().main.ops[1].value.tobytes()


def test_weights_are_read_when_first_asked_for(tmp_path):
    save_module(model(), tmp_path / "m.qir")
    loaded = load_module(tmp_path / "m.qir").main
    held = loaded.ops[1].attributes["value"]
    assert "array" not in vars(held)
    assert loaded.ops[1].value.tobytes() == model().main.ops[1].value.tobytes()
    assert pickle.loads(pickle.dumps(loaded)).ops[1].value.shape == (4, 4)


def test_a_save_over_a_model_in_use_leaves_the_loaded_one_whole(tmp_path):
    save_module(model(), tmp_path / "m.qir")
    loaded = load_module(tmp_path / "m.qir").main
    value = loaded.ops[1].value
    save_module(model(seed=1), tmp_path / "m.qir")
    assert value.tobytes() == model().main.ops[1].value.tobytes()


def test_a_save_to_a_folder_leaves_nothing_behind(tmp_path):
    (tmp_path / "models").mkdir()
    with pytest.raises(QirError, match="models: error: cannot write: this is a folder"):
        save_module(model(), tmp_path / "models")
    assert [p.name for p in tmp_path.iterdir()] == ["models"]


@pytest.mark.parametrize("keep", [0, 7, 8, 40, -1])
def test_a_truncated_weights_file_is_an_error_on_loading(tmp_path, keep):
    save_module(model(), tmp_path / "m.qir")
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(QirError, match="truncated or damaged") as caught:
        load_module(tmp_path / "m.qir")
    assert str(file) in str(caught.value)


@given(st.binary(max_size=80))
@FEW
def test_any_bytes_as_weights_give_a_qir_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("weights")
    (folder / "w.safetensors").write_bytes(data)
    (folder / "m.qir").write_text(
        'weights("w.safetensors")\nfunc @main() {\n  %0 = const(value=#w) : f32[2]\n  return %0\n}'
    )
    with pytest.raises(QirError):
        load_module(folder / "m.qir")


def test_a_weights_array_that_is_not_of_its_type_is_an_error(tmp_path):
    path = tmp_path / "m.qir"
    save_module(model(), path)
    text = path.read_text()
    for wrong in ("f32[2,8]", "i32[4,4]"):
        path.write_text(text.replace("#layer/w) : f32[4,4]", f"#layer/w) : {wrong}"))
        with pytest.raises(QirError, match=r"#layer/w holds float32\[4, 4\], no .*" + wrong[:3]):
            load_module(path)


# Details of the notation


def test_defaults_and_locations_are_printed_on_demand_only():
    x = parameter("x", tensor("f32", (2,)))
    op = ops.conv(x, x, dilation=1, strides=(2, 2), location=('a "b"\\c\n', "m.py:3"))
    func = Func("main", (x,), (op,))
    assert "  %0 = toy.conv(%x, %x, strides=[2, 2]) : f32[2]\n" in print_func(func)
    text = print_func(func, locations=True)
    assert r'loc("a \"b\"\\c\n", "m.py:3")' in text
    assert place_of(read_module(text).main.results[0]) == 'a "b"\\c\n'


def test_types_after_calls_may_be_left_out_and_are_checked_when_written():
    text = "func @f(%x: f32[2]) {{\n  %y = toy.neg(%x){}\n  return %y\n}}"
    assert read_module(text.format("")).main.results[0].type == tensor("f32", (2,))
    with pytest.raises(QirError, match=r"<text>:2:22: error: toy.neg gives f32.2., written is"):
        read_module(text.format(" : f32[3]"))


def test_tuple_types_and_several_results():
    text = ("func @f(%x: i8<0.5:3>[4]) -> (a: i8<0.5:3>[2], b: i8<0.5:3>[2]) {\n"
            "  %0 = toy.halves(%x) : (i8<0.5:3>[2], i8<0.5:3>[2])\n"
            "  %1 = item(%0, index=1) : i8<0.5:3>[2]\n"
            "  %2 = item(%0, index=0) : i8<0.5:3>[2]\n"
            "  return %1, %2\n}\n")  # fmt: skip
    func = read_module(text).main
    assert isinstance(func.ops[1].type, TupleType) and func.result_names == ("a", "b")
    assert print_func(func) == text


def test_constants_in_short():
    text = """func @f() {{
      %a = const(value={}) : {}
      return %a
    }}"""

    def value(written, type):
        return read_module(text.format(written, type)).main.results[0].value

    assert value("1.5", "f32[2,2]").tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert value("[1, 2]", "i8[2]").tolist() == [1, 2]
    assert value("random", "f32[8]").std() > 0
    assert value("[-inf, inf]", "f32[2]").tolist() == [-np.inf, np.inf]
    assert np.array_equal(value("random", "f32[8]"), value("random", "f32[8]"))
    for written, type in (("300", "i8[]"), ("1.5", "i8[]"), ("[1, 2]", "i8[3]"), ("abc", "f32[]")):
        with pytest.raises(QirError, match="no constant of"):
            value(written, type)


@pytest.mark.parametrize("space", [" ", " // left to the grammar\n"])
def test_none_is_a_value_wherever_it_stands(space):
    text = "func @f(%x: f32[2]) {{ %0 = toy.everything(%x,{}{}) return %0 }}"
    given = read_module(text.format(space, "maybe=none")).main.results[0]
    assert given.attributes["maybe"] is None
    with pytest.raises(QirError, match="expected an integer, found None"):
        read_module(text.format(space, "ints=[none, 1]"))
    with pytest.raises(QirError, match="expected a value such as %x, found None"):
        read_module(text.format(space, "none"))


def test_lines_are_those_of_places_where_ops_share_one():
    text = ("\nfunc @f(%x: f32[2],\n\n  %y: f32[2]) {\n %0 = toy.add(%x, %y) %1 = toy.add(%0,\n %0)"
            "\n\n  %2 = toy.add(%1, %1)\n return %2 }")  # fmt: skip
    func = read_module(text, "f.qir", first_line=7, lines=True).main
    assert [place_of(op) for op in func.ops] == [f"f.qir:{n}" for n in (8, 10, 11, 11, 14)]


def test_an_element_type_is_an_attribute():
    element = Element(dtype("i8"), Grid(0.5, 3))
    x = parameter("x", tensor("f32", (2,)))
    text = print_func(Func("f", (x,), (ops.everything(x, to=element),)))
    assert "to=i8<0.5:3>)" in text


def test_twenty_thousand_ops_are_read_and_printed():
    lines = ["func @main(%x: f32[4]) {", "  %0 = toy.neg(%x)"]
    lines += [f"  %{i} = toy.everything(%{i - 1}, pair=[2, {i}])" for i in range(1, 20_000)]
    text = "\n".join([*lines, "  return %19999", "}"])
    func = read_module(text).main
    assert len(func.ops) == 20_001
    assert print_func(func).count("\n") == 20_003


def test_weights_with_more_bytes_than_they_name_are_damaged(tmp_path):
    save_module(read_module(ONE_WEIGHT), tmp_path / "m.qir")
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(QirError, match="truncated or damaged"):
        load_module(tmp_path / "m.qir")


def test_graphs_that_differ_in_their_suffix_keep_their_own_weights(tmp_path):
    for name in ("m.qir", "m.txt", "m.txt"):
        save_module(read_module(ONE_WEIGHT), tmp_path / name)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert load_module(tmp_path / "m.qir").main.results[0].value.size == 9


ONE_WEIGHT = """func @main() -> (f32[9]) {
  %0 = const(value=random) : f32[9]
  return %0
}
"""


def test_headers_stand_above_the_functions_and_survive_saving(tmp_path):
    text = 'origin(version="0.1.0", steps=[cse], hash=none)\nfunc @f(%x: f32[2]) -> (f32[2]) {\n' \
           "  return %x\n}\n"  # fmt: skip
    module = read_module(text)
    assert module.headers == {"origin": {"version": "0.1.0", "steps": ("cse",), "hash": None}}
    save_module(module, tmp_path / "f.qir")
    assert (tmp_path / "f.qir").read_text() == text
    assert load_module(tmp_path / "f.qir").headers == module.headers
