"""The quant dialect itself, and what its ops ask of their operands."""

from qir.dialect import Dialect
from qir.errors import require
from qir.types import Type

quant = Dialect("quant", "Observers, ranges, and the casts between reals and stored integers.")


def takes_f32(x: Type) -> None:
    """Decline what is no f32."""
    require(x.dtype.name == "f32", f"takes f32, found {x}")
