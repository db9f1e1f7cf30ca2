"""Random well-typed graphs: single ops, graphs that match a rule's pattern, small networks.

Everything is drawn from one seeded generator, so that a seed is a reproducer;
`python -m qir.testing.sampling --help` runs the checks at scale. `strategies` has the same graphs
for hypothesis.
"""

from .checks import check_network, check_op
from .draft import Mood, Rejected, draw_mood
from .networks import draw_network
from .nodes import Leaves, draw_node
from .patterns import Steering, draw_match
from .pipelines import Passage, check_pipeline, draw_call, draw_normal
from .soundness import Tally, Verdict, judge, tally
from .spans import check_span, outside
from .steering import rules_everywhere, steering_of
from .values import draw_inputs

__all__ = [
    "Leaves", "Mood", "Passage", "Rejected", "Steering", "Tally", "Verdict", "check_network",
    "check_op", "check_pipeline", "check_span", "draw_call", "draw_inputs", "draw_match",
    "draw_mood", "draw_network", "draw_node", "draw_normal", "judge", "outside",
    "rules_everywhere", "steering_of", "tally",
]  # fmt: skip
