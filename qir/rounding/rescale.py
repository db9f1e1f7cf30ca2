"""A rescale: a rounding contract with its numbers, and what it does to integers."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import QirError, suggestion
from .contracts import CONTRACTS, OPERAND_LIMIT, contract, refuse

_FIELDS = ("multiplier", "shift", "scale")


@dataclass(frozen=True, eq=False, repr=False)
class Rescale:
    """A rounding contract and its numbers; prints as a call, `f32_half_even(scale=0.0123)`.

    Each number is 0-d (one for the tensor) or 1-d (one per index of the last axis; one per
    operand where the contract is a sum's). Equality and hash are by content. QirError where the
    contract is unknown, a number missing, superfluous or out of its range.
    """

    rounding: str
    multiplier: np.ndarray | None = None
    shift: np.ndarray | None = None
    scale: np.ndarray | None = None

    def __post_init__(self):
        numbers = contract(self.rounding).numbers
        for name in _FIELDS:
            value = getattr(self, name)
            if value is None and name in numbers:
                refuse(self.rounding, f"{name} is missing; it takes {', '.join(numbers)}")
            if value is not None and name not in numbers:
                refuse(self.rounding, f"it has no {name}; it takes {', '.join(numbers)}")
            if value is not None:
                object.__setattr__(self, name, numbers[name].read(value, self.rounding, name))
        sizes = {v.size for v in self.fields().values() if v.ndim}
        if len(sizes) > 1:
            refuse(self.rounding, f"its numbers differ in length, {sorted(sizes)}")

    def fields(self) -> dict[str, np.ndarray]:
        """The numbers of the contract by name, in the order they are printed."""
        named = {name: getattr(self, name) for name in _FIELDS}
        return {name: value for name, value in named.items() if value is not None}

    @cached_property
    def _key(self):
        numbers = ((n, v.shape, v.tobytes()) for n, v in self.fields().items())
        return (self.rounding, *numbers)

    def __eq__(self, other) -> bool:
        return self is other or (isinstance(other, Rescale) and self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        numbers = (f"{n}={v.tolist() if v.size <= 8 else f'<{v.size} numbers>'}"
                   for n, v in self.fields().items())  # fmt: skip
        return f"{self.rounding}({', '.join(numbers)})"


def make_rescale(name: str, /, **fields) -> Rescale:
    """The rescale that a call such as `single(multiplier=1518500250, shift=-3)` writes."""
    numbers = contract(name).numbers
    for field in fields:
        if field not in numbers:
            raise QirError(f"rounding {name}: it has no {field}", help=suggestion(field, numbers))
    return Rescale(name, **fields)


def derive(name: str, real_scale) -> Rescale:
    """The numbers of a contract from the real factor, s_in * s_w / s_out formed in f64.

    real_scale: 0-d or 1-d (per channel), finite and not negative.
    """
    real = np.asarray(real_scale, np.float64)
    if not (np.isfinite(real) & (real >= 0)).all():
        refuse(name, f"a rescale factor is finite and not negative, found {real_scale}")
    return Rescale(name, **contract(name, 1).derive(real))


def widened(name: str) -> str:
    """The contract in place of another for 64-bit accumulators, or a sum of 16-bit operands."""
    return contract(name).wide


def derive_sum(name: str, s1: float, s2: float, s_out: float, wide: bool = False) -> Rescale:
    """The numbers of `(a * s1 + b * s2) / s_out`; a negative `s2` makes it a difference.

    name: a sum's contract, or another one: then the sum's that goes with it (`Contract.sum`).
    s1, s2, s_out: f32 scales. wide: of 16-bit operands. QirError where the ratios are beyond what
    the contract can hold.
    """
    s1, s2, s_out = (np.float32(s) for s in (s1, s2, s_out))
    if not (np.isfinite([s1, s2, s_out]).all() and s1 > 0 and s2 != 0 and s_out > 0):
        refuse(name, f"scales are positive and finite, found {s1}, {s2} and {s_out}")
    name = widened(contract(name).sum) if wide else contract(name).sum
    return Rescale(name, **CONTRACTS[name].derive(s1, s2, s_out))


def apply(rescale: Rescale, acc: np.ndarray) -> np.ndarray:
    """Accumulators [..., C] (i32, or i64 as 16x8 ops have them) rescaled to i32.

    No zero point, no clamp. Fixed-point contracts wrap at 32 bits where the C code they come
    from does; float ones saturate.
    """
    found = contract(rescale.rounding, 1)
    acc = np.asarray(acc)
    if acc.dtype not in (np.int32, np.int64):
        refuse(rescale.rounding, f"accumulators are i32 or i64, found {acc.dtype}")
    if 8 * acc.itemsize > found.bits:
        refuse(rescale.rounding, f"accumulators are i32, found i64; {found.wide} takes these")
    for name, value in rescale.fields().items():
        if value.ndim and acc.shape[-1:] != value.shape:
            refuse(rescale.rounding, f"{value.size} {name}s do not fit shape {acc.shape}")
    return found.apply(acc, **rescale.fields()).astype(np.int32)


def requantize(rescale: Rescale, acc: np.ndarray, zero: int, lo: int, hi: int) -> np.ndarray:
    """Accumulators rescaled, moved to the output's zero point and clamped to [lo, hi]; i32."""
    return saturate(apply(rescale, acc), zero, lo, hi)


def sum_apply(rescale: Rescale, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The weighted sum of two tensors already without their zero points; i32.

    a, b: integers within the contract's limit, [-255, 255] for all but those of 16-bit operands,
    broadcast together. No output zero point, no clamp.
    """
    found = contract(rescale.rounding, 2)
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    largest = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    if largest > found.limit:
        kind = "8-bit ones are" if found.limit == OPERAND_LIMIT else "16-bit ones without are"
        refuse(rescale.rounding, f"a sum's operands are at most {found.limit} from their zero "
                                 f"points, as {kind}; found {largest}")  # fmt: skip
    return found.apply(a, b, **rescale.fields()).astype(np.int32)


def factors(rescale: Rescale) -> np.ndarray:
    """The real factor of the accumulators, f64; that of both operands for a sum's contract."""
    return contract(rescale.rounding).factors(**rescale.fields())


def held(rescale: Rescale, *operands: np.ndarray):
    """The integers on the way that can outgrow their bits: what, values before the cut, bits.

    operands: as of `apply` or `sum_apply`. All are monotone in every operand.
    """
    return contract(rescale.rounding, len(operands)).held(*operands, **rescale.fields())


def saturate(values: np.ndarray, zero: int, lo: int, hi: int) -> np.ndarray:
    """Values moved to a zero point and clamped to [lo, hi]; clamped first, so nothing overflows."""
    low, high = int(lo) - int(zero), int(hi) - int(zero)
    return (np.clip(np.asarray(values, np.int64), low, high) + int(zero)).astype(np.int32)
