"""The table of XLA lowerings: from an op's kind to how JAX computes it. Loads no framework.

A dialect from elsewhere declares lowerings for its ops with the same decorator; their bodies import
jax, the module need not.
"""

import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from ...ir import OPS
from ...tables import inside, table

Lowering = Callable[..., object]
"""`(our node, *its values) -> value`, a tuple of values for several results."""

LOWERINGS: dict[str, Lowering] = table(lambda lowering: lowering)
"""By the full name of the op; `lowerings()` fills in qir's own."""


def lowers(*kinds: str) -> Callable[[Lowering], Lowering]:
    """Declare the lowering of the ops of these kinds.

    It gets jax or numpy arrays in the storage of the operands' types. What it gives is cast to the
    storage of the op's type, so it may compute in a wider one; the shape must be right.
    """

    def declare(function: Lowering) -> Lowering:
        for kind in kinds:
            if _is_own(kind) and not inside(function.__module__, "qir"):
                raise TypeError(f"{kind} is qir's own, and so is its XLA lowering")
            if kind in LOWERINGS:
                raise TypeError(f"{kind} has two XLA lowerings")
            LOWERINGS[kind] = function
        return function

    return declare


def _is_own(kind: str) -> bool:
    return kind in OPS and inside(OPS[kind].typing.__module__, "qir")


@cache
def lowerings() -> Mapping[str, Lowering]:
    """The whole table: the modules `lower*` of this folder are imported, and jax with them."""
    package = __name__.rpartition(".")[0]
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if info.name.startswith("lower"):
            import_module(f"{package}.{info.name}")
    return LOWERINGS
