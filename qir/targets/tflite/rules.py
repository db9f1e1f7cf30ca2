"""Legalization for TensorFlow Lite: ops of nn, int8, lax and quant become its operators.

Filters take its layouts, biases the grid that follows from input and weight, clamps become fused
activations. How its kernels round is theirs: `expand_tfl` states it for each of their sets.
"""

from math import prod

import numpy as np

from qir.dialects import int8, lax, nn, quant, tfl
from qir.dialects.int8.dialect import stored_clamp
from qir.dialects.tfl.dialect import CLAMPS

from ...errors import require
from ...ir import Op, const, parameter
from ...pattern import V, either
from ...rewrite import Rule, rule
from ...rounding import factors
from ...shapes import pads_of
from ...types import Grid, Type


def rules() -> tuple[Rule, ...]:
    """The rules that `legalize(target=tflite)` applies."""
    return (convolution, depthwise_convolution, dense_layer, sum_or_product, average, maximum,
            new_shape, permuted, padded, joined, mean_over_axes, quantized, dequantized,
            requantized, probabilities, function)  # fmt: skip


@rule(either(int8.conv2d, nn.conv2d)(...) @ "op")
def convolution(op):
    """HWIO filters become OHWI."""
    _rescales(op, _product(op))
    x, w, *b = op.operands
    return tfl.conv_2d(x, _weight(w, (3, 0, 1, 2)), *_bias(op, b), **_window(op, w.shape[:2]),
                       **_finish(op))  # fmt: skip


@rule(either(int8.depthwise_conv2d, nn.depthwise_conv2d)(...) @ "op")
def depthwise_convolution(op):
    """Filters [KH,KW,C,M] become [1,KH,KW,C*M], with a scale for each of C*M."""
    x, w, *b = op.operands
    require(w.is_const, "the filter is computed")
    height, width, channels, multiplier = w.shape
    _rescales(op, _product(op, multiplier if w.type.grid and w.type.grid.axis is not None else 1))
    grid = w.type.grid
    if grid is not None and grid.axis is not None:
        grid = Grid(np.repeat(grid.scale, multiplier), 0, 3)
    value = w.value.reshape(1, height, width, channels * multiplier)
    flat = const(value, Type(w.dtype, value.shape, grid), w.attributes["name"], w.location)
    return tfl.depthwise_conv_2d(x, flat, *_bias(op, b, flat), depth_multiplier=multiplier,
                                 **_window(op, w.shape[:2]), **_finish(op))  # fmt: skip


@rule(either(int8.dense, nn.dense)(...) @ "op")
def dense_layer(op):
    """Weights [K,N] become [N,K]."""
    _rescales(op, _product(op))
    x, w, *b = op.operands
    return tfl.fully_connected(x, _weight(w, (1, 0)), *_bias(op, b), keep_num_dims=x.type.rank != 2,
                               **_finish(op))  # fmt: skip


@rule(either(int8.add, int8.sub, int8.mul, nn.add, nn.sub, nn.mul)(V.a, V.b) @ "op")
def sum_or_product(op, a, b):
    """Broadcasting is the same."""
    if op.kind == "int8.mul":
        _rescales(op, _product(op))
    elif op.type.grid is not None:
        _rescales(op, a.type.scale, b.type.scale * (-1 if op.kind == "int8.sub" else 1))
    build = {"add": tfl.add, "sub": tfl.sub, "mul": tfl.mul}[op.kind.partition(".")[2]]
    return build(a, b, **_finish(op))


@rule(either(int8.avg_pool, nn.avg_pool)(V.x) @ "op")
def average(op, x):
    """Padding is not counted on either side."""
    return tfl.average_pool_2d(x, **_pool(op), **_finish(op))


@rule(nn.max_pool(V.x) @ "op")
def maximum(op, x):
    """A maximum is the same on reals and on stored integers."""
    return tfl.max_pool_2d(x, **_pool(op))


@rule(lax.reshape(V.x) @ "op")
def new_shape(op, x):
    """An extent of -1 stays one."""
    return tfl.reshape(x, new_shape=op.attributes["shape"])


@rule(lax.transpose(V.x) @ "op")
def permuted(op, x):
    """Axes in another order."""
    return tfl.transpose(x, perm=op.attributes["permutation"])


@rule(lax.pad(V.x) @ "op")
def padded(op, x):
    """Zeros at the sides."""
    low, high = op.attributes["low"], op.attributes["high"]
    plain = min(*low, *high, 0) == 0 and not any(op.attributes["interior"] or ())
    require(plain and op.attributes["value"] == 0, "it is no padding by zeros at the sides")
    return tfl.pad(x, paddings=[n for pair in zip(low, high, strict=True) for n in pair])


@rule(lax.concatenate(...) @ "op")
def joined(op):
    """One after the other."""
    return tfl.concatenation(*op.operands, axis=op.attributes["axis"])


@rule(either(int8.mean, nn.mean)(V.x) @ "op")
def mean_over_axes(op, x):
    """Means over axes."""
    if op.type.grid is not None:
        count = prod(x.shape[axis] for axis in op.attributes["axes"])
        _rescales(op, x.type.scale / count)
    return tfl.mean(x, axis=op.attributes["axes"], keep_dims=op.attributes["keepdims"],
                    to=_stated(op))  # fmt: skip


@rule(quant.quantize(V.x) @ "op")
def quantized(op, x):
    """Reals onto a grid."""
    return tfl.quantize(x, to=op.type.element)


@rule(quant.dequantize(V.x) @ "op")
def dequantized(op, x):
    """Off a grid."""
    return tfl.dequantize(x)


@rule(int8.requantize(V.x) @ "op")
def requantized(op, x):
    """From one grid to another."""
    require(op.attributes["clamp"] is None, "the change of grid clamps")
    _rescales(op, x.type.scale)
    return tfl.quantize(x, to=op.type.element)


@rule(int8.softmax(V.x, V.exps) @ "op", nn.softmax(V.x) @ "op")
def probabilities(op, x):
    """Softmax along the last axis."""
    last = op.attributes["axis"] % op.type.rank == op.type.rank - 1
    require(last, "it is not along the last axis")
    return tfl.softmax(x, to=_stated(op))


@rule(int8.table(V.x, V.values) @ "op")
def function(op, x, values):
    """A table is the operator whose own table it is, to one level."""
    require(values.is_const, "the table is computed")
    candidates = (build(x, to=op.type.element) for build in FUNCTIONS)
    found = next((each for each in candidates if _alike(each, x, values.value)), None)
    require(found is not None, "no operator has this table")
    return found


FUNCTIONS = (tfl.relu, tfl.relu6, tfl.relu_n1_to_1, tfl.logistic, tfl.tanh, tfl.exp)


def _alike(candidate: Op, x: Op, values: np.ndarray) -> bool:
    stored = np.arange(x.dtype.lo, x.dtype.hi + 1).astype(x.dtype.numpy)
    line = candidate.with_operands(parameter("x", x.type.with_shape(stored.shape)))
    theirs = candidate.definition.evaluate(line, stored)
    return int(np.abs(theirs.astype(np.int32) - values).max()) <= 1


def _weight(w: Op, order: tuple[int, ...]) -> Op:
    require(w.is_const, "the weight is computed")
    grid = w.type.grid
    if grid is not None and grid.axis is not None:
        grid = Grid(grid.scale, grid.zero, order.index(grid.axis))
    value = np.ascontiguousarray(w.value.transpose(order))
    return const(value, Type(w.dtype, value.shape, grid), w.attributes["name"], w.location)


def _bias(op: Op, b: list[Op], w: Op | None = None) -> list[Op]:
    """The bias on the grid of the sums of products, zeros where there is none; reals as they are.

    The kernels for 8 bits demand one.
    """
    x, channels = op.operands[0].type, op.shape[-1]
    if x.grid is None:
        return b
    b = b or [const(np.zeros(channels, np.int32), name="bias")]
    require(b[0].is_const, "the bias is computed")
    scale = x.scale * (w or op.operands[1]).type.scale.ravel()
    grid = Grid(scale, 0, 0) if scale.size > 1 else Grid(scale.ravel()[0], 0)
    return [const(b[0].value, Type(b[0].dtype, b[0].shape, grid), b[0].attributes["name"],
                  b[0].location)]  # fmt: skip


def _window(op: Op, window) -> dict:
    strides, dilation = op.attributes["strides"], op.attributes["dilation"]
    return {"padding": _padding(op, window, dilation), "stride_h": strides[0],
            "stride_w": strides[1], "dilation_h_factor": dilation[0],
            "dilation_w_factor": dilation[1]}  # fmt: skip


def _pool(op: Op) -> dict:
    (height, width), strides = op.attributes["window"], op.attributes["strides"]
    return {"padding": _padding(op, (height, width), (1, 1)), "stride_h": strides[0],
            "stride_w": strides[1], "filter_height": height, "filter_width": width}  # fmt: skip


def _padding(op: Op, window, dilation) -> str:
    x, strides = op.operands[0].type, op.attributes["strides"]
    pads = pads_of(x, window, strides, op.attributes["padding"], dilation)
    names = [name for name in ("VALID", "SAME")
             if pads == pads_of(x, window, strides, name.lower(), dilation)]  # fmt: skip
    require(names, f"the padding {pads} is neither VALID nor SAME")
    return names[0]


def _rescales(op: Op, *scales: np.ndarray) -> None:
    """Require an integer op to rescale by what its types say: the kernels know nothing else.

    scales: the real factor, one for each operand of a sum.
    """
    if "rescale" not in op.attributes:
        return
    own, to = factors(op.attributes["rescale"]), np.float64(op.type.scale)
    said = np.concatenate([np.atleast_1d(scale) for scale in scales]).astype(np.float64) / to
    same = np.allclose(own, said, rtol=2e-3, atol=2.0**-14)
    require(same, "it rescales otherwise than the scales of its types say")


def _product(op: Op, repeated: int = 1) -> np.ndarray:
    if op.type.grid is None:
        return np.ones(1)
    x, w = (operand.type.scale.astype(np.float64) for operand in op.operands[:2])
    return np.repeat(np.atleast_1d(x * w), repeated)


def _stated(op: Op):
    same = op.type.element == op.operands[0].type.element
    return None if same else op.type.element


def _finish(op: Op) -> dict:
    """The fused activation that clamps as the op does, and the result's element."""
    clamp, to = op.attributes.get("clamp"), op.type.element
    names = [name for name, bounds in CLAMPS.items()
             if clamp == (bounds if to.grid is None else stored_clamp(bounds, to))]  # fmt: skip
    require(names, f"no fused activation clamps to {clamp}")
    return {"fused_activation_function": names[0], "to": _stated(op)}
