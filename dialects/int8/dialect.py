"""The dialect of integer-only ops, and what its ops have in common.

Every op says with `to` what its result is (storage and grid), with `rescale` how accumulators
become stored values (the rounding contract and its integer numbers) and with `clamp` between which
stored bounds they lie. Zero points are read from the types of operands and result.
"""

import numpy as np

from qir.dialect import Dialect
from qir.errors import require
from qir.ir import Op
from qir.ranges import Range, Register, Span, rescaled
from qir.rounding import Rescale, contract, requantize
from qir.rounding.grids import half_away
from qir.types import Element, Type

int8 = Dialect("int8", "integer-only ops on quantized tensors")


def is_quantized(type: Type, what: str) -> None:
    """Require a quantized integer tensor with one scale and zero point."""
    require(type.dtype.kind == "int", f"{what} must hold integers, found {type}")
    require(type.grid is not None and type.grid.per_tensor,
            f"{what} needs one scale and zero point, found {type}")  # fmt: skip


def is_weight(type: Type, axis: int, symmetric: bool = True) -> None:
    """Require a weight on one grid, or on one per index of `axis`; of zero point 0 if `symmetric`.

    Without it, a weight on one grid may have a zero point, one of several scales still has none.
    """
    require(type.dtype.kind == "int" and type.grid is not None and not type.grid.dynamic,
            f"the weight must be quantized, found {type}")  # fmt: skip
    require(type.grid.axis in (None, axis) and type.grid.block is None,
            f"the weight has a grid along axis {type.grid.axis}, expected {axis}")  # fmt: skip
    which = "the weight" if symmetric else "a weight of several scales"
    require(not type.zero.any() or not symmetric and type.grid.per_tensor,
            f"{which} must have zero point 0, found {type.zero}")  # fmt: skip


def is_bias(type: Type | None, channels: int) -> None:
    """Require i32 or i64 of one entry a channel, or no bias."""
    if type is not None:
        require(type.dtype.name in ("i32", "i64"), f"the bias must be i32 or i64, found {type}")
        require(type.shape == (channels,), f"the bias must be [{channels}], found {type}")


def is_rescale(rescale: Rescale, channels: int, bits: int = 32) -> None:
    """Require numbers for all channels at once or one each, of a contract for such accumulators."""
    sizes = {v.size for v in rescale.fields().values()} - {1, channels}
    require(not sizes, f"a rescale of {sorted(sizes)} numbers for {channels} channels")
    takes = contract(rescale.rounding)
    require(bits <= takes.bits, f"sums of {bits} bits are rescaled by {takes.wide}, "
            f"{rescale.rounding} takes {takes.bits}")  # fmt: skip


def sum_bits(*factors: Type, bias: Type | None = None) -> int:
    """The bits of sums of products: those of the bias; without one 64 for factors over 8 bits."""
    if bias is not None:
        return bias.dtype.bits
    return 64 if any(factor.dtype.bits > 8 for factor in factors) else 32


def sum_type(op) -> type:
    """The integers that an affine op sums up in."""
    bias = op.operands[2].type if len(op.operands) > 2 else None
    wide = sum_bits(*(o.type for o in op.operands[:2]), bias=bias) == 64
    return np.int64 if wide else np.int32


def is_clamp(clamp: tuple | None, to: Element) -> None:
    """Require stored bounds that the storage can hold."""
    if clamp is not None:
        require(len(clamp) == 2 and to.lo <= clamp[0] <= clamp[1] <= to.hi,
                f"the clamp {list(clamp)} is no range within [{to.lo}, {to.hi}]")  # fmt: skip


def bounds(op) -> tuple[int, int]:
    """The stored range of an op's result."""
    clamp = op.attributes.get("clamp")
    return clamp if clamp is not None else (op.type.lo, op.type.hi)


def finished(op, acc: np.ndarray) -> np.ndarray:
    """Accumulators to stored values, as the op's attributes and result type say."""
    return requantize(op.attributes["rescale"], acc, int(op.type.zero), *bounds(op))


def centred(op, index: int, array: np.ndarray) -> np.ndarray:
    """An operand's stored integers minus its zero point, i32."""
    return array.astype(np.int32) - op.operands[index].type.zero.astype(np.int32)


def centred_weight(weight: Op) -> np.ndarray:
    """A constant weight's stored integers minus its zero point; as they are where that is 0."""
    if not weight.type.zero.any():
        return weight.value
    return weight.value.astype(np.int32) - weight.type.zero


def centred_range(op, index: int, range: Range) -> Range:
    """The range of an operand without its zero point.

    What i32 does not hold of it is no error here: sums and products are the same modulo 2**32.
    """
    return range - int(op.operands[index].type.zero)


def finished_span(op, *accumulators: Register, intermediates=(), bias=None) -> Span:
    """What an op spans that rescales its last accumulator and clamps it."""
    return rescaled(op.attributes["rescale"], accumulators, op.type, bounds(op), intermediates,
                    bias)  # fmt: skip


def stored_clamp(real: tuple | None, to: Element) -> tuple[int, int] | None:
    """Real clamp bounds as stored ones, rounded half away in f32 as TFLite's activation ranges are.

    None where they do not narrow the storage's own range.
    """
    if real is None:
        return None
    bounds = tuple(_stored_bound(value, to) for value in real)
    return None if bounds == (to.lo, to.hi) else bounds


def _stored_bound(value: float, to: Element) -> int:
    if np.isinf(value):
        return to.lo if value < 0 else to.hi
    steps = half_away(np.float32(value) / np.float32(to.grid.scale))
    return int(np.clip(np.float64(steps) + int(to.grid.zero), to.lo, to.hi))


def real_scale(*factors: Type | Element, to: Element) -> np.ndarray:
    """The product of the factors' scales over the result's, in f64."""
    product = np.float64(1.0)
    for factor in factors:
        grid = factor.grid
        product = product * grid.scale.astype(np.float64)
    return product / np.float64(to.grid.scale)
