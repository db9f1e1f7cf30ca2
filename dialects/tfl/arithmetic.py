"""Sums, differences and products, element by element, operands broadcast to each other."""

import numpy as np

from qir import shapes
from qir.errors import QirError, require
from qir.expansions import expands
from qir.ir import Op
from qir.rounding import Rescale, derive, derive_sum
from qir.types import Element, Type

from .. import int8, lax, nn
from ..int8.dialect import stored_clamp
from .dialect import Activation, builtin, clamp_of, is_quantized, of_16_bits, on, on_grids


def _pair(a: Type, b: Type, activation: str, to: Element | None) -> Type:
    require(is_quantized(a, b) or a.element == b.element, f"takes one storage, found {a} and {b}")
    clamp_of(activation)
    return on(a, shapes.broadcast(a.shape, b.shape), to)


@builtin("ADD", "AddOptions")
def add(a: Type, b: Type, *, fused_activation_function: Activation = "NONE",
        pot_scale_int16: bool = True, to: Element | None = None) -> Type:  # fmt: skip
    """a + b."""
    return _pair(a, b, fused_activation_function, to)


@builtin("SUB", "SubOptions")
def sub(a: Type, b: Type, *, fused_activation_function: Activation = "NONE",
        pot_scale_int16: bool = True, to: Element | None = None) -> Type:  # fmt: skip
    """a - b."""
    return _pair(a, b, fused_activation_function, to)


@builtin("MUL", "MulOptions")
def mul(a: Type, b: Type, *, fused_activation_function: Activation = "NONE",
        to: Element | None = None) -> Type:  # fmt: skip
    """a * b."""
    return _pair(a, b, fused_activation_function, to)


@expands(add, sub)
def _(op, kernels, a, b):
    clamp = clamp_of(op.attributes["fused_activation_function"])
    plus = op.kind == "tfl.add"
    if not on_grids(op, a, b):
        if a.type.is_float:
            return (nn.add if plus else nn.sub)(a, b, clamp=clamp)
        return (lax.add if plus else lax.sub)(*_plain(a, b, clamp))
    to = op.type.element
    if of_16_bits(a.type, b.type, op.type):
        kernels = _of_general_scales(op)
    rescale = _sum_rescale(kernels, a.type.scale, b.type.scale * (1 if plus else -1), to)
    build = int8.add if plus else int8.sub
    return build(a, b, to=to, rescale=rescale, clamp=stored_clamp(clamp, to))


def _plain(a: Op, b: Op, clamp) -> tuple[Op, Op]:
    require(clamp is None, f"a fused activation of plain integers {a.type}")
    return a, b


def _of_general_scales(op: Op) -> str:
    """The one kernel that sums have on 16 bits; that of powers of two is another, for cells."""
    types = (*(operand.type for operand in op.operands), op.type)
    powers = all(np.frexp(type.scale)[0] == 0.5 for type in types)
    require(not (powers and op.attributes["pot_scale_int16"]),
            "adds 16 bits on scales that are powers of two, pot_scale_int16=false is supported")
    return "tflite_reference"


def _sum_rescale(kernels: str, first, second, to: Element) -> Rescale:
    """XNNPACK's sum where its delegate takes the ratios of scales, else the builtin one."""
    if to.dtype.bits == 16:
        return derive_sum("tflite_add_16", first, second, to.grid.scale)
    if kernels == "xnnpack":
        try:
            return derive_sum("xnnpack_add", first, second, to.grid.scale)
        except QirError:
            pass
    return derive_sum("tflite_add", first, second, to.grid.scale)


@expands(mul)
def _(op, kernels, a, b):
    clamp = clamp_of(op.attributes["fused_activation_function"])
    if not on_grids(op, a, b):
        return nn.mul(a, b, clamp=clamp) if a.type.is_float else lax.mul(*_plain(a, b, clamp))
    to = op.type.element
    if of_16_bits(a.type, b.type, op.type):
        kernels = "tflite_reference"
    return int8.mul(a, b, to=to, rescale=_product_rescale(kernels, a.type, b.type, to),
                    clamp=stored_clamp(clamp, to))  # fmt: skip


def _product_rescale(kernels: str, a: Type, b: Type, to: Element) -> Rescale:
    scale = np.float32(a.scale * b.scale) / np.float32(to.grid.scale)
    if kernels == "xnnpack" and 2.0**-16 <= scale < 2.0**8:
        return Rescale("f32_half_even", scale=scale)
    return derive("tflite_reference", np.float64(scale))
