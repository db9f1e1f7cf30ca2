"""Random nodes of every op, and random networks through the passes and the whole pipeline.

`python -m qir.testing.sampling --ops 20 --networks 100` does the same on more draws.
"""

import numpy as np
import pytest
from qir.passes.canonicalize import canonicalize
from qir.passes.cse import cse
from qir.passes.fold_bn import fold_bn
from qir.passes.fuse_activations import fuse_activations

from qir import registry
from qir.evaluate import evaluate
from qir.ir import OPS
from qir.testing.sampling import Rejected, check_network, check_op, draw_network, draw_normal

registry.load_dialects()
# An interpreter judges those of tfl, and the ops that are its alone: tests/test_tflite_*.py.
JUDGED = ("tfl.", "int8.softmax_", "int8.log_softmax_", "int8.l2_norm", "int8.lstm", "int8.prod",
          "int8.pair_table", "int8.threshold_sum", "int8.gru")  # fmt: skip
KINDS = sorted(kind for kind in OPS if not kind.startswith(JUDGED))


@pytest.mark.parametrize("kind", KINDS)
def test_an_op_gives_what_its_type_says_and_survives_saving(kind):
    drawn = 0
    for seed in range(16):
        try:
            complaint = check_op(kind, seed)
        except Rejected:
            continue
        assert complaint is None, f"seed {seed}: {complaint}"
        drawn += 1
        if drawn == 5:
            break
    assert drawn, f"no draw of {kind} was well-typed"


PASSES = (
    (canonicalize,), (cse,), (fold_bn,), (fuse_activations,),
    (canonicalize, cse, fold_bn, fuse_activations, canonicalize, cse),
)  # fmt: skip


@pytest.mark.parametrize("passes", PASSES, ids=lambda p: "+".join(each.name for each in p))
def test_passes_keep_what_a_network_means_at_any_batch(passes):
    for seed in range(60):
        rng = np.random.default_rng([1, seed])
        before = draw_network(rng)
        after, inputs = before, draw_normal(rng, before)
        for each in passes:
            after = each(after)
        assert [r.type for r in after.results] == [r.type for r in before.results]
        found = evaluate(after, inputs)
        one = evaluate(after.with_batch(1), [x[:1] for x in inputs])
        for want, whole, first in zip(evaluate(before, inputs), found, one, strict=True):
            close = 1e-4 * np.abs(want).max()
            np.testing.assert_allclose(whole, want, rtol=1e-4, atol=close, err_msg=f"seed {seed}")
            np.testing.assert_allclose(first, want[:1], rtol=1e-4, atol=close)


def test_quantized_networks_stay_near_the_float_ones_and_serve_any_batch():
    lost = []
    for seed in range(60):
        complaint, losses = check_network(seed)
        assert complaint is None, f"seed {seed}: {complaint}"
        lost += [loss.decibels for loss in losses]
    # A mean of values around zero, or attention to all tokens alike, leaves little but noise.
    assert min(lost) > 3 and np.percentile(lost, 5) > 20 and np.median(lost) > 33


@pytest.mark.parametrize("seed", range(100, 110))
def test_xla_gives_the_bits_of_the_reference(seed):
    complaint, _ = check_network(seed, target="xla")
    assert complaint is None, complaint


def test_pipelines_with_other_settings():
    for seed in range(300, 312):
        for pipeline in ("ptq_int8(weights=per_tensor)", "ptq_int8(rounding=tflite_reference)",
                         "legacy_uint8(inputs=float32, outputs=float32)"):  # fmt: skip
            complaint, losses = check_network(seed, pipeline)
            assert complaint is None, f"seed {seed}: {complaint}"
            assert all(loss.decibels > 3 for loss in losses), f"{pipeline}, seed {seed}: {losses}"
