"""Hypothesis in front of the random graphs: what it draws shrinks, a failing network to a layer.

    from hypothesis import given
    from qir.testing.sampling.strategies import networks, samples_of

    @given(networks())
    def test_my_pass_keeps_the_meaning(func): ...

Hypothesis makes every choice of structure, a seed that it chooses too the numbers in
constants. Wherever one of several is drawn, the first is what a failure shrinks to.
"""

from functools import cached_property

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from ...dialect import items
from ...ir import Func
from ...rewrite import Rule
from .draft import Rejected, draw_mood
from .networks import Network, begun, ended, grow
from .nodes import Leaves, draw_node
from .patterns import draw_match
from .pipelines import draw_call, draw_normal
from .steering import steering_of
from .values import draw_inputs, one_of

STEPS = 12
"""Layers of a network, at most."""
CHANCES, SEEDS = 32, 256
"""Into how many parts chances are divided, how many seeds there are: few, for shrinking's sake."""


class Choices:
    """The methods of a numpy generator that the sampling calls, answered by hypothesis.

    What is asked for one by one is chosen by hypothesis; arrays come from a generator whose seed
    it chooses.
    """

    def __init__(self, draw):
        self._draw = draw

    @cached_property
    def _numbers(self) -> np.random.Generator:
        return np.random.default_rng(self._draw(st.integers(0, SEEDS - 1)))

    def integers(self, low, high=None, size=None, endpoint=False):
        if size is not None:
            return self._numbers.integers(low, high, size, endpoint=endpoint)
        low, high = (0, low) if high is None else (low, high)
        return self._draw(st.integers(int(low), int(high) - (not endpoint)))

    def random(self, size=None):
        if size is not None:
            return self._numbers.random(size)
        return 1 - (1 + self._draw(st.integers(0, CHANCES - 1))) / CHANCES  # simplest: it is not

    def uniform(self, low=0.0, high=1.0, size=None):
        return self._numbers.uniform(low, high, size)

    def normal(self, size=None):
        return self._numbers.normal(size=size)

    def choice(self, values, size=None):
        return self._numbers.choice(values, size)

    def permutation(self, n: int) -> np.ndarray:
        return np.asarray(self._draw(st.permutations(range(n))), np.int64)


@st.composite
def networks(draw, steps: int = STEPS, traced: float | None = None) -> Func:
    """Small networks: images in, up to `steps` layers, one to four results, batch 2.

    traced: the part of the layers that are spelled in primitives of lax; drawn where left out.
    """
    part = draw(st.sampled_from((0.0, 0.5, 1.0))) if traced is None else traced
    net = begun(Choices(draw), part)
    draw(st.lists(_layers(net), min_size=1, max_size=steps))
    return ended(net)


@st.composite
def _layers(draw, net: Network) -> None:
    """A layer more; each makes its own choices, so that any may be left out while shrinking."""
    outer, net.rng = net.rng, Choices(draw)
    grow(net)
    net.rng = outer


@st.composite
def graphs_of(draw, kind: str, data: str | None = None) -> Func:
    """Functions of one node of this kind; data: the storage of lax and nn values."""
    rng = Choices(draw)
    leaves = Leaves(rng, draw_mood(rng, data))
    try:
        op = draw_node(kind, leaves)
    except Rejected:
        reject()
    return Func("drawn", tuple(leaves.parameters), items(op))


@st.composite
def matches_of(draw, rule: Rule) -> Func:
    """Functions whose result matches the pattern of a rule; its guards may still decline them."""
    rng = Choices(draw)
    try:
        return draw_match(rng, one_of(rng, rule.patterns), steering_of(rule))
    except Rejected:
        return reject()


@st.composite
def calls_of(draw, pipeline: str) -> str:
    """A pipeline with any of its parameters given, as text."""
    return draw_call(Choices(draw), pipeline)


@st.composite
def samples_of(draw, func: Func, count: int = 4) -> list[list[np.ndarray]]:
    """Calibration samples of normal numbers."""
    rng = Choices(draw)
    return [draw_normal(rng, func) for _ in range(count)]


@st.composite
def inputs_of(draw, func: Func) -> list[np.ndarray]:
    """An array for each parameter, of any storage; round numbers among the reals."""
    return draw_inputs(Choices(draw), [p.type for p in func.parameters])
