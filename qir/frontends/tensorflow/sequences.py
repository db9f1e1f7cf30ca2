"""Imports of operations on sequences of known lengths."""

from qir.dialects import lax

from ...errors import require
from ...ir import Op
from ...shapes import open_ends
from .table import attribute, imports, numbers


@imports("ReverseSequence")
def reverse_sequence(node, x, lengths):
    along, batch = int(attribute(node, "seq_dim")), int(attribute(node, "batch_dim"))
    along, batch = along % x.type.rank, batch % x.type.rank
    counts = numbers(lengths, "lengths of the sequences")
    require(all(0 <= n <= x.shape[along] for n in counts), "a sequence is longer than its axis")
    if len(set(counts)) == 1:
        return _reversed(x, along, counts[0])
    rows = [_reversed(_slice(x, batch, i, i + 1), along, n) for i, n in enumerate(counts)]
    return lax.concatenate(*rows, axis=batch)


def _reversed(x: Op, axis: int, count: int) -> Op:
    """x with the first so many slices along an axis in the order of the last to the first."""
    turned = lax.reverse(_slice(x, axis, 0, count), axes=(axis,))
    return lax.concatenate(turned, _slice(x, axis, count, x.shape[axis]), axis=axis)


def _slice(x: Op, axis: int, start: int, stop: int) -> Op:
    low = [start if i == axis else 0 for i in range(x.type.rank)]
    ends = [stop if i == axis else n for i, n in enumerate(x.shape)]
    return lax.slice(x, start=low, limit=open_ends(x.shape, ends))
