"""Attributes of a drawn op: by their name where it says what they are about, else by their kind."""

import inspect
from collections.abc import Callable
from types import NoneType
from typing import Literal, get_args, get_origin

import numpy as np

from ...attributes import Floats, Ints, Padding, Pair
from ...rounding import CONTRACTS, derive, derive_sum
from ...shapes import open_shape
from ...types import DTYPES, Element, Type, per_tensor
from .draft import Draft, need
from .operands import regrouped
from .values import NUMBERS, chance, one_of

_BY_NAME: dict[str, Callable] = {}
"""`(draft, operand types) -> value`, by the attribute's name or by `op.attribute`."""

SINGLE = [name for name, c in CONTRACTS.items() if c.operands == 1]
SUMS = [name for name, c in CONTRACTS.items() if c.operands == 2]


def draw_attributes(draft: Draft, types: list[Type]) -> dict[str, object]:
    """A value for each attribute; those that have a default keep it now and then."""
    for name, (kind, default) in draft.op.attributes.items():
        if name in draft.given:
            draft.attributes[name] = draft.given[name]
        elif name not in draft.attributes:
            optional = default is not inspect.Parameter.empty
            if optional and chance(draft.rng, 0.3):
                draft.attributes[name] = default
            else:
                draft.attributes[name] = _drawn(draft, name, kind, types)
    return draft.attributes


def _drawn(draft: Draft, name: str, kind, types: list[Type]):
    find = _BY_NAME.get(f"{draft.name}.{name}") or _BY_NAME.get(f"{draft.dialect}.{name}")
    find = find or _BY_NAME.get(name)
    return _by_kind(draft, kind) if find is None else find(draft, types)


def _by_kind(draft: Draft, kind):
    rng = draft.rng
    if get_origin(kind) is Literal:
        return one_of(rng, get_args(kind))
    if NoneType in get_args(kind):
        (inner,) = [k for k in get_args(kind) if k is not NoneType]
        return None if chance(rng, 0.5) else _by_kind(draft, inner)
    drawn = {
        bool: lambda: chance(rng, 0.5), int: lambda: draft.below(5, -2),
        float: lambda: float(one_of(rng, NUMBERS)), str: lambda: f"n{draft.below(10**6)}",
        Pair: lambda: (one_of(rng, (1, 1, 1, 2, 3)), one_of(rng, (1, 1, 1, 2, 3))),
        Padding: lambda: _padding(draft),
        Floats: lambda: sorted(rng.normal(size=2).tolist()), Ints: lambda: (),
        Element: draft.result,
    }  # fmt: skip
    return drawn[kind]()


def _padding(draft: Draft):
    if chance(draft.rng, 0.6):
        return one_of(draft.rng, ("same", "valid"))
    low = -1 if chance(draft.rng, 0.2) else 0
    return [(draft.below(3, low), draft.below(3, low)) for _ in range(2)]


def _named(*names: str):
    def declare(find: Callable):
        _BY_NAME.update(dict.fromkeys(names, find))
        return find

    return declare


@_named("axes")
def _axes(draft: Draft, types):
    rank = types[0].rank
    if chance(draft.rng, 0.6 if draft.mood.fixed else 0.1) and rank:
        return (rank - 1,)
    axes = sorted(draft.rng.permutation(rank)[: draft.below(rank + 1)].tolist())
    return [a - rank for a in axes] if chance(draft.rng, 0.2) else axes


@_named("axis")
def _axis(draft: Draft, types):
    need(types[0].rank)
    return draft.below(types[0].rank, -types[0].rank)


@_named("broadcast.shape")
def _broadcast(draft: Draft, types):
    x = types[0].shape
    if "axes" in draft.given:
        axes = list(draft.given["axes"])
    else:
        rank = len(x) + one_of(draft.rng, (0, 0, 1, 2))
        axes = sorted(draft.rng.permutation(rank)[: len(x)].tolist())
    rank = max(len(axes) + 1, max(axes, default=0) + 1) if "axes" in draft.given else rank
    shape = [draft.below(4, 1) for _ in range(rank)]
    for n, axis in zip(x, axes, strict=True):
        keeps = n != 1 or chance(draft.rng, 0.5)
        shape[axis] = (-1 if chance(draft.rng, 0.2) else n) if keeps else shape[axis]
    draft.attributes["axes"] = axes
    return shape


@_named("reshape.shape")
def _reshape(draft: Draft, types):
    x = types[0].shape
    shape = regrouped(draft, x)
    return open_shape(x, shape) if chance(draft.rng, 0.6) else shape


@_named("permutation")
def _permutation(draft: Draft, types):
    order = draft.rng.permutation(types[0].rank).tolist()
    if chance(draft.rng, 0.5) and len(order) > 1:  # many rules want the batch in its place
        order = [0, *(draft.rng.permutation(len(order) - 1) + 1).tolist()]
    return sorted(order) if chance(draft.rng, 0.1) else order


@_named("pad.low", "pad.high")
def _pad(draft: Draft, types):
    none = chance(draft.rng, 0.25)
    return [0 if none else one_of(draft.rng, (0, 0, 1, 2, -1)) for _ in types[0].shape]


@_named("interior")
def _interior(draft: Draft, types):
    if chance(draft.rng, 0.7):
        return None
    return [one_of(draft.rng, (0, 0, 1, 2)) for _ in types[0].shape]


@_named("pad.value")
def _value(draft: Draft, types):
    return one_of(draft.rng, (0.0, 0.0, 0.0, -np.inf, 1.0, -2.5))


@_named("slice.start")
def _start(draft: Draft, types):
    starts, limits = [], []
    for n in types[0].shape:
        start = draft.below(n + 1) if chance(draft.rng, 0.3) else 0
        starts.append(start)
        limits.append(draft.below(n + 1, start) if chance(draft.rng, 0.3) else n)
    draft.attributes["limit"] = [
        -1 if b == n and chance(draft.rng, 0.3) else b
        for b, n in zip(limits, types[0].shape, strict=True)
    ]
    return starts


@_named("slice.strides")
def _strides(draft: Draft, types):
    return None if chance(draft.rng, 0.5) else [draft.below(4, 1) for _ in types[0].shape]


@_named("split.sizes")
def _split(draft: Draft, types):
    need(types[0].rank)
    axis = draft.attributes["axis"] = draft.given.get("axis", _axis(draft, types))
    total, sizes = types[0].shape[axis], []
    while total and len(sizes) < 3 and chance(draft.rng, 0.7):
        sizes.append(draft.below(total + 1))
        total -= sizes[-1]
    return [*sizes, total]


@_named("dynamic_slice.sizes")
def _sizes(draft: Draft, types):
    return [-1 if chance(draft.rng, 0.2) else draft.below(n + 1) for n in types[0].shape]


@_named("k")
def _k(draft: Draft, types):
    need(types[0].rank)
    return draft.below(types[0].shape[-1] + 1)


@_named("keys")
def _keys(draft: Draft, types):
    return draft.below(len(types) + 1, 1)


@_named("integer_pow.y")
def _power(draft: Draft, types):
    return one_of(draft.rng, (0, 1, 2, 3, -1, -2))


@_named("convert.to", "dot_general.to")
def _convert(draft: Draft, types):
    if chance(draft.rng, 0.3):
        return types[0].element
    return Element(DTYPES[one_of(draft.rng, ("f32", "f16", "i32", "i8", "u8", "bool", "i64"))])


@_named("bitcast.to")
def _bitcast(draft: Draft, types):
    bits = types[0].dtype.bits
    need(types[0].grid is None and bits >= 8)
    parts = types[0].shape[-1:]
    fits = [name for name, d in DTYPES.items() if 8 <= d.bits <= bits or
            parts == (d.bits // bits,) and d.bits > bits]  # fmt: skip
    return Element(DTYPES[one_of(draft.rng, [name for name in fits if name[0] in "iu"])])


@_named("exponent_bits")
def _exponent_bits(draft: Draft, types):
    return draft.below(9, 2)


@_named("mantissa_bits")
def _mantissa_bits(draft: Draft, types):
    return draft.below(24)


@_named("gather.value")
def _fill(draft: Draft, types):
    return one_of(draft.rng, (None, 0.0, 1.0, -2.5))


@_named("argmax.to", "argmin.to")
def _index(draft: Draft, types):
    return Element(DTYPES[one_of(draft.rng, ("i32", "i64", "u8"))])


@_named("avg_pool.to")
def _same(draft: Draft, types):
    return types[0].element if types[0].grid is not None else draft.result()


@_named("softmax.to")
def _softmax(draft: Draft, types):
    dtype = DTYPES["u8" if chance(draft.rng, 0.2) else "i8"]
    return Element(dtype, per_tensor(1 / 256, dtype.lo))


@_named("to")
def _to(draft: Draft, types):
    if draft.name in ("quantize", "requantize") and types[0].rank and chance(draft.rng, 0.15):
        axis = draft.below(types[0].rank)
        if types[0].shape[axis]:
            scales = 2.0 ** draft.rng.uniform(-9, -2, types[0].shape[axis])
            return Element(DTYPES["i8"], draft.stored().grid.__class__(scales, 0, axis=axis))
    if draft.name == "requantize" and chance(draft.rng, 0.15):
        return types[0].element
    return draft.result()


@_named("lo")
def _lo(draft: Draft, types):
    draft.attributes["hi"] = float(np.float32(draft.rng.uniform(0.1, 6)))
    return float(np.float32(one_of(draft.rng, (0.0, -draft.rng.uniform(0, 6)))))


@_named("bits")
def _bits(draft: Draft, types):
    return draft.below(17, 2)


@_named("window")
def _window(draft: Draft, types):
    return (draft.below(4, 1), draft.below(4, 1))


@_named("epsilon")
def _epsilon(draft: Draft, types):
    return float(one_of(draft.rng, (1e-5, 1e-3, 1e-6, 0.5)))


@_named("layer_norm.epsilon", "rms_norm.epsilon")
def _norm_epsilon(draft: Draft, types):
    return _epsilon(draft, types) if draft.dialect == "nn" else draft.below(2**20)


@_named("slope")
def _slope(draft: Draft, types):
    return float(one_of(draft.rng, (0.01, 0.2, 0.0, 1.0, 1.5, -0.3)))


@_named("clamp")
def _clamp(draft: Draft, types):
    if chance(draft.rng, 0.6):
        return None
    if draft.dialect == "nn":
        low, high = sorted(draft.rng.normal(size=2))
        return one_of(draft.rng, ([0.0, np.inf], [0.0, 6.0], [-np.inf, high], [low, high]))
    to = draft.attributes["to"]
    return sorted(draft.below(to.hi + 1, to.lo) for _ in range(2))


@_named("rescale")
def _rescale(draft: Draft, types):
    rng = draft.rng
    if draft.name in ("add", "sub"):
        scales = 2.0 ** rng.uniform(-6, -1, 3)
        return derive_sum(one_of(rng, SUMS), scales[0], -scales[1] if draft.name == "sub" else
                          scales[1], max(scales[2], scales[:2].max() / 4))  # fmt: skip
    channels = _channels(draft, types)
    size = (channels,) if channels and chance(rng, 0.5) else ()
    return derive(one_of(rng, SINGLE), 2.0 ** rng.uniform(-12, -2, size))


def _channels(draft: Draft, types) -> int | None:
    """How many numbers a rescale may have, None if only one."""
    name = draft.name
    if name in ("depthwise_conv2d", "depthwise"):
        return types[1].shape[2] * types[1].shape[3]
    if name in ("conv2d", "transposed_conv2d", "dense", "conv", "transposed_conv"):
        return types[1].shape[-1]
    if name == "dot":
        return types[1].shape[-1 if draft.attributes.get("layout", "kn") == "kn" else 0]
    return None
