"""Files of TensorFlow Lite: what is written, what is refused, what damaged ones give."""

import numpy as np
import pytest

from qir import registry
from qir.errors import QirError
from qir.targets.tflite.pack import pack
from qir.targets.tflite.read import read_bytes
from qir.targets.tflite.unpack import unpack
from qir.targets.tflite.versions import capabilities, minimum_runtime, version_of
from qir.targets.tflite.write import written
from qir.text import read_module

pytest.importorskip("flatbuffers")

TEXT = """func @main(%image: i8<0.1:3>[1,4,4,2]) -> (scores: i8<0.00390625:-128>[1,32]) {
  %w = const(value=random) : i8<[0.01,0.02]:0 @0>[2,3,3,2]
  %y = tfl.conv_2d(%image, %w, fused_activation_function=RELU6, to=i8<0.2:-5>)
  %z = tfl.add(%y, %y, to=i8<0.4:-5>)
  %r = tfl.reshape(%z, new_shape=[-1, 32])
  %s = tfl.softmax(%r, to=i8<0.00390625:-128>)
  return %s
}
"""


@pytest.fixture
def module():
    registry.load_dialects()
    return read_module(TEXT, "net.qir")


def test_what_is_written_is_read_and_written_alike(module):
    data = written(module)
    again = read_bytes(data)
    assert written(again) == written(read_bytes(written(again)))
    assert [op.kind for op in again.main.ops] == [op.kind for op in module.main.ops]
    assert again.main.parameters[0].attributes["name"] == "image"
    assert again.main.result_names == ("scores",)


def test_the_head_of_a_file(module):
    model = unpack(written(module))
    assert model["version"] == 3
    assert model["description"].startswith("qir ")
    versions = [(code["builtin_code"], code["version"]) for code in model["operator_codes"]]
    assert versions == [("CONV_2D", 3), ("ADD", 2), ("RESHAPE", 1), ("SOFTMAX", 2)]
    (signature,) = model["signature_defs"]
    assert [entry["name"] for entry in signature["inputs"]] == ["image"]
    assert [entry["name"] for entry in signature["outputs"]] == ["scores"]
    (entry,) = model["metadata"]
    runtime = model["buffers"][entry["buffer"]]["data"].tobytes().rstrip(b"\0").decode()
    assert (entry["name"], runtime) == ("min_runtime_version", minimum_runtime(versions))


def test_equal_constants_share_a_buffer(module):
    text = TEXT.replace("%z = tfl.add(%y, %y,", "%v = const(value=random) : "
                        "i8<0.01:0>[2,3,3,2]\n  %u = tfl.conv_2d(%y, %v)\n  %z = tfl.add(%y, %u,")
    both = read_module(text, "net.qir")
    w = next(op for op in both.main.ops if op.is_const)
    model = unpack(written(both))
    held = [b for b in model["buffers"] if b["data"] is not None and b["data"].size == w.value.size]
    assert len(held) in (1, 2)


def test_equal_constants_are_one_tensor():
    """Scales a channel cost more than a small weight: a cell written out has them once."""
    text = """func @main(%x: i8<0.1:0>[1,4]) -> (i8<0.1:0>[1,4]) {
  %1 = const(value=3) : i8<0.1:0>[1,4]
  %2 = tfl.add(%x, %1, to=i8<0.1:0>) : i8<0.1:0>[1,4]
  %3 = const(value=3) : i8<0.1:0>[1,4]
  %4 = tfl.add(%2, %3, to=i8<0.1:0>) : i8<0.1:0>[1,4]
  %5 = const(value=3) : i8<0.2:0>[1,4]
  %6 = tfl.add(%4, %5, to=i8<0.1:0>) : i8<0.1:0>[1,4]
  return %6
}
"""
    graph = unpack(written(read_module(text, "net.qir")))["subgraphs"][0]
    operands = [op["inputs"][1] for op in graph["operators"]]
    assert operands[0] == operands[1] != operands[2]
    assert len(graph["tensors"]) == 1 + 3 + 2


def test_all_operators_of_the_specification_are_described():
    assert len(capabilities()) == 86  # the recurrent row stands for two
    assert capabilities()["SOFTMAX"]["fixed_output_int8"] == [0.00390625, -128]


def test_versions_follow_the_types():
    registry.load_dialects()
    real = read_module("func @f(%x: f32[2]) {\n  %y = tfl.relu(%x)\n  return %y\n}", "a.qir")
    assert version_of(real.main.results[0]) == 1


REFUSED = [
    (b"", "this is no TensorFlow Lite model: expected b'TFL3' at byte 4, found b''"),
    (b"\0\0\0\0TFL2....", "this is no TensorFlow Lite model: expected b'TFL3' at byte 4, "
     "found b'TFL2'"),
    (pack({"version": 2}), "the schema's version is 2, expected 3"),
    (pack({"version": 3}), "the file is damaged: it holds no graph"),
    (b"\xff\xff\xff\x7fTFL3", "the file is damaged: it ends before byte 2147483647, which it "
     "refers to"),
    (pack({"version": 3, "operator_codes": [{"builtin_code": "CUSTOM", "custom_code": "Flex"}],
           "subgraphs": [{"operators": [{"outputs": np.array([0], np.int32)}],
                          "tensors": [{"name": "there"}]}]}),
     "1 operators cannot be read:\n  CUSTOM Flex, which makes 'there'"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), REFUSED)
def test_what_is_refused_is_said(data, message):
    with pytest.raises(QirError) as raised:
        read_bytes(data, "some.tflite")
    assert (raised.value.message, raised.value.at) == (message, "some.tflite")


def test_a_file_that_is_not_there_is_said(call):
    assert call("translate", "none.tflite", "--to", "qir") == (
        1, "", "none.tflite: error: cannot be read: No such file or directory\n")  # fmt: skip


def test_truncated_and_altered_files_give_one_error_or_a_graph(module):
    data, rng = written(module), np.random.default_rng(0)
    damaged = [data[:n] for n in range(0, len(data), 7)]
    for _ in range(1500):
        copy = bytearray(data)
        for at in rng.integers(0, len(copy), rng.integers(1, 4)):
            copy[at] = rng.integers(256)
        damaged.append(bytes(copy))
    refused = 0
    for each in damaged:
        try:
            read_bytes(each)
        except QirError:
            refused += 1
    assert refused > len(damaged) // 4


COMPUTED = """func @main(%x: f32[2,3,4]) -> (p: i32[2], r: f32[2,12]) {
  %m = tfl.reshape(%x, new_shape=[4, 6])
  %n = SOURCE
  %b = tfl.strided_slice(%n, begin=[0], end=[1], strides=[1], shrink_axis_mask=1)
  %c = const(value=12) : i32[]
  %p = tfl.pack(%b, %c, values_count=2)
  %r = tfl.reshape(%x, new_shape=[2, 12])
  return %p, %r
}
"""


def computed_shape(source: str) -> bytes:
    """A file whose RESHAPE reads its shape from what PACK made, as TensorFlow has it."""
    registry.load_dialects()
    model = unpack(written(read_module(COMPUTED.replace("SOURCE", source), "net.qir")))
    names = [code["builtin_code"] for code in model["operator_codes"]]
    # the later of two by one name: the RESHAPE that makes %r
    by_name = {names[o["opcode_index"]]: o for o in model["subgraphs"][0]["operators"]}
    reshape = by_name["RESHAPE"]
    reshape["inputs"] = np.array([reshape["inputs"][0], by_name["PACK"]["outputs"][0]], np.int32)
    return pack(model)


def test_shapes_that_a_file_computes_from_shapes_are_known():
    main = read_bytes(computed_shape("tfl.shape(%x)")).main
    assert main.results[1].attributes["new_shape"] == (2, 12)


def test_a_shape_computed_from_an_input_is_refused():
    data = computed_shape("tfl.arg_max(%m, dimension=1)")
    with pytest.raises(QirError) as caught:
        read_bytes(data)
    assert str(caught.value) == (
        "model.tflite: reshape_1: error: RESHAPE: reads 'pack', which is computed from an input; "
        "qir takes constants there"
    )


STATEFUL = """func @main(%x: i8<0.1:3>[1,3]) -> (y: i8<0.1:-128>[1,2]) {
  %w = const(value=random) : i8<0.01:0>[4,3]
  %t = const(value=random) : i16<0.001:0>[4,5]
  %s = const(value=VALUE) : i16<0.001:0>[1,20]
  %y = tfl.svdf(%x, %w, %t, %s, rank=2, to=i8<0.1:-128>)
  return %y
}
"""


def stateful(value: str = "0"):
    registry.load_dialects()
    return read_module(STATEFUL.replace("VALUE", value), "net.qir")


def test_a_state_is_a_variable_and_read_as_what_it_starts_with():
    data = written(stateful())
    variables = [t for t in unpack(data)["subgraphs"][0]["tensors"] if t["is_variable"]]
    assert [(list(t["shape"]), t["buffer"]) for t in variables] == [([1, 20], 0)]
    main = read_bytes(data).main
    state = main.results[0].operands[3]
    assert state.is_const
    assert not state.value.any()
    assert written(read_bytes(data)) == written(read_bytes(written(read_bytes(data))))


def test_a_state_that_does_not_start_at_zero_is_refused():
    with pytest.raises(QirError, match="the state 's' does not start at zero, as a variable does"):
        written(stateful("1"))


def test_a_variable_that_no_machine_holds_is_refused():
    model = unpack(written(stateful()))
    (variable,) = (t for t in model["subgraphs"][0]["tensors"] if t["is_variable"])
    variable["shape"] = np.array([0, 2**30, 2**30], np.int32)
    with pytest.raises(QirError, match="a variable .*, of 16777216 elements at most"):
        read_bytes(pack(model))
