"""Operand shapes of every op that the general rule (all of one shape, broadcasting) does not suit.

Each function takes a draft and gives the shapes of all operands the op can have; it may settle
attributes that the shapes depend on.
"""

from collections.abc import Callable

import numpy as np

from ...types import Type
from .draft import Draft, need
from .values import chance, draw_shape, one_of, thinned

Shapes = list[tuple[int, ...]]

_TABLE: dict[str, Callable[[Draft], Shapes]] = {}
"""By the op's full name, or by its name without the dialect."""

BROADCASTING = {
    "add", "sub", "mul", "div", "rem", "pow", "atan2", "and", "or", "xor", "max", "min", "maximum",
    "minimum", "eq", "ne", "lt", "le", "gt", "ge", "select", "clamp", "shift_left",
    "shift_right_arithmetic", "shift_right_logical",
}  # fmt: skip


def operand_types(draft: Draft) -> list[Type]:
    """A type for each operand, those that exist among them."""
    find = _TABLE.get(draft.op.name) or _TABLE.get(draft.name)
    if find is None:
        find = _broadcasting if draft.name in BROADCASTING else _alike
    return draft.dressed(*find(draft))


def shapes_of(*names: str):
    """Declare how the operands of the ops of these names are shaped."""

    def declare(find: Callable[[Draft], Shapes]):
        _TABLE.update(dict.fromkeys(names, find))
        return find

    return declare


def _alike(draft: Draft) -> Shapes:
    want = draft.want.shape if draft.want is not None else None
    known = next((t.shape for t in draft.known if t is not None), None)
    shape = known if known is not None else want if want is not None else draft.first()
    return [shape] * max(1, len(draft.known))


def _broadcasting(draft: Draft) -> Shapes:
    known = [t.shape for t in draft.known if t is not None]
    if known:
        try:
            full = np.broadcast_shapes(*known)
        except ValueError:
            need(False)
    else:
        full = draft.want.shape if draft.want is not None else draft.first()
    if known and draft.want is None and chance(draft.rng, 0.15):
        full = tuple(draft.below(4, 1) if n == 1 else n for n in full)
        full = (2, *full) if chance(draft.rng, 0.3) else full
    shapes = [thinned(draft.rng, full) if t is None else t.shape for t in draft.known]
    if not known:
        shapes[draft.below(len(shapes))] = full
    return shapes


@shapes_of("conv2d", "xla.conv")
def _conv2d(draft: Draft) -> Shapes:
    x, w = _image(draft), draft.shape(1)
    if w is None:
        groups = draft.given.get("groups", one_of(draft.rng, (1, 1, 1, 1, 2, 3, x[3])))
        need(groups and x[3] % groups == 0)
        w = (*_window(draft, x), x[3] // groups, groups * draft.below(4, 1))
    need(len(w) == 4 and w[2] and x[3] % w[2] == 0)
    draft.attributes["groups"] = x[3] // w[2]
    return [x, w, w[3:]]


@shapes_of("depthwise_conv2d", "xla.depthwise")
def _depthwise(draft: Draft) -> Shapes:
    x = _image(draft)
    w = draft.shape(1) or (*_window(draft, x), x[3], one_of(draft.rng, (1, 1, 1, 2, 3)))
    need(len(w) == 4)
    return [x, w, (w[2] * w[3],)]


@shapes_of("transposed_conv2d", "xla.transposed_conv")
def _transposed(draft: Draft) -> Shapes:
    x = _image(draft)
    w = draft.shape(1) or (*_window(draft, x), x[3], draft.below(5, 1))
    need(len(w) == 4)
    return [x, w, w[3:]]


@shapes_of("max_pool", "avg_pool")
def _pooled(draft: Draft) -> Shapes:
    return [_image(draft)]


def _image(draft: Draft) -> tuple[int, ...]:
    found = draft.shape(0)
    if found is None:
        channels = one_of(draft.rng, (1, 2, 3, 4, 4, 6, 17))
        sides = (draft.below(9, 1), draft.below(9, 1))
        found = (one_of(draft.rng, (1, 1, 2, 3)), *sides, channels)
    need(len(found) == 4)
    return found


def _window(draft: Draft, x) -> tuple[int, int]:
    if chance(draft.rng, 0.2):
        return (1, 1)
    return tuple(draft.below(min(4, n + 1) + 1, 1) for n in x[1:3])


@shapes_of("dense")
def _dense(draft: Draft) -> Shapes:
    x, w = draft.shape(0), draft.shape(1)
    if x is None and draft.want is not None and draft.want.rank:
        x = (*draft.want.shape[:-1], w[0] if w else draft.below(6, 1))
    if x is None:
        x = (*draw_shape(draft.rng, draft.below(4)), w[0] if w else draft.below(8, 1))
    need(x)
    w = w or (x[-1], draft.below(7, 1))
    need(len(w) == 2)
    return [x, w, w[1:]]


@shapes_of("xla.dot")
def _dot(draft: Draft) -> Shapes:
    x, w, b = _dense(draft)
    draft.attributes["layout"] = one_of(draft.rng, ("kn", "nk"))
    return [x, w if draft.attributes["layout"] == "kn" else w[::-1], b]


@shapes_of("xla.batch_dot")
def _batch_dot(draft: Draft) -> Shapes:
    rank = draft.below(3, 2)
    lead = draw_shape(draft.rng, rank - 2)
    rows, inner, columns = (draft.below(5, 1) for _ in range(3))
    shapes = []
    for name, shape in (("a_axes", (*lead, rows, inner)), ("b_axes", (*lead, inner, columns))):
        axes = tuple(int(i) for i in draft.rng.permutation(len(shape)))
        draft.attributes[name] = axes
        shapes.append(tuple(shape[axes.index(i)] for i in range(len(shape))))
    return shapes


@shapes_of("matmul")
def _matmul(draft: Draft) -> Shapes:
    a, b = draft.shape(0), draft.shape(1)
    for name in ("adjoint_a", "adjoint_b"):
        draft.attributes[name] = draft.given.get(name, chance(draft.rng, 0.4))
    flip_a, flip_b = draft.attributes["adjoint_a"], draft.attributes["adjoint_b"]
    if a is None and b is None:
        a = (*draw_shape(draft.rng, draft.below(3)), draft.below(5, 1), draft.below(6, 1))
    need(len(b if a is None else a) >= 2)
    if b is None:
        b = (draft.below(5, 1), a[-2 if flip_a else -1])
        b = (*a[:-2], *(b if flip_b else b[::-1]))
    elif a is None:
        a = (draft.below(5, 1), b[-1 if flip_b else -2])
        a = (*b[:-2], *(a[::-1] if flip_a else a))
    return [a, b]


@shapes_of("layer_norm", "rms_norm")
def _norm(draft: Draft) -> Shapes:
    x = draft.first()
    need(x)
    return [x, x[-1:], x[-1:]]


@shapes_of("nn.softmax")
def _softmax(draft: Draft) -> Shapes:
    x = _alike(draft)[0] if draft.shape(0) is None else draft.shape(0)
    return [x, thinned(draft.rng, x)]


@shapes_of("int8.softmax")
def _integer_softmax(draft: Draft) -> Shapes:
    x = draft.first()
    return [x, (256,), thinned(draft.rng, x)]


@shapes_of("int8.table")
def _table(draft: Draft) -> Shapes:
    draft.attributes["to"] = draft.given.get("to", draft.result())
    return [draft.first(), (256,)]


@shapes_of("concatenate")
def _concatenate(draft: Draft) -> Shapes:
    known = [t.shape for t in draft.known if t is not None]
    shape = known[0] if known else draft.first()
    need(shape)
    axis = draft.below(len(shape))
    draft.attributes["axis"] = axis if chance(draft.rng, 0.7) else axis - len(shape)
    count = len(draft.known) or draft.below(4, 1)
    drawn = [(*shape[:axis], draft.below(4), *shape[axis + 1 :]) for _ in range(count)]
    return [draft.shape(i) or drawn[i] for i in range(count)]


@shapes_of("take")
def _take(draft: Draft) -> Shapes:
    return [draft.first(), draft.shape(1) or draw_shape(draft.rng, one_of(draft.rng, (0, 1, 1, 2)))]


@shapes_of("dynamic_slice")
def _dynamic_slice(draft: Draft) -> Shapes:
    x = draft.first()
    return [x, *[()] * len(x)]


@shapes_of("dynamic_update_slice")
def _dynamic_update_slice(draft: Draft) -> Shapes:
    x = draft.first()
    return [x, draft.shape(1) or tuple(draft.below(n + 1) for n in x), *[()] * len(x)]


@shapes_of("sort")
def _sort(draft: Draft) -> Shapes:
    x = draft.first()
    return [x] * (len(draft.known) or draft.below(3, 1))


@shapes_of("gather")
def _gather(draft: Draft) -> Shapes:
    x, rng = draft.first(), draft.rng
    need(x and all(x))
    starts = sorted(rng.permutation(len(x))[: draft.below(len(x) + 1)].tolist())
    sizes = [draft.below(n + 1, 1) for n in x]
    collapsed = [a for a in starts if chance(rng, 0.6)]
    for axis in collapsed:
        sizes[axis] = 1
    batch = draw_shape(rng, draft.below(3))
    total = len(batch) + len(x) - len(collapsed)
    offsets = sorted(rng.permutation(total)[: len(x) - len(collapsed)].tolist())
    draft.attributes |= {
        "offset_dims": offsets, "collapsed_slice_dims": collapsed, "slice_sizes": sizes,
        "start_index_map": [starts[i] for i in rng.permutation(len(starts)).tolist()],
        "operand_batching_dims": (), "start_indices_batching_dims": (),
    }  # fmt: skip
    return [x, (*batch, len(starts))]


@shapes_of("scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max")
def _scatter(draft: Draft) -> Shapes:
    x, rng = draft.first(), draft.rng
    need(x and all(x))
    starts = sorted(rng.permutation(len(x))[: draft.below(len(x) + 1, 1)].tolist())
    inserted = [a for a in starts if chance(rng, 0.6)]
    kept = [draft.below(n + 1, 1) for a, n in enumerate(x) if a not in inserted]
    batch = draw_shape(rng, draft.below(3))
    total = len(batch) + len(kept)
    windows = sorted(rng.permutation(total)[: len(kept)].tolist())
    sizes = dict(zip(windows, kept, strict=True))
    rest = iter(batch)
    updates = tuple(sizes[at] if at in sizes else next(rest) for at in range(total))
    draft.attributes |= {
        "update_window_dims": windows, "inserted_window_dims": inserted,
        "scatter_dims_to_operand_dims": [starts[i] for i in rng.permutation(len(starts)).tolist()],
        "operand_batching_dims": (), "scatter_indices_batching_dims": (),
    }  # fmt: skip
    return [x, (*batch, len(starts)), updates]


@shapes_of("reshape")
def _reshape(draft: Draft) -> Shapes:
    if draft.shape(0) is None and draft.want is not None:
        draft.attributes["shape"] = draft.want.shape
        return [regrouped(draft, draft.want.shape)]
    return [draft.first()]


@shapes_of("transpose")
def _transpose(draft: Draft) -> Shapes:
    given = draft.given.get("permutation")
    want = draft.want if given is None or draft.want and draft.want.rank == len(given) else None
    if draft.shape(0) is not None or want is None:
        return [draft.first(None if given is None else len(given))]
    order = given or draft.rng.permutation(want.rank).tolist()
    draft.attributes["permutation"] = order
    return [tuple(want.shape[order.index(i)] for i in range(want.rank))]


@shapes_of("pad")
def _pad(draft: Draft) -> Shapes:
    if draft.shape(0) is not None or draft.want is None:
        return [draft.first()]
    sides = [(one_of(draft.rng, (0, 0, 0, 1, 2, -1)), one_of(draft.rng, (0, 0, 1, 1, 2, -1)))
             if 0 < i < 3 or chance(draft.rng, 0.2) else (0, 0)
             for i in range(draft.want.rank)]  # fmt: skip
    shape = tuple(max(0, n - sum(pair)) for n, pair in zip(draft.want.shape, sides, strict=True))
    draft.attributes |= {"low": [a for a, _ in sides], "high": [b for _, b in sides]}
    draft.attributes["interior"] = None
    return [shape]


def regrouped(draft: Draft, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Another shape of as many elements: extents of 1 in or out, axes merged or split."""
    rng, style = draft.rng, draft.below(8)
    if style == 0 or not shape:
        return shape if chance(rng, 0.5) else (*shape, 1)
    at = draft.below(len(shape))
    if style == 1:
        return (*shape[:at], 1, *shape[at:])
    if style == 2:
        return tuple(n for n in shape if n != 1)
    if style == 3:
        return (shape[0], int(np.prod(shape[1:], dtype=int)))
    if style == 4:
        return (int(np.prod(shape, dtype=int)),)
    if style == 5 and at:
        return (*shape[: at - 1], shape[at - 1] * shape[at], *shape[at + 1 :])
    at = len(shape) - 1 if chance(rng, 0.6) else at
    divisor = one_of(rng, [n for n in range(1, shape[at] + 1) if shape[at] % n == 0] or [1])
    if shape[at] == 0:
        return shape
    return (*shape[:at], divisor, shape[at] // divisor, *shape[at + 1 :])
