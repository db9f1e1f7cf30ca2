"""Ops of TensorFlow Lite element by element, pools, softmax: values as its interpreter gives."""

import pytest
from conformance import agree

from benchmarks.conformance.elementwise import CASES, KNOWN


@pytest.mark.parametrize("kernels", ["tflite_reference", "tflite_builtin", "xnnpack"])
@pytest.mark.parametrize("operator", sorted(CASES))
def test_agree(operator, kernels):
    if (operator, kernels) in KNOWN:
        pytest.skip(KNOWN[operator, kernels])
    agree(CASES[operator], kernels)
