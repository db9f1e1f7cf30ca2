"""The dialect of float networks: what quantization reasons about, NHWC, filters HWIO.

`clamp=[low, high]` on an op bounds its result in real numbers: relu is [0.0, inf].
"""

import numpy as np

from qir.dialect import Dialect
from qir.errors import require
from qir.types import Type

nn = Dialect("nn", "neural network layers on floats")


def are_floats(**operands: Type | None) -> None:
    """Require float operands of one storage; operands that were left out are fine."""
    given = {name: type for name, type in operands.items() if type is not None}
    first = next(iter(given.values()))
    for name, type in given.items():
        require(type.is_float, f"{name} must hold floats, found {type}")
        require(type.dtype is first.dtype, f"{name} must hold {first.dtype}, found {type}")


def are_alike(*operands: Type) -> None:
    """Require operands of one storage on one grid, as ops that only compare or copy need them."""
    for type in operands[1:]:
        require(type.element == operands[0].element,
                f"operands of one element type, found {operands[0]} and {type}")  # fmt: skip


def is_bias(b: Type | None, channels: int) -> None:
    """Require one bias a channel, or none at all."""
    if b is not None:
        require(b.shape == (channels,), f"the bias must be [{channels}], found {b}")


def is_clamp(clamp: tuple | None) -> None:
    """Require a lower and an upper bound in that order."""
    if clamp is not None:
        require(len(clamp) == 2 and clamp[0] <= clamp[1],
                f"a clamp is [low, high], found {list(clamp)}")  # fmt: skip


def clamped(op, y: np.ndarray) -> np.ndarray:
    """A result within the bounds of the op's clamp."""
    clamp = op.attributes["clamp"]
    return y if clamp is None else np.clip(y, *np.asarray(clamp, y.dtype))
