"""Which kernels compute a legalized function on this machine; loads jax where it is there."""

from importlib import import_module
from importlib.util import find_spec

from ...ir import Func, Op

KERNELS = {
    "calls": ("xla.conv", "xla.dot", "xla.depthwise", "xla.batch_dot"),
    "rows": ("int8.softmax", "int8.layer_norm", "int8.rms_norm", "int8.table"),
    "pools": ("nn.max_pool", "int8.avg_pool"),
    "hybrid": ("hybrid.dense", "hybrid.conv2d", "hybrid.depthwise_conv2d"),
}
"""The kinds of ops that have kernels in C++, by the module here that calls them."""

MODULES = {kind: module for module, kinds in KERNELS.items() for kind in kinds}


def layers(func: Func) -> list[str]:
    """How many of the kernels of a legalized function are computed in C++ here, and by which set.

    A line, or none for a function without such kernels.
    """
    ops = [op for op in func.ops if _has_kernel(op)]
    if not ops or find_spec("jax") is None:
        return []
    from .library import library, native_calls

    if library() is None:
        return [f"native kernels: none here, XLA's own compute all {len(ops)}"]
    with native_calls():
        served = sum(import_module(f".{MODULES[op.kind]}", __package__).serves(op) for op in ops)
    about = f"{library().name}, {library().threads} threads"
    return [f"native kernels ({about}): {served} of {len(ops)}"]


def _has_kernel(op: Op) -> bool:
    """Whether ops of its kind have one: of pools those of stored values."""
    return op.kind in MODULES and not (op.kind == "nn.max_pool" and op.type.is_float)
