"""Every rule of the plugin by itself, on random graphs drawn from its own pattern.

A firing must keep the type and the meaning. This is what finds the scalar, the empty batch and the
clamp that nobody thought of; `python -m qir.testing.sampling --match kestrel` draws more.
"""

import numpy as np
import pytest
from qir.testing.sampling import Steering, judge, rules_everywhere

OURS = {name: rule for name, rule in rules_everywhere().items() if name.startswith("kestrel.")}
DRAWS, FIRINGS = 300, 10


def slopes(bound: dict) -> np.ndarray:
    """A slope for each channel of what x stands for, all different."""
    x = bound.get("x")
    return np.linspace(-1, 1, x.shape[-1]) if x is not None and x.type.rank else np.asarray(0.5)


TO_PRELU = Steering(values={"zero": 0.0, "slope": slopes})
"""Constants that the guards let pass; random ones would seldom fit."""


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_rule_keeps_types_and_meaning(name):
    fired = 0
    for seed in range(DRAWS):
        verdict = judge(OURS[name], seed, TO_PRELU if name.endswith("is_prelu") else None)
        assert verdict.outcome != "wrong", f"seed {seed}: {verdict.what}"
        fired += verdict.outcome == "fired"
        if fired == FIRINGS:
            break
    assert fired, f"{name} fired on none of {DRAWS} graphs"


def test_all_rules_are_here():
    assert len(OURS) == 5
