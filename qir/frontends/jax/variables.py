"""The arrays of a pytree by their paths, which is how the variables of a graph are called."""

from jax.tree_util import tree_flatten_with_path

from ...errors import QirError
from .models import path_text


def named(tree) -> dict[str, object]:
    """The leaves of a tree by path: `encoder.layers.0.kernel`; `variable` where it is one array.

    QirError where two have the same path.
    """
    found: dict[str, object] = {}
    for path, leaf in tree_flatten_with_path(tree)[0]:
        name = path_text(path) or "variable"
        if name in found:
            raise QirError(f"two leaves of the tree have the path '{name}'",
                           help="a key with a dot in it reads as two keys")  # fmt: skip
        found[name] = leaf
    return found
