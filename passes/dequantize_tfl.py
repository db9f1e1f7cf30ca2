"""Take the quantization off a graph of TensorFlow Lite's operators, to quantize it anew."""

from qir.graph_pass import graph_pass
from qir.ir import Func, Op, const, kept, parameter, transform
from qir.rounding import real
from qir.types import DTYPES, Element, Type

CASTS = ("tfl.quantize", "tfl.dequantize")
F32 = DTYPES["f32"]


@graph_pass("any -> any")
def dequantize_tfl(func: Func) -> Func:
    """Make every quantized value of tfl ops a real one: constants as they stand for, casts away.

    Inputs and results on grids become f32. What the ops compute is what they stand for in reals,
    without the rounding and the saturation of the integers.
    """

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op.kind in ("parameter", "const"):
            return _in_reals(op)
        if op.kind in CASTS and operands[0].dtype is F32:
            return operands[0]
        if not op.kind.startswith("tfl.") or operands == op.operands:
            return kept(op, operands)
        to = op.attributes.get("to")
        if to is not None and to.grid is not None:
            return op.with_operands(*operands, to=Element(F32))
        return op.with_operands(*operands)

    return transform(func, change)


def _in_reals(op: Op) -> Op:
    if op.type.grid is None:
        return op
    type = Type(F32, op.type.shape)
    if op.kind == "parameter":
        return parameter(op.attributes["name"], type, op.location)
    return const(real(op.type, op.value), type, op.attributes["name"], op.location)
