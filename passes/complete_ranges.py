"""Find the range of every observed value by whatever there is: training, samples, or a default."""

import numpy as np

from qir import observers
from qir.attributes import Floats, ReadFile, WrittenFile
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.graph_pass import Run, Samples, graph_pass
from qir.ir import Func, Op, kept, place_of, transform
from qir.registry import pass_named

from ..dialects import quant


def default_is_range(func: Func, *, default: Floats | None = None, **_) -> None:
    """QirError for a default that is no range."""
    if default is None:
        return
    if len(default) != 2 or not np.isfinite(default).all() or default[0] >= default[1]:
        raise QirError(f"a default range is two numbers, the lower one first: {list(default)}")


@graph_pass("observed -> calibrated", ahead=default_is_range)
def complete_ranges(
    func: Func,
    *,
    default: Floats | None = None,
    keep: float | None = None,
    stats: ReadFile | None = None,
    save_stats: WrittenFile | None = None,
    samples: Samples | None = None,
    run: Run = evaluate,
) -> Func:
    """Give every observed value a range: that of training as it is, else that of samples.

    default: the range [lo, hi] of what has neither. keep, stats, save_stats: as of `calibrate`.
    Samples are not read where every value has a range already. QirError where a value has none.
    """
    func = _obeyed(func)
    if not _observed(func):
        return func
    if stats is not None and default is not None:
        func = _filled(func, default, known=set(observers.load(stats)))
    if stats is not None or samples is not None:
        more = {} if stats is not None else {"samples": samples}
        calibrate = pass_named("calibrate")
        return calibrate(func, keep=keep, stats=stats, save_stats=save_stats, run=run, **more)
    if default is None:
        raise _unknown(_observed(func))
    return _filled(func, default)


def _observed(func: Func) -> list[Op]:
    return [op for op in func.ops if op.kind == quant.observe.name]


def _obeyed(func: Func) -> Func:
    """The function in which ranges that are there already are exact."""

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op.kind != quant.stats.name or op.attributes["exact"]:
            return kept(op, operands)
        return op.with_operands(*operands, exact=True)

    return transform(func, change)


def _filled(func: Func, default: tuple[float, float], known=()) -> Func:
    """The function with a range for all observers whose names are not known."""

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        if op.kind != quant.observe.name or op.attributes["name"] in known:
            return kept(op, operands)
        return quant.stats(*operands, name=op.attributes["name"], lo=default[0], hi=default[1],
                           location=op.location)  # fmt: skip

    return transform(func, change)


def _unknown(missing: list[Op]) -> QirError:
    inputs = [op for op in missing if op.operands[0].kind == "parameter"]
    shown = ", ".join(f"'{op.attributes['name']}'" for op in (inputs or missing)[:8])
    rest = len(missing) - len((inputs or missing)[:8])
    what = "the input" if len(inputs) == 1 else "the inputs" if inputs else "the values"
    more = f" and {rest} more values" if rest else ""
    stated = "input_stats=[mean, std] for inputs that are bytes, " if inputs else ""
    return QirError(f"no range is known for {what} {shown}{more}", at=place_of(missing[0]),
                    help=f"give {stated}calibration data, default_ranges=[lo, hi], or a graph with "
                         "fake quantizations")  # fmt: skip
