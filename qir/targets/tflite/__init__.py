"""TensorFlow Lite: its files in and out, its interpreter as the judge of what its ops mean."""

from ...forms import form
from ...ir import Op
from ...target import Target

TARGET = Target(
    name="tflite",
    doc="TensorFlow Lite's builtin operators, written as .tflite files",
    form="tflite",
    roundings={"": "tflite_reference", "int8.add": "tflite_add", "int8.sub": "tflite_add"},
    rules="qir.targets.tflite.rules:rules",
    decompositions="qir.targets.tflite.decompositions:rules",
    schemes=("int8_per_channel", "int8_per_tensor", "int16_per_channel", "int16_per_tensor",
             "uint8_per_tensor", "dynamic_range", "weight_only_i8", "weight_only_i4",
             "weight_only_i2", "weight_only_f16"),  # fmt: skip
)


HALVES = ("f16", "bf16")
ON_HALVES = ("tfl.dequantize", "tfl.cast", "tfl.reshape")
"""What the runtime does to halves: no kernel computes in them."""


@form("tflite", "TensorFlow Lite's operators alone", implies=("mixed",))
def tflite(op: Op) -> str | None:
    if op.kind in ("parameter", "const", "item"):
        return None
    if not op.kind.startswith("tfl."):
        return "is no operator of TensorFlow Lite"
    types = [t for o in (op, *op.operands) for t in getattr(o.type, "items", (o.type,))]
    half = next((t.dtype.name for t in types if t.dtype.name in HALVES), None)
    if half is None or op.kind in ON_HALVES:
        return None
    return f"computes in {half}, and TensorFlow Lite's kernels in f32"
