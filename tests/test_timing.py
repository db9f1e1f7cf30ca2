"""The journal and the tree of timings: what is kept, where it goes, and that nobody need listen."""

from dataclasses import dataclass

import pytest
import toy as ops

from qir import journal, timing
from qir.cli.account import accounted, statistics_lines, timing_lines
from qir.errors import Declined, require
from qir.ir import Derived, Func, derived, parameter, transform
from qir.pattern import V
from qir.rewrite import Firing, rewrite, rule
from qir.types import tensor


@dataclass(frozen=True)
class Said:
    """An entry of a test."""

    text: str


@dataclass(frozen=True)
class Done:
    """Another one."""


@rule(ops.neg(ops.neg(V.x)))
def twice(x):
    """--x is x."""
    return x


@rule(ops.neg(V.x))
def never(x):
    """It always declines."""
    require(False, "not today")


def chain(length: int) -> Func:
    x = y = parameter("x", tensor("f32", (4,)))
    for _ in range(length):
        y = ops.neg(y)
    return Func("f", (x,), (y,))


# The journal


def test_entries_go_to_those_who_want_them_and_to_the_blocks_around():
    journal.note(Said, "to nobody")
    assert journal.listener(Said) is None
    with journal.recorded(Said) as outer:
        journal.note(Done)
        with journal.recorded(Said, Done) as inner:
            journal.note(Said, "a")
            journal.note(Done)
        with journal.unheard():
            journal.note(Said, "tried")
            with journal.recorded(Said) as alone:
                journal.note(Said, "alone")
        journal.note(Said, "b")
    assert alone == [Said("alone")]
    assert inner == [Said("a"), Done()]
    assert outer == [Said("a"), Said("b")]
    assert journal.listener(Said) is None


def test_what_an_op_was_made_from_is_written_down():
    func = chain(3)
    with journal.recorded(Derived, Firing) as log:
        after = rewrite(func, twice, never)
        (firing,) = [e for e in log if isinstance(e, Firing) and e.fired]
        assert firing.matched == firing.consumed == func.ops[2:0:-1] and firing.built == ()
        assert firing.replacement is func.parameters[0]
        moved = [e for e in log if isinstance(e, Derived)]
        assert [(e.op, e.olds) for e in moved] == [(after.results[0], (func.results[0],))]
        log.clear()
        new = transform(after, lambda op, operands: op if op.kind == "parameter" else ops.neg(op))
        assert [(e.op, e.olds) for e in log] == [(new.results[0], (after.results[0],))]
        log.clear()
        assert derived(func.results[0], *func.ops[:2]) is func.results[0]
        assert log[0].olds == func.ops[:2]


# The tree


def test_nothing_is_measured_outside():
    function = len
    assert timing.row_at_work() is None and timing.timed("x", function) is function
    timing.count("things")
    with timing.span("nothing"):
        assert timing.row_at_work() is None


def test_rows_of_one_key_add_up_and_counts_go_to_the_row_at_work(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(timing, "perf_counter", lambda: clock[0])

    def take(seconds):
        clock[0] += seconds

    with timing.measured() as root:
        for step in ("a", "b", "a"):
            with timing.span(step, "step"):
                timing.count("things", 2)
                timing.timed("inside", take)(1.0)
                take(0.5)
    assert [(row.name, row.kind, row.seconds) for row in root.rows.values()] == [
        ("a", "step", 3.0), ("b", "step", 1.5)]  # fmt: skip
    first = next(iter(root.rows.values()))
    assert first.counts == {"things": 4} and root.seconds == 4.5
    assert [(row.name, row.seconds) for row in first.rows.values()] == [("inside", 2.0)]
    assert timing_lines(root) == [
        "//   seconds    share",
        "//    3.0000   66.7 %  a",
        "//                       things: 4",
        "//    2.0000   44.4 %    inside",
        "//    1.0000   22.2 %    the rest",
        "//    1.5000   33.3 %  b",
        "//                       things: 2",
        "//    1.0000   22.2 %    inside",
        "//    0.5000   11.1 %    the rest",
        "//    4.5000  100.0 %  total",
    ]
    assert statistics_lines(root) == ["// a", "//   things: 4", "// b", "//   things: 2"]


def test_rules_are_counted_and_timed_where_they_run():
    def fired(row):
        return {each.name: dict(each.counts) for each in row.rows.values()}

    with timing.measured() as root:
        rewrite(chain(4), twice)
        rewrite(chain(1), never)
        with timing.span("apart"):
            rewrite(chain(0), twice)
    # each pair is met once, and the chain of one is tried once
    rules = {name: counts for name, counts in fired(root).items() if name != "apart"}
    assert rules == {"twice": {"fired": 2}, "never": {"declined": 1}}
    assert fired(root.rows["part", "apart"]) == {"twice": {}}
    assert all(row.seconds > 0 for row in root.rows.values() if row.kind == "rule")
    assert statistics_lines(root)[:2] == ["// twice: fired 2", "// never: declined 1"]
    assert timing_lines(root.rows["part", "apart"])[1].endswith("  1 rule without a match")


def test_an_error_ends_the_spans_it_leaves():
    with timing.measured() as root, pytest.raises(Declined), timing.span("a"):
        require(False, "no")
    assert list(root.rows) == [("part", "a")] and timing.row_at_work() is None


def test_what_is_not_asked_for_is_not_accounted():
    said = []
    with accounted(False, False, said.append):
        assert timing.row_at_work() is None
    with accounted(False, True, said.append), timing.span("pass", "step"):
        timing.count("things")
    assert said == ["// pass\n//   things: 1"]
