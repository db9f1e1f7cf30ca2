"""Whether qir's meanings of TensorFlow Lite's operators are those of its interpreter."""

from . import (
    choices,
    convolutions,
    elementwise,
    functions,
    moves,
    recurrent,
    sixteen_bits,
    unsigned,
)

FAMILIES = (convolutions, elementwise, functions, choices, moves, recurrent, sixteen_bits, unsigned)

CASES = {operator: case for family in FAMILIES for operator, case in family.CASES.items()}
"""By operator: a random function of it, from a generator of random numbers."""

KNOWN = {cell: why for family in FAMILIES for cell, why in family.KNOWN.items()}
"""Pairs of operator and kernel set that do not agree, with the cause."""
