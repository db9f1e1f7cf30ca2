"""Edge TPU: what Coral's compiler takes of TensorFlow Lite's operators, all of it in 8 bits."""

from ...capabilities import read_capabilities, refusal
from ...forms import form
from ...ir import Op
from ...target import Target

CAPABILITIES = read_capabilities(__package__)

TARGET = Target(
    name="edgetpu",
    doc="Coral's Edge TPU, as a .tflite file for its compiler",
    form="edgetpu",
    roundings={"": "tflite_reference", "int8.add": "tflite_add", "int8.sub": "tflite_add"},
    rules="qir.targets.tflite.rules:rules",
    decompositions="qir.targets.tflite.decompositions:rules",
    schemes=("int8_per_channel", "int8_per_tensor", "uint8_per_tensor"),
)


@form("edgetpu", "operators that Coral's compiler maps to the Edge TPU", implies=("tflite",))
def edgetpu(op: Op) -> str | None:
    return refusal(CAPABILITIES, op) if op.kind.startswith("tfl.") else None
