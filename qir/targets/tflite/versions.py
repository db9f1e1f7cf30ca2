"""Versions: of operators, by the types that they stand on, and of the runtime that has them."""

from ...ir import Op


def version_of(op: Op) -> int:
    """The version of the operator that runs an op."""
    return 1


def minimum_runtime(codes) -> str:
    """The oldest TensorFlow release that runs these operators of these versions."""
    return "1.5.0"
