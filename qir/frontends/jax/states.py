"""What becomes of each primitive of JAX, for the documentation."""

from jax.extend.core import primitives

from .control import CONTROL
from .equations import CALLS
from .table import IMPORTS

LIMITS = {
    "approx_top_k": "all of the greatest or least elements, exactly",
    "cond": "every branch is computed, an input chooses between the results",
    "conv_general_dilated": "every layout, rank, dilation and group",
    "dot_general": "every layout of batch and contracted axes",
    "gather": "every form; whole slices that start outside are read from the nearest end, where "
              "`jnp.take` would mark them with NaN or the lowest integer",
    "iota": "a constant",
    "psum": "over an axis that `vmap` maps", "pmax": "over an axis that `vmap` maps",
    "pmin": "over an axis that `vmap` maps",
    "reduce": "of one value, by one sum, product, extremum or logical op",
    "reduce_and": "of truth values", "reduce_or": "of truth values",
    "reduce_window": "of one value, by one sum or extremum",
    "reduce_xor": "of truth values",
    "scan": "written out, of at most 1024 steps",
    "scatter": "every form; which of several writes to one place wins is not said, as in JAX; no "
               "function of what is there",
    "while": "written out, of at most 1024 steps, whose number no input decides",
}  # fmt: skip
"""What the state alone does not say."""


def states() -> dict[str, tuple[str, str]]:
    """The state of every primitive by name, and its limits."""
    theirs = {getattr(primitives, name).name for name in dir(primitives) if name.endswith("_p")}
    names = sorted({*theirs, *IMPORTS, *CONTROL, *CALLS}, key=str.lower)
    return {name: (_state(name), LIMITS.get(name, "")) for name in names}


def _state(name: str) -> str:
    if name in IMPORTS or name in CONTROL or name == "iota":
        return "imported"
    return "inlined" if name in CALLS else "of constants alone"
