"""The scanner reads what the grammar reads, as the same records, and leaves it everything else."""

import re
import string
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_text import graphs, same

from qir.errors import QirError
from qir.ir import Module
from qir.text import print_func, read_module, save_module
from qir.text import read as reader
from qir.text.scan import scan_module
from qir.text.syntax import Source, parse_module

CASES = sorted(Path(__file__).parent.rglob("*.qir"))
MANY = settings(max_examples=100, deadline=None)


def plain(record):
    """A record as nested tuples, its places included; numbers by how they are written."""
    if is_dataclass(record):
        told = [f.name for f in fields(record) if f.compare]
        return (type(record).__name__, *(plain(getattr(record, name)) for name in told))
    if isinstance(record, (tuple, list)):
        return (isinstance(record, list), *map(plain, record))
    if isinstance(record, dict):
        return tuple((str(key), plain(value)) for key, value in record.items())
    return str(record) if isinstance(record, str) else repr(record)


def parsed(text: str):
    """What the grammar makes of a text, None if it refuses it."""
    try:
        return parse_module(Source(text))
    except QirError:
        return None


def agree(text: str) -> bool:
    """Whether the scanner read the text; then it gave what the grammar gives."""
    found = scan_module(Source(text))
    assert found is None or plain(found) == plain(parsed(text))
    return found is not None


def outcome(text: str):
    """The module of a text printed, or the whole message that refuses it."""
    try:
        return [print_func(func, locations=True) for func in read_module(text).funcs]
    except QirError as error:
        return str(error)


def both_ways(monkeypatch, text: str):
    """The outcome with the scanner and without it."""
    with monkeypatch.context() as patched:
        found = outcome(text)
        patched.setattr(reader, "scan_module", lambda source: None)
        return found, outcome(text)


def parts(path: Path) -> list[str]:
    return re.split(r"^// -----.*$", path.read_text(), flags=re.M)


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_every_case_of_the_tests_is_the_same_both_ways(path, monkeypatch):
    for text in parts(path):
        if not agree(text):
            assert parsed(text) is None, f"only the grammar reads\n{text}"
        with_scanner, without = both_ways(monkeypatch, text)
        assert with_scanner == without


@given(graphs(), st.booleans())
@MANY
def test_everything_that_is_printed_is_scanned(func, locations):
    assert agree(print_func(func, locations))


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_graphs_are_equal_both_ways(tmp_path_factory, func):
    path = tmp_path_factory.mktemp("graph") / "g.qir"
    save_module(Module((func,)), path)
    text, scan = path.read_text(), reader.scan_module
    scanned = read_module(text, str(path)).main
    try:
        reader.scan_module = lambda source: None
        by_grammar = read_module(text, str(path)).main
    finally:
        reader.scan_module = scan
    assert scanned.result_names == by_grammar.result_names
    for a, b in zip(scanned.results, by_grammar.results, strict=True):
        same(a, b)


@given(graphs(), st.randoms(use_true_random=False))
@MANY
def test_damaged_texts_are_the_same_both_ways(func, random):
    text = print_func(func, locations=True)
    pieces = [*string.printable, "%x", "#w", "@f", "// a\n", "loc(", "i8<0.5:0>", "[", "none"]
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(text) + 1)
        cut = random.choice([0, 1, 1, 5])
        put = "".join(random.choices(pieces, k=random.choice([0, 1, 2])))
        text = text[:at] + put + text[at + cut :]
    agree(text)


ATOMS = st.sampled_from(
    ["1", "-2.5", "1e-05", "inf", "-inf", "nan", "true", "none", "a.b", "narrow", "loc", "_", "%x",
     "#w/b-1", "@body", "$s", '"a\\n\\"b"', '"é"', "i8<0.5:-3>", "i8<?>", "i8<#s:0 @3>",
     "u4<[0.5,1.0]:[1,2] @0 narrow>", "i8<[[0.5],[2]]:0@1/4>", "f32[2]", "007", "-", "[,]"]
)  # fmt: skip
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=3).map(lambda v: f"[{', '.join(v)}]")
    | st.tuples(st.sampled_from(["single", "a.b"]), st.lists(inner, max_size=2)).map(
        lambda v: f"{v[0]}({', '.join(v[1])})"
    ),
    max_leaves=6,
)
ARGUMENTS = st.lists(VALUES | st.tuples(st.sampled_from(["k", "to", "inf"]), VALUES).map("=".join))
TYPES = st.sampled_from(
    ["f32[]", "f32[1,2]", "i8<0.5:-3>[4]", "i8<?>[2]", "i8<#s:#z @0>[9]", "(f32[2], i8<1:0>[2])",
     "f32[1, 2]", "f32 [2]", "i8<0.5:0 >[2]", "a.b[1.5]", "()", "i8<0.5:0>[,]"]
)  # fmt: skip
BLANKS = st.sampled_from(["", " ", "\n", "  // c\n", "\t"])


@st.composite
def ops(draw):
    """A line of an op with anything for arguments, oddly spaced here and there."""
    gap = [draw(st.just("") | st.just(" ") | BLANKS) for _ in range(4)]
    comma = draw(st.sampled_from([", ", ", ", ",", " , "]))
    inside = comma.join(["%x"] * draw(st.integers(0, 2)) + draw(ARGUMENTS))
    inside += draw(st.sampled_from(["", "", ",", " "]))
    typed = draw(st.just("") | TYPES.map(lambda t: f" : {t}"))
    place = draw(st.sampled_from(["", "", ' loc("a", "b\\"c")', ' loc("")', " loc()"]))
    return f"%y{gap[0]} ={gap[1]} toy.f{gap[2]}({inside}{gap[3]}){typed}{place}"


@given(st.lists(ops(), max_size=3), TYPES, BLANKS, st.sampled_from(["%x", "%x, %y", "", "%x,%y"]))
@MANY
def test_lines_of_every_shape_are_the_same_both_ways(lines, type, blank, returned):
    body = "\n  ".join(lines)
    agree(f'{blank}origin(a=[1], b="c")\nfunc @f(%x: {type}{blank}) -> ({type}) {{\n  {body}\n'
          f"{blank}return {returned}{blank}}}{blank}")  # fmt: skip


def test_most_shapes_are_scanned_and_a_comment_within_an_op_is_not():
    text = "func @f(%x: i8<0.5:3>[4]) {{\n  %y = toy.f(%x, {}) : f32[2] {}\n  return %y\n}}"
    for inside in ("to=i8<0.5:1>", "rescale=single(multiplier=3, shift=-1)", "w=#w", "body=@f"):
        assert agree(text.format(inside, ""))
        assert agree(text.format(inside, 'loc("a")'))
    assert not agree(text.format("// why\n k=1", ""))
    assert parsed(text.format("// why\n k=1", "")) is not None


def test_ops_of_one_form_differ_where_their_operands_do():
    func = read_module(
        "func @f(%x: f32[2], %y: f32[3]) {\n  %a = toy.neg(%x) : f32[2]\n"
        "  %b = toy.neg(%a) : f32[2]\n  %c = toy.concat(%x, %y) : f32[5]\n"
        "  %d = toy.concat(%x, %y) : f32[5]\n  return %b, %c, %d\n}"
    ).main
    assert func.results[0].type is func.results[0].operands[0].type
    assert func.results[1] is not func.results[2]
    wrong = "func @f(%x: f32[2], %y: f32[3]) {\n  %a = toy.neg(%x) : f32[2]\n" \
            "  %b = toy.neg(%y) : f32[2]\n  return %a, %b\n}"  # fmt: skip
    with pytest.raises(QirError) as caught:
        read_module(wrong)
    assert str(caught.value) == (
        "<text>:3:22: error: toy.neg gives f32[3], written is f32[2]\n"
        "    %b = toy.neg(%y) : f32[2]\n                       ^"
    )


def test_random_constants_of_one_form_differ():
    func = read_module(
        "func @f() {\n  %a = const(value=random) : f32[4]\n  %b = const(value=random) : f32[4]\n"
        "  %c = const(value=1.5) : f32[2]\n  %d = const(value=1.5) : f32[2]\n"
        "  return %a, %b, %c, %d\n}"
    ).main
    a, b, c, d = (result.value for result in func.results)
    assert (a != b).any() and (c == d).all() and func.results[2] is not func.results[3]
    assert [r.attributes["name"] for r in func.results] == ["a", "b", "c", "d"]


def test_a_number_with_too_many_digits_is_refused_by_the_grammar():
    text = f"func @f(%x: f32[2]) {{ %y = toy.conv(%x, %x, dilation={'1' * 5000}) return %y }}"
    assert scan_module(Source(text)) is None
    assert outcome(text) == "<text>: error: a number has more digits than can be read"
