"""What a gate is made of: rows of values times constant weights, and a constant."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qir.ir import Op


@dataclass(frozen=True, eq=False)
class Row:
    """A value [B,I], or the part [B,I] of a sequence at an index of an axis."""

    value: Op
    axis: int | None = None
    index: int = 0

    @property
    def key(self):
        return self.value, self.axis, self.index


@dataclass(frozen=True, eq=False)
class Affine:
    """A sum of rows times weights [I,N], by the row's key, plus a bias that broadcasts to [N]."""

    rows: Mapping[tuple, tuple[Row, np.ndarray]]
    bias: np.ndarray

    def columns(self, start: int, end: int, of: int) -> "Affine":
        """Some of the columns."""
        rows = {key: (row, w[:, start:end]) for key, (row, w) in self.rows.items()}
        return Affine(rows, np.broadcast_to(self.bias, (of,))[start:end])


def row_of(op: Op) -> Row:
    """A value as the part of a sequence that it is cut from, or by itself."""
    row = _cut_from(op.operands[0], op.shape) if op.kind == "lax.reshape" else None
    return Row(op) if row is None else row


def _cut_from(cut: Op, shape: tuple[int, ...]) -> Row | None:
    """The part of a sequence that a slice of extent 1 gives in this shape, None if none does."""
    if cut.kind == "lax.slice":
        (sequence,) = cut.operands
    elif cut.kind == "item" and cut.operands[0].kind == "lax.split":
        (sequence,) = cut.operands[0].operands
    else:
        return None
    axes = [i for i, (n, m) in enumerate(zip(sequence.shape, cut.shape, strict=True)) if n != m]
    if len(axes) != 1 or cut.shape[axes[0]] != 1:
        return None
    (axis,) = axes
    if shape != (*cut.shape[:axis], *cut.shape[axis + 1 :]):
        return None
    return Row(sequence, axis, _start(cut, axis))


def _start(cut: Op, axis: int) -> int:
    """Where a slice, or a part of a split, begins along the axis that it is cut along."""
    if cut.kind == "lax.slice":
        return cut.attributes["start"][axis]
    return sum(cut.operands[0].attributes["sizes"][: cut.attributes["index"]])


def affine(op: Op, known: dict[Op, Affine | None]) -> Affine | None:
    """What makes a value [B,N]; None where it is no such sum. known: what is known already."""
    if op not in known:
        known[op] = _affine(op, known)
    return known[op]


def _affine(op: Op, known) -> Affine | None:
    if op.is_const:
        return Affine({}, op.value.reshape(-1)) if _is_bias(op) else None
    if op.kind in ("nn.add", "nn.sub") and op.attributes["clamp"] is None:
        return _sum(op, known)
    if op.kind == "nn.dense":
        return _dense(op, row_of(op.operands[0]), known)
    if op.kind == "item" and op.operands[0].kind == "lax.split":
        return _part(op, known)
    if op.kind == "lax.slice":
        return _cut(op, known)
    if op.kind == "lax.reshape" and op.operands[0].kind == "nn.dense":
        (dense,) = op.operands  # of a row before its axis of extent 1 is dropped
        row = _cut_from(dense.operands[0], (*op.shape[:-1], dense.operands[0].shape[-1]))
        return None if row is None else _dense(dense, row, known)
    row = row_of(op)
    if row.axis is not None and row.value.kind == "nn.dense":  # of a whole sequence at once
        dense, last = row.value, row.value.type.rank - 1
        before = dense.operands[0]
        return None if row.axis == last else _dense(dense, Row(before, row.axis, row.index), known)
    return None


def _is_bias(op: Op) -> bool:
    return op.type.is_float and op.type.size == (op.shape[-1] if op.shape else 1)


def _sum(op: Op, known) -> Affine | None:
    a, b = (affine(o, known) for o in op.operands)
    if a is None or b is None or any(o.shape != op.shape and not o.is_const for o in op.operands):
        return None
    if op.kind == "nn.sub":
        b = Affine({key: (row, -w) for key, (row, w) in b.rows.items()}, -b.bias)
    rows = dict(a.rows)
    for key, (row, w) in b.rows.items():
        rows[key] = (row, rows[key][1] + w) if key in rows else (row, w)
    return Affine(rows, a.bias + b.bias)


def _dense(op: Op, row: Row, known) -> Affine | None:
    _, weight, *bias = op.operands
    if not weight.is_const or op.attributes["clamp"] is not None or any(
            not b.is_const for b in bias):  # fmt: skip
        return None
    w, b = weight.value, bias[0].value if bias else np.zeros(1, weight.dtype.numpy)
    joined = row.value
    if row.axis is not None or joined.kind != "lax.concatenate" or (
            joined.attributes["axis"] % joined.type.rank != joined.type.rank - 1):  # fmt: skip
        return Affine({row.key: (row, w)}, b)
    rows: dict[tuple, tuple[Row, np.ndarray]] = {}
    start = 0
    for part in map(row_of, joined.operands):
        width = part.value.shape[-1]
        piece = w[start : start + width]
        if not part.value.is_const:
            rows[part.key] = (part, rows[part.key][1] + piece if part.key in rows else piece)
        elif part.value.value.any():
            return None
        start += width
    return Affine(rows, b)


def _part(op: Op, known) -> Affine | None:
    split, index = op.operands[0], op.attributes["index"]
    whole = affine(split.operands[0], known)
    last = split.attributes["axis"] % op.type.rank == op.type.rank - 1
    if whole is None or not last:
        return None
    sizes = split.attributes["sizes"]
    start = sum(sizes[:index])
    return whole.columns(start, start + sizes[index], split.operands[0].shape[-1])


def _cut(op: Op, known) -> Affine | None:
    (x,) = op.operands
    whole = affine(x, known)
    strides = op.attributes["strides"]
    if whole is None or strides and any(s != 1 for s in strides) or op.shape[:-1] != x.shape[:-1]:
        return None
    start = op.attributes["start"][-1]
    return whole.columns(start, start + op.shape[-1], x.shape[-1])
