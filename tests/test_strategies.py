"""Hypothesis's networks through every pipeline, and what the checks of a pipeline find out.

`python -m benchmarks.soundness` does the same on a hundred thousand graphs.
"""

import random

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from qir.dialects import lax, nn

from benchmarks import soundness
from qir import registry
from qir.evaluate import evaluate
from qir.ir import OPS, Func, Op, const, kept, parameter, transform
from qir.pattern import match
from qir.testing.sampling import check_pipeline, draw_call, draw_normal, pipelines
from qir.testing.sampling.pipelines import choices_of
from qir.testing.sampling.steering import rules_everywhere
from qir.testing.sampling.strategies import (
    calls_of,
    graphs_of,
    inputs_of,
    matches_of,
    networks,
    samples_of,
)
from qir.types import tensor

registry.load_dialects()
SLOW = list(HealthCheck)
FEW = settings(max_examples=15, deadline=None, suppress_health_check=SLOW, derandomize=True,
               database=None)  # fmt: skip


# Of random networks something often stays in float, which strict pipelines refuse.
@pytest.mark.parametrize("pipeline", [p for p in registry.pipelines() if "strict" not in p])
@FEW
@given(data=st.data())
def test_every_step_of_every_pipeline_keeps_what_it_must(pipeline, data):
    func = data.draw(networks())
    call, samples = data.draw(calls_of(pipeline)), data.draw(samples_of(func))
    complaint = check_pipeline(func, call, samples).complaint
    assert complaint is None, complaint


@pytest.mark.parametrize("pipeline", registry.pipelines())
@pytest.mark.parametrize("seed", range(2))
def test_xla_gives_the_numbers_of_the_reference(pipeline, seed):
    rng = np.random.default_rng([5, seed])
    net = nn.softmax(nn.dense(x := parameter("x", tensor("f32", (2, 4))),
                              const(rng.normal(size=(4, 3)))))  # fmt: skip
    func = Func("network", (x,), (lax.max(net, const(np.float32(0.1))),))
    samples = [draw_normal(rng, func) for _ in range(2)]
    complaint = check_pipeline(func, draw_call(rng, pipeline), samples, "xla").complaint
    assert complaint is None, complaint


@settings(FEW, max_examples=30)
@given(kind=st.sampled_from(sorted(k for k in OPS if k.startswith(("nn.", "lax.")))),
       data=st.data())  # fmt: skip
def test_nodes_of_every_op_have_a_meaning(kind, data):
    func = data.draw(graphs_of(kind))
    found = evaluate(func, data.draw(inputs_of(func)))
    assert [a.shape for a in found] == [r.shape for r in func.results]


@FEW
@given(func=matches_of(rules_everywhere()["scale_folds_into_layer"]))
def test_matches_match(func):
    patterns = rules_everywhere()["scale_folds_into_layer"].patterns
    root = func.results[0]
    uses = func.with_results((root,)).uses  # other results are other users
    assert any(match(p, root, uses) is not None for p in patterns)


def test_a_failing_network_shrinks_to_a_few_layers():
    def pools(func):
        return any(op.kind == "nn.max_pool" for op in func.ops)

    found = find(networks(steps=4, traced=0.0), pools, settings=settings(FEW, max_examples=200),
                 random=random.Random(0))  # fmt: skip
    assert len([op for op in found.ops if not op.is_const]) <= 4


def test_the_parameters_of_a_pipeline_that_are_one_of_a_few_words():
    found = choices_of("ptq_int8")
    assert found["weights"] == ("per_channel", "per_tensor")
    assert "entropy" in found["method"] and "tflite_reference" in found["rounding"]
    assert choices_of("ptq_int8_per_tensor").keys() == found.keys() - {"weights"}


def layers() -> Func:
    rng = np.random.default_rng(0)
    x = parameter("x", tensor("f32", (2, 8)), ("net:x",))
    y = nn.relu(nn.dense(x, const(rng.normal(size=(8, 8)) / 3, name="w"), location=("net:1",)))
    return Func("network", (x,), (nn.dense(y, const(rng.normal(size=(8, 4)) / 3, name="w")),))


def changed(func: Func, kind: str, change) -> Func:
    """The function with each op of a kind changed."""
    def at(op: Op, operands):
        return change(kept(op, operands)) if op.kind == kind else kept(op, operands)

    return transform(func, at)


def complaint_of(monkeypatch, step: str, kind: str, change) -> str:
    """What is complained of ptq_int8 with a pass that changes ops of a kind afterwards."""
    action = registry.pass_named(step)
    ran = action.function

    def wrong(func, **options):
        return changed(ran(func, **options), kind, change)

    monkeypatch.setitem(action.__dict__, "function", wrong)
    func = layers()
    samples = [draw_normal(np.random.default_rng(s), func) for s in range(4)]
    return check_pipeline(func, "ptq_int8", samples).complaint.splitlines()[0]


def test_a_step_that_changes_reals_is_found_out(monkeypatch):
    said = complaint_of(monkeypatch, "fuse_activations", "nn.dense",
                        lambda op: nn.mul(op, const(np.float32(1.01))))  # fmt: skip
    assert said == "ptq_int8: fuse_activations changed the meaning"


def test_a_step_that_changes_integers_is_found_out(monkeypatch):
    def change(op):
        x, w, *rest = op.operands
        return op.with_operands(x, const(w.value // 2, w.type), *rest)

    said = complaint_of(monkeypatch, "legalize", "xla.dot", change)
    assert said == "ptq_int8: legalize(target=xla, profile=none) changed the meaning"


def test_grids_that_clip_are_found_out(monkeypatch):
    said = complaint_of(monkeypatch, "calibrate", "quant.stats",
                        lambda op: op.rebuild(hi=op.attributes["hi"] / 4 + 1e-3))  # fmt: skip
    assert "its grids explain" in said


def test_noise_without_limit_explains_anything():
    x = parameter("x", tensor("f32", (2, 3)))
    from qir.dialects import quant

    from qir.types import DTYPES, Element, Grid

    to = Element(DTYPES["i8"], Grid(1.0, 0))
    real = quant.dequantize(quant.quantize(x, to=to))
    func = Func("f", (x,), (lax.sqrt(real),))
    arrays = [np.zeros((2, 3), np.float32)]
    assert pipelines._noise(func, evaluate(func, arrays), arrays) == [np.inf]


def test_the_campaign_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    state = tmp_path / "state.json"
    monkeypatch.setitem(soundness._CHUNKS, "networks", lambda chunk: soundness._networks(chunk, 4))
    arguments = ["--only", "networks", "--state", str(state), "--no-write"]
    first = CliRunner().invoke(soundness.main, [*arguments, "--graphs", "16"])
    assert "networks: 4 graphs" in first.output
    part = soundness.loaded(state)["networks"]
    assert (part.chunks, part.graphs, part.found) == (1, 4, {})
    CliRunner().invoke(soundness.main, [*arguments, "--graphs", "24"], catch_exceptions=False)
    assert soundness.loaded(state)["networks"].chunks == 2
    assert soundness.report(soundness.loaded(state))
