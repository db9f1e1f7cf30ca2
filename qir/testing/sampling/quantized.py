"""Quantized nodes as `propagate_types` leaves them: an f32 op between dequantize and quantize.

A quarter of them stand on 16 bits, as it leaves them with `activations=int16`.
"""

from dataclasses import dataclass

import numpy as np

from ...dialect import definition, items
from ...errors import QirError
from ...evaluate import evaluate
from ...integer_forms import INTEGER_FORMS
from ...ir import OPS, Func, Op, const
from ...roles import Role
from ...rounding import activation_grid, symmetric_scale
from ...types import DTYPES, Element, Grid, Type, per_tensor
from .draft import Draft, Mood, need
from .nodes import Leaves, drafted, draw_node
from .values import chance, draw_inputs, draw_quantized, draw_shape, one_of

F32 = Element(DTYPES["f32"])


@dataclass(frozen=True)
class Storage:
    """What the activations and biases of a drawn node are stored in."""

    activation: str = "i8"
    bias: str = "i32"


EIGHT, SIXTEEN = Storage(), Storage("i16", "i64")


def _storage(leaves: Leaves) -> Storage:
    return SIXTEEN if chance(leaves.rng, 0.25) else EIGHT


def _element(leaves: Leaves, storage: Storage) -> Element:
    """An element of an activation; those of 16 bits have zero point 0."""
    if storage is EIGHT:
        return draw_quantized(leaves.rng)
    return Element(DTYPES["i16"], per_tensor(2.0 ** leaves.rng.uniform(-17, -10)))


def draw_with_integer_form(leaves: Leaves) -> Op:
    """quantize of an op that has an integer form, on dequantized operands.

    Not of a cell, which goes on with what it has rounded: tests/test_recurrent.py has its bound.
    """
    kinds = [k for k in INTEGER_FORMS if k.startswith("nn.") and k not in ("nn.gru", "nn.lstm")]
    return _between_casts(leaves, one_of(leaves.rng, sorted(kinds)))


def draw_on_storage(leaves: Leaves) -> Op:
    """quantize of an op that means the same on stored integers, all on one grid."""
    kinds = [k for k, op in OPS.items() if op.on_storage and k.startswith(("lax.", "nn."))]
    return _between_casts(leaves, one_of(leaves.rng, sorted(kinds)))


def draw_pointwise_chain(leaves: Leaves) -> Op:
    """quantize of some pointwise ops over one dequantized value and single numbers."""
    rng, storage = leaves.rng, _storage(leaves)
    x = leaves.parameter(_element(leaves, storage)[draw_shape(rng)])
    values = [definition("quant.dequantize")(x, location=leaves.place())]
    kinds = sorted(k for k, op in OPS.items() if op.pointwise and len(op.required) < 3)
    for _ in range(int(rng.integers(1, 5))):
        op = definition(one_of(rng, kinds))
        operands = [one_of(rng, values) for _ in op.required]
        if len(operands) == 2 and chance(rng, 0.6):
            operands[int(rng.integers(2))] = leaves.constant(F32[()])
        draft = Draft(rng, _plain(leaves), op, [o.type for o in operands])
        _, attributes = drafted(draft)
        try:
            found = op.build(tuple(operands), attributes, location=leaves.place())
        except QirError:  # no op on floats
            continue
        if found.type == values[0].type:
            values.append(found)
    need(len(values) > 1)
    return _quantized(leaves, values[-1], _element_of(leaves, values[-1], storage))


def _plain(leaves: Leaves) -> Mood:
    return Mood(F32, leaves.mood.stored, leaves.mood.fixed)


def _between_casts(leaves: Leaves, kind: str) -> Op:
    """The op on dequantized operands, each on a grid that suits its role, and quantized again."""
    model = draw_node(kind, Leaves(leaves.rng, _plain(leaves)))
    roles = definition(kind).roles(model)
    need(roles.result.kind in ("free", "same", "fixed"))
    operands: list[Op] = []
    storage = _storage(leaves)
    shared = leaves.mood.stored if storage is EIGHT else _element(leaves, storage)
    for role, operand in zip(roles.operands, model.operands, strict=True):
        element = shared if role.kind == "same" else _element(leaves, storage)
        operands.append(_operand(leaves, role, operand.type, operands, element, storage))
    op = model.definition.build(tuple(operands), model.attributes, location=leaves.place())
    value = one_of(leaves.rng, items(op))
    need(value.type.is_float)
    role = roles.result
    if role.kind == "same":
        return _quantized(leaves, value, shared)
    if role.kind == "fixed":
        kind = storage.activation
        return _quantized(leaves, value, Element(DTYPES[kind], per_tensor(*role.grids[kind])))
    return _quantized(leaves, value, _element_of(leaves, value, storage))


def _operand(leaves: Leaves, role: Role, type: Type, before: list[Op], element: Element,
             storage: Storage) -> Op:  # fmt: skip
    """An operand in a role; before: the operands in front of it, which a bias follows.

    element: what it is stored as in a role that is free or shares a grid.
    """
    rng = leaves.rng
    if role.kind in ("index", "bool"):
        return leaves.parameter(type)
    if role.kind == "folded":
        return leaves.constant(type)
    need(role.kind in ("free", "same", "weight", "bias"))
    if role.kind == "weight":
        stored = leaves.constant(_weight(leaves, type, role.axis)[type.shape])
    elif role.kind == "bias":
        x, w = (before[i].operands[0].type.grid for i in role.of)
        scale = np.float32(x.scale) * w.scale.ravel()
        size = type.shape[0]
        grid = per_tensor(scale[0]) if scale.size == 1 else None
        grid = grid or Grid(np.repeat(scale, size // scale.size), 0, axis=0)
        drawn = leaves.constant(Element(DTYPES["i32"], grid)[type.shape])
        kind = DTYPES[storage.bias]  # of 64 bits kernels take what is below 2**47
        stored = const(drawn.value.astype(kind.numpy), Type(kind, type.shape, grid),
                       location=drawn.location)  # fmt: skip
    else:
        fixed = chance(rng, 0.1)
        stored = (leaves.constant if fixed else leaves.parameter)(element[type.shape])
    return definition("quant.dequantize")(stored, location=leaves.place())


def _weight(leaves: Leaves, type: Type, axis: int) -> Element:
    scale = 2.0 ** leaves.rng.uniform(-9, -4)
    if chance(leaves.rng, 0.3) or type.shape[axis] == 0:
        return Element(DTYPES["i8"], Grid(scale, 0, narrow=True))
    scales = scale * leaves.rng.uniform(0.2, 1, type.shape[axis])
    return Element(DTYPES["i8"], Grid(scales, 0, axis=axis, narrow=True))


def _element_of(leaves: Leaves, value: Op, storage: Storage) -> Element:
    """The element for what a value is seen to hold, as calibration would choose it."""
    func = Func("drawn", tuple(leaves.parameters), (value,))
    (found,) = evaluate(func, draw_inputs(leaves.rng, [p.type for p in leaves.parameters]))
    found = found[np.isfinite(found)]
    need(found.size)
    low, high = (float(np.clip(end, -1e6, 1e6)) for end in (found.min(), found.max()))
    if storage is SIXTEEN:
        return Element(DTYPES["i16"], per_tensor(symmetric_scale(low, high)))
    return Element(DTYPES["i8"], per_tensor(*activation_grid(low, high)))


def _quantized(leaves: Leaves, value: Op, to: Element) -> Op:
    return definition("quant.quantize")(value, to=to, location=leaves.place())
