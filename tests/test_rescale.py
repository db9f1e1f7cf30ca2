"""Rescales as values: equality, text, what they refuse."""

import pickle

import numpy as np
import pytest

from qir import rounding
from qir.errors import QirError
from qir.rounding import CONTRACTS, Rescale, derive, derive_sum, make_rescale
from qir.targets.xla import rescale as xla

ONE = [name for name, c in CONTRACTS.items() if c.operands == 1]
SUMS = [name for name, c in CONTRACTS.items() if c.operands == 2]
EVERY = [derive(n, [0.3, 0.01, 1e-4]) for n in ONE] + [derive(n, 0.0123) for n in ONE]
EVERY += [derive_sum(n, 0.1, -0.2, 0.15) for n in SUMS]


@pytest.mark.parametrize("rescale", EVERY, ids=repr)
def test_a_rescale_is_a_value(rescale):
    fields = rescale.fields()
    again = make_rescale(rescale.rounding, **{k: v.tolist() for k, v in fields.items()})
    assert again == rescale and hash(again) == hash(rescale) and again is not rescale
    assert pickle.loads(pickle.dumps(rescale)) == rescale
    assert list(fields) == [k for k in ("multiplier", "shift", "scale") if k in fields]
    for name, value in fields.items():
        assert not value.flags.writeable and value.dtype == again.fields()[name].dtype
    assert rescale not in [r for r in EVERY if r is not rescale]


def test_every_contract_has_its_twin():
    assert {*xla._ONE} == {*ONE} and {*xla._TWO} == {*SUMS}
    assert all(c.sum in SUMS and c.doc.endswith(".") for c in CONTRACTS.values())


def test_prints_as_a_call():
    assert repr(make_rescale("single", multiplier=3, shift=-1)) == "single(multiplier=3, shift=-1)"
    long = make_rescale("f32_half_even", scale=[0.5] * 9)
    assert repr(long) == "f32_half_even(scale=<9 numbers>)"


ERRORS = [
    (lambda: make_rescale("singel", multiplier=1, shift=0), "did you mean 'single'?"),
    (lambda: make_rescale("single", multiplyer=1), "did you mean 'multiplier'?"),
    (lambda: make_rescale("single", multiplier=1), "single: shift is missing"),
    (lambda: Rescale("single", 1, 1, scale=1.0), "it has no scale"),
    (lambda: make_rescale("single", multiplier=2**31, shift=0), "2147483648 is outside"),
    (lambda: make_rescale("single", multiplier=-1, shift=0), "multiplier -1 is outside"),
    (lambda: make_rescale("single", multiplier=1, shift=31), "shift 31 is outside [-31, 30]"),
    (lambda: make_rescale("single", multiplier=1.5, shift=0), "found 1.5"),
    (lambda: make_rescale("single", multiplier=[1, 2], shift=[0] * 3), "differ in length, [2, 3]"),
    (lambda: make_rescale("single", multiplier=[[1]], shift=0), "found shape (1, 1)"),
    (lambda: make_rescale("f32_half_even", scale=float("nan")), "scale nan is outside"),
    (lambda: make_rescale("tflite_add", multiplier=[1, 2], shift=[1, 2]), "has 3 numbers, found 2"),
    (lambda: derive("single", -0.5), "finite and not negative, found -0.5"),
    (lambda: derive("tflite_reference", 2.0**31), "a rescale factor is below 2**30"),
    (lambda: derive("float64_half_away", 2.0**32), "a rescale factor is below 2**31"),
    (lambda: derive("fixed15", 0.5), "'fixed15' is not a rounding of one operand"),
    (lambda: derive_sum("fixed15", 2.0**15, 1, 1), "a ratio of scales is below 2**14"),
    (lambda: derive_sum("xnnpack_add", 2.0**9, 1, 1), "tflite_add and fixed15 take these"),
    (lambda: derive_sum("tflite_reference", 1e7, 1, 1), "too large for an output scale"),
    (lambda: derive_sum("fixed15", 1, 1, 0), "scales are positive and finite"),
    (lambda: rounding.apply(derive("single", [0.5] * 3), np.zeros((2, 1), np.int32)), "do not fit"),
    (lambda: rounding.apply(derive("single", 0.5), np.zeros(2)), "i32 or i64, found float64"),
    (lambda: rounding.apply(EVERY[-1], np.int32([1])), "'xnnpack_add' is not a rounding of one"),
    (lambda: xla.apply(EVERY[-1], np.int32([1])), "'xnnpack_add' is not a rounding of one"),
    (lambda: rounding.sum_apply(EVERY[-1], np.int32([256]), 0), "found 256"),
    (lambda: rounding.sum_apply(EVERY[0], 1, 1), "is not a rounding of a sum"),
    (lambda: xla.quantize(1.0, 1.0, 0, -(2**31), 2**31 - 1), "at most 16 bits"),
    (lambda: rounding.activation_grid(1.0, -1.0), "no range"),
    (lambda: rounding.activation_grid(0.0, np.inf), "no range"),
    (lambda: rounding.weight_scale([1.0, np.nan]), "finite and not negative"),
]  # fmt: skip


@pytest.mark.parametrize("wrong, message", ERRORS, ids=[m for _, m in ERRORS])
def test_errors(wrong, message):
    with pytest.raises(QirError) as error:
        wrong()
    assert message in str(error.value)
