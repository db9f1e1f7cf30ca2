"""Steps of a cell that follow each other, and the op over the sequence that they come to."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qir.ir import Func, Op, walk

from ...dialects import lax
from .affine import Affine, Row, affine


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a cell.

    state: what the step gives. carried: what the next step reads besides, or the state once more.
    before: the `carried` of the step before, or the constant before the first one. sums: what
    meets in the cell of rows of the sequence and of the state before, [B,C] each.
    """

    state: Op
    carried: Op
    before: Op
    sums: tuple[Op, ...]


@dataclass(frozen=True, eq=False)
class Sum:
    """What a sum has in every step: weights [I,C] on the row of the sequence, [C,C] on the state.

    None where it has no such part. bias: [C].
    """

    inputs: np.ndarray | None
    states: np.ndarray | None
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class Cell:
    """A kind of cell.

    step: the step that ends in an op, None if none does. reads: for each sum of a step, whether it
    takes the sequence and the state. build: `(x[T,B,I], sums, first, location) -> Op`, the states
    [T,B,C]; first: the constant before the first step, [1 or B,C].
    """

    step: Callable[[Op, Func], Step | None]
    reads: tuple[tuple[bool, bool], ...]
    build: Callable[..., Op]


@dataclass(frozen=True, eq=False)
class Roll:
    """The states of the steps of a chain, and what they are of the op over the sequence."""

    states: tuple[Op, ...]
    rows: tuple[Op, ...]


def rolls(func: Func, cell: Cell) -> Iterator[Roll]:
    """The chains of steps of one kind of cell that can be rolled, first to last."""
    steps = [step for op in func.ops if (step := cell.step(op, func)) is not None]
    for chain in _chains(steps):
        roll = _roll(chain, cell, func)
        if roll is not None:
            yield roll


def _chains(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Steps that follow each other, from a constant on."""
    after: dict[Op, list[Step]] = {}
    for step in steps:
        after.setdefault(step.before, []).append(step)
    for step in steps:
        if not step.before.is_const:
            continue
        chain = [step]
        while len(after.get(chain[-1].carried, ())) == 1:
            chain += after[chain[-1].carried]
        yield chain


def _roll(chain: list[Step], cell: Cell, func: Func) -> Roll | None:
    if len(chain) < 2 or any(map(_escapes, chain, [*chain[1:], None], [func] * len(chain))):
        return None
    known: dict[Op, Affine | None] = {}
    parts = [_parts(step, before, cell, known)
             for step, before in zip(chain, [None, *chain], strict=False)]  # fmt: skip
    if any(part is None for part in parts):
        return None
    sums = parts[-1][1]
    if not all(_alike(found, sums) for _, found in parts):
        return None
    first, (_, width) = chain[0].before.value, chain[0].state.shape
    if first.size != 1 and first.shape[-1:] != (width,):
        return None
    location = chain[-1].state.location
    states = tuple(step.state for step in chain)
    x = _sequence([row for row, _ in parts], set(states), location)
    if x is None:
        return None
    wide = np.broadcast_to(first, np.broadcast_shapes(first.shape, (1, width)))
    y = cell.build(x, sums, np.ascontiguousarray(wide, first.dtype), location)
    rows = tuple(_row(y, t, location) for t in range(len(chain)))
    return Roll(states, rows)


def _escapes(step: Step, following: Step | None, func: Func) -> bool:
    """Whether others than the cell read what a step carries to the next one."""
    if step.carried is step.state:
        return False
    own = set(walk((step.state,)))
    own |= set() if following is None else set(walk((following.carried,)))
    return step.carried in func.results or any(u not in own for u in func.users[step.carried])


def _parts(step: Step, before: Step | None, cell: Cell, known) -> tuple[Row, list[Sum]] | None:
    """The row of the sequence that a step reads, and its sums by part."""
    rows: dict[tuple, Row] = {}
    found = []
    for op, (takes_input, takes_state) in zip(step.sums, cell.reads, strict=True):
        whole = affine(op, known)
        if whole is None:
            return None
        parts: dict[bool, np.ndarray] = {}
        for key, (row, weight) in whole.rows.items():
            is_state = before is not None and row.value is before.state
            if is_state in parts:
                return None
            parts[is_state] = weight
            if not is_state:
                rows[key] = row
        wanted = {False} if takes_input else set()
        if set(parts) != wanted | ({True} if takes_state and before is not None else set()):
            return None
        bias = np.broadcast_to(whole.bias, step.state.shape[-1:])
        found.append(Sum(parts.get(False), parts.get(True), bias))
    if len(rows) != 1:
        return None
    (row,) = rows.values()
    return row, found


def _alike(some: Sequence[Sum], others: Sequence[Sum]) -> bool:
    """Whether two steps have the same weights; a first one has none on the state."""
    for a, b in zip(some, others, strict=True):
        if not np.array_equal(a.bias, b.bias) or not _same(a.inputs, b.inputs):
            return False
        if a.states is not None and not _same(a.states, b.states):
            return False
    return True


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    where = a.__array_interface__["data"], a.shape, a.strides
    return where == (b.__array_interface__["data"], b.shape, b.strides) or np.array_equal(a, b)


def _sequence(rows: list[Row], states: set[Op], location) -> Op | None:
    """The sequence [T,B,I] of these rows; None where one is made of the states."""
    one = {(row.value, row.axis) for row in rows}
    if len(one) == 1 and rows[0].axis in (0, 1) and rows[0].value.type.rank == 3:
        steps = {b.index - a.index for a, b in zip(rows, rows[1:], strict=False)}
        if steps in ({1}, {-1}):
            return _along(rows, location)
    values = [row.value if row.axis is None else None for row in rows]
    if None in values or any(op in states for op in walk(values)):
        return None
    wide = (lax.reshape(v, shape=(1, *v.shape), location=location) for v in values)
    return lax.concatenate(*wide, axis=0, location=location)


def _along(rows: list[Row], location) -> Op:
    """The part of a sequence that these are the rows of, in their order."""
    x, axis = rows[0].value, rows[0].axis
    if axis == 1:
        x = lax.transpose(x, permutation=(1, 0, 2), location=location)
    low, high = sorted((rows[0].index, rows[-1].index))
    if high - low + 1 < x.shape[0]:
        x = lax.slice(x, start=(low, 0, 0), limit=(high + 1, -1, -1), location=location)
    if rows[0].index > rows[-1].index:
        x = lax.reverse(x, axes=(0,), location=location)
    return x


def _row(y: Op, t: int, location) -> Op:
    cut = lax.slice(y, start=(t, 0, 0), limit=(t + 1, -1, -1), location=location)
    return lax.reshape(cut, shape=(-1, y.shape[-1]), location=location)
