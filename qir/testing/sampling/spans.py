"""Whether the ranges that an op declares hold what its meaning gives: random and extreme inputs."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...dialect import items
from ...evaluate import each_value
from ...ir import Func, Op
from ...ranges import LIMIT, Range, Span, between, spans
from .draft import draw_mood
from .nodes import Leaves, draw_node
from .values import Rng, chance, draw_inputs, one_of

INPUTS = 4
"""How many inputs each drawn node is evaluated on."""

Exact = Callable[[Op, Sequence[np.ndarray]], Mapping[str, np.ndarray]]
"""From an op and its operands to what it holds on the way, in 64 bits."""


def check_span(kind: str, seed: int, exact: Exact | None = None) -> str | None:
    """What is outside the ranges of a random node of this kind; Rejected if none is drawn.

    Its inputs are taken to lie in drawn ranges, often one for each channel, and are drawn from
    these, many of them at the ends. exact: gives accumulators by `Register.what`; each must lie in
    the range of its register.
    """
    rng = np.random.default_rng([zlib.crc32(kind.encode()), seed, 5])
    mood = draw_mood(rng)
    leaves = Leaves(rng, replace(mood, fixed=True) if chance(rng, 0.6) else mood)
    op = draw_node(kind, leaves)
    func = Func("drawn", tuple(leaves.parameters), items(op))
    known = {p: _drawn_range(rng, p) for p in func.parameters if p.dtype.kind == "int"}
    found = spans(func, known)
    for _ in range(INPUTS):
        inputs = [_inside(rng, p, known.get(p)) for p in func.parameters]
        values = dict(each_value(func, inputs))
        complaint = outside(found, values)
        if complaint is None and exact is not None:
            complaint = _outgrown(found[op], exact(op, [values[o] for o in op.operands]))
        if complaint is not None:
            return f"{complaint}\n{func}"
    return None


def outside(found: Mapping[Op, Span], values: Mapping[Op, np.ndarray | tuple]) -> str | None:
    """The first value that is not in the range of its op, None if all are."""
    for op, value in values.items():
        results = found[op].result
        pairs = zip(results, value, strict=True) if isinstance(results, tuple) else ()
        for span, array in pairs or ((results, value),):
            complaint = None if span is None else _missed(span, array)
            if complaint is not None:
                return f"{op.kind} {complaint}"
    return None


def _outgrown(span: Span, held: Mapping[str, np.ndarray]) -> str | None:
    registers = {each.what: each.range for each in (*span.accumulators, *span.intermediates)}
    for what, array in held.items():
        complaint = _missed(registers[what], array)
        if complaint is not None:
            return f"{what} {complaint}"
    return None


def _missed(span: Range, array: np.ndarray) -> str | None:
    """How an array leaves a range, None if it does not; an end at the limit is none."""
    if len({np.shape(a) for a in (span.lo, span.hi, span.mean, span.variance)}) > 1:
        return f"has a range of several shapes, {span}"
    if np.ndim(span.lo) and array.shape[-1] != span.lo.size:
        return f"of {list(array.shape)} has a range of {span.lo.size} channels"
    low = (array < span.lo) & (span.lo > -LIMIT)
    high = (array > span.hi) & (span.hi < LIMIT)
    if not (low | high).any():
        return None
    return f"reaches [{array.min()}, {array.max()}], proved was {span}"


def _drawn_range(rng: Rng, parameter: Op) -> Range:
    """A range for a parameter, with channels or without."""
    type, full = parameter.type, chance(rng, 0.3)
    lo, hi = (type.dtype.lo, type.dtype.hi) if full or type.dtype.bits <= 16 else (-300, 300)
    lo, hi = max(lo, type.dtype.lo), min(hi, type.dtype.hi)
    if full:
        return between(lo, hi)
    extent = type.shape[-1] if type.rank else 1
    shape = (2, extent) if extent > 1 and chance(rng, 0.6) else (2,)
    return between(*np.sort(rng.integers(lo, hi, shape, endpoint=True), axis=0))


def _inside(rng: Rng, parameter: Op, known: Range | None) -> np.ndarray:
    """An input within a range: random, at either end, or at one of both ends for each element."""
    type = parameter.type
    if known is None:
        return np.asarray(draw_inputs(rng, [type])[0])
    lo, hi = max(known.ends[0], type.dtype.lo), min(known.ends[1], type.dtype.hi)
    lo = np.maximum(known.lo, lo) if known.lo.ndim else np.int64(lo)
    hi = np.minimum(known.hi, hi) if known.hi.ndim else np.int64(hi)
    lo, hi = np.broadcast_to(lo, type.shape), np.broadcast_to(hi, type.shape)
    style = one_of(rng, ("random", "low", "high", "mixed"))
    if style == "random":
        array = rng.integers(lo, hi, endpoint=True)
    else:
        part = {"low": 1.0, "high": 0.0, "mixed": 0.5}[style]
        array = np.where(rng.random(type.shape) < part, lo, hi)
    return np.asarray(array).astype(type.dtype.numpy)
