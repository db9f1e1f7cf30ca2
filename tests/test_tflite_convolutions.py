"""Convolutions of TensorFlow Lite agree with its interpreter, value for value."""

import pytest
from conformance import agree

from benchmarks.conformance.convolutions import CASES


@pytest.mark.parametrize("kernels", ["tflite_reference", "tflite_builtin", "xnnpack"])
@pytest.mark.parametrize("operator", sorted(CASES))
def test_agree(operator, kernels):
    agree(CASES[operator], kernels)
