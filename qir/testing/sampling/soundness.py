"""Whether a rule keeps what a graph means: one rule, one drawn graph, before and after."""

import tempfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import QirError
from ...evaluate import evaluate
from ...ir import Func, Module
from ...rewrite import Rule, recorded, rewrite
from ...text import load_module, print_func, save_module
from ...types import TupleType, Type
from .nodes import Rejected
from .patterns import Steering, draw_match
from .steering import steering_of
from .values import Rng, draw_inputs, one_of

ULPS = 64
"""How many steps of its precision a float result may move, at the largest value on the way."""


@dataclass(frozen=True)
class Verdict:
    """What came of one draw: `rejected`, `unmatched`, `declined`, `fired` or `wrong`.

    what: the reason, for `wrong` with both graphs.
    """

    outcome: str
    what: str = ""


@dataclass
class Tally:
    """The verdicts on one rule: how often each outcome, why it declined, and what was wrong."""

    outcomes: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    wrong: dict[int, str] = field(default_factory=dict)


def tally(rule: Rule, seeds, steering: Steering | None = None) -> Tally:
    """Judge a rule on the draw of each seed."""
    found = Tally()
    for seed in seeds:
        verdict = judge(rule, seed, steering)
        found.outcomes[verdict.outcome] += 1
        if verdict.outcome == "declined":
            found.reasons[verdict.what] += 1
        if verdict.outcome == "wrong":
            found.wrong[seed] = verdict.what
    return found


def judge(rule: Rule, seed: int, steering: Steering | None = None) -> Verdict:
    """Draw a graph that matches the rule, apply the rule alone, compare the meanings.

    steering: what the rule's guards want of a draw, where it is not `steering_of` the rule.
    """
    rng = np.random.default_rng([zlib.crc32(rule.name.encode()), seed])
    steering = steering_of(rule) if steering is None else steering
    try:
        func = draw_match(rng, one_of(rng, rule.patterns), steering)
    except Rejected as rejected:
        return Verdict("rejected", str(rejected))
    try:
        with recorded() as log:
            after = rewrite(func, rule)
    except Exception as error:  # whatever a rule raises on a well-typed graph is a bug
        return Verdict("wrong", f"{type(error).__name__}: {error}\n{print_func(func)}")
    if not any(firing.fired for firing in log):
        refused = next((f.reason for f in log), None)
        return Verdict("unmatched") if refused is None else Verdict("declined", refused)
    complaint = _difference(steering, func, after, rng)
    if complaint is None:
        return Verdict("fired")
    return Verdict("wrong", f"{complaint}\n{print_func(func)}became\n{print_func(after)}")


def _difference(steering: Steering, before: Func, after: Func, rng: Rng) -> str | None:
    """What the second function does otherwise than the first one, None if nothing."""
    for old, new in zip(before.results, after.results, strict=True):
        if old.type != new.type:
            return f"a result of {old.type} became {new.type}"
    lost = [op for op in after.ops if not op.location and op.kind != "item"]
    if lost:
        return f"{lost[0]!r} has no location"
    inputs = draw_inputs(rng, [p.type for p in before.parameters])
    found = []
    for func in (before, after):
        try:
            found.append(evaluate(func, inputs))
        except Exception as error:  # a typed graph that has no meaning is a bug of an op
            return f"@{func.name} cannot be evaluated: {type(error).__name__}: {error}"
    wanted, found = found
    largest = max(largest_of(before, inputs), largest_of(after, inputs))
    for old, a, b in zip(before.results, wanted, found, strict=True):
        steps = steering.steps if old.type.grid is not None else 0
        steps *= 1 + (steps > 0 and old.dtype.bits == 16)  # multipliers of 16 bits are a step off
        complaint = unlike(old.type, a, b, largest, steps)
        if complaint is None or steering.changes is not None:
            continue
        if steps and _divides_by_zero(before, inputs):
            continue  # int8.div has a meaning of its own for it, no infinity
        return complaint
    return round_trip(after, inputs, found)


def largest_of(func: Func, inputs) -> float:
    """The largest finite magnitude of any float value on the way."""
    ops = [op for op in func.ops if not isinstance(op.type, TupleType) and op.type.is_float]
    found = 0.0
    for array in evaluate(func.with_results(ops), inputs):
        sizes = np.abs(array.astype(np.float64))
        found = max(found, sizes[np.isfinite(sizes)].max(initial=0.0))
    return found


def _divides_by_zero(func: Func, inputs) -> bool:
    """Whether a quotient of reals has a divisor that is zero somewhere."""
    divisors = [op.operands[1] for op in func.ops if op.kind in ("nn.div", "lax.div")]
    return any((array == 0).any() for array in evaluate(func.with_results(divisors), inputs))


def unlike(type: Type, a: np.ndarray, b: np.ndarray, largest: float, steps: int = 0,
           ulps: int = ULPS) -> str | None:  # fmt: skip
    """What differs between two results that are to be the same, None if nothing does."""
    if not type.is_float:
        apart = np.abs(a.astype(np.int64) - b.astype(np.int64))
        if not (apart > steps).any():
            return None
        return f"{int((apart > steps).sum())} of {a.size} integers differ by up to {apart.max()}"
    epsilon = float(_epsilon(type))
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= ulps * epsilon * largest
    same = (a == b) | (np.isnan(a) & np.isnan(b)) | near
    if type.dtype.name == "f16":  # what was beyond its range may well be within it now
        same |= ~np.isfinite(a)
    if same.all():
        return None
    at = np.unravel_index(np.argmin(same), same.shape)
    return (f"{int((~same).sum())} of {same.size} differ: {a[at]!r} before, {b[at]!r} after at "
            f"{[int(i) for i in at]}, the largest value on the way is {largest:.4g}")  # fmt: skip


def _epsilon(type: Type) -> float:
    return 2.0**-8 if type.dtype.name == "bf16" else np.finfo(type.dtype.numpy).eps


def round_trip(func: Func, inputs, wanted) -> str | None:
    """What differs once a function was saved and loaded again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.qir"
        try:
            save_module(Module((func,)), path)
            again = load_module(path).main
            found = evaluate(again, inputs)
        except QirError as error:
            return f"does not survive saving and loading: {error}"
        first, second = (print_func(f, locations=True) for f in (func, again))
        if first != second:
            return f"is printed otherwise after saving and loading:\n{first}\n{second}"
    for a, b in zip(wanted, found, strict=True):
        if not np.array_equal(a.astype(np.float64), b.astype(np.float64), equal_nan=True):
            return "computes something else after saving and loading"
    return None
