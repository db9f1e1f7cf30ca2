"""One op being drawn: what is known of its operands, what is wanted of it, what was chosen."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...dialect import OpDefinition
from ...types import DTYPES, Element, Grid, Type
from .values import Rng, chance, draw_grid, draw_quantized, draw_shape, one_of


class Rejected(Exception):
    """What was drawn so far cannot become a well-typed graph; draw again."""


def need(condition: object) -> None:
    """Go on only if `condition` holds."""
    if not condition:
        raise Rejected


@dataclass(frozen=True)
class Mood:
    """What all ops of one graph have in common.

    data: the element of lax and nn values. stored: a grid that quantized values may share.
    fixed: whether operands that are constants more often than not are constants.
    """

    data: Element
    stored: Element
    fixed: bool

    @property
    def shared(self) -> bool:
        """Whether all quantized values of the graph stand on one grid."""
        return self.data.grid is not None or self.fixed


def draw_mood(rng: Rng, data: str | None = None) -> Mood:
    """A mood; data: the storage of lax and nn values, drawn where it is left out."""
    stored = draw_quantized(rng)
    if data is None:
        floats = ("f32", "f32", "f32", "f64", "f64", "f16", "bf16")
        others = ("i32", "i8", "u8", "i64", "bool", "stored", "stored")
        data = one_of(rng, floats if chance(rng, 0.75) else others)
    element = stored if data == "stored" else Element(DTYPES[data])
    return Mood(element, stored, chance(rng, 0.8))


@dataclass
class Draft:
    """An op on the way.

    known: types of the operands that exist, None for those to be drawn. want: a type that the
    result had best have. given: attributes that are settled; attributes: those chosen so far.
    """

    rng: Rng
    mood: Mood
    op: OpDefinition
    known: list[Type | None]
    want: Type | None = None
    given: Mapping[str, object] = field(default_factory=dict)
    attributes: dict[str, object] = field(default_factory=dict)

    @property
    def dialect(self) -> str:
        return self.op.name.partition(".")[0]

    @property
    def name(self) -> str:
        return self.op.name.partition(".")[2]

    def shape(self, index: int) -> tuple[int, ...] | None:
        """The shape of an operand that exists."""
        known = self.known[index] if index < len(self.known) else None
        return None if known is None else known.shape

    def first(self, rank: int | None = None) -> tuple[int, ...]:
        """The shape of the first operand, drawn if there is none; of this rank if one is given."""
        found = self.shape(0)
        if found is None:
            likely = self.want.rank if self.want is not None else None
            found = draw_shape(self.rng, rank if rank is not None else likely)
        need(rank is None or len(found) == rank)
        return found

    def below(self, limit: int, low: int = 0) -> int:
        """An integer in [low, limit)."""
        return int(self.rng.integers(low, limit))

    def operand_name(self, index: int) -> str:
        names = (*self.op.required, *self.op.optional)
        return names[index] if index < len(names) else self.op.variadic or ""

    def dressed(self, *shapes: tuple[int, ...]) -> list[Type]:
        """Operand types of these shapes: the known ones, and others as the op takes them."""
        count = max(len(self.known), len(self.op.required))
        if self.op.variadic:
            count = max(count, len(shapes))
        need(len(shapes) >= count)
        return [self._dress(i, shape) for i, shape in enumerate(shapes[:count])]

    def _dress(self, index: int, shape: tuple[int, ...]) -> Type:
        known = self.known[index] if index < len(self.known) else None
        if known is not None:
            return known
        name = self.operand_name(index)
        if name in ("indices", "starts"):
            return Element(DTYPES["i32"])[shape]
        if name in ("pred", "mask"):
            return Element(DTYPES["bool"])[shape]
        if self.dialect in ("int8", "xla"):
            return self._integers(name, shape)
        if self.dialect == "hybrid":
            weight = name in ("w", "u")
            return (self._weight(shape) if weight else Element(DTYPES["f32"]))[shape]
        if self.dialect == "quant":
            return self._of_quant(name, shape)[shape]
        named = ((self.operand_name(i), t) for i, t in enumerate(self.known) if t is not None)
        kin = [t.element for operand, t in named if operand not in ("pred", "mask", "indices")]
        return (kin[0] if kin else self.mood.data)[shape]

    def _of_quant(self, name: str, shape) -> Element:
        """Reals, or what the op reads as it is stored: integers on a grid, or halves."""
        half = Element(DTYPES[one_of(self.rng, ("f16", "bf16"))])
        if self.name == "widen":
            return half
        if name == "w" or (self.name, name) == ("take", "x"):
            held = self._weight(shape) if name == "w" and len(shape) == 2 else self.stored()
            return held if chance(self.rng, 0.7) else half
        stored = self.name in ("dequantize", "requantize")
        return self.stored() if stored else Element(DTYPES["f32"])

    def stored(self) -> Element:
        """An element on a grid: the one that the graph shares, or another."""
        return self.mood.stored if self.mood.shared else draw_quantized(self.rng)

    def _integers(self, name: str, shape) -> Type:
        if name in ("b", "gamma", "beta", "exps") and self.name not in _PRODUCTS:
            return Element(DTYPES["i32"])[shape]
        if name == "w" and self.dialect == "xla":
            grid = draw_grid(self.rng) if chance(self.rng, 0.2) else None
            return Element(DTYPES["i8"], grid)[shape]
        if name == "w" and self.name not in ("lstm", "gru") and chance(self.rng, 0.25):
            return draw_quantized(self.rng)[shape]  # with a zero point
        if name == "w":
            return self._weight()[shape] if len(shape) < 2 else self._weight(shape)[shape]
        if name == "values":
            return self.attributes["to"][shape]
        return self.stored()[shape]

    def _weight(self, shape=None) -> Element:
        axis = {"dense": 1, "lstm": 0, "gru": 0}.get(self.name, 3)
        if self.name == "depthwise_conv2d" and shape is not None and (
                shape[3] == 1 or self.dialect == "hybrid"):  # fmt: skip
            axis = 2
        scale = 2.0 ** self.rng.uniform(-9, -3)
        if shape is None or chance(self.rng, 0.4) or shape[axis] == 0:
            return Element(DTYPES["i8"], Grid(scale, 0, narrow=True))
        scales = scale * self.rng.uniform(0.2, 1, shape[axis])
        return Element(DTYPES["i8"], Grid(scales, 0, axis=axis, narrow=True))

    def result(self) -> Element:
        """An element for the attribute `to` of an op that gives quantized values."""
        if self.want is not None and self.want.grid is not None:
            return self.want.element
        if chance(self.rng, 0.8) or self.dialect == "quant":
            return self.stored()
        return Element(DTYPES["i8"], draw_grid(self.rng))


_PRODUCTS = ("matmul", "batch_dot", "add", "sub", "mul", "div")
"""Ops whose operand b is no bias but a second activation."""
