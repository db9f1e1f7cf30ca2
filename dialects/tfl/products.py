"""Products of matrices."""

import numpy as np

from qir import shapes
from qir.errors import require
from qir.expansions import expands
from qir.rounding import Rescale, derive
from qir.types import Element, Type

from .. import hybrid, int8, lax, nn
from ..int8.dialect import real_scale, stored_clamp
from .convolutions import affine_rescale, plain, scale_of_one, transposed
from .dialect import Activation, Bias, builtin, clamp_of, is_hybrid, of_16_bits, on, on_grids


@builtin("FULLY_CONNECTED", "FullyConnectedOptions")
def fully_connected(x: Type, w: Type, b: Type | None = None, *,
                    fused_activation_function: Activation = "NONE", keep_num_dims: bool = False,
                    asymmetric_quantize_inputs: bool = False,
                    quantized_bias_type: Bias = "FLOAT32",
                    to: Element | None = None) -> Type:  # fmt: skip
    """Rows of x[...,K] by w[N,K] plus b[N]: [rows,N], or [...,N] with `keep_num_dims`."""
    require(w.rank == 2 and x.rank >= 1 and w.shape[1], f"takes w[N,K], found {x} by {w}")
    clamp_of(fused_activation_function)
    outputs, depth = w.shape
    if keep_num_dims:
        require(x.shape[-1] == depth, f"rows of {x.shape[-1]} by {w}")
        return on(x, (*x.shape[:-1], outputs), to)
    require(x.size % depth == 0, f"{x} makes no rows of {depth}")
    return on(x, (x.size // depth, outputs), to)


@expands(fully_connected)
def _(op, kernels, x, w, b=None):
    a = op.attributes
    if not a["keep_num_dims"] and x.shape != (*op.shape[:-1], w.shape[1]):
        x = lax.reshape(x, shape=(-1, w.shape[1]))
    w = transposed(w, (1, 0))
    clamp = clamp_of(a["fused_activation_function"])
    if is_hybrid(x, w):
        return hybrid.dense(x, w, b, clamp=clamp)
    if not on_grids(op, x, weight=w):
        return nn.dense(x, w, b, clamp=clamp)
    narrow = kernels != "tflite_reference" and a["quantized_bias_type"] != "INT64"
    require(x.dtype.bits == 8 or b is not None or not narrow,
            "its kernel sums up 16 bits without a bias in 32")  # fmt: skip
    return int8.dense(x, w, plain(b, x), to=op.type.element,
                      rescale=_dense_rescale(kernels, x.type, w.type, op.type),
                      clamp=stored_clamp(clamp, op.type.element))  # fmt: skip


def _dense_rescale(kernels: str, x: Type, w: Type, to: Type) -> Rescale:
    """As for convolutions, but that the reference kernel multiplies in f64, and that of 16 bits.

    With one scale for the whole weight of 8 bits, the product of the scales is formed in f32 first,
    but not where the reference kernel multiplies u8.
    """
    if of_16_bits(x, to):
        return derive("float64_half_away", real_scale(x, w, to=to))
    if kernels == "xnnpack":
        return affine_rescale(kernels, x, w, to)
    rounding = "float64_half_away" if kernels == "tflite_reference" else "tflite_builtin"
    if w.scale.size == 1 and (x.dtype.name != "u8" or kernels != "tflite_reference"):
        return derive(rounding, scale_of_one(x, w, to))
    scale = real_scale(x, w, to=to)
    return derive(rounding, scale if scale.size > 1 else scale.reshape(()))


@builtin("BATCH_MATMUL", "BatchMatMulOptions")
def batch_matmul(a: Type, b: Type, *, adj_x: bool = False, adj_y: bool = False,
                 asymmetric_quantize_inputs: bool = False,
                 to: Element | None = None) -> Type:  # fmt: skip
    """Products of the matrices of a[...,M,K] and b[...,K,N]; adj_x, adj_y: transposed ones."""
    return on(a, shapes.matmul(a, b, adj_x, adj_y), to)


@expands(batch_matmul)
def _(op, kernels, a, b):
    sides = {"adjoint_a": op.attributes["adj_x"], "adjoint_b": op.attributes["adj_y"]}
    if not on_grids(op, a, b):
        return nn.matmul(a, b, **sides)
    scale = np.float32(a.type.scale * b.type.scale)
    if of_16_bits(a.type, op.type):  # the right side may have 8
        rescale = derive("tflite_16x8", np.float64(scale) / np.float64(op.type.scale))
    elif kernels == "xnnpack" and int(b.type.zero) == 0:
        rescale = Rescale("f32_half_even", scale=scale / np.float32(op.type.scale))
    else:
        rescale = derive("tflite_reference", np.float64(scale) / np.float64(op.type.scale))
    return int8.matmul(a, b, to=op.type.element, rescale=rescale, **sides)
