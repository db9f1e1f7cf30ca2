"""Sums of products in 64 bits, as ops of 16-bit activations take them, from sums in 32.

An integer x of 16 bits is 256 * high + low + 128, both of them int8, which is what XLA multiplies
fastest. A sum of 2**17 - 1 products of 8 by 8 bits is within 32 bits, and nothing of the network
is wider on the way: the sums of the parts are put together in two words (`words.py`).
"""

from math import prod

import jax.numpy as jnp
import numpy as np
from jax import lax

from ...errors import QirError
from ...ir import place_of
from . import words
from .lower_nn import matmul_numbers
from .words import Words

MOST = 2**17 - 1
"""Products of 8 by 8 bits whose sum has 32 bits for certain."""
EXACT_IN_F64 = 2**52
"""A bias up to here leaves sums exact in f64, in which FULLY_CONNECTED rescales."""

Part = tuple[object, int]
"""An int8 tensor, and by how many bits it is shifted to the left in the whole."""


def parts_of(op, index: int, x) -> tuple[list[Part], int]:
    """The int8 parts of an operand, and the number that their sum lacks of what it stands for.

    Without its zero point the operand is the sum of its parts, shifted, plus that number.
    """
    type = op.operands[index].type
    zero, dtype = int(type.zero), type.dtype
    if dtype.bits > 16 or not dtype.lo <= zero <= dtype.hi:
        raise QirError(f"{op.kind} takes up to 16 bits into sums of 64 on XLA, with a zero point "
                       f"within them, found {type}", at=place_of(op))  # fmt: skip
    if dtype.bits <= 8:
        return [(_as_i8(x, dtype.lo == 0), 0)], 128 * (dtype.lo == 0) - zero
    lift = dtype.lo + 2**15
    x = jnp.asarray(x).astype(jnp.int32) - lift
    high, low = (x >> 8).astype(jnp.int8), ((x & 255) - 128).astype(jnp.int8)
    return [(high, 8), (low, 0)], 128 + lift - zero


def _as_i8(x, unsigned: bool):
    return (jnp.asarray(x).astype(jnp.int32) - 128).astype(jnp.int8) if unsigned else x


def wide_sums(op, x, w, b, product, taps: tuple[int, ...]) -> Words:
    """What an op of 64-bit sums adds up with its bias; as `sums_of_products` has it."""
    require_few(op, prod(w.shape[axis] for axis in taps))
    total, lacks = over_parts(op, x, lambda part, pad: product(part, w, np.int8(pad)))
    if isinstance(w, np.ndarray):
        lacking = words.of_constant(lacks * w.sum(taps, np.int64).reshape(-1))
    else:
        sums = jnp.sum(w, taps, dtype=jnp.int32).reshape(-1)
        lacking = words.scaled(words.of_i32(sums), lacks)
    return biased_words(op, words.plus(total, lacking), b)


def over_parts(op, x, product) -> tuple[Words, int]:
    """The sums over the parts of an input, put together, and the number that each element lacks.

    product: from a part and what it is padded with to sums i32.
    """
    parts, lacks = parts_of(op, 0, x)
    pads = _pads(op, len(parts))
    return _together((words.of_i32(product(part, pad)), bits)
                     for (part, bits), pad in zip(parts, pads, strict=True)), lacks  # fmt: skip


def _pads(op, count: int) -> list[int]:
    """What each part of the input is padded with: what the parts of its zero point are."""
    type = op.operands[0].type
    zero = int(type.zero)
    if count == 1:
        return [zero - 128 * (type.dtype.lo == 0)]
    zero -= type.dtype.lo + 2**15
    return [zero >> 8, (zero & 255) - 128]


def biased_words(op, acc: Words, b) -> Words:
    """Sums plus a bias of 64 bits, or none; one that is computed needs XLA's 64-bit types."""
    if b is None:
        return acc
    if not isinstance(b, np.ndarray):
        return words.plus(acc, words.of_i64(b))
    if np.abs(b.astype(object)).max(initial=0) > EXACT_IN_F64:
        raise QirError(f"{op.kind}: a bias of 64 bits is within 2**52 on XLA, found "
                       f"{max(b.tolist(), key=abs)}", at=place_of(op))  # fmt: skip
    return words.plus(acc, words.of_constant(b))


def wide_matmul(op, a, b) -> Words:
    """Products of matrices of up to 16 bits each, summed up in 64."""
    numbers = matmul_numbers(op)
    ((left,), (right,)), _ = numbers
    require_few(op, a.shape[left])
    (a_parts, a_lacks), (b_parts, b_lacks) = parts_of(op, 0, a), parts_of(op, 1, b)
    terms = []
    for x, first in a_parts:
        for y, second in b_parts:
            dot = lax.dot_general(x, y, numbers, preferred_element_type=jnp.int32)
            terms.append((words.of_i32(dot), first + second))
    total = _together(terms)
    if b_lacks:
        rows = _together((words.of_i32(jnp.sum(x, left, dtype=jnp.int32)[..., :, None]), bits)
                         for x, bits in a_parts)  # fmt: skip
        total = words.plus(total, words.scaled(rows, b_lacks))
    if a_lacks:
        columns = _together((words.of_i32(jnp.sum(y, right, dtype=jnp.int32)[..., None, :]), bits)
                            for y, bits in b_parts)  # fmt: skip
        total = words.plus(total, words.scaled(columns, a_lacks))
    both = a_lacks * b_lacks * a.shape[left]
    return words.plus(total, words.of_constant(np.array(both)))


def _together(terms) -> Words:
    """The sum of words, each shifted to the left by its bits."""
    terms = list(terms)
    total = words.shifted_left(*terms[0])
    for term in terms[1:]:
        total = words.plus(total, words.shifted_left(*term))
    return total


def require_few(op, count: int) -> None:
    """QirError where the sums of so many products of 8 by 8 bits may outgrow 32."""
    weight = op.operands[1].type
    plain = weight.dtype.bits <= 8 and weight.dtype.lo < 0 and not weight.zero.any()
    if op.kind != "int8.matmul" and not plain:
        raise QirError(f"{op.kind} takes weights of 8 bits with a sign and zero point 0 into sums "
                       f"of 64 on XLA, found {weight}", at=place_of(op))  # fmt: skip
    if count > MOST:
        raise QirError(f"{op.kind} sums up {count} products, on XLA sums of 64 bits have at most "
                       f"{MOST}", at=place_of(op))  # fmt: skip
