"""Integers of 4 and 2 bits take 4 and 2 bits in files."""

import numpy as np
import pytest

import qir
from qir.errors import QirError
from qir.ir import Func, Module, const
from qir.packing import packed, packed_size, unpacked
from qir.text import load_module, read_module, save_module, whole_text
from qir.types import DTYPES, Type

RNG = np.random.default_rng(0)


def constant(name: str, shape) -> Func:
    dtype = DTYPES[name]
    value = RNG.integers(dtype.lo, dtype.hi + 1, shape).astype(np.int8)
    return Func("main", (), (const(value, Type(dtype, shape), "w"),))


@pytest.mark.parametrize("bits", [4, 2])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9])
def test_what_is_packed_is_unpacked(bits, size):
    values = RNG.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), size).astype(np.int8)
    data = packed(values, bits)
    assert data.size == packed_size(size, bits)
    np.testing.assert_array_equal(unpacked(data, bits, size), values)


def test_the_first_element_is_in_the_low_bits():
    assert packed(np.array([1, -2], np.int8), 4).tolist() == [0xE1]
    assert packed(np.array([1, 0, -1, -2], np.int8), 2).tolist() == [0b10110001]


@pytest.mark.parametrize(("name", "share"), [("i8", 1), ("i4", 2), ("i2", 4)])
def test_a_weights_file_holds_several_elements_in_a_byte(name, share, tmp_path):
    func = constant(name, (33, 100))
    save_module(Module((func,)), tmp_path / "m.qir")
    (file,) = tmp_path.glob("*.safetensors")
    assert file.stat().st_size < 3300 / share + 200
    found = load_module(tmp_path / "m.qir").main.results[0]
    assert found.type == func.results[0].type
    np.testing.assert_array_equal(found.value, func.results[0].value)
    again = read_module(whole_text(Module((func,)))).main.results[0]
    np.testing.assert_array_equal(again.value, found.value)


def test_a_file_of_one_element_a_byte_is_read_too(tmp_path):
    value = constant("i4", (5, 5)).results[0].value
    wide = Func("main", (), (const(value, Type(DTYPES["i8"], (5, 5)), "w"),))
    save_module(Module((wide,)), tmp_path / "m.qir")
    text = (tmp_path / "m.qir").read_text().replace("i8[", "i4[")
    (tmp_path / "m.qir").write_text(text)
    found = qir.load(tmp_path / "m.qir").module.main.results[0]
    np.testing.assert_array_equal(found.value, value)


def test_too_few_bytes_are_an_error(tmp_path):
    save_module(Module((constant("i4", (5, 5)),)), tmp_path / "m.qir")
    text = (tmp_path / "m.qir").read_text().replace("[5,5]", "[5,7]")
    (tmp_path / "m.qir").write_text(text)
    with pytest.raises(QirError, match=r"#w holds \[13\] bytes, i4\[5,7\] takes \[18\]"):
        load_module(tmp_path / "m.qir")
