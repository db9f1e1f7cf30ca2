"""Random graphs of one tfl op held against LiteRT's interpreter."""

import numpy as np
import pytest


def agree(case, kernels: str, rounds: int = 4, xla: bool = True) -> None:
    """Fail where any value of a random case differs from the interpreter's."""
    pytest.importorskip("ai_edge_litert")
    from benchmarks.conformance.compare import compare, inputs_for
    from qir.targets.tflite.interpreter import Interpreter

    with Interpreter() as interpreter:
        for seed in range(rounds):
            rng = np.random.default_rng(seed)
            func = case(rng)
            batches = [inputs_for(func, rng) for _ in range(2)]
            found = compare(func, kernels, batches, interpreter, xla=xla)
            assert found.failure is None, f"seed {seed}: {found.failure.reason}\n{func}"
            assert not found.numpy and not found.xla, f"seed {seed}: {found}\n{func}"
