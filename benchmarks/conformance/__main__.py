"""How many values differ between qir and LiteRT's interpreter, by operator and kernel set.

    python -m benchmarks.conformance [--values 100000] [--only OPERATOR]

Every cell draws random graphs of one operator (shapes, scales, zero points, options) and random
inputs until it has compared that many values: numpy on all of them, XLA on the first graphs, since
each of its programs is compiled. Writes results/conformance.md.
"""

import argparse
from pathlib import Path

import numpy as np

from qir.expansions import KERNELS
from qir.targets.tflite.interpreter import Interpreter

from . import CASES, KNOWN
from .compare import compare, inputs_for

COMPILED = 12
"""Graphs of a cell that XLA runs too."""
MOST = 4000
"""Graphs of a cell, however few values each has."""
RESULTS = Path(__file__).parent.parent / "results" / "conformance.md"


def cell(case, operator: str, kernels: str, values: int, interpreter: Interpreter) -> str:
    """One cell of the table: differing values on numpy and XLA, and of how many."""
    seen = wrong = compiled = wrong_compiled = refused = 0
    for seed in range(MOST):
        if seen >= values:
            break
        rng = np.random.default_rng([seed, *operator.encode()])
        func = case(rng)
        found = compare(func, kernels, inputs_for(func, rng), interpreter, xla=seed < COMPILED)
        refused += found.failure is not None
        seen, wrong = seen + found.values, wrong + found.numpy
        if seed < COMPILED:
            compiled, wrong_compiled = compiled + found.values, wrong_compiled + found.xla
    text = f"{wrong} of {seen:,}; XLA {wrong_compiled} of {compiled:,}"
    return text + (f"; {refused} graphs refused by the runtime" if refused else "")


def main() -> None:
    """Fill the table, and print its rows as they come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=100_000)
    parser.add_argument("--only", action="append")
    given = parser.parse_args()
    causes: list[str] = []
    lines = ["| operator | " + " | ".join(KERNELS) + " |", "|---" * (1 + len(KERNELS)) + "|"]
    with Interpreter() as interpreter:
        for operator, case in CASES.items():
            if given.only and operator not in given.only:
                continue
            cells = [cell(case, operator, k, given.values, interpreter) for k in KERNELS]
            causes += [f"- {operator}, {k}: {KNOWN[operator, k]}."
                       for k in KERNELS if (operator, k) in KNOWN]  # fmt: skip
            lines.append(f"| {operator} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    if not given.only:
        title = "# Values that differ from LiteRT 2.3.0's interpreter, x86-64"
        how = f"`python -m benchmarks.conformance --values {given.values}`"
        RESULTS.write_text("\n".join([title, "", how, "", *lines, "", *causes, ""]))


if __name__ == "__main__":
    main()
