"""Convolutions of TensorFlow Lite agree with its interpreter, value for value."""

import pytest
from conformance import agree

from benchmarks.conformance.convolutions import CASES, KNOWN


@pytest.mark.parametrize("kernels", ["tflite_reference", "tflite_builtin", "xnnpack"])
@pytest.mark.parametrize("operator", sorted(CASES))
def test_agree(operator, kernels):
    if (operator, kernels) in KNOWN:
        pytest.skip(KNOWN[operator, kernels])
    agree(CASES[operator], kernels)
