"""Which ops of a function are meant: a small language inside the one notation.

`kind(nn.conv2d) & loc("encoder/.*") & !last` is read into a `Selector`, printed back from it, and
matched against a function. Positions and names are found in the graph, so a selector is matched as
a whole, not asked op by op; `scheme(float)` speaks of what a recipe has written onto ops.
"""

from . import words  # noqa: F401  its words enter the language
from .language import FORM, WORDS, Selector, expression, read_selector
from .match import chooser, matched

__all__ = ["FORM", "WORDS", "Selector", "chooser", "expression", "matched", "read_selector"]
