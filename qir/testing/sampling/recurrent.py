"""Operands of recurrent cells over a sequence."""

from .draft import Draft
from .operands import Shapes, shapes_of


@shapes_of("nn.lstm", "nn.lstm_cells", "hybrid.lstm")
def _lstm(draft: Draft) -> Shapes:
    (steps, batch, inputs), width = _sequence(draft)
    state = (batch, width)
    return [(steps, batch, inputs), (4, inputs, width), (4, width, width), (4 * width,), state,
            state, (steps, *state)]  # fmt: skip


@shapes_of("nn.gru", "hybrid.gru")
def _gru(draft: Draft) -> Shapes:
    (steps, batch, inputs), width = _sequence(draft)
    return [(steps, batch, inputs), (3, inputs, width), (3, width, width), (3 * width,), (width,),
            (batch, width)]  # fmt: skip


def _sequence(draft: Draft) -> tuple[tuple[int, ...], int]:
    return tuple(draft.below(limit, 1) for limit in (5, 4, 6)), draft.below(6, 1)
