"""What an operator takes over from an op: its result's element, its clamp, its padding."""

import numpy as np

from qir.dialects import tfl
from qir.dialects.int8.dialect import stored_clamp
from qir.dialects.tfl.dialect import CLAMPS

from ....errors import require
from ....ir import Op, const
from ....rounding import factors
from ....shapes import pads_of
from ....types import Element


def stated(op: Op) -> Element | None:
    """The result's element where it is not that of the first operand."""
    same = op.type.element == op.operands[0].type.element
    return None if same else op.type.element


def finish(op: Op) -> dict:
    """The fused activation that clamps as the op does, and the result's element."""
    clamp, to = op.attributes.get("clamp"), op.type.element
    names = [name for name, bounds in CLAMPS.items()
             if clamp == (bounds if to.grid is None else stored_clamp(bounds, to))]  # fmt: skip
    require(names, f"no fused activation clamps to {clamp}")
    return {"fused_activation_function": _told(names, to), "to": stated(op)}


def _told(names: list[str], to: Element) -> str:
    """Of activations that come to the same on a grid, the one that says what its ends do.

    Where zero is the lowest value the storage itself is a RELU, which a reader who takes the
    quantization off would miss; it is a RELU6 where the highest value is 6.
    """
    if to.grid is None or "RELU" not in names:
        return names[0]
    highest = float(to.grid.scale) * (to.hi - int(to.grid.zero))
    ends_at_6 = "RELU6" in names and abs(highest - 6) <= float(to.grid.scale) / 2
    return "RELU6" if ends_at_6 else "RELU"


def same_rescale(op: Op, *scales: np.ndarray) -> None:
    """Require an integer op to rescale by what its types say: the kernels know nothing else.

    scales: the real factor, one for each operand of a sum.
    """
    if "rescale" not in op.attributes:
        return
    own, to = factors(op.attributes["rescale"]), np.float64(op.type.scale)
    said = np.concatenate([np.atleast_1d(scale) for scale in scales]).astype(np.float64) / to
    same = np.allclose(own, said, rtol=2e-3, atol=2.0**-14)
    require(same, "it rescales otherwise than the scales of its types say")


def product_of_scales(op: Op, repeated: int = 1) -> np.ndarray:
    """The real value of one product of the first two operands, by output channel."""
    if op.type.grid is None:
        return np.ones(1)
    x, w = (operand.type.scale.astype(np.float64) for operand in op.operands[:2])
    return np.repeat(np.atleast_1d(x * w), repeated)


def padded(op: Op, window, dilation=(1, 1), lowest: bool = False) -> tuple[Op, str]:
    """The image that an operator slides its window over, and SAME or VALID.

    Any other padding is an operator of its own, by zeros, or by the lowest value that there is.
    """
    x, strides = op.operands[0], op.attributes["strides"]
    pads = pads_of(x.type, window, strides, op.attributes["padding"], dilation)
    for name in ("VALID", "SAME"):
        if pads == pads_of(x.type, window, strides, name.lower(), dilation):
            return x, name
    (top, bottom), (left, right) = pads
    require(min(top, bottom, left, right) >= 0, f"the padding {pads} crops the image")
    paddings = (0, 0, top, bottom, left, right, 0, 0)
    zero_is_lowest = x.type.grid is not None and int(x.type.zero) == x.type.lo
    if not lowest or zero_is_lowest:
        return tfl.pad(x, paddings=paddings), "VALID"
    end = const(np.asarray(x.type.lo, x.dtype.numpy), x.type.with_shape(()), name="lowest")
    return tfl.padv2(x, end, paddings=paddings), "VALID"
