"""Say on which grid an input is stored, by the mean and the deviation that it was normalized with.

An image of bytes that a network reads as (byte - mean) / std is on the grid of scale 1 / std and
zero point mean, whatever values the samples have. (TensorFlow's version 1 converter asks for the
pairs as `quantized_input_stats`.)
"""

import warnings
from collections.abc import Mapping

import numpy as np

from qir.attributes import InputStats
from qir.errors import QirError, QirWarning, suggestion
from qir.graph_pass import graph_pass
from qir.ir import Func, Op, kept, place_of, transform
from qir.quantizable import is_real
from qir.rounding import activation_grid

from ..dialects import quant

MARKS = (quant.observe.name, quant.stats.name)
LEVELS = 255
"""The highest stored byte; the lowest is 0."""


def inputs_known(func: Func, *, stats: InputStats = ()) -> None:
    """QirError for a name that no input has, and for an input that stands for no reals."""
    _asked(func, stats)


@graph_pass("observed -> observed", ahead=inputs_known)
def state_inputs(func: Func, *, stats: InputStats = ()) -> Func:
    """Say how inputs that are bytes are stored: real = (stored - mean) / std.

    stats: `[x=[128, 64]]`, a mean, within 0 to 255, and a standard deviation above 0; one pair for
    all inputs of reals, a list of pairs in order, or by name. A range that training gave an input
    stays, with a warning, where it is more than a step off.
    """
    ranges: dict[Op, tuple[float, float]] = {}
    for op, pair in _asked(func, stats).items():
        marks = [user for user in func.users[op] if user.kind in MARKS]
        if not marks:
            _warn(op, f"mean and deviation of '{op.attributes['name']}' say nothing: "
                      "no op that is quantized reads it")  # fmt: skip
        ranges |= {mark: ends(*pair) for mark in marks if not _is_another(op, mark, pair)}

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op not in ranges:
            return kept(op, operands)
        lo, hi = ranges[op]
        return quant.stats(*operands, name=op.attributes["name"], lo=lo, hi=hi, exact=True,
                           location=op.location)  # fmt: skip

    return transform(func, change) if ranges else func


def ends(mean: float, std: float) -> tuple[float, float]:
    """What the lowest and the highest byte stand for."""
    return (0.0 - mean) / std, (LEVELS - mean) / std


def _asked(func: Func, stats) -> dict[Op, tuple[float, float]]:
    """The pair of each input that has one."""
    inputs = {p.attributes["name"]: p for p in func.parameters}
    if isinstance(stats, Mapping):
        unknown = next((name for name in stats if name not in inputs), None)
        if unknown is not None:
            raise QirError(f"there is no input '{unknown}'", help=suggestion(unknown, inputs))
        wrong = next((name for name in stats if not is_real(inputs[name].type)), None)
        if wrong is not None:
            raise QirError(f"the input '{wrong}' is {inputs[wrong].type}, which stands for no "
                           "reals: it has no mean and no deviation")  # fmt: skip
        return {inputs[name]: pair for name, pair in stats.items()}
    reals = [p for p in func.parameters if is_real(p.type)]
    if stats and not isinstance(stats[0], tuple):
        return dict.fromkeys(reals, stats)
    if stats and len(stats) != len(reals):
        names = ", ".join(p.attributes["name"] for p in reals) or "none"
        raise QirError(f"{len(stats)} pairs of mean and deviation for the inputs of reals, {names}",
                       help="one pair for all of them, one for each, or pairs by name")
    return dict(zip(reals, stats, strict=True)) if stats else {}


def _is_another(op: Op, mark: Op, pair: tuple[float, float]) -> bool:
    """Whether training stored an input otherwise than a pair says, which is warned of.

    Training rounds a zero point that lies between two bytes, as that of [-1, 1], in f32, and either
    way; then the pair says which it is.
    """
    if mark.kind == quant.observe.name:
        return False
    trained, said = (activation_grid(*span, 0, LEVELS) for span in
                     ((mark.attributes["lo"], mark.attributes["hi"]), ends(*pair)))  # fmt: skip
    if np.isclose(trained[0], said[0], rtol=1e-5, atol=0) and abs(trained[1] - said[1]) <= 1:
        return False
    _warn(op, f"'{op.attributes['name']}' is stored as training rounded it, with scale "
              f"{trained[0]} and zero point {trained[1]}, not with {said[0]} and {said[1]}, "
              "which its mean and deviation say")  # fmt: skip
    return True


def _warn(op: Op, message: str) -> None:
    warnings.warn(QirWarning(message, at=place_of(op)), stacklevel=3)
