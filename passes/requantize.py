"""Make one op of every change of grid, and as few of them as can be."""

from qir.errors import require
from qir.graph_pass import graph_pass
from qir.ir import OPS, Func, Op, kept, transform
from qir.pattern import V
from qir.rewrite import rewrite, rule, selected
from qir.timing import count

from ..dialects import quant

CASTS = (quant.quantize.name, quant.dequantize.name, quant.requantize.name)


@graph_pass("qdq -> qdq")
def requantize(func: Func, *, at_once: bool = True) -> Func:
    """Turn dequantize and quantize in a row into one requantize, or into nothing on one grid.

    at_once: what nobody reads on its first grid is not rounded to it, but quantized on the second;
    `false` where training has rounded it to the first.
    """
    func = _merged(rewrite(func, casts_are_one_requantize, cast_to_its_own_grid))
    return rewrite(func, quantize_at_once) if at_once else func


@rule(quant.quantize(quant.dequantize(V.x)) @ "cast")
def casts_are_one_requantize(cast, x):
    """Integers that become reals and integers again only change their grid."""
    to = cast.attributes["to"]
    return x if x.type.element == to else quant.requantize(x, to=to)


@rule(quant.requantize(V.x) @ "cast")
def cast_to_its_own_grid(cast, x):
    """A requantize to the grid a value stands on changes nothing."""
    require(x.type.element == cast.attributes["to"], "the grids differ")
    return x


@rule(quant.requantize(quant.quantize(V.real).once() @ "first") @ "cast")
def quantize_at_once(cast, first, real):
    """What nobody reads on its first grid is quantized on the second at once."""
    node = real.operands[0] if real.kind == "item" else real
    if node.kind in OPS:
        require(first.dtype == cast.dtype, f"{node.kind} gives {first.dtype}, as it was told to")
        made = OPS[node.kind].roles(node).result.kind
        require(made in ("free", "float"), f"the grid of the result of {node.kind} is {made}")
    return quant.quantize(real, to=cast.attributes["to"])


def _merged(func: Func) -> Func:
    """The function with one cast for each value and grid."""
    first: dict[tuple, Op] = {}

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        node = kept(op, operands)
        if op.kind not in CASTS or not selected(op):
            return node
        key = (op.kind, operands[0], op.attributes.get("to"))
        count("casts merged", key in first)
        return first.setdefault(key, node)

    new = transform(func, change)
    return func if all(a is b for a, b in zip(new.results, func.results, strict=True)) else new
