"""Versions: of operators, by the types that they stand on, and of the runtime that has them."""

import json
from functools import cache
from importlib import resources

import numpy as np

from qir.dialects.tfl.dialect import BUILTINS, is_hybrid

from ...ir import Op
from ...types import Type

OLDEST = "1.5.0"
"""The first TensorFlow release with the format."""
HYBRID = {"CONV_2D": (2, 5), "DEPTHWISE_CONV_2D": (4, 6), "FULLY_CONNECTED": (9, 12),
          "UNIDIRECTIONAL_SEQUENCE_LSTM": (3, 3)}  # fmt: skip
"""Versions with integer weights of one scale and of several (`op_version.cc` of TensorFlow)."""
STATED_BIAS = {"CONV_2D": 8, "FULLY_CONNECTED": 11, "TRANSPOSE_CONV": 5}
"""Versions that say what the bias beside an input of 16 bits is stored in."""


@cache
def capabilities() -> dict[str, dict]:
    """What TensorFlow Lite's 8-bit specification says of each operator, by its name.

    inputs: by slot, role, storage, granularity and axis. same_scale: which of its tensors share
    one grid. fixed_output_int8, fixed_output_int16: scale and zero point. int16x8: whether it has
    16-bit activations. op_version_int8, op_version_int16: the version for 8 bits, and for 16 where
    that is another than 1 (`op_version.cc` of TensorFlow).
    """
    return json.loads(resources.files(__package__).joinpath("capabilities.json").read_text())


@cache
def runtimes() -> dict[str, tuple[str, ...]]:
    """For each operator the TensorFlow release of each of its versions; `-` where none is known."""
    text = resources.files(__package__).joinpath("runtimes.txt").read_text()
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {name: tuple(releases) for name, *releases in rows}


def version_of(op: Op) -> int:
    """The version of the operator that runs an op, by the storage that it reads.

    For most that is whether its first operand has 8 bits, for layers that multiply reals by
    integers whether their scales lie along an axis.
    """
    operator = BUILTINS[op.kind].operator
    first = op.operands[0].type if op.operands else None
    if operator == "DEQUANTIZE":
        return _of_dequantize(first)
    if operator == "EMBEDDING_LOOKUP":
        return _of_embedding_lookup(op.operands[1].type)
    if operator in HYBRID and is_hybrid(op.operands[0], op.operands[1]):
        one_scale, several = HYBRID[operator]
        return one_scale if op.operands[1].type.grid.per_tensor else several
    if op.attributes.get("quantized_bias_type", "FLOAT32") != "FLOAT32":
        return STATED_BIAS[operator]
    if operator == "QUANTIZE" and op.dtype.bits == 16:
        return 2
    if first is None or first.grid is None:
        return 1
    if first.dtype.name == "u8":
        return _of_bytes(op, operator)
    bits = 16 if first.dtype.bits == 16 else 8
    return capabilities().get(operator, {}).get(f"op_version_int{bits}") or 1


def _of_bytes(op: Op, operator: str) -> int:
    """The version for u8, as op_version.cc has it: most often the first."""
    a = op.attributes
    if operator == "FULLY_CONNECTED" and (a["keep_num_dims"] or len(op.operands) == 2):
        return 6 if len(op.operands) == 2 else 5
    if operator == "TRANSPOSE_CONV" and len(op.operands) == 3:
        return 3 if a["fused_activation_function"] == "NONE" else 4
    if operator == "DEPTHWISE_CONV_2D":
        return 1 if a["dilation_w_factor"] == a["dilation_h_factor"] == 1 else 2
    if operator == "CONV_2D" and op.operands[0].shape[3] != op.operands[1].shape[3]:
        return 6
    if operator == "MUL":
        scales = [np.float32(each.type.scale) for each in (*op.operands, op)]
        return 3 if scales[0] * scales[1] / scales[2] >= 1 else 1
    if operator.startswith("RESIZE_"):
        nearest = operator == "RESIZE_NEAREST_NEIGHBOR" and a["align_corners"]
        return 3 if a["half_pixel_centers"] or nearest else 1
    return {"UNPACK": 2, "RELU": 2, "GELU": 2, "BROADCAST_TO": 2}.get(operator, 1)


def _of_dequantize(x: Type) -> int:
    """As TensorFlow Lite's op_version.cc; 2 bits came with the release that version 7 is of."""
    if x.dtype.name in ("f16", "i16"):
        return 3
    if x.dtype.name == "i8" and x.grid.axis is not None:
        return 5
    return {"i8": 2, "i4": 6, "i2": 7}.get(x.dtype.name, 1)


def _of_embedding_lookup(values: Type) -> int:
    if values.dtype.name == "i2":
        return 5
    per_row = values.grid is not None and values.grid.axis is not None
    return 4 if values.dtype.name == "i4" or per_row else 1


def minimum_runtime(codes) -> str:
    """The oldest TensorFlow release that runs these operators, pairs of name and version."""
    found = [OLDEST]
    for operator, version in codes:
        releases = runtimes().get(operator, ())[version - 1 : version]
        found += [each for each in releases if each != "-"]
    return max(found, key=lambda text: [int(part) for part in text.split(".")])
