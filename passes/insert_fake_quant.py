"""Write the rounding of inference into a float graph, for training to see.

Activations are rounded where calibration has found a range, which training may move; weights by the
largest magnitude that they have at the moment.
"""

from typing import Literal

from qir.errors import QirError
from qir.graph_pass import graph_pass
from qir.ir import OPS, Func, Op, derived, kept, transform
from qir.quantizable import chains, roles_in
from qir.timing import count
from qir.variables import held

from ..dialects import lax, nn, quant


@graph_pass("calibrated -> float")
def insert_fake_quant(
    func: Func, *, weights: Literal["per_channel", "per_tensor"] = "per_channel", bits: int = 8
) -> Func:
    """Round activations to 8 bits in the ranges found, and the weights of layers symmetrically.

    weights: one scale for each output channel, or one for a whole weight; they have so many bits.
    Biases stay as they are: their grid is fine, unless weights have few bits.
    """
    if not 2 <= bits <= 8:
        raise QirError(f"weights of {bits} bits, expected 2 to 8: they are stored in i8")
    func, put_back = held(func)
    chained = chains(func)
    rounded: dict[tuple[Op, int | None], Op] = {}

    def weight(w: Op, axis: int | None) -> Op:
        if (w, axis) not in rounded:
            rounded[w, axis] = derived(_to_integers(w, axis, bits), w)
        return rounded[w, axis]

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op.kind == quant.stats.name:
            return _in_range(op, *operands)
        if op.kind not in OPS:
            return kept(op, operands)
        axes = {i: role.axis if weights == "per_channel" else None
                for i, role in enumerate(roles_in(op, chained).operands)
                if role.kind == "weight" and op.operands[i].is_const}  # fmt: skip
        return kept(op, tuple(weight(o, axes[i]) if i in axes else o
                              for i, o in enumerate(operands)))  # fmt: skip

    func = transform(func, change)
    count("weights rounded", len(rounded))
    return put_back(func)


def _in_range(stats: Op, x: Op) -> Op:
    """A value rounded to 8 bits in its range, zero included; of zeros alone in any range."""
    a = stats.attributes
    lo, hi = min(a["lo"], 0.0), max(a["hi"], 0.0)
    hi = hi if lo < hi else 1.0
    return quant.fake_quant(x, lo=lo, hi=hi, name=a["name"], location=stats.location)


def _to_integers(w: Op, axis: int | None, bits: int) -> Op:
    """A weight rounded to integers whose largest magnitude is that of each channel, or of all."""
    others = [i for i in range(w.type.rank) if i != axis]
    largest = nn.reduce_max(lax.abs(w), axes=others)
    # beyond the ends lies nothing but the rounding of the ends themselves: no clamp is needed
    return quant.quantize_and_dequantize(
        w, lax.neg(largest), largest, axis=axis, bits=bits, narrow=True, clamp=False,
        location=w.location,
    )  # fmt: skip
