"""The XLA target: every op as JAX primitives, int8 kernels as XLA runs them best on a CPU."""

from ...forms import form
from ...ir import Op
from ...target import Target
from .table import LOWERINGS

DIALECTS = ("lax", "nn", "quant", "hybrid", "int8", "xla")
"""Every op of these has a lowering (a test sees to it); others may declare theirs."""

TARGET = Target(
    name="xla",
    doc="JAX's XLA; int8 kernels measured on CPUs",
    form="xla",
    roundings={"": "f32_half_even", "int8.add": "fixed15", "int8.sub": "fixed15"},
    rules="qir.targets.xla.rules:rules",
    decompositions="qir.targets.tflite.decompositions:cells",
    compiler="qir.targets.xla.compile:compile_func",
    limits={
        "accumulator_bits": 32,
        "wide_accumulator_bits": 64,
        "multiplier_bits": {"": 32, "float64_half_away": 54},
        "shift_range": {"": (-31, 31)},
    },
    schemes=("int8_per_channel", "int8_per_tensor", "int16_per_channel", "int16_per_tensor",
             "uint8_per_tensor", "dynamic_range", "weight_only_i8", "weight_only_i4",
             "weight_only_i2", "weight_only_f16",
             "weight_only_bf16"),  # fmt: skip
    layers="qir.targets.native.layers:layers",
    profile="qir.targets.xla.profile:read_profile",
    tuning="qir.targets.xla.tune:tuner",
)


@form("xla", "what XLA can run: every op has a lowering, every range is a grid", implies=("mixed",))
def xla(op: Op) -> str | None:
    if op.kind in ("parameter", "const", "item") or op.kind in LOWERINGS:
        return None
    if op.kind.partition(".")[0] in DIALECTS:
        return None
    return "has no XLA lowering; declare one with qir.targets.xla.table.lowers"
