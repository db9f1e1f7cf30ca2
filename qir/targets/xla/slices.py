"""Batches that go through XLA's own kernels a few examples at a time.

XLA asks for the memory of what lies between ops at each call. From 32 MB on malloc maps it anew
each time, and what one layer writes has left the caches before the next one reads it: MobileNetV2
at batch 8 spent a quarter of its time in page faults.
"""

import os
from collections.abc import Callable

from jax import lax

from ...errors import QirError
from ...ir import OPS, Func, Op

BYTES = 2**23
"""Of the operands, the result and the 32-bit sums of an op, at most, for each thread."""


def slice_of(func: Func) -> Func:
    """The same function for the part of its batch that is computed at once: a divisor of it.

    The function itself if it is small, or holds an op not known to keep examples apart.
    """
    batch = _batch(func)
    if batch < 2 or not all(_keeps_apart(op, batch) for op in func.ops):
        return func
    each = max(map(_bytes, func.ops)) / batch
    size = max(n for n in range(1, batch + 1) if batch % n == 0 and (n == 1 or n * each <= _most()))
    if size == batch:
        return func
    try:
        part = func.with_batch(size)
    except QirError:  # an attribute holds the batch
        return func
    # a reshape in between that holds the old batch would deal examples out to its rows
    return part if all(op.is_const or op.shape[0] == size for op in part.ops) else func


def in_slices(run: Callable[..., tuple], part: Func, whole: Func, inputs) -> tuple:
    """What `run`, which computes `part`, gives for all of the inputs of `whole`, traced by JAX."""
    if part is whole:
        return run(*inputs)
    size, count = _batch(part), _batch(whole) // _batch(part)
    split = tuple(x.reshape(count, size, *x.shape[1:]) for x in inputs)
    results = lax.map(lambda xs: run(*xs), split)
    return tuple(y.reshape(count * size, *y.shape[2:]) for y in results)


def _batch(func: Func) -> int:
    """The leading extent that all parameters and results have; 0 if they have no one such."""
    leading = {x.shape[0] if x.shape else 0 for x in (*func.parameters, *func.results)}
    return leading.pop() if len(leading) == 1 else 0


def _most() -> int:
    """Bytes of all threads that XLA computes an op with."""
    given = getattr(os, "sched_getaffinity", None)
    return BYTES * (len(given(0)) if given else os.cpu_count() or 1)


def _bytes(op: Op) -> int:
    if op.is_const or op.kind == "parameter":
        return 0
    sums = 4 * op.type.size if op.kind.startswith("xla.") else 0
    return sums + sum(x.type.size * x.dtype.numpy.itemsize for x in (op, *op.operands)
                      if not x.is_const)  # fmt: skip


def _keeps_apart(op: Op, batch: int) -> bool:
    """Whether example i of the result, along axis 0, depends on example i of the operands alone."""
    if op.is_const or op.kind == "parameter":
        return True
    rule = _is_pointwise if op.kind in OPS and OPS[op.kind].pointwise else APART.get(op.kind)
    given = [x for x in op.operands if not x.is_const]
    return (
        rule is not None
        and given != []
        and all(x.type.rank and x.shape[0] == batch for x in (op, *given))
        and rule(op)
    )


def _is_layer(op: Op) -> bool:
    return op.type.rank > 1 and all(x.is_const for x in op.operands[1:])


def _is_pointwise(op: Op) -> bool:
    """No constant has an example's own numbers, and broadcasting shifts no axes."""
    rank = op.type.rank
    return all(x.type.rank < rank or x.shape[0] == 1 if x.is_const else x.type.rank == rank
               for x in op.operands)  # fmt: skip


def _is_within(op: Op) -> bool:
    return not {0, -op.operands[0].type.rank} & set(op.attributes["axes"])


def _is_whole(op: Op) -> bool:
    start, limit, strides = (op.attributes[name] for name in ("start", "limit", "strides"))
    return start[0] == 0 and limit[0] == -1 and (strides is None or strides[0] == 1)


APART = {
    **dict.fromkeys(("xla.conv", "xla.dot", "xla.depthwise"), _is_layer),
    **dict.fromkeys(("int8.avg_pool", "nn.max_pool"), _is_layer),
    **dict.fromkeys(("int8.add", "int8.sub", "int8.mul", "int8.table"), _is_pointwise),
    **dict.fromkeys(("int8.requantize", "quant.quantize", "quant.dequantize"), _is_pointwise),
    **dict.fromkeys(("int8.mean", "int8.sum"), _is_within),
    "lax.transpose": lambda op: op.attributes["permutation"][0] == 0,
    "lax.reshape": lambda op: True,  # rows lie one after the other before and after
    "lax.slice": _is_whole,
}
"""Ops of int8 networks of images, by what shows that they keep examples apart."""
