"""Operands and attributes of the general contractions: dot products, convolutions, windows."""

from .draft import Draft, need
from .operands import Shapes, shapes_of
from .values import chance, draw_shape, one_of


@shapes_of("dot_general")
def _dot_general(draft: Draft) -> Shapes:
    a, b = draft.shape(0), draft.shape(1)
    if a is None and b is not None:
        a, left, right = _partner(draft, b)
        left, right = right, left
    else:
        a = a if a is not None else draw_shape(draft.rng, draft.below(4, 1))
        left, right = _matched(draft, a, b) if b is not None else ((), ())
        if b is None:
            b, left, right = _partner(draft, a)
    batch = draft.below(len(left) + 1) if len(left) > 1 else 0
    draft.attributes |= {"batch_a": left[:batch], "contract_a": left[batch:]}
    draft.attributes |= {"batch_b": right[:batch], "contract_b": right[batch:], "to": None}
    return [a, b]


def _partner(draft: Draft, a):
    """A shape with some axes of `a`, and which axes of `a` and of it go together."""
    left = draft.rng.permutation(len(a))[: draft.below(min(3, len(a)) + 1)].tolist()
    extents = [a[i] for i in left] + list(draw_shape(draft.rng, draft.below(3)))
    order = draft.rng.permutation(len(extents)).tolist()
    return tuple(extents[i] for i in order), left, [order.index(i) for i in range(len(left))]


def _matched(draft: Draft, a, b):
    """Axes of `a` and of `b` of equal extents, paired at random."""
    left, right = [], []
    for i in draft.rng.permutation(len(a)).tolist():
        fits = [j for j, n in enumerate(b) if n == a[i] and j not in right]
        if fits and chance(draft.rng, 0.6):
            left.append(i)
            right.append(one_of(draft.rng, fits))
    return left, right


@shapes_of("conv_general_dilated")
def _conv_general(draft: Draft) -> Shapes:
    x, w, rng = draft.shape(0), draft.shape(1), draft.rng
    rank = len(x or w or ()) or one_of(rng, (4, 4, 4, 4, 3, 5))
    need(rank >= 3)
    plain = chance(rng, 0.4)
    specs = [(0, rank - 1), (rank - 1, rank - 2), (0, rank - 1)]
    names = ("lhs_spec", "rhs_spec", "out_spec")
    for name, ends in zip(names, specs, strict=True):
        rest = [i for i in range(rank) if i not in ends]
        order = [*ends, *rest] if plain else rng.permutation(rank).tolist()
        draft.attributes[name] = draft.given.get(name, order)
    batch_groups = 2 if chance(rng, 0.07) else 1
    if x is None:
        groups = one_of(rng, (1, 1, 1, 2, 3))
        sizes = [draft.below(3, 1) * batch_groups, groups * draft.below(4, 1)]
        sizes += [draft.below(8, 1) for _ in range(rank - 2)]
        x = _placed(draft.attributes["lhs_spec"], sizes)
    channels = x[draft.attributes["lhs_spec"][1]]
    if w is None:
        groups = one_of(rng, [g for g in range(1, channels + 1) if channels % g == 0] or [1])
        groups = groups if chance(rng, 0.5) else 1
        sizes = [groups * draft.below(4, 1) * batch_groups, channels // groups]
        sizes += [draft.below(4, 1) for _ in range(rank - 2)]
        w = _placed(draft.attributes["rhs_spec"], sizes)
    need(len(x) == len(w) == rank)
    inner = w[draft.attributes["rhs_spec"][1]]
    need(inner and channels % inner == 0)
    draft.attributes |= {"groups": channels // inner, "batch_groups": batch_groups}
    _conv_attributes(draft, rank - 2)
    return [x, w]


def _conv_attributes(draft: Draft, spatial: int) -> None:
    rng = draft.rng
    dilated = chance(rng, 0.3)

    def several(*choices):
        return [one_of(rng, choices) for _ in range(spatial)]

    draft.attributes |= {
        "strides": [1] * spatial if dilated and chance(rng, 0.7) else several(1, 1, 2, 3),
        "padding": several(0, 0, 1, 2, -1 if chance(rng, 0.2) else 1) + several(0, 0, 1, 1, 2),
        "lhs_dilation": several(1, 2, 3) if dilated else one_of(rng, (None, [1] * spatial)),
        "rhs_dilation": None if chance(rng, 0.7) else several(1, 2),
    }


def _placed(spec, sizes) -> tuple[int, ...]:
    """The shape whose axis spec[i] has the extent sizes[i]."""
    return tuple(sizes[list(spec).index(axis)] for axis in range(len(spec)))


@shapes_of("reduce_window_max", "reduce_window_min", "reduce_window_sum")
def _reduce_window(draft: Draft) -> Shapes:
    rank = one_of(draft.rng, (4, 4, 4, 3, None))  # images, sequences, anything
    x = draft.first(rank if draft.shape(0) is None else None)
    idle = [chance(draft.rng, 0.4) for _ in x]
    if rank == 3:
        idle = [True, False, True]
    if rank == 4:
        idle = [True, True, False, False] if chance(draft.rng, 0.3) else [True, False, False, True]
    need(len(idle) == len(x))

    def several(*choices):
        return [choices[0] if still else one_of(draft.rng, choices) for still in idle]

    window = several(1, 1, 2, 3, 4)
    most = [min(k - 1, 2) for k in window]
    padded = chance(draft.rng, 0.5)
    draft.attributes |= {
        "window": window,
        "strides": several(1, 1, 2, 3),
        "padding": [draft.below(m + 1) * padded for m in (*most, *most)],
        "base_dilation": several(1, 2) if chance(draft.rng, 0.1) else None,
        "window_dilation": several(1, 2) if chance(draft.rng, 0.1) else None,
    }
    return [x]
