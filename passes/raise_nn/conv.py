"""Convolutions of any layout as NHWC by HWIO layers between transposes."""

from qir.errors import require
from qir.ir import Op
from qir.pattern import V
from qir.rewrite import rule
from qir.shapes import transposed_crops
from qir.trained import moved
from qir.windows import shortest_padding

from ...dialects import lax, nn
from .build import computes_floats, inverse, reshaped, transposed


@rule(lax.conv_general_dilated(V.x, V.w) @ "op")
def convolution_is_layer(op, x, w):
    """A convolution of images is a conv2d, or a depthwise_conv2d with a group for each channel."""
    image, filters, a = _nhwc(op, x, w)
    require(not _is_dilated(a["lhs_dilation"]), "its input is dilated")
    dilation = a["rhs_dilation"] or (1, 1)
    size, window = image.shape[1:3], filters.shape[:2]
    pads = _pads(a["padding"])
    require(all(n >= 0 for pair in pads for n in pair), f"a padding of {pads} crops its input")
    keywords = {"strides": a["strides"], "dilation": dilation}
    keywords["padding"] = shortest_padding(pads, size, window, a["strides"], dilation)
    groups, channels = a["groups"], image.shape[3]
    if groups == channels and groups > 1:
        taps = reshaped(filters, (*window, channels, filters.shape[3] // channels))
        y = nn.depthwise_conv2d(image, taps, **keywords)
    else:
        y = nn.conv2d(image, filters, groups=groups, **keywords)
    return transposed(y, _from_nhwc(a["out_spec"]))


@rule(lax.conv_general_dilated(V.x, V.w) @ "op")
def dilated_input_is_transposed_conv(op, x, w):
    """A convolution of a dilated image is the gradient of a strided one, by the reversed filter."""
    image, filters, a = _nhwc(op, x, w)
    require(_is_dilated(a["lhs_dilation"]), "its input is not dilated")
    require(tuple(a["strides"]) == (1, 1), f"strides of {list(a['strides'])} as well")
    require(not _is_dilated(a["rhs_dilation"]), "its filter is dilated as well")
    require(a["groups"] == 1, f"it has {a['groups']} groups")
    pads, window = _pads(a["padding"]), filters.shape[:2]
    crops = tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(window, pads, strict=True))
    strides = a["lhs_dilation"]
    padding = next(
        (name for name in ("valid", "same")
         if transposed_crops(image.type, filters.type, strides, name) == crops), crops
    )  # fmt: skip
    if filters.is_const:
        filters = moved(filters, lambda a: a[::-1, ::-1])
    else:
        filters = lax.reverse(filters, axes=(0, 1))
    y = nn.transposed_conv2d(image, filters, strides=strides, padding=padding)
    return transposed(y, _from_nhwc(a["out_spec"]))


@rule(lax.conv_general_dilated(V.x, V.w) @ "op")
def sequence_is_image(op, x, w):
    """A convolution of sequences is one of images that are one pixel high."""
    a = op.attributes
    require(x.type.rank == 3, f"it convolves {x.type}, not a sequence")
    low, high = a["padding"]
    dilations = {name: a[name] and (1, *a[name]) for name in ("lhs_dilation", "rhs_dilation")}
    specs = {name: _with_height(a[name]) for name in ("lhs_spec", "rhs_spec", "out_spec")}
    image, filters = (reshaped(each, (*each.shape[:at], 1, *each.shape[at:]))
                      for each, at in ((x, a["lhs_spec"][2]), (w, a["rhs_spec"][2])))
    y = lax.conv_general_dilated(
        image, filters, strides=(1, *a["strides"]), padding=(0, low, 0, high),
        groups=a["groups"], batch_groups=a["batch_groups"], **dilations, **specs,
    )  # fmt: skip
    return reshaped(y, op.shape)


def _with_height(spec) -> tuple[int, ...]:
    """Where the axes of a sequence stand with another one before its only extent."""
    at = spec[2]
    first, second = (axis + (axis >= at) for axis in spec[:2])
    return (first, second, at, at + 1)


def _nhwc(op: Op, x: Op, w: Op):
    """The input as NHWC, the filter as HWIO, and the attributes of a 2-D convolution."""
    a = op.attributes
    require(x.type.rank == 4, f"it convolves {x.type}, not an image")
    require(op.type.size, f"it gives {op.type}, which is empty")
    require(a["batch_groups"] == 1, f"it has {a['batch_groups']} groups of the batch")
    computes_floats(op)
    batch, channel, *space = a["lhs_spec"]
    output, inner, *window = a["rhs_spec"]
    return transposed(x, (batch, *space, channel)), transposed(w, (*window, inner, output)), a


def _from_nhwc(out_spec) -> tuple[int, ...]:
    batch, channel, *space = out_spec
    return inverse((batch, *space, channel))


def _pads(padding):
    return tuple(zip(padding[:2], padding[2:], strict=True))


def _is_dilated(dilation) -> bool:
    return dilation is not None and any(d != 1 for d in dilation)


RULES = (convolution_is_layer, dilated_input_is_transposed_conv, sequence_is_image)
