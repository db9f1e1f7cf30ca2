"""What calibration and the choice of grids decide, as entries of the journal (`qir.journal`)."""

from collections.abc import Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from .ir import Op
from .labelling import Transfer
from .observers import Statistics
from .types import Element

Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class RangeFound:
    """Calibration found the range of what an observer saw; options: of the method."""

    observer: Op
    statistics: Statistics
    method: str
    options: Mapping[str, object]
    lo: float
    hi: float


@dataclass(frozen=True, eq=False)
class GridsChosen:
    """A grid was chosen for every node of a function, with what it was chosen by.

    A node carries one grid for all values that stand on it (node_of). ranges: of nodes whose grid
    is open. fixed: the grids of the others. exposed: nodes whose values are computed with.
    transfers: from nodes to the ops that share one grid with what they read. parts: for such an
    op, the operands or observer that its range unites. spans: the range of each label. verdicts:
    for each open node and label of its component why it may not carry it, None where it may.
    labels and elements: what each node took; nodes of one label have one grid.
    """

    node_of: Mapping[Op, Op]
    ranges: Mapping[Op, Range]
    fixed: Mapping[Op, Element]
    exposed: AbstractSet[Op]
    transfers: Sequence[Transfer]
    parts: Mapping[Op, Sequence[tuple[Op, Range]]]
    spans: Mapping[Hashable, Range]
    verdicts: Mapping[Op, Mapping[Hashable, str | None]]
    labels: Mapping[Op, Hashable]
    elements: Mapping[Op, Element]


@dataclass(frozen=True, eq=False)
class GridChanged:
    """An op reads a value on another grid than its own; cast: the quantize that changes it."""

    value: Op
    reader: Op
    own: Element
    wanted: Element
    cast: Op


@dataclass(frozen=True, eq=False)
class ConstantPlaced:
    """A constant was put on the grid that an op wants; stored: the constant of integers.

    role: the part it plays there (`qir.roles`); of: for a bias, the grids of activation and weight
    whose product its own is; left: why a weight is not on the grid that training rounded it to.
    """

    source: Op
    reader: Op
    role: str
    stored: Op
    of: tuple[Element, ...] = ()
    left: str | None = None


@dataclass(frozen=True, eq=False)
class WeightStored:
    """A weight was stored as integers that its readers make real again.

    reader: the op that reads it first. clip: how its scales were found. left: why it is not in
    blocks where these were asked for.
    """

    source: Op
    reader: Op
    stored: Op
    clip: str
    left: str | None = None
