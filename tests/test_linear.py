"""Work grows with the graph and no faster: counted in Python calls, not timed."""

import sys

import pytest
import toy as ops

from benchmarks.mixed_graph import OPS_PER_BLOCK, built, mixed_graph
from qir import rewrite as driver
from qir.ir import Func, parameter
from qir.pattern import V
from qir.registry import load_dialects, passes
from qir.rewrite import recorded, rewrite, rule
from qir.text import print_func, read_module
from qir.types import tensor

load_dialects()
FEW, MANY = 4 * OPS_PER_BLOCK * 8, 16 * OPS_PER_BLOCK * 8


def calls(work, *arguments) -> int:
    """How many Python functions a piece of work calls."""
    count = 0

    def listen(frame, event, _) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(listen)
    try:
        work(*arguments)
    finally:
        sys.setprofile(before)
    return count


STEPS = {
    "read": lambda func, text: read_module(text),
    "read with lines": lambda func, text: read_module(text, lines=True),
    "print": lambda func, text: print_func(func),
    "canonicalize": lambda func, text: passes()["canonicalize"](func),
    "cse": lambda func, text: passes()["cse"](func),
    "users": lambda func, text: (func.ops, func.uses, func.users),
}


@pytest.mark.parametrize("step", STEPS)
def test_four_times_the_ops_are_four_times_the_calls(step):
    counts = []
    for size in (FEW, MANY):
        func = built(mixed_graph(size))
        counts.append(calls(STEPS[step], func, print_func(func)))
    assert counts[1] <= 4.04 * counts[0]


def test_another_batch_costs_each_op_the_same():
    counts = []
    for size in (500, 2000):
        x = value = parameter("x", tensor("f32", (1, 2)))
        for _ in range(size):
            value = ops.neg(value)
        counts.append(calls(Func("f", (x,), (value,)).with_batch, 3))
    assert counts[1] <= 4.04 * counts[0]


def test_twenty_thousand_ops_are_matched_a_bounded_number_of_times(monkeypatch):
    attempts = 0

    def counted(*arguments):
        nonlocal attempts
        attempts += 1
        return match(*arguments)

    match = driver.match
    monkeypatch.setattr(driver, "match", counted)
    func = built(mixed_graph(20_000))
    with recorded() as log:
        result = passes()["canonicalize"](func)
    blocks = -(-20_000 // OPS_PER_BLOCK)
    assert len(result.ops) - len(result.parameters) == 19 * blocks
    assert sum(firing.fired for firing in log) == 6 * blocks
    assert attempts <= len(func.ops)


@rule(ops.neg(ops.add(V.a, V.b)))
def negation_moves_up(a, b):
    """The negative of a sum is the sum of the negatives."""
    return ops.add(ops.neg(a), ops.neg(b))


@rule(ops.neg(ops.neg(V.x)))
def negations_cancel(x):
    """Two negations are none."""
    return x


def test_a_negation_moves_over_thousands_of_sums_in_one_firing_each():
    x = parameter("x", tensor("f32", (2,)))
    value = x
    for _ in range(5_000):
        value = ops.add(value, x)
    with recorded() as log:
        rewrite(Func("f", (x,), (ops.neg(value),)), negation_moves_up, negations_cancel)
    assert len(log) == 5_000
