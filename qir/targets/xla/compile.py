"""Compile a function for XLA: one program, its large constants on the device beside it."""

import os
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial

import jax
import numpy as np

from ...errors import QirError
from ...evaluate import checked_inputs, evaluate_op, holds_all
from ...ir import Func, Op, place_of
from ...types import TupleType, Type
from ..native.library import is_called, native_calls
from ..native.sums import fused_sums, layer_and_sum
from .lower_quant import wide_program
from .slices import in_slices, slice_of
from .table import lowerings

EMBEDDED = 4096
"""Constants up to so many bytes become part of the program, the rest arguments on the device.

Measured on ResNet-50 at batch 1, embedding everything against this: compile time 0.9 against 0.35 s
in int8 and 1.3 against 0.2 s in f32, memory 0.44 against 0.38 GB and 0.9 against 0.5 GB; run time
the same in int8, 13 % less in f32.
"""

OPTIONS = {"xla_cpu_use_fusion_emitters": False}
"""What XLA:CPU is told. Its newer emitters take an MLIR context for each fused loop.

Measured on ResNet-50 at batch 1: 332 against 468 MB in XLA's own layer, 328 against 406 with
kernels in C++; times the same. Other options stay as they are: `xla_cpu_prefer_vector_width=512`
makes int8 networks up to 10 % faster on some machines, and `atan` give NaN on others (jaxlib
0.10.2 on an AMD CPU).
"""

_LOADED_IN = os.getpid()


def compile_func(func: Func) -> Callable[..., tuple]:
    """A callable that runs the function on XLA: arrays in parameter order in, jax arrays out.

    It may be called from several threads. QirError for ops without an XLA lowering, for inputs of
    another shape or storage than the function's, and in a forked child process, where XLA hangs.
    """
    run = build(func)

    def call(*arrays) -> tuple:
        if len(arrays) == len(func.parameters) and all(map(_fits, func.parameters, arrays)):
            return run(*arrays)
        return run(*checked_inputs(func, arrays))

    return call


def _fits(parameter: Op, array) -> bool:
    """Whether it is an array on the device that can be taken as it is."""
    type = parameter.type
    return (isinstance(array, jax.Array) and array.shape == type.shape
            and holds_all(type, array.dtype))  # fmt: skip


def build(func: Func, *, native: bool = True) -> Callable[..., tuple]:
    """`compile_func` without the checks of shapes and storages; not native: by XLA alone."""
    refuse_fork()
    require_lowerings(func.ops)
    types = wide_program(func)
    with jax.enable_x64(types), native_calls() if native else nullcontext():
        part = func if is_called() else slice_of(func)
        trace = jax.make_jaxpr(lambda *xs: lowered(part, xs))(*_specs(part))
        weights, place = _weights(trace.consts)

        def program(weights, *xs):
            consts = [
                c if at is None else weights[at] for c, at in zip(trace.consts, place, strict=True)
            ]
            run = partial(jax.core.eval_jaxpr, trace.jaxpr, consts)
            return in_slices(lambda *xs: tuple(run(*xs)), part, func, xs)

        executable = _compiled(jax.jit(program).lower(weights, *_specs(func)))

    def run(*arrays) -> tuple:
        refuse_fork()
        if not types:
            return executable(weights, *arrays)
        with jax.enable_x64(True):
            return executable(weights, *arrays)

    return run


def _specs(func: Func) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(p.shape, p.dtype.numpy) for p in func.parameters]


def _compiled(program: jax.stages.Lowered) -> jax.stages.Compiled:
    """The program compiled with OPTIONS where XLA has them."""
    if jax.default_backend() != "cpu":
        return program.compile()
    try:
        return program.compile(compiler_options=OPTIONS)
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return program.compile()


def _weights(consts):
    """The large constants as arrays on the device, and for each constant its place among them."""
    weights, place = [], []
    for const in map(np.asarray, consts):
        large = const.nbytes > EMBEDDED
        place.append(len(weights) if large else None)
        if large:
            weights.append(jax.device_put(const))
    return weights, place


def lowered(func: Func, inputs) -> tuple:
    """The results of a function traced by JAX; what depends on constants alone is numpy's."""
    values = dict(zip(func.parameters, inputs, strict=True))
    sums = fused_sums(func)
    fused = set(sums.values())
    for op in func.ops:
        if op in sums:
            layer = sums[op]
            (other,) = (values[x] for x in op.operands if x is not layer)
            values[op] = layer_and_sum(op, layer, values[layer.operands[0]], other)
        elif op.kind != "parameter" and op not in fused:
            values[op] = lowered_op(op, [values[operand] for operand in op.operands])
    return tuple(values[result] for result in func.results)


def lowered_op(op: Op, operands: list):
    """The value of an op traced by JAX, by numpy where all its operands are numpy's."""
    if all(_known(operand) for operand in operands):
        return evaluate_op(op, operands)
    if op.kind == "item":
        return operands[0][op.attributes["index"]]
    try:
        result = lowerings()[op.kind](op, *operands)
    except QirError:
        raise
    except Exception as error:  # JAX raises many kinds
        reason = str(error).partition("\n")[0]  # the rest is about JAX's traceback
        raise QirError(
            f"the XLA lowering of {op.kind} failed: {reason}", at=place_of(op)
        ) from error
    if isinstance(op.type, TupleType):
        return tuple(_stored(op, x, t) for x, t in zip(result, op.type.items, strict=True))
    return _stored(op, result, op.type)


def _known(value) -> bool:
    return all(map(_known, value)) if isinstance(value, tuple) else isinstance(value, np.ndarray)


def _stored(op: Op, value, type: Type):
    if value.shape != type.shape:
        raise QirError(f"the XLA lowering of {op.kind} gave shape {value.shape} for {type}",
                       at=place_of(op))  # fmt: skip
    return value.astype(type.dtype.numpy)


def require_lowerings(ops: Iterable[Op]) -> None:
    """QirError naming every kind of op that XLA has no lowering for, and where it was met first."""
    table, missing = lowerings(), {}
    for op in ops:
        if op.kind not in table and op.kind not in ("parameter", "const", "item"):
            missing.setdefault(op.kind, op)
    if missing:
        met = [f"{kind} ({place_of(op) or 'no location'})" for kind, op in missing.items()]
        raise QirError(
            f"no XLA lowering for {', '.join(met)}",
            help='add one to qir/targets/xla/lower_<dialect>.py: @lowers("<op>")',
        )


def refuse_fork() -> None:
    """QirError in a process forked from one that had loaded JAX: its thread pools are gone."""
    if os.getpid() != _LOADED_IN:
        raise QirError(
            "XLA hangs in a process forked from one that has used it",
            help='start processes with multiprocessing.get_context("spawn")',
        )
