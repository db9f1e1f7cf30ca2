"""Which kernels compute a legalized function on this machine; loads jax where it is there."""

from importlib.util import find_spec

from ...ir import Func, Op

KINDS = ("xla.conv", "xla.dot", "xla.depthwise", "xla.batch_dot")
ROWS = ("int8.softmax", "int8.layer_norm", "int8.rms_norm", "int8.table")
POOLS = ("nn.max_pool", "int8.avg_pool")
HYBRID = ("hybrid.dense", "hybrid.conv2d", "hybrid.depthwise_conv2d")


def layers(func: Func) -> list[str]:
    """How many of the kernels of a legalized function are computed in C++ here, and by which set.

    A line, or none for a function without such kernels.
    """
    ops = [op for op in func.ops if op.kind in KINDS + ROWS + HYBRID or _is_pool(op)]
    if not ops or find_spec("jax") is None:
        return []
    from . import calls, hybrid, pools, rows
    from .library import library, native_calls

    if library() is None:
        return [f"native kernels: none here, XLA's own compute all {len(ops)}"]
    with native_calls():
        served = sum(of.serves(op) for of, kinds in ((calls, KINDS), (rows, ROWS), (hybrid, HYBRID),
                                                     (pools, POOLS))
                     for op in ops if op.kind in kinds)  # fmt: skip
    about = f"{library().name}, {library().threads} threads"
    return [f"native kernels ({about}): {served} of {len(ops)}"]


def _is_pool(op: Op) -> bool:
    """Whether it is one that has a kernel: those of reals are XLA's in any case."""
    return op.kind in POOLS and not op.type.is_float
