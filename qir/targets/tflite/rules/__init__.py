"""Legalization for TensorFlow Lite: ops of nn, int8, lax and quant become its operators.

Filters take its layouts, biases the grid that follows from input and weight, clamps become fused
activations. How its kernels round is theirs: `expand_tfl` states it for each of their sets.
"""

from ....rewrite import Rule
from . import contractions, elementwise, movement, pointwise, recurrent, stored, windows


def rules() -> tuple[Rule, ...]:
    """The rules that `legalize(target=tflite)` applies."""
    return (*contractions.RULES, *windows.RULES, *elementwise.RULES, *pointwise.RULES,
            *movement.RULES, *recurrent.RULES, *stored.RULES)  # fmt: skip
