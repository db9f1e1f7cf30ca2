"""Every op knows where it came from, after every pass."""

import numpy as np
import pytest

import qir
from qir.ir import place_of


@pytest.mark.parametrize("model", ["resnet50", "mobilenet_v2", "encoder"])
def test_no_op_is_without_a_location_after_any_pass(model):
    pytest.importorskip("flax")
    f, example = tiny(model)
    lost = []

    def listen(done):
        lost.extend(
            f"{done.step.action.name}: {op!r}" for op in done.after.ops if place_of(op) is None
        )

    qir.quantize(f, example, [np.asarray(example)], listen=listen)
    assert not lost, "\n" + "\n".join(lost[:20])


def tiny(model):
    from benchmarks.models import encoder, mobilenet_v2, resnet50

    if model == "resnet50":
        return resnet50.build(size=32, width=8, stages=(1, 1), classes=5)
    if model == "mobilenet_v2":
        stages = ((1, 8, 1, 1), (6, 8, 2, 2))
        return mobilenet_v2.build(size=32, width=0.25, stages=stages, classes=5)
    return encoder.build(layers=1, length=8, hidden=32, heads=2, intermediate=64)
