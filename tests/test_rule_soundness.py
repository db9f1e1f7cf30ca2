"""Every rewrite rule by itself, on random graphs drawn from its own pattern.

Each firing must keep types and meaning, leave no op without a location, and give a graph that
survives saving and loading. `python -m qir.testing.sampling` does the same on more draws.
"""

import pytest
from qir.dialects import lax, nn

from qir.pattern import C, V
from qir.rewrite import rule
from qir.testing.sampling import judge, rules_everywhere, steering_of

FIRINGS, DRAWS = 10, 200
"""Enough firings end a test; so many draws must bring at least one."""


TFLITE = "qir.targets.tflite.rules"
OWN = sorted(name for name, rule in rules_everywhere().items()
             if name == rule.name and not rule.build.__module__.startswith(TFLITE))  # fmt: skip
"""Those of plugins, which may be installed beside qir, are for their own tests.

Those that make operators of TensorFlow Lite leave the rounding to its kernels, whatever an op's
own contract says: tests/test_tflite_export.py holds them against its interpreter.
"""


@pytest.mark.parametrize("name", OWN)
def test_a_rule_keeps_types_and_meaning(name):
    fired = 0
    for seed in range(DRAWS):
        verdict = judge(rules_everywhere()[name], seed)
        assert verdict.outcome != "wrong", f"seed {seed}: {verdict.what}"
        fired += verdict.outcome == "fired"
        if fired == FIRINGS:
            break
    assert fired, f"{name} fired on none of {DRAWS} graphs; qir/testing/sampling/steering.py helps"


def outcomes(found, seeds=60) -> set[str]:
    """What judging a rule comes to on some draws."""
    return {judge(found, seed).outcome for seed in range(seeds)}


@rule(nn.mul(V.x, C.k) @ "op")
def forgets_the_clamp(op, x, k):
    return nn.mul(x, k)


@rule(nn.add(nn.mul(V.x, C.k), V.y))
def forgets_the_factor(x, k, y):
    return nn.add(x, y)


@rule(lax.transpose(V.x) @ "op")
def transposes_by_the_inverse(op, x):
    order = op.attributes["permutation"]
    back = [order.index(i) for i in range(len(order))]
    return lax.reshape(lax.transpose(x, permutation=back), shape=op.shape)


@rule(lax.slice(V.x, strides=None) @ "op")
def slices_from_the_start(op, x):
    return lax.slice(x, start=[0] * x.type.rank, limit=op.shape)


@rule(nn.conv2d(V.x, V.w) @ "op")
def forgets_the_dilation(op, x, w):
    return nn.conv2d(x, w, strides=op.attributes["strides"], padding=op.attributes["padding"],
                     groups=op.attributes["groups"])  # fmt: skip


@rule(nn.sigmoid(V.x))
def takes_one_function_for_another(x):
    return nn.div(nn.tanh(x), lax.exp(x))


@rule(lax.reverse(V.x, axes=(0,)))
def looks_at_an_axis_that_may_not_be_there(x):
    return lax.slice(x, start=[0, 0], limit=x.shape)


WRONG = (
    forgets_the_clamp, forgets_the_factor, transposes_by_the_inverse, slices_from_the_start,
    forgets_the_dilation, takes_one_function_for_another, looks_at_an_axis_that_may_not_be_there,
)  # fmt: skip


@pytest.mark.parametrize("found", WRONG, ids=lambda found: found.name)
def test_a_rule_that_is_wrong_is_found_out(found):
    assert "wrong" in outcomes(found)


def test_a_seed_is_a_reproducer():
    found = rules_everywhere()["scale_folds_into_layer"]
    assert [judge(found, seed) for seed in range(20)] == [judge(found, seed) for seed in range(20)]


def test_the_numbers_that_guards_compare_constants_to():
    values = steering_of(rules_everywhere()["gated_by_tanh_is_gelu"]).values
    assert values["third"] == 0.044715 and values["one"] == 1.0 and values["factor"] == 0.5
    assert round(values["root"] ** 2, 6) == 0.63662


def test_a_quotient_by_zero_has_no_integers_to_be_compared_with():
    assert judge(rules_everywhere()["integer_form"], 1_000_123).outcome == "fired"
