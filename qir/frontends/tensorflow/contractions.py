"""Imports of convolutions, products of matrices and norms over batches."""

from qir.dialects import lax, nn, tfl

from ...errors import require
from .elementwise import scalar
from .movement import as_operator
from .table import attribute, imports, numbers

NHWC_TO_NCHW, NCHW_TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def channels_last(node, x, build):
    """What a function makes of an image with its channels last, in the order that the node has."""
    if attribute(node, "data_format") == "NHWC":
        return build(x)
    y = build(lax.transpose(x, permutation=NCHW_TO_NHWC))
    return lax.transpose(y, permutation=NHWC_TO_NCHW)


def pair(node, name: str) -> tuple[int, int]:
    """Height and width of a list with an entry for each axis."""
    values = attribute(node, name)
    first = attribute(node, "data_format").index("H")
    return tuple(int(n) for n in values[first : first + 2])


def padding(node):
    """`same`, `valid`, or how many pixels before and after."""
    kind = attribute(node, "padding")
    if kind != "EXPLICIT":
        return kind.lower()
    values = attribute(node, "explicit_paddings")
    first = 2 * attribute(node, "data_format").index("H")
    top, bottom, left, right = (int(n) for n in values[first : first + 4])
    return ((top, bottom), (left, right))


@imports("Conv2D")
def conv_2d(node, x, w):
    def build(x):
        return nn.conv2d(x, w, strides=pair(node, "strides"), padding=padding(node),
                         dilation=pair(node, "dilations"),
                         groups=x.shape[3] // w.shape[2])  # fmt: skip

    return channels_last(node, x, build)


@imports("DepthwiseConv2dNative")
def depthwise_conv_2d(node, x, w):
    def build(x):
        return nn.depthwise_conv2d(x, w, strides=pair(node, "strides"), padding=padding(node),
                                   dilation=pair(node, "dilations"))  # fmt: skip

    return channels_last(node, x, build)


@imports("Conv2DBackpropInput")
def conv_2d_transpose(node, size, w, x):
    require(set(attribute(node, "dilations")) == {1}, "it is dilated")
    require(attribute(node, "padding") != "EXPLICIT", "its padding is explicit")
    require(attribute(node, "data_format") == "NHWC", "its channels are not last")
    height, width = pair(node, "strides")
    filters = lax.transpose(w, permutation=(2, 0, 1, 3))  # [KH,KW,O,C] to [O,KH,KW,C]
    return as_operator(tfl.transpose_conv(
        x, filters, output_shape=numbers(size, "extents of the result"),
        padding=attribute(node, "padding"), stride_h=height, stride_w=width,
    ))  # fmt: skip


@imports("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def mat_mul(node, a, b):
    names = ("transpose_a", "transpose_b") if node.type == "MatMul" else ("adj_x", "adj_y")
    turned_a, turned_b = (attribute(node, name) for name in names)
    if b.type.rank == 2 and not turned_a:
        return nn.dense(a, lax.transpose(b, permutation=(1, 0)) if turned_b else b)
    rank = max(a.type.rank, b.type.rank)
    lead = tuple(max(m, n) for m, n in zip(_lead(a, rank), _lead(b, rank), strict=True))
    a, b = (_spread(x, lead) for x in (a, b))
    return nn.matmul(a, b, adjoint_a=turned_a, adjoint_b=turned_b)


@imports("Einsum")
def einsum(node, *xs):
    sides, arrow, result = attribute(node, "equation").replace(" ", "").partition("->")
    names = sides.split(",")
    require(arrow and len(xs) <= 2 and "." not in sides, "an equation of other than two operands")
    require(all(len(set(name)) == len(name) for name in names), "a diagonal")
    xs = [_summed(x, name, "".join({*names, result} - {name}))
          for x, name in zip(xs, names, strict=True)]  # fmt: skip
    if len(xs) == 1:
        ((y, letters),) = xs
    else:
        (a, first), (b, second) = xs
        batch = [c for c in first if c in second and c in result]
        inner = [c for c in first if c in second and c not in result]
        y = lax.dot_general(a, b, **{f"{kind}_{side}": tuple(name.index(c) for c in chosen)
                                     for kind, chosen in (("batch", batch), ("contract", inner))
                                     for side, name in (("a", first), ("b", second))})  # fmt: skip
        letters = "".join([*batch, *(c for c in first + second if c not in batch + inner)])
    return lax.transpose(y, permutation=tuple(letters.index(c) for c in result))


def _summed(x, name: str, others: str):
    """An operand without the axes that nothing else names, and the letters of those it keeps."""
    axes = tuple(i for i, c in enumerate(name) if c not in others)
    kept = "".join(c for c in name if c in others)
    return (lax.reduce_sum(x, axes=axes) if axes else x), kept


def _lead(x, rank: int) -> tuple[int, ...]:
    return (1,) * (rank - x.type.rank) + x.shape[:-2]


def _spread(x, lead):
    """A batch of matrices with these leading axes, repeated along those of one."""
    shape, first = (*lead, *x.shape[-2:]), len(lead) + 2 - x.type.rank
    if x.shape == shape:
        return x
    own = [-1 if n == m else m for n, m in zip(x.shape, shape[first:], strict=True)]
    return lax.broadcast(x, shape=(*shape[:first], *own), axes=range(first, len(shape)))


@imports("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def batch_norm(node, x, gamma, beta, mean, variance):
    require(not attribute(node, "is_training"), "it takes its statistics from the batch")
    factor = lax.mul(lax.rsqrt(lax.add(variance, scalar(variance, attribute(node, "epsilon")))),
                     gamma)  # fmt: skip

    def build(x):
        return lax.add(lax.mul(lax.sub(x, mean), factor), beta)

    rest = (mean, variance, mean, variance, mean)[: len(node.outputs) - 1]
    return (channels_last(node, x, build), *rest)


@imports("L2Loss")
def l2_loss(node, x):
    return lax.mul(nn.sum(lax.square(x), axes=tuple(range(x.type.rank))), scalar(x, 0.5))
