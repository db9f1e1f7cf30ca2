"""The Kestrel accelerator: what it takes, as data, and its simulator.

It is invented, and like many that are not: an engine for convolutions, a vector unit for what goes
element by element, a unit for tables, and memory that is moved around. Nothing runs in float.
"""

from collections.abc import Callable

from qir.evaluate import checked_inputs, evaluate
from qir.forms import form
from qir.ir import OPS, Func, Op
from qir.target import Target

TARGET = Target(
    name="kestrel",
    doc="the Kestrel accelerator, an example of a target from elsewhere; runs on its simulator",
    form="kestrel",
    roundings={"": "tflite_reference", "int8.add": "tflite_add", "int8.sub": "tflite_add"},
    rules="kestrel.rules:rules",
    compiler="kestrel.target:compile_func",
    limits={"window": 7, "channels": 2048},
)

CONVOLUTIONS = ("int8.conv2d", "int8.depthwise_conv2d")
ELEMENTWISE = ("int8.add", "int8.mul", "int8.requantize", "kestrel.prelu_int8", "int8.table")
AT_THE_BORDER = ("parameter", "const", "item", "quant.quantize", "quant.dequantize")


@form("kestrel", "what the Kestrel accelerator runs: 8-bit integers, within its limits",
      implies=("int8",))  # fmt: skip
def complaint(op: Op) -> str | None:
    """Why an op may not stand in a graph for Kestrel; `legalize` lists all of them."""
    if op.kind in AT_THE_BORDER or OPS[op.kind].moves or op.kind == "nn.max_pool":
        return None
    if op.kind in ELEMENTWISE:
        return None if op.type.dtype.bits <= 8 else f"has {op.type.dtype} elements, takes 8 bits"
    if op.kind not in CONVOLUTIONS:
        return "runs on none of its units"
    (*window, _, _), limits = op.operands[1].shape, TARGET.limits
    if max(window) > limits["window"]:
        most = limits["window"]
        return f"has a window of {window[0]}x{window[1]}, the most is {most}x{most}"
    if max(op.shape[3], op.operands[0].shape[3]) > limits["channels"]:
        return f"has more than {limits['channels']} channels"
    return None


def compile_func(func: Func) -> Callable:
    """A callable that runs a legalized function: arrays in parameter order in, a tuple out.

    A vendor would hand the graph to a compiler here. The numpy meanings are exact to the bit, since
    every rounding stands in the graph, and so they make a simulator.
    """
    return lambda *arrays: evaluate(func, checked_inputs(func, arrays))
