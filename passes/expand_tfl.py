"""Say what TensorFlow Lite's operators come to, in float and in the integers of a kernel set."""

from typing import Literal

from qir.errors import QirError
from qir.expansions import EXPANSIONS, expanded
from qir.graph_pass import graph_pass
from qir.ir import Func, Op, kept, transform

Kernels = Literal["tflite_reference", "tflite_builtin", "xnnpack"]


@graph_pass("any -> mixed")
def expand_tfl(func: Func, *, kernels: Kernels = "xnnpack") -> Func:
    """Replace each tfl op by ops of lax, nn, quant and int8 that compute what a kernel set does.

    kernels: TensorFlow Lite's reference kernels, its builtin ones, or those of XNNPACK's delegate
    (the default of its interpreter) with the builtin ones where the delegate takes no op. QirError
    lists every op that they do not take, and why.
    """
    refused: list[QirError] = []

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op.kind not in EXPANSIONS:
            return kept(op, operands)
        try:
            return expanded(op, kernels, *operands)
        except QirError as error:
            refused.append(error)
            return kept(op, operands)

    func = transform(func, change)
    if refused:
        lines = [f"  {e.message}, at {e.at or 'an unknown place'}" for e in refused]
        raise QirError(f"{len(refused)} ops are not computed by TensorFlow Lite's kernels:\n"
                       + "\n".join(lines), at=refused[0].at)  # fmt: skip
    return func
