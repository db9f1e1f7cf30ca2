"""Products and look-ups that read weights as they are stored."""

from qir.errors import require
from qir.graph_pass import graph_pass
from qir.ir import Func, Op
from qir.pattern import V, either
from qir.rewrite import rewrite, rule

from ..dialects import lax, nn, quant

REAL = either(quant.dequantize, quant.widen)


@graph_pass("mixed -> mixed")
def fuse_weights(func: Func, *, fused: bool = True) -> Func:
    """Let dense layers and look-ups make their stored weights real themselves, part by part.

    So that weights keep the size they are stored in while a model runs, where otherwise they are
    made real once, when it is compiled. Convolutions and recurrent cells do not have this.
    `fused=false` does nothing.
    """
    return rewrite(func, product_of_stored, rows_of_stored) if fused else func


def _is_constant(w: Op) -> None:
    require(w.is_const, f"what is made real is computed by {w.kind}, no stored weight")


@rule(nn.dense(V.x, REAL(V.w)) @ "op", nn.dense(V.x, REAL(V.w), V.b) @ "op")
def product_of_stored(op, x, w):
    """A dense layer by a stored weight."""
    _is_constant(w)
    return quant.dense(x, w, *op.operands[2:], clamp=op.attributes["clamp"])


@rule(lax.take(REAL(V.x), V.indices) @ "op")
def rows_of_stored(op, x, indices):
    """Rows of a stored table."""
    _is_constant(x)
    return quant.take(x, indices, axis=op.attributes["axis"] % x.type.rank)
