"""What a function must fulfil on its way through a pipeline: every step, and what comes out.

Steps between forms of reals keep the meaning up to rounding, steps between forms of stored
integers keep every bit. What the steps between add must be explained by the grids: noise of half
a step on every quantized value, sent through the same graph, bounds what quantization may cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args, get_origin

import numpy as np

from ... import registry
from ...api import compile, run_pipeline
from ...errors import QirError
from ...evaluate import evaluate, evaluate_op
from ...forms import complaints, implies
from ...ir import Func, Module, Op
from ...pipeline import Done
from ...rounding import CONTRACTS
from ...text.syntax import CallText, Ref
from ...text.write import option_text
from ...types import TupleType
from .soundness import largest_of, round_trip, unlike
from .values import Rng, chance, one_of

SILENT = 200.0
"""The signal to noise, in dB, of a result without any noise."""
ROUNDING = 256
"""How many steps of its precision a float result of a whole network may move."""
EXCESS = 4.0
"""How many times what the grids explain may be lost, and how many steps of a result's grid."""
TRIALS = 4
NOT_DRAWN = frozenset((("equalize_channels", "relu6", "relu"),))
"""Choices of options that change what a network computes, and say so, or that targets refuse."""
READY = {"qat": "qat_prepare"}
"""By pipeline that takes more than a float network: the one that makes it so."""
ENDS = {"legacy_uint8": {"inputs": "float32", "outputs": "float32"}}
"""By pipeline whose function takes and gives stored integers: what leaves its ends real."""
ROUNDINGS = ("quant.fake_quant", "quant.fake_quant_per_channel", "quant.quantize_and_dequantize")
SINGLE = [name for name, each in CONTRACTS.items() if each.operands == 1]


@dataclass(frozen=True)
class Loss:
    """What quantization cost one result: signal to noise in dB, and its type."""

    decibels: float
    type: object


@dataclass(frozen=True)
class Passage:
    """A function sent through a pipeline: what it became, what is wrong, what results lost."""

    after: Func
    complaint: str | None
    losses: tuple[Loss, ...]


def draw_call(rng: Rng, pipeline: str) -> str:
    """A pipeline with random parameters, as text: `ptq_int8(method=mse, weights=per_tensor)`."""
    given = dict(ENDS.get(pipeline, {}))
    for name, choices in choices_of(pipeline).items():
        if chance(rng, 0.5):
            given[name] = one_of(rng, choices)
    inside = ", ".join(f"{key}={option_text(value)}" for key, value in given.items())
    before = f"{READY[pipeline]}, " if pipeline in READY else ""
    return f"{before}{pipeline}({inside})" if inside else f"{before}{pipeline}"


def choices_of(pipeline: str) -> dict[str, tuple]:
    """The choices of those parameters of a pipeline that are one of a few words, by name."""
    record, _ = registry.pipelines()[pipeline]
    found: dict[str, tuple] = {}
    for call in _calls(record.steps):
        for key, value in call.kwargs.items():
            if not (isinstance(value, Ref) and value.mark == "$"):
                continue
            choices = _choices(call.name, key)
            if choices:
                found[value.name] = choices
    return found


def _calls(steps) -> list[CallText]:
    """The steps of a pipeline text, those inside combinators too."""
    calls = [step for step in steps if isinstance(step, CallText)]
    return [inner for call in calls for inner in (call, *_calls(call.args))]


def _choices(step: str, option: str) -> tuple:
    if option == "rounding":
        return (None, *SINGLE)
    if step in registry.pipelines():
        return choices_of(step).get(option, ())
    action = registry.passes().get(step)
    kind = action.options[option][0] if action is not None else None
    kinds = (kind, *get_args(kind))
    found = next((get_args(each) for each in kinds if get_origin(each) is Literal), ())
    return tuple(each for each in found if (step, option, each) not in NOT_DRAWN)


def check_pipeline(func: Func, pipeline: str, samples: Sequence[list[np.ndarray]],
                   target: str | None = None) -> Passage:  # fmt: skip
    """Send a function through a pipeline and check each step and the result on the first sample.

    The result is to serve another batch and to survive saving and loading; with a target, the
    compiled graph must give the same bits (where it computes floats, nearly so). Any exception of
    a pass comes out as it is: whatever a pipeline raises on a well-typed network is a finding.
    """
    done: list[Done] = []
    after = run_pipeline(Module((func,)), pipeline, samples, listen=done.append, run=evaluate).main
    arrays = samples[0]
    values = {each: evaluate(each, arrays) for each in (func, *(d.after for d in done))}
    lost = [Loss(decibels(a, b), r.type)
            for a, b, r in zip(values[func], values[after], func.results, strict=True)]  # fmt: skip
    complaint = (
        _changed_on_the_way(func, done, values, arrays)
        or _unexplained(func, done, values, arrays)
        or _batch_dependent(after, values[after], arrays)
        or (target and _differs_compiled(after, values[after], arrays, target))
    )
    complaint = complaint and f"{pipeline}: {complaint}\n{func}became\n{after}"
    return Passage(after, complaint or round_trip(after, arrays, values[after]), tuple(lost))


def _changed_on_the_way(func: Func, done: list[Done], values, arrays) -> str | None:
    """The first step that changed what it had to keep."""
    form = "float"
    for each in done:
        action, before = each.step.action, form
        form = action.form_after(form, each.step.options)
        if [r.type for r in each.before.results] != [r.type for r in each.after.results]:
            return f"{each.step} changed the types of the results"
        if each.before is each.after or form == "stored" or not _same_meaning(before, form):
            continue
        if _rounds(each.before) != _rounds(each.after):  # training's rounding comes or goes
            continue
        if implies(form, "mixed"):
            alike = same_stored(each.after, values[each.before], values[each.after], arrays)
        else:
            alike = _near(each.after, values[each.before], values[each.after], arrays)
        if not alike:
            return f"{each.step} changed the meaning"
    return None


def _rounds(func: Func) -> bool:
    return any(op.kind in ROUNDINGS for op in func.ops)


def _same_meaning(before: str, after: str) -> bool:
    """Whether a step between these forms is to keep what a graph means."""
    if implies(before, "mixed"):
        return implies(after, "mixed")
    reals = ("traced", "float", "observed", "calibrated")
    return before in reals and after in reals


def same_stored(func: Func, wanted, found, arrays) -> bool:
    """Whether results have the same bits, or where the function computes floats nearly so."""
    if next(complaints(func, "int8"), None) is None:
        return all(map(np.array_equal, wanted, found))
    return _near(func, wanted, found, arrays)


def _near(func: Func, wanted, found, arrays) -> bool:
    largest = largest_of(func, arrays)
    return all(unlike(r.type, a, b, largest, ulps=ROUNDING) is None
               for r, a, b in zip(func.results, wanted, found, strict=True))  # fmt: skip


def _unexplained(func: Func, done: list[Done], values, arrays) -> str | None:
    """What a result lost beyond what the grids explain.

    Clipping is no such noise, so what quantized reals lost is compared only where ranges are those
    of the data; what integers lose beyond quantized reals always is.
    """
    forms, form = [], "float"
    for each in done:
        form = each.step.action.form_after(form, each.step.options)
        forms.append(form)
    if "qdq" not in forms or _rounds_weights(done, forms):
        return None
    quantized = done[forms.index("qdq")].after
    clipped = any(each.step.options.get("method") not in (None, "minmax") for each in done)
    explained = _noise(quantized, values[func], arrays)
    for i, (reals, qdq, stored) in enumerate(
        zip(values[func], values[quantized], values[done[-1].after], strict=True)
    ):
        step = _step(done[-1].after.results[i])
        lost = rms(qdq - reals)
        if not clipped and lost > EXCESS * (explained[i] + step):
            return f"result {i} lost {lost:.3g}, its grids explain {explained[i]:.3g}"
        if rms(stored - qdq) > EXCESS * (max(lost, explained[i]) + step):
            return (f"result {i} of integers is {rms(stored - qdq):.3g} off that of quantized "
                    f"reals, which lost {lost:.3g}")  # fmt: skip
    return None


def _rounds_weights(done: list[Done], forms: list[str]) -> bool:
    """Whether a step has stored weights in fewer bits, which no grid of an activation explains."""
    pairs = zip(done, forms, strict=True)
    return any(form == "stored" and each.before is not each.after for each, form in pairs)


def _noise(quantized: Func, wanted, arrays) -> list[float]:
    """For each result what half a step of noise on every quantized value makes of it, at most.

    Where noise takes a root below zero and the like, anything is explained.
    """
    most = [0.0] * len(wanted)
    for trial in range(TRIALS):
        found = _dithered(quantized, arrays, np.random.default_rng(trial))
        sizes = [rms(b - a) for a, b in zip(wanted, found, strict=True)]
        most = [max(m, size) if np.isfinite(size) else np.inf
                for m, size in zip(most, sizes, strict=True)]  # fmt: skip
    return most


def _dithered(func: Func, arrays, rng: Rng) -> list[np.ndarray]:
    """The results with noise in place of rounding."""
    values = dict(zip(func.parameters, arrays, strict=True))
    for op in func.ops:
        if op.kind == "parameter":
            continue
        operands = [values[o] for o in op.operands]
        if op.kind == "quant.quantize":
            scale, _ = op.type.grid.expanded(op.type.rank)
            noise = scale * rng.uniform(-0.5, 0.5, op.shape)
            values[op] = (operands[0] + noise).astype(np.float32)
        elif op.kind == "quant.dequantize" and op.operands[0].kind == "quant.quantize":
            values[op] = operands[0]
        else:
            values[op] = evaluate_op(op, operands)
    return [values[r] for r in func.results]


def _step(result: Op) -> float:
    """The step of the grid that a result of reals stands on, 0 if it stands on none."""
    if result.kind != "quant.dequantize":
        return 0.0
    return float(np.max(result.operands[0].type.scale))


def _batch_dependent(after: Func, found, arrays) -> str | None:
    try:
        single = after.with_batch(1)
    except QirError as error:
        if any(_empty(op) for op in after.ops):  # a reshape of nothing cannot infer its batch
            return None
        return str(error)
    one = evaluate(single, [x[:1] for x in arrays])
    if same_stored(after, [a[:1] for a in found], one, arrays):
        return None
    return "batch 1 gives other numbers"


def _empty(op: Op) -> bool:
    types = op.type.items if isinstance(op.type, TupleType) else (op.type,)
    return any(type.size == 0 for type in types)


def _differs_compiled(after: Func, found, arrays, target: str) -> str | None:
    ours = list(map(np.asarray, compile(after, target)(*arrays)))
    if same_stored(after, found, ours, arrays):
        return None
    return f"{target} gives other numbers than numpy"


def draw_normal(rng: Rng, func: Func) -> list[np.ndarray]:
    """Normal numbers for the parameters of a network."""
    return [rng.normal(size=p.shape).astype(np.float32) for p in func.parameters]


def rms(noise: np.ndarray) -> float:
    """The root of the mean square, 0 of nothing."""
    return float(np.sqrt(np.square(noise, dtype=np.float64).mean())) if noise.size else 0.0


def decibels(signal: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise in dB, SILENT where there is no noise."""
    power, noise = rms(signal), rms(signal - found)
    return SILENT if noise == 0 else float(20 * np.log10(max(power, 1e-15) / noise))
