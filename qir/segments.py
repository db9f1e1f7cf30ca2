"""A function cut into pieces that run one after the other.

An evaluator that compiles takes time that grows faster than the size of a function with many
results (XLA: 3 s for 2,000 ops, 51 s for 8,000). In pieces of a few hundred ops the time is linear,
and what nobody reads any more is forgotten between two of them.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .evaluate import Evaluator
from .ir import Func, Op, kept, parameter

SIZE = 500
"""Ops a piece."""


@dataclass(frozen=True, eq=False)
class Segment:
    """One piece: a function from values (`reads`) of the inputs and earlier pieces to new ones.

    makes: the values that its results are. done: the values nobody reads after it.
    """

    func: Func
    reads: tuple[Op, ...]
    makes: tuple[Op, ...]
    done: tuple[Op, ...]


@dataclass(frozen=True, eq=False)
class Segments:
    """All pieces of a function, in order."""

    func: Func
    pieces: tuple[Segment, ...]


def cut(func: Func, size: int = SIZE, ends: Collection[Op] = ()) -> Segments:
    """Cut a function into pieces of `size` ops; constants are not counted and belong to each.

    ends: ops after which a piece ends, whatever its size.
    """
    home = _homes(func, size, ends)
    count = max(home.values(), default=-1) + 1
    inside: list[list[Op]] = [[] for _ in range(count)]
    reads: list[dict[Op, None]] = [{} for _ in range(count)]
    last: dict[Op, int] = {}  # the piece that reads a value last
    for op in func.ops:
        if op not in home:
            continue
        inside[home[op]].append(op)
        for operand in op.operands:
            if not operand.is_const and home.get(operand) != home[op]:
                reads[home[op]][operand] = None
                last[operand] = home[op]
    wanted = dict.fromkeys((*last, *func.results))
    done: list[list[Op]] = [[] for _ in range(count)]
    for value in wanted:
        if value in last or value in home:
            done[last.get(value, home.get(value))].append(value)
    makes = [tuple(op for op in ops if op in wanted) for ops in inside]
    return Segments(func, tuple(
        Segment(_piece(func, i, reads[i], inside[i], makes[i]), tuple(reads[i]), makes[i],
                tuple(done[i]))
        for i in range(count)
    ))  # fmt: skip


def _homes(func: Func, size: int, ends: Collection[Op]) -> dict[Op, int]:
    """The piece of each op; an item stays with the op it belongs to."""
    home: dict[Op, int] = {}
    piece, counted = 0, 0
    for op in func.ops:
        if op.kind == "item":
            home[op] = home[op.operands[0]]
        elif op.kind != "parameter" and not op.is_const:
            if counted == size:
                piece, counted = piece + 1, 0
            home[op] = piece
            counted = size if op in ends else counted + 1
    return home


def _piece(func: Func, index: int, reads, ops: list[Op], makes) -> Func:
    new: dict[Op, Op] = {
        value: parameter(f"v{i}", value.type, value.location) for i, value in enumerate(reads)
    }
    inputs = tuple(new.values())
    for op in ops:
        operands = tuple(new.get(o, o) for o in op.operands)
        new[op] = kept(op, operands)
    return Func(f"{func.name}.{index}", inputs, tuple(new[value] for value in makes))


def run(
    segments: Segments, arrays: Sequence[np.ndarray], evaluator: Evaluator
) -> Iterator[tuple[Op, np.ndarray]]:
    """Every distinct result of the function with its array, as soon as a piece has made it.

    arrays: the inputs in order, checked. The results come in the order of the ops.
    """
    func, results = segments.func, set(segments.func.results)
    values: dict[Op, np.ndarray] = dict(zip(func.parameters, arrays, strict=True))
    for op in func.ops:
        if op in results and op.kind == "parameter":
            yield op, values[op]
        elif op in results and op.is_const:
            yield op, op.value
    for piece in segments.pieces:
        for value, array in advance(piece, values, evaluator):
            if value in results:
                yield value, array


def advance(
    piece: Segment, values: dict[Op, np.ndarray], evaluator: Evaluator
) -> list[tuple[Op, np.ndarray]]:
    """Run one piece: what it makes enters the values, what nobody reads after it leaves them."""
    made = evaluator(piece.func, [values[value] for value in piece.reads])
    found = [(value, np.asarray(array)) for value, array in zip(piece.makes, made, strict=True)]
    values.update(found)
    for value in piece.done:
        values.pop(value, None)
    return found


def held(segments: Segments) -> int:
    """The bytes of values that are kept between two pieces, at most."""
    most, now = 0, set(segments.func.parameters)
    for piece in segments.pieces:
        now.update(piece.makes)
        most = max(most, sum(value.type.size * value.dtype.numpy.itemsize for value in now))
        now.difference_update(piece.done)
    return most
