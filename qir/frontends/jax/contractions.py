"""Imports of dot products and convolutions."""

from qir.dialects import lax

from .table import imports, type_of_aval


@imports("dot_general")
def dot_general(equation, a, b):
    (contract_a, contract_b), (batch_a, batch_b) = equation.params["dimension_numbers"]
    to = type_of_aval(equation.outvars[0].aval).element
    return lax.dot_general(
        a, b, contract_a=contract_a, contract_b=contract_b, batch_a=batch_a, batch_b=batch_b,
        to=None if to == a.type.element else to,
    )  # fmt: skip


@imports("conv_general_dilated")
def conv_general_dilated(equation, x, w):
    p = equation.params
    to = type_of_aval(equation.outvars[0].aval).element
    if to != x.type.element:  # sums of products in the wider type are what sums into it are
        x, w = lax.convert(x, to=to), lax.convert(w, to=to)
    low, high = zip(*p["padding"], strict=True) if p["padding"] else ((), ())
    specs = p["dimension_numbers"]
    return lax.conv_general_dilated(
        x, w, strides=p["window_strides"], padding=(*low, *high),
        lhs_dilation=_unless_ones(p["lhs_dilation"]), rhs_dilation=_unless_ones(p["rhs_dilation"]),
        groups=p["feature_group_count"], batch_groups=p["batch_group_count"],
        lhs_spec=specs.lhs_spec, rhs_spec=specs.rhs_spec, out_spec=specs.out_spec,
    )  # fmt: skip


def _unless_ones(values):
    return tuple(values) if any(n != 1 for n in values) else None
