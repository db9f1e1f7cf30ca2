"""Damaged files are refused with one message, quickly and without memory; killed writers lose none.

`python -m benchmarks.mutations` and `python -m benchmarks.kills` do the same at scale.
"""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from benchmarks import kills, mutate, mutations
from qir import registry, run_pipeline
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.ir import Func, Module, const, parameter
from qir.pipeline import compose
from qir.text import load_module, read_module, save_module
from qir.types import tensor

registry.load_dialects()


@pytest.mark.parametrize("kind", [*dict.fromkeys(mutate.KINDS), "tflite"])
def test_a_mutated_file_is_read_or_refused(kind, tmp_path):
    outcomes = set()
    if kind == "tflite":
        pytest.importorskip("flatbuffers")
    numbers = (n for n in range(10**6) if kind in (mutate.KINDS[n % len(mutate.KINDS)], "tflite"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, _ in zip(numbers, range(150), strict=False):
            outcomes.add(mutations.look(mutate.case(number, kind), tmp_path))
    assert outcomes == {"read", "refused"}


def test_the_number_of_a_case_is_a_reproducer():
    assert [mutate.case(n) for n in range(40)] == [mutate.case(n) for n in range(40)]


def message(text: str) -> str:
    """The first line of what is wrong with a text."""
    with pytest.raises(QirError) as error:
        read_module(text)
    return str(error.value).splitlines()[0].partition(" error: ")[2]


def constant(value: str, type: str) -> str:
    return f"func @f() -> () {{\n  %0 = const(value={value}) : {type}\n  return %0\n}}\n"


def test_constants_that_no_memory_holds():
    assert message(constant("1.0", "f32[100000000]")) == (
        "no constant of f32[100000000]: of more than 16,777,216 elements, it belongs in a weights "
        "file"
    )
    assert message(constant("random", "i8[65536,65536]")) == (
        "no constant of i8[65536,65536]: of more than 16,777,216 elements, it belongs in a weights "
        "file"
    )


def test_tensors_that_no_memory_holds():
    assert message("func @f(%x: f32[9999999999999]) -> () {\n  return %x\n}") == (
        "a tensor of [9999999999999] has more than 1,099,511,627,776 elements")  # fmt: skip
    assert message("func @f(%x: f32[0,9999999999999]) -> () {\n  return %x\n}") == (
        "a tensor of [0, 9999999999999] has more than 1,099,511,627,776 elements")  # fmt: skip
    pad = "lax.pad(%x, low=[9999999999999], high=[0])"
    wide = f"func @f(%x: f32[2]) {{\n  %0 = {pad}\n  return %0\n}}"
    assert message(wide) == ("lax.pad: a result of f32[10000000000001] has more than "
                             "1,099,511,627,776 elements")  # fmt: skip


def test_what_is_nested_without_end():
    deep = "[" * 3000 + "]" * 3000
    text = f"func @f(%x: f32[2]) {{\n  %0 = nn.relu(%x, y={deep})\n  return %0\n}}"
    assert message(text) == "nested too deeply to read"
    with pytest.raises(QirError, match="^<pipeline>: error: nested too deeply to read$"):
        compose("fixpoint(" * 3000 + "cse" + ")" * 3000)


def test_windows_wider_than_any_image():
    pool = "nn.avg_pool(%x, window=[9223372036854775807, 3], strides=[3, 3], padding=same)"
    text = f"func @f(%x: f32[2,8,8,4]) {{\n  %0 = {pool}\n  return %0\n}}"
    assert message(text) == (
        "nn.avg_pool: f32[2,8,8,4] padded by ((4611686018427387902, 4611686018427387903), (0, 1)) "
        "has more than 1,099,511,627,776 elements"
    )


def test_what_memory_cannot_hold_on_the_way():
    pool = "nn.avg_pool(%x, window=[2147483647, 3], strides=[3, 3], padding=same)"
    text = f"func @f(%x: f32[2,8,8,4]) {{\n  %0 = {pool}\n  return %0\n}}"
    func = read_module(text).main
    with pytest.raises(QirError, match="^error: nn.avg_pool : f32.2,3,3,4. needs more memory than"):
        evaluate(func, [np.zeros((2, 8, 8, 4), np.float32)])


def test_no_output_channels_stay_in_float():
    text = """func @f(%x: f32[2,8,8,4]) -> (f32[2,8,8,0]) {
  %w = const(value=random) : f32[3,3,4,0]
  %0 = nn.conv2d(%x, %w)
  return %0
}"""
    samples = [[np.ones((2, 8, 8, 4), np.float32)]]
    after = run_pipeline(read_module(text), "ptq_int8", samples, run=evaluate).main
    assert [x.shape for x in evaluate(after, samples[0])] == [(2, 8, 8, 0)]


def test_a_tuple_is_no_tensor():
    text = """func @f(%x: f32[2,4]) {
  %0 = lax.split(%x, sizes=[2, 2], axis=1)
  %1 = nn.relu(%0)
  return %1
}"""
    assert message(text) == ("nn.relu: takes tensors, found the several results (f32[2,2], "
                             "f32[2,2]); item(%t, index=0) is one of them")  # fmt: skip


def test_axes_of_a_gather_beyond_its_result():
    gather = ("lax.gather(%x, %i, offset_dims=[3, 2], collapsed_slice_dims=[0], "
              "start_index_map=[0, 1], slice_sizes=[1, 2, 3])")  # fmt: skip
    text = f"func @f(%x: f32[4,6,3], %i: i32[5,2]) {{\n  %0 = {gather}\n  return %0\n}}"
    assert message(text) == ("lax.gather: 'offset_dims' [3, 2] are no 2 of the 3 axes of the "
                             "result")  # fmt: skip


def test_axes_that_a_gather_loses_have_one_element():
    gather = ("lax.gather(%x, %i, offset_dims=[], collapsed_slice_dims=[0], "
              "start_index_map=[0], slice_sizes=[0])")  # fmt: skip
    text = f"func @f(%x: f32[4], %i: i32[2,1]) {{\n  %0 = {gather}\n  return %0\n}}"
    assert message(text) == ("lax.gather: a slice has one element along the axes [0] that it "
                             "loses, found [0]")  # fmt: skip


def test_files_are_not_named_by_null_characters():
    assert message('weights("a\\u0000b")\nfunc @f() {\n  return\n}') == (
        'weights are written weights("file.safetensors")')  # fmt: skip
    with pytest.raises(QirError, match="option 'stats': expected the name of a file, found 'a.x00"):
        compose('insert_observers, calibrate(stats="a\\u0000b")')


def test_numbers_of_many_digits():
    text = f"func @f(%x: f32[2]) {{\n  %0 = lax.take(%x, %x, axis={'9' * 5000})\n  return %0\n}}"
    assert message(text) == "a number has more digits than can be read"
    text = f"func @f(%x: f32[2]) {{\n  %0 = nn.leaky_relu(%x, slope={'9' * 400})\n  return %0\n}}"
    assert message(text) == (f"nn.leaky_relu: attribute 'slope': expected a number, "
                             f"found {'9' * 400}")  # fmt: skip
    text = f"func @f(%x: f32[2]) {{\n  %0 = lax.sort(%x, axis={'9' * 400})\n  return %0\n}}"
    assert message(text) == (f"lax.sort: attribute 'axis': expected an integer of 64 bits, "
                             f"found {'9' * 400}")  # fmt: skip


@pytest.mark.parametrize("value", ["[[1, 2], 3]", "[" * 70 + "]" * 70])
def test_numbers_of_a_contract_that_are_no_array(value):
    call = f"int8.requantize(%x, to=i8<0.1:0>, rescale=f32_half_even(scale={value}))"
    text = f"func @f(%x: i8<0.2:0>[2]) {{\n  %0 = {call}\n  return %0\n}}"
    assert message(text).startswith("int8.requantize: attribute 'rescale': rounding f32_half_even: "
                                    "scale is a number or a list of them, found (")  # fmt: skip


def with_header(header: dict, data: bytes = bytes(8)) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("change", [
    {"dtype": "F8_E4M3"}, {"dtype": None}, {"dtype": []}, {"shape": [2.0]}, {"shape": [True, 2]},
    {"shape": [-2]}, {"shape": [2**40, 2**40]}, {"shape": "2"}, {"data_offsets": [0, 8.0]},
    {"data_offsets": [-8, 0]}, {"data_offsets": [8, 0]}, {"data_offsets": [0]},
])  # fmt: skip
def test_headers_of_weights_that_say_what_cannot_be(change, tmp_path):
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | change
    (tmp_path / "w.safetensors").write_bytes(with_header({"w": entry}))
    with pytest.raises(QirError) as error:
        text = 'weights("w.safetensors")\nfunc @f() -> () {\n  return\n}'
        read_module(text, str(tmp_path / "model.qir"))
    assert error.value.message == "this is no whole weights file, it is truncated or damaged"


WRITER = """
import sys
from pathlib import Path
from qir.text import load_module, save_module
from qir import registry
registry.load_dialects()
module = load_module(sys.argv[1])
print("ready", flush=True)
while True:
    save_module(module, sys.argv[2])
    save_module(load_module(sys.argv[3]), sys.argv[2])
"""


def model(seed: int) -> Module:
    from qir.dialects import nn

    x = parameter("x", tensor("f32", (1, 200)))
    w = np.random.default_rng(seed).normal(size=(200, 200))
    return Module((Func("main", (x,), (nn.dense(x, const(w, name="w")),)),))


def test_a_killed_writer_leaves_the_old_pair_or_the_new_one(tmp_path):
    ones, rng = [np.ones((1, 200), np.float32)], np.random.default_rng(0)
    for seed in (0, 1):
        save_module(model(seed), tmp_path / f"{seed}.qir")
    expected = [evaluate(model(seed).main, ones)[0].tobytes() for seed in (0, 1)]
    out = tmp_path / "out" / "model.qir"
    out.parent.mkdir()
    root = Path(__file__).resolve().parent.parent
    for _ in range(3):
        save_module(model(0), out)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path / "1.qir", out, tmp_path / "0.qir"],
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(root)})  # fmt: skip
        process.stdout.readline()
        time.sleep(float(rng.uniform(0, 0.05)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert evaluate(load_module(out).main, ones)[0].tobytes() in expected


def test_partial_files_go_once_no_writer_can_be_at_work_on_them(tmp_path):
    path = tmp_path / "model.qir"
    save_module(model(0), path)
    named = path.read_text().split('"')[1]
    old, young, other = (tmp_path / name for name in (
        f".{named}.abcdefgh.partial", ".model.qir.abcdefgh.partial", ".else.qir.abcdefgh.partial"
    ))  # fmt: skip
    for left in (old, young, other):
        left.write_bytes(b"half")
    for left in (old, other):
        os.utime(left, (time.time() - 7200,) * 2)
    save_module(model(1), path)
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)


def test_the_campaign_tells_old_from_new_and_from_neither(tmp_path):
    save_module(model(0), tmp_path / "a.qir")
    known = {"old": kills._read(tmp_path / "a.qir")}
    assert kills._outcome(tmp_path / "a.qir", known) == "old"
    save_module(model(1), tmp_path / "b.qir")
    assert kills._outcome(tmp_path / "b.qir", known) == "neither"
    (tmp_path / "b.qir").write_text("half of")
    assert kills._outcome(tmp_path / "b.qir", known) == "neither"
