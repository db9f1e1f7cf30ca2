"""Two graphs compared: what is the same is found again, an edit is told as what it was."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from qir.dialects import lax, nn
from qir.passes.canonicalize import canonicalize
from qir.passes.cse import cse
from qir.passes.fold_bn import fold_bn

from qir import registry
from qir.difference import ADDED, CHANGED, KEPT, REMOVED, diff_text, difference
from qir.ir import Func, Op, const, item, kept, parameter, transform
from qir.testing.sampling import draw_network
from qir.text import print_func, read_module
from qir.types import tensor

registry.load_dialects()


def network(seed: int, steps: int | None = None) -> Func:
    return draw_network(np.random.default_rng([31, seed]), steps)


def counts(old: Func, new: Func) -> dict[str, int]:
    """How many ops became what; checks what holds of every difference."""
    found = difference(old, new)
    olds = [e.old for e in found.entries if e.old is not None]
    news = [e.new for e in found.entries if e.new is not None]
    for func, ops in ((old, olds), (new, news)):
        assert len(ops) == len(set(ops)) and set(ops) == set(func.ops)
        place = {op: i for i, op in enumerate(ops)}
        assert all(place[o] < place[op] for op in ops for o in op.operands)
    of = dict.fromkeys((KEPT, ADDED, REMOVED, CHANGED), 0)
    for entry in found.entries:
        of[entry.change] += 1
        assert (entry.old is None) == (entry.change == ADDED)
        assert (entry.new is None) == (entry.change == REMOVED)
    assert str(found).startswith(", ".join(f"{of[c]} {c}" for c in of))
    return of


def edited(func: Func, old: Op, change) -> Func:
    """The function, nodes of its own, with `change(operands)` in the place of one op."""
    copy = pickle.loads(pickle.dumps(func))
    at = copy.ops[func.ops.index(old)]
    return transform(copy, lambda op, operands: change(op, operands) if op is at
                     else kept(op, operands))  # fmt: skip


@pytest.mark.parametrize("seed", range(15))
def test_a_graph_is_the_same_however_it_is_numbered(seed):
    func = network(seed)
    copy = pickle.loads(pickle.dumps(func))
    bare = transform(copy, lambda op, operands: kept(op, operands).located(())
                     if op.kind != "item" else kept(op, operands))  # fmt: skip
    for other in (func, copy, bare):
        assert counts(func, other) == {KEPT: len(func.ops), ADDED: 0, REMOVED: 0, CHANGED: 0}
        assert difference(func, other).same and not diff_text(difference(func, other), "a", "b")


@pytest.mark.parametrize("seed", range(15))
def test_one_op_more_one_less_and_one_changed_are_told_as_that(seed):
    func = network(seed, steps=10)
    for op in func.ops:
        if op.is_const or op.kind in ("item", "parameter") or not hasattr(op.type, "shape"):
            continue
        longer = edited(func, op, lambda op, operands: lax.rsqrt(kept(op, operands)))
        want = {KEPT: len(func.ops), ADDED: 1, REMOVED: 0, CHANGED: 0}
        assert counts(func, longer) == want, op
        assert counts(longer, func) == {**want, ADDED: 0, REMOVED: 1}, op
        if "clamp" in op.attributes:
            other = edited(func, op, lambda op, operands: op.with_operands(
                *operands, clamp=(-0.125, 0.5)))  # fmt: skip
            assert counts(func, other) == {KEPT: len(func.ops) - 1, ADDED: 0, REMOVED: 0,
                                           CHANGED: 1}, op  # fmt: skip


@pytest.mark.parametrize("change", [canonicalize, cse, fold_bn], ids=lambda p: p.name)
def test_what_passes_do_is_told_whole(change):
    for seed in range(20):
        before = network(seed)
        after = change(before)
        counts(before, after)
        assert counts(pickle.loads(pickle.dumps(before)), after)[KEPT] >= len(after.parameters)


def test_graphs_with_nothing_in_common_can_be_compared():
    for seed in range(10):
        counts(network(seed), network(seed + 100))
    x = parameter("x", tensor("f32", (2,)))
    empty = Func("main", (), ())
    assert counts(empty, Func("main", (x,), (nn.relu(x),)))[ADDED] == 2
    assert counts(empty, empty) == {KEPT: 0, ADDED: 0, REMOVED: 0, CHANGED: 0}


def parsed(body: str, results: str, inputs: str = "%x: f32[4], %y: f32[4]") -> Func:
    count = results.count("%")
    types = ", ".join(["f32[4]"] * count)
    return read_module(f"func @main({inputs}) -> ({types}) {{\n{body}\n return {results}\n}}").main


def test_other_operands_results_and_parameters_are_seen():
    before = parsed("%0 = lax.sub(%x, %y)", "%0, %x")
    assert str(difference(before, parsed("%0 = lax.sub(%y, %x)", "%0, %x"))) == (
        "2 kept, 0 added, 0 removed, 1 changed")  # fmt: skip
    assert str(difference(before, parsed("%0 = lax.sub(%x, %y)", "%x, %0"))) == (
        "3 kept, 0 added, 0 removed, 0 changed, other results")  # fmt: skip
    swapped = parsed("%0 = lax.sub(%x, %y)", "%0, %x", "%y: f32[4], %x: f32[4]")
    assert str(difference(before, swapped)) == (
        "3 kept, 0 added, 0 removed, 0 changed, other parameters")  # fmt: skip
    renamed = parsed("%0 = lax.sub(%a, %y)", "%0, %a", "%a: f32[4], %y: f32[4]")
    assert str(difference(before, renamed)) == "2 kept, 0 added, 0 removed, 1 changed"
    named = replace(before, result_names=("a", "b"))
    assert str(difference(before, named)) == (
        "3 kept, 0 added, 0 removed, 0 changed, other results")  # fmt: skip


def test_a_replaced_op_is_a_changed_one():
    before = parsed("%0 = lax.exp(%x)\n%1 = lax.tanh(%0)\n%2 = lax.neg(%1)", "%2")
    after = parsed("%0 = lax.exp(%x)\n%1 = lax.abs(%0)\n%2 = lax.neg(%1)", "%2")
    found = difference(before, after)
    (changed,) = (e for e in found.entries if e.change == CHANGED)
    assert (changed.old.kind, changed.new.kind) == ("lax.tanh", "lax.abs")


def test_ops_that_changed_places_are_told_apart():
    before = parsed("%0 = lax.exp(%x)\n%1 = lax.tanh(%0)\n%2 = lax.neg(%1)", "%2", "%x: f32[4]")
    after = parsed("%0 = lax.tanh(%x)\n%1 = lax.exp(%0)\n%2 = lax.neg(%1)", "%2", "%x: f32[4]")
    assert counts(before, after) == {KEPT: 3, ADDED: 1, REMOVED: 1, CHANGED: 0}


def test_a_constant_is_known_by_its_numbers():
    before = parsed("%0 = const(value=[1.0, 2.0, 3.0, 4.0]) : f32[4]\n%1 = lax.add(%x, %0)", "%1")
    after = parsed("%c = const(value=[1.0, 2.0, 3.0, 5.0]) : f32[4]\n%1 = lax.add(%x, %c)", "%1")
    assert difference(before, before.with_results(before.results)).same
    found = difference(before, after)
    assert [e.old.kind for e in found.entries if e.change == CHANGED] == ["const"]


def test_items_and_shared_weights_find_their_own():
    w, x = const(np.eye(4), name="w"), parameter("x", tensor("f32", (2, 4)))
    parts = lax.split(nn.dense(nn.dense(x, w), w), sizes=(1, 3), axis=1)
    func = Func("main", (x,), (item(parts, 1), item(parts, 0)))
    copy = pickle.loads(pickle.dumps(func))
    pairs = difference(func, copy).pairs
    assert [pairs[r] for r in func.results] == list(copy.results)


def test_the_text_is_a_unified_diff_in_the_names_of_the_old_graph():
    before = parsed("%a = lax.neg(%x)\n%b = lax.neg(%a)\n%c = lax.exp(%b)\n%d = lax.add(%c, %y)",
                    "%d")  # fmt: skip
    after = parsed("%c = lax.exp(%x)\n%0 = lax.abs(%c)\n%d = lax.add(%0, %y)\n", "%d")
    assert diff_text(difference(before, after), "a.qir", "b.qir") == """\
--- a.qir
+++ b.qir
@@ -1,7 +1,6 @@
 func @main(%x: f32[4], %y: f32[4]) -> (f32[4]) {
-  %0 = lax.neg(%x) : f32[4]
-  %1 = lax.neg(%0) : f32[4]
-  %2 = lax.exp(%1) : f32[4]
-  %3 = lax.add(%2, %y) : f32[4]
+  %2 = lax.exp(%x) : f32[4]
+  %6 = lax.abs(%2) : f32[4]
+  %3 = lax.add(%6, %y) : f32[4]
   return %3
 }
"""
    assert print_func(after) != print_func(before)
