"""How many values differ between qir and LiteRT's interpreter, by operator and kernel set.

    python -m benchmarks.conformance [--values 100000] [--only OPERATOR]

Every cell draws random graphs of one operator (shapes, scales, zero points, options) and random
inputs. On the first graphs, each a program for XLA to compile, it compares that many values of XLA
and of numpy; on others that many of numpy alone, few on each. Writes results/conformance.json and
from it conformance.md, which the documentation takes in; `--only` replaces the rows it names.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

from qir.expansions import KERNELS
from qir.targets.tflite.interpreter import Interpreter
from qir.text import write_atomically

from . import CASES, KNOWN
from .compare import compare, inputs_for

COMPILED = 12
"""Graphs of a cell that XLA runs too."""
MOST = 4000
"""Graphs of a cell, however few values each has."""
HOPELESS = 20
"""Graphs that the runtime refuses in a row before a cell is given up."""
SOME = 1000
"""Values of a graph that XLA does not run: those of small results run on several inputs."""
RESULTS = Path(__file__).parent.parent / "results" / "conformance.md"
ROWS = RESULTS.with_suffix(".json")


def cell(case, operator: str, kernels: str, values: int, interpreter: Interpreter) -> str:
    """One cell of the table: differing values on numpy and XLA, and of how many."""
    seen = wrong = compiled = wrong_compiled = refused = 0
    for seed in range(MOST):
        if seen - compiled >= values:
            break
        rng = np.random.default_rng([seed, *operator.encode()])
        func = case(rng)
        size = max(sum(r.type.size for r in func.results), 1)
        wanted = values / COMPILED if seed < COMPILED else SOME
        runs = min(max(math.ceil(wanted / size), 1), 10_000)
        batches = [inputs_for(func, rng) for _ in range(runs)]
        found = compare(func, kernels, batches, interpreter, xla=seed < COMPILED)
        refused += found.failure is not None
        if refused == HOPELESS and not seen:
            return f"none: {found.failure.reason.partition('. ')[0]}"
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
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    with Interpreter() as interpreter:
        for operator, case in CASES.items():
            if given.only and operator not in given.only:
                continue
            rows[operator] = {kernels: cell(case, operator, kernels, given.values, interpreter)
                              for kernels in KERNELS}  # fmt: skip
            print(operator, *rows[operator].values(), sep=" | ", flush=True)
            write_atomically(ROWS, json.dumps(rows, indent=1) + "\n")
            write_atomically(RESULTS, page(rows, given.values))


def page(rows: dict[str, dict[str, str]], values: int) -> str:
    """The table in Markdown, and the cause of each cell that is not 0."""
    lines = ["# Values that differ from LiteRT 2.3.0's interpreter, x86-64", "",
             f"`python -m benchmarks.conformance --values {values}`: differing values of qir on "
             "numpy, and on XLA, against the runtime in each of its kernel sets.", "",
             "| operator | " + " | ".join(KERNELS) + " |", "|---" * (1 + len(KERNELS)) + "|"]
    known = [operator for operator in CASES if operator in rows]
    lines += [f"| {each} | " + " | ".join(rows[each][k] for k in KERNELS) + " |" for each in known]
    causes = [f"- {operator}, {kernels}: {why}." for (operator, kernels), why in KNOWN.items()]
    return "\n".join([*lines, "", *causes, ""])


if __name__ == "__main__":
    main()
