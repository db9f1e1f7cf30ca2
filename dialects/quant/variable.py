"""Arrays that training goes on changing."""

from qir.errors import require
from qir.types import Type

from .dialect import quant


@quant.op
def variable(x: Type, *, name: str) -> Type:
    """x itself, the present value of an array that training changes; `name` is its path in a tree.

    It keeps what is computed from it from becoming a constant.
    """
    require(x.grid is None, f"takes plain numbers, found {x}")
    require(name, "a variable needs a name")
    return x


@variable.means
def _(op, x):
    return x
