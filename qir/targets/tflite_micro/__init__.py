"""TensorFlow Lite for Microcontrollers: the operators and storages of its reference kernels."""

from ...capabilities import read_capabilities, refusal
from ...forms import form
from ...ir import Op
from ...target import Target

CAPABILITIES = read_capabilities(__package__)

TARGET = Target(
    name="tflite_micro",
    doc="TensorFlow Lite for Microcontrollers, as a .tflite file",
    form="tflite_micro",
    roundings={"": "tflite_reference", "int8.add": "tflite_add", "int8.sub": "tflite_add"},
    rules="qir.targets.tflite.rules:rules",
    decompositions="qir.targets.tflite.decompositions:rules",
    schemes=("int8_per_channel", "int8_per_tensor", "int16_per_channel", "int16_per_tensor"),
)


@form("tflite_micro", "operators that kernels for microcontrollers take", implies=("tflite",))
def tflite_micro(op: Op) -> str | None:
    return refusal(CAPABILITIES, op) if op.kind.startswith("tfl.") else None
