"""Ops that move elements."""

from qir.dialects import int8, lax, tfl

from ....errors import require
from ....ir import Op, const
from ....pattern import V
from ....rewrite import rule


@rule(lax.reshape(V.x) @ "op")
def new_shape(op, x):
    """An extent of -1 stays one."""
    return tfl.reshape(x, new_shape=op.attributes["shape"])


@rule(lax.transpose(V.x) @ "op")
def permuted(op, x):
    """Axes in another order."""
    return tfl.transpose(x, perm=op.attributes["permutation"])


@rule(lax.pad(V.x) @ "op")
def padded_by_zeros(op, x):
    """Zeros at the sides."""
    low, high = op.attributes["low"], op.attributes["high"]
    plain = min(*low, *high, 0) == 0 and not any(op.attributes["interior"] or ())
    require(plain and op.attributes["value"] == 0, "it is no padding by zeros at the sides")
    return tfl.pad(x, paddings=[n for pair in zip(low, high, strict=True) for n in pair])


@rule(lax.concatenate(...) @ "op")
def joined(op):
    """One after the other; the kernel for u8 brings operands on other grids to the result's."""
    parts, to = [_before_requantize(o) for o in op.operands], op.type.element
    same = parts[0].type.element == to
    return tfl.concatenation(*parts, axis=op.attributes["axis"], to=None if same else to)


def _before_requantize(part: Op) -> Op:
    """What a part of u8 was on its own grid; the kernel computes that change in f32, as accurately
    as any, where the delegate's QUANTIZE keeps 8 bits of the ratio."""
    changed = part.kind in (int8.requantize.name, tfl.quantize.name)
    if not changed or part.attributes.get("clamp") is not None:
        return part
    (x,) = part.operands
    return x if x.dtype.name == part.dtype.name == "u8" else part


@rule(lax.broadcast(V.x) @ "op")
def repeated(op, x):
    """Axes in their places, then repeated; a number of one element is a fill."""
    wide = [1] * op.type.rank
    for n, axis in zip(x.shape, op.attributes["axes"], strict=True):
        wide[axis] = n
    x = x if x.shape == tuple(wide) else tfl.reshape(x, new_shape=wide)
    return x if x.shape == op.shape else tfl.broadcast_to(x, shape=op.shape)


@rule(lax.slice(V.x) @ "op")
def sliced(op, x):
    """A block, or every so many elements of it; what reaches to the end of an axis stays so."""
    start, strides = op.attributes["start"], op.attributes["strides"]
    if strides is None or set(strides) <= {1}:
        size = [-1 if a + n == whole else n
                for a, n, whole in zip(start, op.shape, x.shape, strict=True)]  # fmt: skip
        return tfl.slice(x, begin=start, size=size)
    limit = op.attributes["limit"]
    open_ = sum(1 << i for i, (b, n) in enumerate(zip(limit, x.shape, strict=True)) if b in (-1, n))
    return tfl.strided_slice(x, begin=start, end=limit, strides=strides, end_mask=open_)


@rule(lax.reverse(V.x) @ "op")
def turned_round(op, x):
    """Axis by axis, since an operator turns only such as lie beside each other."""
    for axis in op.attributes["axes"]:
        x = tfl.reverse_v2(x, axis=(axis,))
    return x


@rule(lax.take(V.x, V.indices) @ "op")
def gathered(op, x, indices):
    """Slices at places; the runtime takes none outside, where qir takes the nearest end."""
    axis = op.attributes["axis"] % x.type.rank
    if not indices.is_const or indices.value.min(initial=0) < 0 \
            or indices.value.max(initial=0) >= x.shape[axis]:  # fmt: skip
        ends = (const(indices.dtype.numpy.type(end)) for end in (0, x.shape[axis] - 1))
        indices = tfl.minimum(tfl.maximum(indices, next(ends)), next(ends))
    return tfl.gather(x, indices, axis=axis)


@rule(lax.split(V.x) @ "op")
def parted(op, x):
    """Parts along an axis."""
    sizes = op.attributes["sizes"]
    return tfl.split_v(x, size_splits=sizes, axis=op.attributes["axis"], num_splits=len(sizes))


@rule(lax.top_k(V.x) @ "op")
def greatest(op, x):
    """The first of equals comes first in both."""
    return tfl.topk_v2(x, k=op.attributes["k"])


@rule(lax.dynamic_update_slice(...) @ "op")
def updated(op):
    """The places at which the block starts become one tensor."""
    x, update, *starts = op.operands
    return tfl.dynamic_update_slice(x, update, tfl.pack(*starts, values_count=len(starts)))


RULES = (new_shape, permuted, padded_by_zeros, joined, repeated, sliced, turned_round, gathered,
         parted, greatest, updated)  # fmt: skip
