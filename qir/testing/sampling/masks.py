"""A softmax over logits that are set or pushed far below, in all spellings.

In every row an element is left: the rules say that a row without any changes its meaning.
"""

from collections.abc import Callable
from importlib import import_module

import numpy as np

from ...ir import Func, Op, const, kept, transform
from ...types import DTYPES, Element, tensor
from .nodes import Leaves
from .values import chance, draw_shape, one_of, thinned


def draw_masked(*spellings: Callable[[Op, Op], Op]) -> Callable[[Leaves], Op]:
    """A softmax of what one of some functions makes of logits and a condition."""

    def draw(leaves: Leaves) -> Op:
        rng, nn = leaves.rng, import_module("qir.dialects.nn")
        shape = tuple(max(1, n) for n in draw_shape(rng, int(rng.integers(1, 5))))
        x = leaves.parameter(Element(DTYPES[one_of(rng, ("f32", "f64", "f16"))])[shape])
        logits = one_of(rng, spellings)(x, _condition(leaves, shape))
        mask = (_condition(leaves, shape),) if chance(rng, 0.4) else ()
        found = nn.softmax(logits, *mask, axis=int(rng.integers(len(shape))))
        return _placed(leaves, found)

    return draw


def _placed(leaves: Leaves, root: Op) -> Op:
    """The same with a location for each op."""

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op.location:
            return kept(op, operands)
        if op.is_const:
            return const(op.value, op.type, location=leaves.place())
        return op.definition.build(operands, op.attributes, location=leaves.place())

    func = transform(Func("drawn", tuple(leaves.parameters), (root,)), change)
    leaves.parameters[:] = func.parameters
    return func.results[0]


def _condition(leaves: Leaves, shape) -> Op:
    """Truth values that hold somewhere along any axis."""
    some = leaves.parameter(tensor("bool", thinned(leaves.rng, shape)))
    return import_module("qir.dialects.lax").or_(some, const(_first(shape)))


def _first(shape) -> np.ndarray:
    return (np.indices(shape) == 0).any(0)


def spellings() -> dict[str, Callable[[Leaves], Op]]:
    """By the name of a rule: how its logits are drawn."""
    lax, nn = (import_module(f"qir.dialects.{name}") for name in ("lax", "nn"))

    def number(x: Op, value: float) -> Op:
        return const(np.asarray(value, x.dtype.numpy), x.type.with_shape(()))

    def bias(x: Op, condition: Op) -> Op:
        return lax.select(condition, number(x, 0), number(x, -1e4))

    def opposite(x: Op, condition: Op) -> Op:
        return lax.select(lax.not_(condition), number(x, -1e4), number(x, 0))

    def pushed(x: Op, condition: Op) -> Op:
        return lax.select(lax.not_(condition), number(x, 1e4), number(x, 0))

    def tokens(x: Op, condition: Op) -> Op:
        given = lax.convert(condition, to=Element(DTYPES["i32"]))
        left_out = nn.sub(number(x, 1), lax.convert(given, to=x.type.element))
        return nn.mul(left_out, number(x, -1e4))

    def ramp(x: Op, condition: Op) -> Op:
        return const(np.where(_first(x.shape), 0.5, -1e4).astype(x.dtype.numpy), x.type)

    def added(*biases) -> Callable[[Leaves], Op]:
        return draw_masked(*(lambda x, c, b=b: nn.add(x, b(x, c)) for b in biases))

    return {
        "logits_far_below_elsewhere_are_masked": draw_masked(
            lambda x, c: lax.select(c, x, number(x, -np.inf))),
        "logits_set_far_below_are_masked": draw_masked(
            lambda x, c: lax.select(lax.not_(c), number(x, -1e4), x)),
        "bias_far_below_elsewhere_is_a_mask": added(bias),
        "bias_far_below_is_a_mask": draw_masked(
            lambda x, c: nn.add(x, opposite(x, c)), lambda x, c: nn.sub(x, pushed(x, c))),
        "integers_left_out_are_a_mask": added(tokens),
        "constant_far_below_is_a_mask": added(ramp),
    }  # fmt: skip
