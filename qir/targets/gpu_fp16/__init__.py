"""The GPU delegate of TensorFlow Lite: reals alone, which it computes in 16 bits."""

from ...capabilities import read_capabilities, refusal
from ...forms import form
from ...ir import Op
from ...target import Target

CAPABILITIES = read_capabilities(__package__)

TARGET = Target(
    name="gpu_fp16",
    doc="TensorFlow Lite's GPU delegate, as a .tflite file of reals",
    form="gpu_fp16",
    roundings={"": "tflite_reference", "int8.add": "tflite_add", "int8.sub": "tflite_add"},
    rules="qir.targets.tflite.rules:rules",
    decompositions="qir.targets.tflite.decompositions:rules",
    schemes=("weight_only_f16", "weight_only_i8"),
)


@form("gpu_fp16", "operators that the GPU delegate takes, in reals", implies=("tflite",))
def gpu_fp16(op: Op) -> str | None:
    return refusal(CAPABILITIES, op) if op.kind.startswith("tfl.") else None
